"""Write the truth as CSV, for evaluating the detector."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import astuple, fields
from typing import IO, TYPE_CHECKING

from sensor_sim.trace import Truth

if TYPE_CHECKING:
    from collections.abc import Iterable


class TruthStream:
    """Writes one row per event and sensor, with the fields of `Truth`, once it is complete."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._write([[field.name for field in fields(Truth)]])

    def add(self, truths: Iterable[Truth]) -> None:
        """Add the truth for one stretch of time."""
        self._write([_format(value) for value in astuple(truth)] for truth in truths)

    def _write(self, rows: Iterable[Iterable[object]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._stream.write(text.getvalue().encode())
        self._stream.flush()


def _format(value: object) -> object:
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        return value if math.isinf(value) else round(value, 3)
    return value
