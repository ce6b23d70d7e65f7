"""Minute detectors: sensor faults, and air that rooms share.

One object on the path from readings to events (`detection_consumer`); it gathers minutes once for
both, and its state is one snapshot.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final
from zipfile import BadZipFile

import numpy as np

from detection.errors import SnapshotError
from detection.per_minute.ambient import Ambient
from detection.per_minute.minutes import Minutes
from detection.per_minute.sensor_faults import SensorFaults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from detection.channels import ReadingBatch
    from detection.events import Event
    from detection.per_minute.ambient import Place

FORMAT: Final = 1
_PARTS: Final = ("minutes", "faults", "ambient")


class MinuteDetectors:
    """Sensor faults and ambient air over one stream of readings.

    `place` gives building and room of a sensor, if any.

    >>> slow = MinuteDetectors(lambda sensor: ("North", sensor))
    >>> slow.row("n2-boys-1")
    0
    """

    def __init__(self, place: Callable[[str], Place | None]) -> None:
        self._place = place
        self._minutes = Minutes()
        self._faults = SensorFaults(self._building)
        self._ambient = Ambient(place)

    def row(self, sensor: str) -> int:
        """Row of a sensor in batches; a new sensor gets the next one."""
        return self._minutes.row(sensor)

    def step(self, batch: ReadingBatch) -> list[Event]:
        """Return the events of readings in the order of the stream.

        Times that run ahead of the stream age the other sensors, so the caller bounds them by the
        time of receipt.
        """
        found: list[Event] = []
        for minute in self._minutes.step(batch):
            found += self._faults.on_minute(minute, self._minutes.names)
            found += self._ambient.on_minute(minute, self._minutes.names)
        return found

    def on_time(self, now: float) -> list[Event]:
        """End the faults of sensors that are silent at `now`, on the clock of the readings."""
        return self._faults.on_time(now, self._minutes.names)

    def set_back(self, now: float) -> None:
        """Go on at `now`, to which the clock of the readings was set back."""
        self._minutes.set_back(now)

    def mark(self, events: Iterable[Event]) -> list[Event]:
        """Mark the vape events of the last `step` that the air of the building explains.

        See `Ambient.mark`.
        """
        marked = self._ambient.mark(events)
        self._ambient.forget(self._minutes.now)
        return marked

    def snapshot(self) -> bytes:
        """State as versioned bytes."""
        out = io.BytesIO()
        parts = (self._minutes.state(), self._faults.state(), self._ambient.state())
        named: dict[str, Any] = {
            f"{part}.{key}": array
            for part, arrays in zip(_PARTS, parts, strict=True)
            for key, array in arrays.items()
        }
        np.savez(out, allow_pickle=False, format=np.array(FORMAT), **named)
        return out.getvalue()

    @classmethod
    def restore(cls, body: bytes, place: Callable[[str], Place | None]) -> MinuteDetectors:
        """Restore a snapshot; raise `SnapshotError` if it is none of this format."""
        restored = cls(place)
        try:
            with np.load(io.BytesIO(body), allow_pickle=False) as stored:
                if int(stored["format"]) != FORMAT:
                    raise SnapshotError(f"snapshot format {stored['format']}, expected {FORMAT}")
                parts: list[dict[str, NDArray[np.generic]]] = [
                    {
                        key.removeprefix(f"{part}."): stored[key]
                        for key in stored.files
                        if key.startswith(f"{part}.")
                    }
                    for part in _PARTS
                ]
        except (KeyError, ValueError, OSError, EOFError, BadZipFile) as error:
            raise SnapshotError(f"no snapshot of slow detectors: {error}") from error
        restored._minutes = Minutes.restore(parts[0])
        restored._faults = SensorFaults.restore(parts[1], restored._building)
        restored._ambient = Ambient.restore(parts[2], place)
        return restored

    def _building(self, sensor: str) -> str | None:
        place = self._place(sensor)
        return None if place is None else place[0]
