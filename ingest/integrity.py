"""What is noticed about the messages of each sensor: findings, losses and counts.

Findings are messages that no honest device or broker sends.

The first line of defense is the broker, where an account writes under its own name alone
(`deploy/mosquitto.acl`). This is the second, for the day on which a password is known or the list
of rights is wrong. A finding is a reading without values, with one event that decoders never make,
so it is journaled and becomes an incident; it never keeps a reading from alerting.

- ``two_senders``: the numbers of a sensor are those of two devices (`Numbering`).
- ``repeated``: more than `REPEATS` messages within `WINDOW_S` that were accepted long before, and
  that the broker does not say it delivers again.
- ``refused``: more than `REFUSED` messages in `WINDOW_S` under a sensor's topic are no readings.
- ``flooded``: far too many messages come under its name (`Floods`).

More than `UNREGISTERED` new sensors that nobody registered are no finding of one sensor but a fault
of the service (`alerts.operations`). While most of what comes is old, a backlog is read; then
neither those nor ``refused`` count.

`ReadingCounts` counts a reading once as `readings` and once for each thing that is noteworthy of
it. Its table is as large as the registry: readings of unknown sensors are in the quarantine list.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from detection.events import INTEGRITY, Detail
from detection.quantities import FINE_PARTICLES
from detection.unlikely import UnlikelyValues
from ingest.decoding import Bounded
from ingest.validation import BAD_FIRMWARE, FLOODED, UNREAD, WAITING, may_alert
from storage.rate_limit import Bound, RateLimit
from storage.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping


MAX_JUMP: Final = 1_000_000
OPEN_S: Final = 60.0
"""How long a missing number may still come, in seconds of receive time."""
_OPEN_GAPS: Final = 64
_NEAR: Final = 100
"""Numbers within which a line goes on."""
_LINES: Final = 4
_DOUBTS: Final = 4
_DOUBT_S: Final = 600.0


@dataclass(slots=True)
class _Line:
    newest: int
    stamp: float = -math.inf
    length: int = 1


@dataclass(slots=True)
class Numbering:
    """Follows the numbers of one sensor's readings in the order of their arrival.

    A gap is not yet a loss: messages overtake each other, and after a reconnection the broker
    delivers some of them again, behind newer ones. So a gap stays open for `OPEN_S`, and only what
    is still missing then counts. A counter that begins anew is no gap: its number is below one that
    came before, and its stamp is later, by `OPEN_S` if the number may still come. Neither is a jump
    larger than `MAX_JUMP`: no buffer holds that much, the counter was set.

    A counter that goes on where it was before it jumped, or began anew, is that of a second device.
    That is certain where the two are far apart, and a doubt where they are near. So is a reading
    without a number among numbered ones of the same quantities, the same number in another message
    of them while the counter goes on, a missing number with a later stamp while the counter goes
    on, and a jump back to a high number. Several doubts within
    `_DOUBT_S` are reported: an honest device may give rise to one. The lines of numbers that lasted
    longest are remembered, so random ones do not displace the sensor's own.

    `lines`: numbers that went on from each other, that of the last reading first.
    `received`, `names`: receipt of the last numbered reading, and what it measured.
    `gaps`: first and last missing number, and when it showed.
    `is_odd`: whether a reading since the last number makes one doubt.
    """

    lines: list[_Line] = field(default_factory=list)
    received: float = -math.inf
    names: frozenset[str] = frozenset()
    gaps: list[tuple[int, int, float]] = field(default_factory=list)
    is_odd: bool = False
    doubts: list[float] = field(default_factory=list)

    def add(self, reading: Reading) -> tuple[int, bool]:
        """Return how many readings are missing from now on, and whether two devices send."""
        seq, lines = reading.seq, self.lines
        if seq is None:
            self._look_at(reading)
            return 0, False
        if not lines:
            self._begin(seq, reading)
            return 0, False
        missing = self._close(reading.received) if self.gaps else 0
        step = seq - lines[0].newest
        if step == 0:
            self._look_at(reading)
            return missing, False
        before = None if step == 1 else self._before(seq, step)
        late = not reading.is_timed or reading.order <= (before or lines[0]).stamp
        late = late or (reading.order < lines[0].stamp + OPEN_S and self._gap_of(seq) is not None)
        if step < 0 and late and (before is None or reading.is_timed):
            if reading.is_timed and reading.order > lines[0].stamp:
                self._look_at(reading)
            if not self._fill(seq) and not reading.is_timed:
                self._look_at(reading)
                self._set_aside(_Line(seq))
            return missing, False
        doubtful, self.is_odd = self.is_odd, False
        if before is not None:
            doubtful |= reading.is_timed or before.length > 1
            self._return_to(before, seq, reading)
            if reading.is_timed and abs(step) > _NEAR:
                return missing, True
        elif 0 < step <= _NEAR:
            missing += self._open(lines[0].newest + 1, seq, reading.received)
            self._go_on(seq, reading)
        else:
            missing += self._leave_off(seq, step, reading)
            doubtful |= step < -_NEAR and seq > _NEAR
        return missing, doubtful and self._is_doubted(reading.received)

    def _look_at(self, reading: Reading) -> None:
        """Take a reading without a number of its own, which may be of another device."""
        if reading.received != self.received and may_alert(reading):
            self.is_odd |= not self.names.isdisjoint(reading.values)

    def _is_doubted(self, now: float) -> bool:
        self.doubts = [at for at in self.doubts if 0 <= now - at < _DOUBT_S][1 - _DOUBTS :]
        self.doubts.append(now)
        return len(self.doubts) >= _DOUBTS

    def _before(self, seq: int, step: int) -> _Line | None:
        """Return the earlier line that goes on with a number, if it is nearer than the last one."""
        most = step - 1 if 0 < step <= _NEAR else _NEAR
        near = (line for line in self.lines[1:] if 0 < seq - line.newest <= most)
        return max(near, key=lambda line: line.newest, default=None)

    def _begin(self, seq: int, reading: Reading) -> None:
        self._set_aside(_Line(seq, length=0))
        self.lines.insert(0, self.lines.pop())
        self._go_on(seq, reading)

    def _set_aside(self, line: _Line) -> None:
        """Remember a line that is not gone on with yet, in place of the shortest other one."""
        if len(self.lines) >= _LINES:
            self.lines.remove(min(self.lines[1:], key=lambda known: known.length))
        self.lines.append(line)

    def _go_on(self, seq: int, reading: Reading) -> None:
        line = self.lines[0]
        line.newest, line.length = seq, line.length + 1
        self.received = reading.received
        if reading.is_timed:
            line.stamp = reading.order
        if self.names != reading.values.keys():
            self.names = frozenset(reading.values)

    def _return_to(self, line: _Line, seq: int, reading: Reading) -> None:
        """Go on with an earlier line; what seemed to be missing since then was never sent."""
        if reading.is_timed:
            self.gaps = [gap for gap in self.gaps if not gap[0] <= seq <= gap[1]]
        else:
            self._fill(seq)
        self.lines.remove(line)
        self.lines.insert(0, line)
        self._go_on(seq, reading)

    def _leave_off(self, seq: int, step: int, reading: Reading) -> int:
        """Begin another line; return how many readings are missing."""
        if 0 < step <= MAX_JUMP:
            missing = self._open(self.lines[0].newest + 1, seq, reading.received)
        else:
            missing = self._close(math.inf)
        self._begin(seq, reading)
        return missing

    def _open(self, first: int, end: int, now: float) -> int:
        """Open a gap up to before `end`; return what is missing of the oldest ones beyond."""
        if first < end:
            self.gaps.append((first, end - 1, now))
        over, self.gaps = self.gaps[:-_OPEN_GAPS], self.gaps[-_OPEN_GAPS:]
        return _size(over)

    def _close(self, now: float) -> int:
        """Count and forget the gaps that have been open for long enough."""
        over = [gap for gap in self.gaps if now - gap[2] >= OPEN_S]
        self.gaps = [gap for gap in self.gaps if now - gap[2] < OPEN_S]
        return _size(over)

    def _fill(self, seq: int) -> bool:
        """Take a missing number out of its gap; False if it was not missing."""
        k = self._gap_of(seq)
        if k is None:
            return False
        first, last, since = self.gaps[k]
        parts = [(first, seq - 1, since), (seq + 1, last, since)]
        self.gaps[k : k + 1] = [part for part in parts if part[0] <= part[1]]
        return True

    def _gap_of(self, seq: int) -> int | None:
        return next((k for k, gap in enumerate(self.gaps) if gap[0] <= seq <= gap[1]), None)


def _size(gaps: Iterable[tuple[int, int, float]]) -> int:
    return sum(last - first + 1 for first, last, _ in gaps)


PER_S: Final = 20
BURST: Final = 200
MOST_PER_S: Final = 2_000
CALM_S: Final = 10
_USUAL_S: Final = 900.0
"""How long another kind counts as usual after its last reading."""
_SECONDS: Final = 10_000


@dataclass(slots=True)
class _Kind:
    """Messages of one kind: `count` in a `second` of receipt, and how many are `left`.

    `seconds`: those that the own stamps of its readings are of.
    `loud`: the last second of receipt with more than `PER_S`; `last`: receipt of the last one.
    `read`: the last second of which a reading was read although it floods.
    """

    second: int = 0
    count: int = 0
    left: int = BURST
    loud: int = 0
    last: float = -math.inf
    seconds: set[int] = field(default_factory=set)
    floods: bool = False
    read: int = 0

    def take(self, time: float, now: float) -> bool:
        """Count a message at its own time, received now; return whether it is of a flood."""
        second, own = int(now), int(time)
        if second != self.second:
            if self.floods and abs(second - self.loud) > CALM_S:
                self.floods = False
                self.seconds.clear()
            self.left += PER_S * abs(second - self.second)
            self.second, self.count = second, 0
        self.count += 1
        self.last = now
        if self.count > PER_S:
            self.loud = second
            if self.floods or self.count > MOST_PER_S:
                self.floods = True
                return True
        elif self.floods:
            return True
        if own not in self.seconds:
            if len(self.seconds) >= _SECONDS:
                self.seconds.clear()
            self.seconds.add(own)
            self.left += PER_S
        self.left = (self.left if self.left < BURST else BURST) - 1  # noqa: FURB136 - fast path
        self.floods = self.left < 0
        return self.floods


class Floods:
    """Follow what is sent under each name, for at most `names` of them.

    All sensors share one session, which is delivered and acknowledged in order: what one account
    sends delays every other, unless it costs next to nothing. So of a sender that floods the first
    reading of each second is read, and the rest is left out and counted.

    Readings of one sensor are of different kinds: with or without time stamp, with or without
    number. Rate and share are those of each kind, so that a flood of one does not displace the
    others. Readings of a kind that floods are stored, but not judged, while another kind of that
    sensor comes as usual.

    A kind floods once it sends more than `BURST` readings beyond `PER_S` for each second of receipt
    and `PER_S` for each second that its own time stamps are of: a sensor that sends what it stored
    while it was offline has few of each second. More than `MOST_PER_S` are a flood whatever their
    stamps say. It lasts until `CALM_S` seconds have at most `PER_S` each.

    Only live messages count: a backlog that waited in the broker is read as it is.
    """

    def __init__(self, names: int = 10_000) -> None:
        self._senders: Bounded[dict[Hashable, _Kind]] = Bounded(names)

    def is_flood(self, name: str, kind: Hashable, now: float) -> bool:
        """Count a live message without readings; return whether it is of a flood."""
        return self._of(name, kind).take(now, now)

    def on_live(self, name: str, kind: Hashable, reading: Reading, now: float) -> Reading | None:
        """Return a reading of a live message as it is to be stored; None if it is left out."""
        own = self._of(name, kind)
        if not own.take(reading.time, now):
            return reading
        if own.read == own.second:
            return None
        own.read = own.second
        others = (other for other in self._senders.get(name, {}).values() if other is not own)
        if any(not k.floods and abs(now - k.last) < _USUAL_S for k in others):
            return msgspec.structs.replace(reading, flags=(*reading.flags, FLOODED))
        return reading

    def _of(self, name: str, kind: Hashable) -> _Kind:
        try:
            return self._senders[name][kind]
        except KeyError:
            kinds = self._senders.get(name)
            if kinds is None:
                kinds = self._senders[name] = {}
            own = kinds[kind] = _Kind()
            return own


_SHAPES: Final = 8
_MOST_KIB: Final = 63
"""What is larger is refused unread (`validation`), and must not use up the second of its sensor."""
_BEGINNING: Final = 256
_DIGITS: Final = b"0123456789.-"


@dataclass(slots=True)
class _Topic:
    """What a topic has `spent` in a `second`, and the messages read of it although all was spent.

    `usual`: how often messages of a shape came while there were few.
    """

    second: int = 0
    spent: int = 0
    usual: Counter[int] = field(default_factory=Counter)
    beyond: Counter[int] = field(default_factory=Counter)


class Budgets:
    """Bound what reading the live messages of one topic costs, before any is decoded.

    A message may cost a thousand times what it costs to send, such as a long one that no decoder
    reads. So at most `MOST_PER_S` are read each second, where a large one counts for each KiB that
    it has, up to 64. Beyond that, a message is read only if it has the shape of what is usual,
    digits aside, and then at most `PER_S` of this shape: a flood does not displace what the sensor
    sends.
    """

    def __init__(self, topics: int = 10_000) -> None:
        self._topics: Bounded[_Topic] = Bounded(topics)

    def permits(self, topic: str, payload: bytes, now: float) -> bool:
        """Count a message; return whether it is to be read."""
        own = self._topics.get(topic)
        if own is None:
            own = self._topics[topic] = _Topic()
        if own.second != int(now):
            own.second, own.spent = int(now), 0
            own.beyond.clear()
        own.spent += 1 + min(len(payload) >> 10, _MOST_KIB)
        if PER_S < own.spent <= MOST_PER_S:
            return True
        shape = hash(payload[:_BEGINNING].translate(None, _DIGITS))
        if own.spent > MOST_PER_S:
            own.beyond[shape] += 1
            return shape in own.usual and own.beyond[shape] <= PER_S
        own.usual[shape] += 1
        if len(own.usual) > _SHAPES:
            del own.usual[min(own.usual, key=own.usual.__getitem__)]
        return True


FINDINGS: Final = frozenset(f"integrity:{what}" for what in INTEGRITY)

WINDOW_S: Final = 60.0
OLD_S: Final = 60.0
REPEATS: Final = 25
FRESH_S: Final = 5.0
REFUSED: Final = 20
UNREGISTERED: Final = 50
AGAIN_S: Final = 60.0
"""A finding that goes on is reported again so often, which keeps its incident open."""


class Integrity:
    """Follow the messages of registered sensors alone; O(open gaps) a message."""

    def __init__(self, on_fault: Callable[[Detail], None] = lambda _what: None) -> None:
        self._on_fault = on_fault
        self._numbers: dict[str, Numbering] = {}
        self._repeats = RateLimit(Bound(REPEATS, WINDOW_S))
        self._refused = RateLimit(Bound(REFUSED, WINDOW_S))
        self._unregistered = RateLimit(Bound(UNREGISTERED, WINDOW_S))
        self._reported: dict[tuple[str, Detail], float] = {}
        self._found: list[Reading] = []
        self._old = 0.0
        """Share of what came lately that was not fresh."""

    def restore(self, readings: Iterable[Reading]) -> Counter[str]:
        """Know the last numbers of the journal's tail; return readings missing, by sensor."""
        missing: Counter[str] = Counter()
        for reading in readings:
            if n := self._add(reading)[0]:
                missing[reading.sensor] += n
        return missing

    def on_flood(self, sensor: str | None, now: float) -> None:
        """Take a name that floods; `sensor` is None if it is not registered."""
        if sensor is None:
            self._on_fault(Detail.STRANGERS)
        else:
            self._find(sensor, Detail.FLOODED, now)

    def on_reading(self, reading: Reading) -> int:
        """Take a new reading; return how many of its sensor are missing that were not before."""
        now = reading.received
        if reading.is_timed:
            self._old += 0.05 * ((abs(now - reading.time) > FRESH_S) - self._old)
        missing, two = self._add(reading)
        if two:
            self._find(reading.sensor, Detail.TWO_SENDERS, now)
        return missing

    def on_repeated(self, reading: Reading, *, delivered_again: bool) -> None:
        """Take a reading that was accepted before."""
        now = reading.received
        if delivered_again or "retained" in reading.flags or now - reading.time < OLD_S:
            return
        if self._repeats.take(reading.sensor, now):
            self._find(reading.sensor, Detail.REPEATED, now)

    def on_refused(self, sensor: str, now: float) -> None:
        """Take a message under a sensor's topic that was refused."""
        if self._old < 0.5 and self._refused.take(sensor, now):
            self._find(sensor, Detail.REFUSED, now)

    def on_unregistered(self, now: float) -> None:
        """Take a sensor that nobody registered, seen for the first time."""
        if self._old < 0.5 and self._unregistered.take("", now):
            self._on_fault(Detail.STRANGERS)

    def take_findings(self) -> tuple[Reading, ...]:
        """Return what was found since the last call, to be journaled."""
        found, self._found = tuple(self._found), []
        return found

    def _add(self, reading: Reading) -> tuple[int, bool]:
        numbers = self._numbers.get(reading.sensor)
        if numbers is None:
            if reading.seq is None:
                return 0, False
            numbers = self._numbers[reading.sensor] = Numbering()
        return numbers.add(reading)

    def _find(self, sensor: str, what: Detail, now: float) -> None:
        last = self._reported.get((sensor, what))
        if last is not None and 0 <= now - last < AGAIN_S:
            return
        self._reported[sensor, what] = now
        self._found.append(Reading(sensor, now, now, events=(f"integrity:{what}",)))


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
_RUN: Final = "unlikely_"


class ReadingCounts:
    """Counts by sensor and `CountKind`; only ever grows. And which sensors send no particles."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, int]] = {}
        self._no_particles_since: dict[str, int] = {}
        self.unlikely = UnlikelyValues()

    def add(self, reading: Reading, *, duplicate: bool = False) -> None:
        """Count one reading of a registered sensor; a duplicate counts as nothing else."""
        counts = self._of(reading.sensor)
        if duplicate:
            counts[CountKind.DUPLICATE] += 1
            return
        counts[CountKind.READINGS] += reading.measured
        self.unlikely.add(reading.sensor, reading.values)
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
        unlikely = self.unlikely.runs.items()
        runs = {k: {_RUN + key: n for key, n in own.items()} for k, own in unlikely}
        return msgspec.json.encode(
            {k: self.of(k) | since.get(k, {}) | runs.get(k, {}) for k in self._counts}
        )

    def restore(self, body: bytes, registered: Mapping[str, object]) -> None:
        """Count on from a snapshot, for registered sensors; raises `msgspec.MsgspecError`."""
        stored = msgspec.json.decode(body, type=dict[str, dict[str, int]])
        for sensor, counts in stored.items():
            if sensor in registered:
                self._counts[sensor] = {kind: counts.get(kind, 0) for kind in CountKind}
                if _NO_PARTICLES in counts:
                    self._no_particles_since[sensor] = counts[_NO_PARTICLES]
                runs = {k.removeprefix(_RUN): n for k, n in counts.items() if k.startswith(_RUN)}
                self.unlikely.runs[sensor] = runs
