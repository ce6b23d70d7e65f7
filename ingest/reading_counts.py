"""What was noticed about each registered sensor's readings, counted.

A reading is counted once as `readings` and once for each thing that is noteworthy of it. The table
is as large as the registry: readings of unknown sensors are in the quarantine list, not here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from detection.quantities import FINE_PARTICLES
from ingest.validation import BAD_FIRMWARE, FLOODED, UNREAD, WAITING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storage.reading import Reading


class CountKind(StrEnum):
    """Closed set of what is counted a sensor."""

    READINGS = "readings"
    DUPLICATE = "duplicate"
    CLOCK = "clock"
    LATE = "late"
    RETAINED = "retained"
    BACKFILL = "backfill"
    CACHED = "cached"
    SIMULATED = "simulated"
    MAINTENANCE = "maintenance"
    FLOODED = "flooded"
    UNDECODED = "undecoded"
    BAD_FIRMWARE = "bad_firmware"
    UNREAD = "unread"
    WAITING = "waiting"
    FAULT = "fault"
    UNJUDGED = "unjudged"
    MISSING = "missing"


_OF_FLAG: Final = {
    "time_replaced": CountKind.CLOCK,
    "clock_skew": CountKind.CLOCK,
    "late": CountKind.LATE,
    "retained": CountKind.RETAINED,
    "history": CountKind.BACKFILL,
    "cached": CountKind.CACHED,
    "simulated": CountKind.SIMULATED,
    "maintenance": CountKind.MAINTENANCE,
    FLOODED: CountKind.FLOODED,
    "codec_error": CountKind.UNDECODED,
    BAD_FIRMWARE: CountKind.BAD_FIRMWARE,
    UNREAD: CountKind.UNREAD,
    WAITING: CountKind.WAITING,
}
"""What a quality flag counts as. `no_time` is the rule of some formats and no news, and readings of
unknown sensors are not counted here."""

_FINE: Final = frozenset(FINE_PARTICLES)
_NO_PARTICLES: Final = "no_particles_since"


class ReadingCounts:
    """Counts by sensor and `CountKind`; only ever grows. And which sensors send no particles."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, int]] = {}
        self._no_particles_since: dict[str, int] = {}

    def add(self, reading: Reading, *, duplicate: bool = False) -> None:
        """Count one reading of a registered sensor; a duplicate counts as nothing else."""
        counts = self._of(reading.sensor)
        if duplicate:
            counts[CountKind.DUPLICATE] += 1
            return
        counts[CountKind.READINGS] += reading.measured
        if reading.faults:
            counts[CountKind.FAULT] += 1
        if reading.flags:
            for kind in {_OF_FLAG[flag] for flag in reading.flags if flag in _OF_FLAG}:
                counts[kind] += 1
        sensor, without = reading.sensor, self._no_particles_since
        if not _FINE.isdisjoint(reading.values) or "vendor_vape" in reading.events:
            without.pop(sensor, None)
        elif sensor not in without and reading.measured:
            without[sensor] = int(reading.received)

    def add_flooded(self, sensor: str) -> None:
        """Count a reading that was left out, as its sender floods."""
        self._of(sensor)[CountKind.FLOODED] += 1

    def _of(self, sensor: str) -> dict[str, int]:
        counts = self._counts.get(sensor)
        if counts is None:
            counts = self._counts[sensor] = dict.fromkeys(CountKind, 0)
        return counts

    def add_skipped(self, readings: Mapping[str, int]) -> None:
        """Count readings that the detectors could not use, by sensor."""
        for sensor, n in readings.items():
            if sensor in self._counts:
                self._counts[sensor][CountKind.UNJUDGED] += n

    def add_missing(self, sensor: str, readings: int) -> None:
        """Count readings that never came, of a sensor of which one was kind."""
        self._counts[sensor][CountKind.MISSING] += readings

    def total(self, kind: CountKind) -> int:
        """Sum over all sensors."""
        return sum(counts[kind] for counts in self._counts.values())

    def of(self, sensor: str) -> dict[str, int]:
        """Return what was counted of a sensor, without zeros."""
        return {str(key): n for key, n in self._counts.get(sensor, {}).items() if n}

    def no_particles_since(self, sensor: str) -> int | None:
        """Return when the first reading without particles came, Unix seconds; None if some came.

        A vape alarm of the device itself counts as particles.
        """
        return self._no_particles_since.get(sensor)

    def snapshot(self) -> bytes:
        """Return everything as JSON."""
        since = {k: {_NO_PARTICLES: at} for k, at in self._no_particles_since.items()}
        return msgspec.json.encode({k: self.of(k) | since.get(k, {}) for k in self._counts})

    def restore(self, body: bytes, registered: Mapping[str, object]) -> None:
        """Count on from a snapshot, for registered sensors; raises `msgspec.MsgspecError`."""
        stored = msgspec.json.decode(body, type=dict[str, dict[str, int]])
        for sensor, counts in stored.items():
            if sensor in registered:
                self._counts[sensor] = {kind: counts.get(kind, 0) for kind in CountKind}
                if _NO_PARTICLES in counts:
                    self._no_particles_since[sensor] = counts[_NO_PARTICLES]
