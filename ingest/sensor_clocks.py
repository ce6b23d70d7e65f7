"""Clocks of sensors that give several readings one time stamp.

Consumers of the journal know a reading by sensor and time, so no two may share one. Values that one
moment spreads over several messages, each with other quantities, do share it.

A clock of whole seconds
    gives one stamp to what follows within `RESOLUTION_S`; such readings keep their distance on
    arrival, behind the stamp.
A clock that stands still
    gives one stamp for longer. Its readings count at their receipt (`time_replaced`), and after
    `REPORT_AFTER_S` they carry the fault `CLOCK`, which becomes an incident of the sensor.

`Reading.stamp` then is what the sensor said.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ingest.validation import NO_TIME, SILENT_FLAGS
from storage.reading import Reading  # noqa: TC001 - msgspec reads it

CLOCK: Final = "clock"
RESOLUTION_S: Final = 1.0
_STANDS_AFTER_S: Final = 2.0
REPORT_AFTER_S: Final = 120.0
_STEP_S: Final = 0.001


class _Clock(msgspec.Struct):
    stamp: float
    since: float
    """Receipt of the first reading with this stamp."""
    time: float
    """Newest time given to a reading with this stamp."""
    readings: list[Reading]
    """Those that the stamp was given to and that name different things."""
    stands: bool = False

    def names(self, reading: Reading) -> bool:
        """Whether a reading with this stamp names something of a reading."""
        named = _named(reading)
        return any(not named.isdisjoint(_named(known)) for known in self.readings)


class SensorClocks:
    """Follow the time stamps of sensors; the caller bounds how many there are."""

    def __init__(self) -> None:
        self._clocks: dict[str, _Clock] = {}

    def replace_known(self, reading: Reading, packet: int) -> Reading:
        """Return a reading of a clock that is known to stand still as received without a time."""
        clock = self._clocks.get(reading.sensor)
        if clock is None or not clock.stands or clock.stamp != reading.time:
            return reading
        return self._replaced(reading, clock, packet) if _is_timed(reading) else reading

    def on_new(self, reading: Reading, packet: int) -> Reading:
        """Return a reading that was not accepted before at a time that no other one has."""
        if not _is_timed(reading):
            return reading
        clock = self._clocks.get(reading.sensor)
        if clock is None or clock.stamp != reading.time:
            at = reading.time
            self._clocks[reading.sensor] = _Clock(at, reading.received, at, [reading])
            return reading
        if not clock.names(reading):
            clock.readings.append(reading)
            return reading
        since = reading.received - clock.since
        if since > _STANDS_AFTER_S:
            clock.stands = True
            return self._replaced(reading, clock, packet)
        behind = min(max(since, 0.0), RESOLUTION_S - _STEP_S)
        clock.time = max(clock.stamp + behind, clock.time + _STEP_S)
        return msgspec.structs.replace(reading, time=clock.time, stamp=clock.stamp)

    def restore(self, reading: Reading) -> None:
        """Take a reading of the journal's tail after a restart, oldest first."""
        stamp = reading.time if reading.stamp is None else reading.stamp
        timed = _is_timed(reading)
        if not timed and reading.stamp is None:
            return
        clock = self._clocks.get(reading.sensor)
        if clock is None or clock.stamp != stamp:
            clock = _Clock(stamp, reading.received, stamp, [])
            self._clocks[reading.sensor] = clock
        if not clock.names(reading):
            clock.readings.append(reading)
        clock.stands |= not timed
        if timed:
            clock.time = max(clock.time, reading.time)

    def snapshot(self) -> bytes:
        """Return what is known as bytes."""
        return msgspec.msgpack.encode(self._clocks)

    def resume(self, snapshot: bytes) -> None:
        """Continue with what `snapshot` returned; raises `msgspec.MsgspecError`."""
        self._clocks = msgspec.msgpack.decode(snapshot, type=dict[str, _Clock])

    @staticmethod
    def _replaced(reading: Reading, clock: _Clock, packet: int) -> Reading:
        faults = reading.faults
        if reading.received - clock.since >= REPORT_AFTER_S:
            faults = (*faults, CLOCK)
        return msgspec.structs.replace(
            reading,
            time=reading.received,
            stamp=clock.stamp,
            faults=faults,
            flags=(*(flag for flag in reading.flags if flag != "late"), "time_replaced"),
            packet=packet,
        )


def _named(reading: Reading) -> set[str]:
    return {*reading.values, *reading.events, *reading.faults}


def _is_timed(reading: Reading) -> bool:
    flags = reading.flags
    return not flags or (NO_TIME.isdisjoint(flags) and SILENT_FLAGS.isdisjoint(flags))
