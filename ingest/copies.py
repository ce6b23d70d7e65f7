"""Recognize copies of accepted readings, and give each new reading a unique time.

Copies
------
Two mechanisms recognize readings that were accepted before:

1. `RecentReadings` remembers the last `window` readings of each sensor.

   - With a usable time stamp, a copy has the same content: time stamp, sequence number, values,
     events and faults. Messages that carry different quantities for the same moment are
     therefore not copies.
   - Without a usable stamp, a redelivered copy has the same packet id and the DUP flag. Two live
     messages with equal content are two readings. A reading with events never counts as a copy
     under this rule, because a broker may immediately reuse the packet id of an acknowledged
     message. It is better to store an event twice than to lose it.
   - Without a usable stamp, a copy that waited in the broker is recognized by its sequence number
     and content, because a killed broker redelivers its backlog with new packet ids. If a sensor's
     counter restarts within the backlog, a new reading with the same number and content is mistaken
     for a copy.

2. A reading that may be a copy of an older one is marked `Doubtful`. `JournalSearch` looks for it
   in the journal before it is committed.

Two kinds of copies are not recognized: copies with a new packet id and neither a stamp nor a
sequence number, and copies without a stamp from an HTTP sender that does not sign its messages.

Times
-----
Consumers identify a reading by its sensor and its time in whole microseconds. Each reading of a
sensor therefore gets a unique time, except that readings of different quantities at the same moment
share one. If `time` differs from the sensor's time stamp, `Reading.stamp` contains the time stamp.

Times are in the order of the stamps. Readings with the same stamp keep the spacing of their
arrivals, within `RESOLUTION_S`. A reading with a later stamp is placed after them: at its stamp, or
`STEP_S` after their last time if the stamp is not later than that.

A sensor's clock is considered stopped after `_ARRIVALS` arrivals of the same stamp, each at least
`_APART_S` after the last, so that a single pause in delivery is not enough. From then on, its
readings get their receive time (`time_replaced`). After `REPORT_AFTER_S`, they also get the fault
`CLOCK`, which opens an incident. Readings with a stamp too far in the future also get their receive
time (`ingest.validation`). Their copies are still recognized by the stamp, because our own clock
may be the wrong one.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import msgspec

from ingest.validation import may_alert
from storage.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from storage.journal import Journal


CLOCK: Final = "clock"
RESOLUTION_S: Final = 1.0
REPORT_AFTER_S: Final = 120.0
STEP_S: Final = 0.001
_SPREAD_S: Final = 0.9
"""During this time, readings with the same stamp are spaced as they arrived. Readings that arrive
later share the rest of the second."""
_APART_S: Final = 2.0
_ARRIVALS: Final = 3
_MIN_S: Final = 1e-6
"""Smallest difference at which consumers distinguish two times."""
_ENTRY: Final = struct.Struct("<qd")
_KEY: Final = struct.Struct("<q")
_TIME: Final = struct.Struct("<d")
_PACKETS: Final = 20_000
"""Maximum number of packet ids remembered, far more than brokers leave unacknowledged by default
(500 in `deploy/mosquitto.conf`)."""


class Doubtful(Reading, frozen=True, gc=False):
    """A reading that the journal may already have."""


class _Sensor(msgspec.Struct):
    """State of one sensor.

    `ring`: keys and times of the last readings. A new reading overwrites the oldest.
    `at`: offset in `ring` where the next reading goes, in bytes.
    `floor`: every accepted reading with a later stamp is still in `ring`.
    `newest`: latest trusted time stamp.
    `since`: when a reading with the stamp `newest` was first received.
    `time`: latest time assigned to a reading with that stamp.
    `arrivals`: how many times that stamp arrived; arrivals within `_APART_S` count as one.
    `arrived`: receive time of the last arrival that was counted.
    `ahead`: latest stamp that was too far in the future.
    `number`: highest sequence number of a reading without a usable stamp.
    `latest`: latest time assigned to any reading, rounded by `_round_time`.
    `moment`: readings at the time `latest`.
    """

    floor: float
    ring: bytearray = msgspec.field(default_factory=bytearray)
    at: int = 0
    newest: float = -math.inf
    since: float = 0.0
    time: float = -math.inf
    arrivals: int = 0
    arrived: float = 0.0
    ahead: float = -math.inf
    number: int = -1
    latest: float = -math.inf
    moment: list[Reading] = msgspec.field(default_factory=list)

    def has(self, packed: bytes, offset: int) -> bool:
        """Return whether any entry has these bytes at `offset` within the entry."""
        at = self.ring.find(packed)
        while at % _ENTRY.size != offset and at >= 0:  # skip a match that spans entries or fields
            at = self.ring.find(packed, at + 1)
        return at >= 0

    def has_key(self, key: int) -> bool:
        """Return whether a reading with this key is remembered."""
        return self.has(_KEY.pack(key), 0)

    def has_time(self, time: float) -> bool:
        """Return whether a remembered reading has this time, rounded by `_round_time`."""
        return self.has(_TIME.pack(time), _KEY.size)

    def add(self, key: int, time: float, window: int) -> None:
        """Add a reading to the ring; `time` is rounded by `_round_time`."""
        if len(self.ring) < window * _ENTRY.size:
            self.ring += _ENTRY.pack(key, time)
            return
        _, old = _ENTRY.unpack_from(self.ring, self.at)
        self.floor = max(self.floor, old + _MIN_S)
        _ENTRY.pack_into(self.ring, self.at, key, time)
        self.at = (self.at + _ENTRY.size) % len(self.ring)

    def begin(self, stamp: float, received: float, time: float) -> None:
        """Make a later stamp the newest one, and reset the count of its arrivals."""
        self.newest, self.since, self.time = stamp, received, time
        self.arrivals, self.arrived = 1, received

    def repeat(self, received: float) -> None:
        """Count another arrival of the newest stamp, unless it is too close to the last one."""
        if received - self.arrived >= _APART_S:
            self.arrivals, self.arrived = self.arrivals + 1, received

    def is_stopped_at(self, stamp: float | None) -> bool:
        """Return whether the clock has stopped at this stamp."""
        return self.arrivals >= _ARRIVALS and stamp == self.newest

    def find_next_time(self, received: float) -> float | None:
        """Return a time for another reading with the newest stamp; None if there is no room."""
        distance = min(max(received - self.since, 0.0), _SPREAD_S)
        step = min(STEP_S, (self.newest + RESOLUTION_S - self.time) / 64)
        return max(self.newest + distance, self.time + step) if step > _MIN_S else None

    def restore(self, reading: Reading, key: int, window: int) -> None:
        """Update the state with a stored reading."""
        self.add(key, time := _round_time(reading.time), window)
        if time > self.latest:
            self.latest, self.moment = time, []
        if time == self.latest:
            self.moment.append(reading)
        stamp = reading.sensor_stamp
        if not reading.is_timed:
            self.number = max(self.number, reading.seq or 0)
            if stamp is not None and stamp > reading.received:
                self.ahead = max(self.ahead, stamp)
            elif stamp == self.newest:
                self.arrivals = _ARRIVALS
        elif stamp is not None and stamp > self.newest:
            self.begin(stamp, reading.received, reading.time)
        elif stamp == self.newest and reading.stamp is not None:
            self.repeat(reading.received)
            self.time = max(self.time, reading.time)

    def place(self, reading: Reading, time: float, key: int, window: int) -> float:
        """Remember a reading at the first free time from `time` on, and return that time."""
        if (at := _round_time(time)) == self.latest and self.can_share_time(reading):
            self.moment.append(reading)
        elif at <= self.latest:
            while at == self.latest or self.has_time(at):
                time += STEP_S
                at = _round_time(time)
        if at > self.latest:
            self.latest, self.moment = at, [reading]
        self.add(key, at, window)
        return time

    def can_share_time(self, reading: Reading) -> bool:
        """Return whether a reading can share the latest time with the readings already there.

        It can if it has no quantity, event or fault in common with them.
        """
        names = _list_names(reading)
        return all(names.isdisjoint(_list_names(known)) for known in self.moment)


class RecentReadings:
    """Remember recently accepted readings and packet ids.

    Memory: ``16 * window`` bytes for each of at most `sensors` sensors, and `_PACKETS` packet ids.
    """

    def __init__(self, window: int = 256, sensors: int = 10_000, max_skew_s: float = 300.0) -> None:
        self._window = window
        self._most = sensors
        self._max_skew_s = max_skew_s
        self._sensors: OrderedDict[str, _Sensor] = OrderedDict()
        self._packets: OrderedDict[int, tuple[int, ...]] = OrderedDict()
        self._redelivered: set[int] = set()

    def __len__(self) -> int:
        """Return how many sensors are remembered."""
        return len(self._sensors)

    def on_delivery(self, packet: int, *, duplicate: bool) -> None:
        """Note the packet id and DUP flag of a message, before `settle` gets its readings."""
        if duplicate:
            self._redelivered.add(packet)
        elif self._redelivered or self._packets:
            self._redelivered.discard(packet)
            self._packets.pop(packet, None)

    def on_new_session(self) -> None:
        """Forget all packet ids."""
        self._packets.clear()
        self._redelivered.clear()

    def settle(
        self, reading: Reading, packet: int = 0, *, again: bool = False, waited: bool = False
    ) -> Reading | None:
        """Give a reading a unique time, and return it; return None if it is a copy.

        If the journal must be searched for the original, the result is `Doubtful`.

        `packet`: packet id of the message.
        `again`: whether the sender marks the message as a redelivery.
        `waited`: whether the message may have waited in the broker.
        """
        known = self._find_sensor(reading)
        if reading.is_timed:
            if not known.is_stopped_at(reading.time) or not may_alert(reading):
                return self._settle_stamped(known, reading, packet)
            return self._settle_stopped(known, reading, packet, again=again, waited=waited)
        if reading.stamp is not None and reading.stamp > reading.received:
            key = _make_key(reading, reading.stamp)
            if not known.has_key(key):
                doubtful = reading.stamp <= known.ahead
                known.ahead = max(known.ahead, reading.stamp)
                return self._remember(known, reading, key, reading.time, doubtful=doubtful)
            if reading.stamp != known.ahead:
                return None
        return self._settle_unstamped(known, reading, again=again, waited=waited)

    def restore(self, readings: Iterable[Reading]) -> None:
        """Remember the newest readings of the journal after a restart, oldest first."""
        delivered: dict[int, float] = {}
        for reading in readings:
            if reading.packet and delivered.get(reading.packet) != reading.received:
                delivered[reading.packet] = reading.received
                self._packets.pop(reading.packet, None)  # an earlier message used the same id
            key = make_content_key(reading)
            if reading.packet:
                self._add_packet(reading.packet, key)
            self._find_sensor(reading).restore(reading, key, self._window)

    def snapshot(self) -> bytes:
        """Return the state of all sensors, for a process with the same `PYTHONHASHSEED`."""
        return msgspec.msgpack.encode(self._sensors)

    def resume(self, snapshot: bytes) -> None:
        """Restore the state that `snapshot` returned; raises `msgspec.MsgspecError`."""
        self._sensors = OrderedDict(msgspec.msgpack.decode(snapshot, type=dict[str, _Sensor]))

    def _find_sensor(self, reading: Reading) -> _Sensor:
        known = self._sensors.get(reading.sensor)
        if known is None:
            if len(self._sensors) >= self._most:
                self._sensors.popitem(last=False)
            known = self._sensors[reading.sensor] = _Sensor(reading.received)
        else:
            self._sensors.move_to_end(reading.sensor)
        return known

    def _settle_stamped(self, known: _Sensor, reading: Reading, packet: int) -> Reading | None:
        stamp = time = reading.time
        key = _make_key(reading, stamp)
        doubtful = stamp <= known.floor
        if stamp <= known.newest or stamp <= known.ahead:
            if known.has_key(key):
                return None
            doubtful |= stamp <= known.ahead <= reading.received + self._max_skew_s
        if stamp > known.newest:
            time = stamp if stamp > known.time else known.time + STEP_S
            known.begin(stamp, reading.received, time)
        elif stamp == known.newest and may_alert(reading):
            at = _round_time(stamp)
            if at <= known.latest < at + RESOLUTION_S and known.can_share_time(reading):
                time = max(stamp, known.latest)
            else:
                known.repeat(reading.received)
                found = (
                    None if known.is_stopped_at(stamp) else known.find_next_time(reading.received)
                )
                if found is None:
                    known.arrivals = _ARRIVALS
                    return self._settle_stopped(known, reading, packet)
                time = known.time = found
        return self._remember(known, reading, key, time, doubtful=doubtful)

    def _settle_stopped(
        self,
        known: _Sensor,
        reading: Reading,
        packet: int,
        *,
        again: bool = False,
        waited: bool = False,
    ) -> Reading | None:
        """Settle a reading from a stopped clock; its time becomes the receive time."""
        faults = reading.faults
        if reading.received - known.since >= REPORT_AFTER_S:
            faults = (*faults, CLOCK)
        replaced = msgspec.structs.replace(
            reading,
            time=reading.received,
            stamp=reading.time,
            faults=faults,
            flags=(*(flag for flag in reading.flags if flag != "late"), "time_replaced"),
            packet=packet,
        )
        return self._settle_unstamped(known, replaced, again=again, waited=waited)

    def _settle_unstamped(
        self, known: _Sensor, reading: Reading, *, again: bool, waited: bool
    ) -> Reading | None:
        key, packet, number = make_content_key(reading), reading.packet, reading.seq
        if packet:
            if key not in self._packets.get(packet, ()):
                self._add_packet(packet, key)
            elif packet in self._redelivered and not reading.events:
                return None
        by_number = waited and packet > 0 and number is not None
        if (by_number or (again and not packet)) and known.has_key(key):
            return None
        doubtful = by_number and (number or 0) <= known.number
        known.number = max(known.number, number or 0)
        return self._remember(known, reading, key, reading.time, doubtful=doubtful)

    def _remember(
        self, known: _Sensor, reading: Reading, key: int, time: float, *, doubtful: bool
    ) -> Reading:
        stamp, time = reading.sensor_stamp, known.place(reading, time, key, self._window)
        if time != reading.time:
            reading = msgspec.structs.replace(reading, time=time, stamp=stamp)
        return Doubtful(*msgspec.structs.astuple(reading)) if doubtful else reading

    def _add_packet(self, packet: int, key: int) -> None:
        while len(self._packets) >= _PACKETS:
            self._redelivered.discard(self._packets.popitem(last=False)[0])
        self._packets[packet] = (*self._packets.get(packet, ()), key)


def make_content_key(reading: Reading) -> int:
    """Return a hash that identifies a reading by its content, valid only in this process."""
    return _make_key(reading, reading.sensor_stamp)


def _make_key(reading: Reading, stamp: float | None) -> int:
    values, faults = reading.values, reading.faults
    if CLOCK in faults:
        faults = tuple(fault for fault in faults if fault != CLOCK)
    return hash(
        (
            *(reading.sensor, stamp, reading.seq, reading.events, faults),
            *(tuple(values), tuple(values.values())),
        )
    )


def _round_time(time: float) -> float:
    """Round a time to whole microseconds, as consumers do."""
    return round(time * 1e6) / 1e6


def _list_names(reading: Reading) -> set[str]:
    return {*reading.values, *reading.events, *reading.faults}


_CLOSE_TIMES: Final = 8
_SLOTS: Final = 900_000


class JournalSearch:
    """Find the originals of doubtful readings in the journal.

    If a broker is killed after it delivered a backlog, it delivers the whole backlog again. A
    reading that may be a copy is therefore looked up before it is committed. The journal has an
    index for this (`Journal.find_similar`), so a lookup takes about as long in a large journal as
    in a small one.

    If the journal already has a reading at the time of a doubtful reading that is not a copy, the
    doubtful reading gets one of the next free times or, if many are taken, any free time within
    `_SLOTS` microseconds.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._clock_step = 0.0

    def split_known(self, readings: Sequence[Reading]) -> tuple[list[Reading], list[Reading]]:
        """Return the new readings in order, and those already in the journal; blocks."""
        doubtful = [reading for reading in readings if type(reading) is Doubtful]
        if not doubtful and not self._clock_step:
            return list(readings), []
        taken: set[tuple[str, float]] = set()
        copies = {id(reading): reading for reading in doubtful if self._is_copy(reading)}
        placed = {
            id(reading): self._place(reading, taken)
            for reading in doubtful
            if id(reading) not in copies
        }
        fresh: list[Reading] = []
        for reading in readings:
            self._clock_step += reading.clock_step
            if id(reading) in copies:
                continue
            new = placed.get(id(reading), reading)
            if self._clock_step != new.clock_step:  # add the clock steps of skipped copies
                new = msgspec.structs.replace(new, clock_step=self._clock_step)
            self._clock_step = 0.0
            fresh.append(new)
        return fresh, list(copies.values())

    def _is_copy(self, reading: Reading) -> bool:
        key = make_content_key(reading)
        return any(make_content_key(known) == key for known in self._journal.find_similar(reading))

    def _place(self, reading: Reading, taken: set[tuple[str, float]]) -> Reading:
        """Return the reading, no longer `Doubtful`, at a free time, and add that to `taken`."""
        sensor, time, stamp = reading.sensor, reading.time, reading.sensor_stamp
        start = make_content_key(reading)
        for k in itertools.count(1):
            at = _round_time(time)
            if (sensor, at) not in taken and not self._journal.has_time(sensor, at):
                break
            spread = k * STEP_S if k <= _CLOSE_TIMES else (start + k) % _SLOTS / 1e6
            time = reading.time + spread
        taken.add((sensor, at))
        placed = Reading(*msgspec.structs.astuple(reading))
        return (
            placed
            if time == reading.time
            else msgspec.structs.replace(placed, time=time, stamp=stamp)
        )
