"""Which readings were already accepted.

A reading with an event time is known by everything it says (time, seq, values, events, faults)
within a bounded window per sensor: equal means equal in all. Formats that spread one moment over
several messages are not duplicates of each other. A duplicate may come back after `window` newer
readings of its sensor: what is not later than all others and not among them is `undecided`, until
the journal is searched (`ingest.duplicates.journal_history`).

A reading without an event time is a duplicate only if MQTT says so: the broker marks the delivery
DUP, and the last delivery in this session under the same packet id said the same. Two messages of
equal content are two readings. Its events are accepted once more rather than never: a broker may
give the packet id of an acknowledged message to the next one at once, and then a crash leaves it
open which of two equal messages DUP means.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import msgspec

from ingest.validation import NO_TIME

if TYPE_CHECKING:
    from collections.abc import Iterable

    from storage.reading import Reading

_WIDTH: Final = 8
_MASK: Final = 2**64 - 1
_PACKETS: Final = 20_000
"""Packet ids remembered; more than any broker has unacknowledged."""


class _Seen:
    """Keys of the last readings of one sensor, eight bytes each; the oldest is overwritten."""

    __slots__ = ("at", "keys", "newest")

    def __init__(self) -> None:
        self.keys = bytearray()
        self.at = 0
        self.newest = -math.inf

    def add(self, key: int, time: float | None, window: int) -> bool:
        """Remember a key; False if it is already known."""
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
    """Bounded memory of accepted readings: ``8 * window`` bytes a sensor, and the packets."""

    def __init__(self, window: int = 256, sensors: int = 10_000, *, searches: bool = False) -> None:
        self._window = window
        self._sensors = sensors
        self._searches = searches
        self.undecided: set[int] = set()
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._packets: OrderedDict[int, tuple[int, ...]] = OrderedDict()
        self._redelivered: set[int] = set()

    def __len__(self) -> int:
        """Return how many sensors are remembered."""
        return len(self._seen)

    def on_delivery(self, packet: int, *, duplicate: bool) -> None:
        """Take the packet id and the DUP flag of a message, before its readings."""
        if duplicate:
            self._redelivered.add(packet)
        elif self._redelivered or self._packets:
            self._redelivered.discard(packet)
            self._packets.pop(packet, None)

    def on_new_session(self) -> None:
        """Forget all packet ids."""
        self._packets.clear()
        self._redelivered.clear()

    def is_new(self, reading: Reading, *, duplicate: bool = False) -> bool:
        """Remember a reading; False if it was accepted before."""
        if not reading.flags or NO_TIME.isdisjoint(reading.flags):
            seen, time = self._of(reading.sensor), stamp_of(reading)
            key, in_order = _key(reading, time), -math.inf < seen.newest < time
            new = seen.add(key, time, self._window)
            if self._searches and new and not in_order:
                self.undecided.add(key)
            return new
        packet, key = reading.packet, _key(reading, reading.stamp)
        if not packet:
            known = not self._of(reading.sensor).add(key, None, self._window)
            return not (known and duplicate)
        known = key in self._packets.get(packet, ())
        if not known:
            self._remember(packet, key)
        return not known or packet not in self._redelivered or bool(reading.events)

    def _remember(self, packet: int, key: int) -> None:
        while len(self._packets) >= _PACKETS:
            self._redelivered.discard(self._packets.popitem(last=False)[0])
        self._packets[packet] = (*self._packets.get(packet, ()), key)

    def restore(self, readings: Iterable[Reading]) -> None:
        """Remember readings of the journal's tail after a restart, oldest first."""
        delivered: dict[int, float] = {}
        for reading in readings:
            if reading.packet and delivered.get(reading.packet) != reading.received:
                delivered[reading.packet] = reading.received
                self._packets.pop(reading.packet, None)  # of an earlier message
            self.is_new(reading)
        self.undecided.clear()

    def newest(self, sensor: str) -> float:
        """Return the newest time stamp of a sensor's readings, -inf if there is none."""
        seen = self._seen.get(sensor)
        return -math.inf if seen is None else seen.newest

    def snapshot(self) -> bytes:
        """Return what is remembered of sensors, for a process with the same `PYTHONHASHSEED`."""
        return msgspec.msgpack.encode(
            [(sensor, seen.keys, seen.at, seen.newest) for sensor, seen in self._seen.items()]
        )

    def resume(self, snapshot: bytes) -> None:
        """Continue with what `snapshot` returned; raises `msgspec.MsgspecError`."""
        kind = list[tuple[str, bytearray, int, float]]
        for sensor, keys, at, newest in msgspec.msgpack.decode(snapshot, type=kind):
            seen = self._seen[sensor] = _Seen()
            seen.keys, seen.at, seen.newest = keys, at, newest

    def _of(self, sensor: str) -> _Seen:
        seen = self._seen.get(sensor)
        if seen is None:
            if len(self._seen) >= self._sensors:
                self._seen.popitem(last=False)
            seen = self._seen[sensor] = _Seen()
        else:
            self._seen.move_to_end(sensor)
        return seen


def stamp_of(reading: Reading) -> float:
    """Return the time stamp that the sensor gave to a reading with an event time."""
    return reading.time if reading.stamp is None else reading.stamp


def content_key(reading: Reading) -> int:
    """Return what a reading with an event time is known by, as long as this process runs."""
    return _key(reading, stamp_of(reading))


def _key(reading: Reading, time: float | None) -> int:
    values = reading.values
    return hash(
        (
            *(reading.sensor, time, reading.seq, reading.events, reading.faults),
            *(tuple(values), tuple(values.values())),
        )
    )
