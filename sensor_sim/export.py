"""Readings and truth as CSV files: the input of a replay, and the truth to judge it by.

Readings have the header ``time,sensor,<quantities>``, Unix seconds of the device's clock to the
millisecond, an empty cell for a missing value, and rows in order of time over all sensors. Devices
report at their own intervals and by their own clocks, so rows wait until no device can send an
earlier one; a reading that a backward clock jump puts more than `HOLD_S` behind its sending is left
out and counted. A reading without any value (a device that warms up) has no row.

The bytes depend on the readings only.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
from contextlib import ExitStack
from dataclasses import astuple, fields
from typing import IO, TYPE_CHECKING, Final, Self, cast

import numpy as np
import polars as pl

from detection.quantities import COLUMN_INDEX, COLUMNS, QUANTITIES
from sensor_sim.trace import Truth
from storage.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from sensor_sim.trace import DeviceTrace

HOLD_S: Final = 7200.0
"""Longest time that the clock of a device may be behind for its reading to be kept in order, s."""
_GZIP_LEVEL: Final = 1


def decimals(quantity: str) -> int:
    """Return the decimals to print: one more than the resolution if that is a fraction.

    >>> decimals("pm25"), decimals("n03"), decimals("tvoc_ppb")
    (2, 3, 0)
    """
    resolution = QUANTITIES[quantity].resolution
    return 0 if resolution >= 1 else 1 - round(math.log10(resolution))


def _numbers(values: NDArray[np.float64], places: int) -> pl.Series:
    if np.isnan(values).all():
        return pl.repeat(None, len(values), dtype=pl.String, eager=True)
    step = 10**places
    rounded = pl.Series(np.rint(values * step) / step + 0.0, nan_to_null=True)
    if not places:
        return rounded.cast(pl.Int64).cast(pl.String)
    return rounded.cast(pl.String).str.strip_suffix(".0")


def _times(time: NDArray[np.float64]) -> pl.Series:
    milli = pl.Series(np.rint(np.maximum(time, 0.0) * 1000).astype(np.int64))
    fraction = (milli % 1000).cast(pl.String).str.zfill(3)
    return (milli // 1000).cast(pl.String) + "." + fraction


class _CsvFile:
    """A CSV file that appears when it is complete; gzip by its suffix. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self._stack = ExitStack()
        self.rows = 0
        raw = self._stack.enter_context(self._stack.enter_context(atomic_write(path)).open("wb"))
        self._file: IO[bytes] = raw
        if path.name.endswith(".gz"):
            zipped = gzip.GzipFile("", "wb", _GZIP_LEVEL, raw, mtime=0)
            self._file = cast("IO[bytes]", self._stack.enter_context(zipped))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.__exit__(*exc_info)  # type: ignore[arg-type]


class ReadingsCsv(_CsvFile):
    """Writes readings to ``.csv`` or ``.csv.gz``; `sensors` give the order within one time."""

    def __init__(
        self, path: Path, quantities: Iterable[str] = COLUMNS, sensors: Iterable[str] = ()
    ) -> None:
        super().__init__(path)
        chosen = set(quantities)
        self._quantities = tuple(q for q in COLUMNS if q in chosen)
        self._columns = [COLUMN_INDEX[q] for q in self._quantities]
        self._number = {sensor: i for i, sensor in enumerate(dict.fromkeys(sensors))}
        self._time = np.empty(0)
        self._sensor = np.empty(0, dtype=np.int64)
        self._values = np.empty((0, len(self._columns)))
        self._written_to = -math.inf
        self.left_out = 0
        self._file.write(",".join(("time", "sensor", *self._quantities)).encode() + b"\n")

    def __exit__(self, *exc_info: object) -> None:
        if exc_info[0] is None:
            self._release(math.inf)
        super().__exit__(*exc_info)

    def add(self, traces: Iterable[DeviceTrace]) -> None:
        """Add the readings of one stretch of time over all devices."""
        new = [trace for trace in traces if len(trace.time)]
        if not new:
            return
        numbers = [self._number.setdefault(t.sensor, len(self._number)) for t in new]
        self._time = np.concatenate([self._time, *(t.time for t in new)])
        repeated = np.repeat(numbers, [len(t.time) for t in new])
        self._sensor = np.concatenate([self._sensor, repeated])
        self._values = np.concatenate([self._values, *(t.values[:, self._columns] for t in new)])
        safe = min(float(t.time[-1]) for t in new)
        self._release(max(safe, min(float(t.sent[-1]) for t in new) - HOLD_S))

    def _release(self, until: float) -> None:
        order = np.lexsort((self._sensor, self._time))
        time = self._time[order]
        first = int(np.searchsorted(time, self._written_to, "left"))
        last = max(first, int(np.searchsorted(time, until, "left")))
        self.left_out += first
        rows = order[first:last]
        rows = rows[~np.isnan(self._values[rows]).all(axis=1)]
        if len(rows):
            self._write(self._time[rows], self._sensor[rows], self._values[rows])
        keep = np.sort(order[last:])
        self._time, self._sensor = self._time[keep], self._sensor[keep]
        self._values = self._values[keep]
        self._written_to = max(self._written_to, until)

    def _write(
        self, time: NDArray[np.float64], sensor: NDArray[np.int64], values: NDArray[np.float64]
    ) -> None:
        columns = {"time": _times(time), "sensor": pl.Series(list(self._number)).gather(sensor)}
        for quantity, column in zip(self._quantities, values.T, strict=True):
            columns[quantity] = _numbers(column, decimals(quantity))
        self._file.write(pl.DataFrame(columns).write_csv(include_header=False).encode())
        self.rows += len(time)


class TruthCsv(_CsvFile):
    """Writes truth to ``.csv`` or ``.csv.gz``: one row per event and sensor, fields of `Truth`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._write_header()

    def _write_header(self) -> None:
        self._writerow([f.name for f in fields(Truth)])

    def add(self, truths: Iterable[Truth]) -> None:
        """Add the truth of one stretch of time."""
        for truth in truths:
            self._writerow([_plain(value) for value in astuple(truth)])
            self.rows += 1

    def _writerow(self, row: Iterable[object]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(row)
        self._file.write(text.getvalue().encode())


class TruthStream(TruthCsv):
    """Writes truth to a stream that is open, each row as soon as it is known."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stack = ExitStack()
        self.rows = 0
        self._file = stream
        self._write_header()

    def add(self, truths: Iterable[Truth]) -> None:
        """Add the truth of one stretch of time."""
        super().add(truths)
        self._file.flush()


def _plain(value: object) -> object:
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        return value if math.isinf(value) else round(value, 3)
    return value
