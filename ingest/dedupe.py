"""Which readings were already accepted.

A reading with a time stamp of its own is known by (time, seq, which quantities it carries)
within a bounded window per sensor: brokers redeliver, gateways forward twice, and a restart
brings back what was journalled but not acknowledged. Formats that spread one moment over several
messages (same time, other quantities) are not duplicates of each other.

A reading without a usable time stamp has nothing to be told by: two equal readings in a row are
ordinary. It is held against the hash of its payload only if the broker itself says DUP.

Not a promise of exactly-once: a duplicate that comes back after `window` newer readings of its
sensor, or of a sensor forgotten for `sensors` others, is accepted again. Consumers key on
(sensor, time).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from storage.reading import Reading

__all__ = ["Dedupe"]

_NO_TIME: Final = frozenset({"no_time", "time_replaced"})


class _Seen:
    """Keys of the last readings of one sensor, oldest forgotten first."""

    __slots__ = ("keys", "order")

    def __init__(self, window: int) -> None:
        self.keys: set[int] = set()
        self.order: deque[int] = deque(maxlen=window)

    def add(self, key: int) -> bool:
        """Remember a key; False if it is already known."""
        if key in self.keys:
            return False
        if len(self.order) == self.order.maxlen:
            self.keys.discard(self.order[0])
        self.order.append(key)
        self.keys.add(key)
        return True


class Dedupe:
    """Bounded memory of accepted readings; every operation is O(1).

    Parameters
    ----------
    window : int
        Readings remembered per sensor.
    sensors : int
        Sensors remembered; the one heard longest ago is forgotten first.
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

    def is_new(self, reading: Reading, payload: bytes = b"", *, duplicate: bool = False) -> bool:
        """Remember a reading; False if it was accepted before.

        Parameters
        ----------
        reading : Reading
            A validated reading.
        payload : bytes
            The message it came in, for readings without time.
        duplicate : bool
            The message carried MQTT's DUP flag.
        """
        if reading.flags and not _NO_TIME.isdisjoint(reading.flags):
            key = hash((payload, reading.events))
            known = not self._of(reading.sensor).add(key)
            return not (known and duplicate)
        return self._of(reading.sensor).add(_key(reading))

    def restore(self, readings: Iterable[Reading]) -> None:
        """Remember readings of the journal's tail after a restart, oldest first."""
        for reading in readings:
            if _NO_TIME.isdisjoint(reading.flags):
                self._of(reading.sensor).add(_key(reading))

    def _of(self, sensor: str) -> _Seen:
        seen = self._seen.get(sensor)
        if seen is None:
            if len(self._seen) >= self._sensors:
                self._seen.popitem(last=False)
            seen = self._seen[sensor] = _Seen(self._window)
        else:
            self._seen.move_to_end(sensor)
        return seen


def _key(reading: Reading) -> int:
    return hash((reading.time, reading.seq, tuple(reading.values), reading.events, reading.faults))
