"""Which readings were already accepted.

A reading with a time stamp of its own is known by time, seq and the quantities it carries within a
bounded window per sensor. Formats that spread one moment over several messages are not duplicates
of each other. A reading without a usable time stamp is a duplicate only if the broker itself says
DUP. A duplicate that comes back after `window` newer readings of its sensor is accepted again:
consumers key on (sensor, time).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from storage.reading import Reading

_NO_TIME: Final = frozenset({"no_time", "time_replaced"})
_WIDTH: Final = 8
_MASK: Final = 2**64 - 1


class _Seen:
    """Keys of the last readings of one sensor, eight bytes each; the oldest is overwritten."""

    __slots__ = ("at", "keys", "newest")

    def __init__(self) -> None:
        self.keys = bytearray()
        self.at = 0
        self.newest = float("-inf")

    def add(self, key: int, time: float | None, window: int) -> bool:
        """Remember a key; False if it is already known.

        A reading that is later than all others is new: it need not be looked for.
        """
        packed = (key & _MASK).to_bytes(_WIDTH, "little")
        if time is not None and time > self.newest:
            self.newest = time
        elif self._known(packed):
            return False
        if len(self.keys) < window * _WIDTH:
            self.keys += packed
        else:
            self.keys[self.at : self.at + _WIDTH] = packed
            self.at = (self.at + _WIDTH) % len(self.keys)
        return True

    def _known(self, packed: bytes) -> bool:
        at = self.keys.find(packed)
        while at % _WIDTH and at > 0:  # the end of one key and the beginning of the next
            at = self.keys.find(packed, at + 1)
        return at >= 0


class Dedupe:
    """Bounded memory of accepted readings: at most ``8 * window`` bytes a sensor.

    What comes in order of time costs O(1), anything else one search of the window.

    `window`: readings remembered per sensor.
    `sensors`: sensors remembered; the one seen longest ago is forgotten first.
    """

    def __init__(self, window: int = 256, sensors: int = 10_000) -> None:
        if window < 1 or sensors < 1:
            raise ValueError("window and sensors must be at least 1")
        self._window = window
        self._sensors = sensors
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    def __len__(self) -> int:
        """Return how many sensors are remembered."""
        return len(self._seen)

    def is_new(self, reading: Reading, *, duplicate: bool = False) -> bool:
        """Remember a reading; False if it was accepted before."""
        if reading.flags and not _NO_TIME.isdisjoint(reading.flags):
            content = (tuple(reading.values.items()), reading.seq, reading.events, reading.faults)
            known = not self._of(reading.sensor).add(hash(content), None, self._window)
            return not (known and duplicate)
        return self._of(reading.sensor).add(_key(reading), reading.time, self._window)

    def restore(self, readings: Iterable[Reading]) -> None:
        """Remember readings of the journal's tail after a restart, oldest first."""
        for reading in readings:
            self.is_new(reading)

    def _of(self, sensor: str) -> _Seen:
        seen = self._seen.get(sensor)
        if seen is None:
            if len(self._seen) >= self._sensors:
                self._seen.popitem(last=False)
            seen = self._seen[sensor] = _Seen()
        else:
            self._seen.move_to_end(sensor)
        return seen


def _key(reading: Reading) -> int:
    return hash((reading.time, reading.seq, tuple(reading.values), reading.events, reading.faults))
