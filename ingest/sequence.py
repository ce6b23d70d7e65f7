"""Readings that never came, by the devices' own sequence numbers.

A gap in the numbers is not yet a loss: messages overtake each other, and after a reconnection the
broker delivers some of them again, behind newer ones. So a gap is open for a while, and only what
is still missing then counts.

A counter that begins anew is no gap: its number is at or below one that came before, and its time
is later. Neither is a jump larger than `MAX_JUMP`: no buffer holds that much, the counter was set.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from storage.reading import Reading

MAX_JUMP: Final = 1_000_000
OPEN_S: Final = 60.0
"""How long a missing number may still come, in seconds of receive time."""
_OPEN_GAPS: Final = 64
_SENSORS: Final = 100_000
_NO_TIME: Final = frozenset({"no_time", "time_replaced"})


@dataclass(slots=True)
class _Sequence:
    newest: int
    time: float
    gaps: list[tuple[int, int, float]] = field(default_factory=list)
    """First and last missing number, and when it showed; in order of the numbers."""


class Sequences:
    """Find missing numbers, sensor by sensor; O(open gaps) a reading.

    Bounded: 64 open gaps a sensor, 100,000 sensors, heard longest ago forgotten first.
    """

    def __init__(self) -> None:
        self._of: OrderedDict[str, _Sequence] = OrderedDict()

    def restore(self, readings: Iterable[Reading]) -> None:
        """Know the last numbers of the journal's tail after a restart, oldest reading first."""
        for reading in readings:
            self.on_reading(reading)  # what it says is missing was counted before the restart

    def on_reading(self, reading: Reading) -> int:
        """Take one accepted reading of a registered sensor.

        Returns
        -------
        int
            How many readings of this sensor are known to be missing that were not before.
        """
        seq = reading.seq
        if seq is None:
            return 0
        found = self._of.get(reading.sensor)
        if found is None:
            if len(self._of) >= _SENSORS:
                self._of.popitem(last=False)
            self._of[reading.sensor] = _Sequence(seq, reading.time)
            return 0
        self._of.move_to_end(reading.sensor)
        missing = self._closed(found, reading.received)
        jump = seq - found.newest
        timed = not reading.flags or _NO_TIME.isdisjoint(reading.flags)
        if jump > MAX_JUMP or (jump < 0 and timed and reading.time > found.time):
            missing += self._closed(found, float("inf"))  # the counter began anew
            found.newest, found.time = seq, reading.time
            return missing
        if jump < 0:
            self._fill(found, seq)
        elif jump > 1:
            found.gaps.append((found.newest + 1, seq - 1, reading.received))
        while len(found.gaps) > _OPEN_GAPS:
            first, last, _ = found.gaps.pop(0)
            missing += last - first + 1
        found.newest = max(found.newest, seq)
        found.time = max(found.time, reading.time)
        return missing

    @staticmethod
    def _closed(found: _Sequence, now: float) -> int:
        """Count and forget the gaps that have been open for long enough."""
        if not found.gaps:
            return 0
        over = [gap for gap in found.gaps if now - gap[2] >= OPEN_S]
        if over:
            found.gaps = [gap for gap in found.gaps if now - gap[2] < OPEN_S]
        return sum(last - first + 1 for first, last, _ in over)

    @staticmethod
    def _fill(found: _Sequence, seq: int) -> None:
        for k, (first, last, since) in enumerate(found.gaps):
            if first <= seq <= last:
                parts = [(first, seq - 1, since), (seq + 1, last, since)]
                found.gaps[k : k + 1] = [part for part in parts if part[0] <= part[1]]
                return
