"""Detect forged and missing readings and floods, and count the readings of each sensor.

A finding reports something that no genuine device or broker does. The broker is the first line of
defense: each account can publish only under its own name (`deploy/mosquitto.acl`). Findings are the
second line, in case a password leaks or the access list is wrong. A finding is journaled as a
reading without values, with an event that decoders never produce. This event opens an incident.
Findings never stop readings from causing alerts.

- ``two_senders``: the sequence numbers of a sensor come from two devices (`Numbering`), or its
  readings contradict each other (`ingest.second_sender`).
- ``repeated``: more than `REPEATS` readings within `WINDOW_S` are copies of accepted readings,
  arrive at least `OLD_S` later than usual, and are not marked as redelivered by the broker.
- ``refused``: more than `REFUSED` messages within `WINDOW_S` on a sensor's topic are rejected.
- ``flooded``: far too many messages arrive under the sensor's name (`Floods`).

More than `UNREGISTERED` new unregistered sensors within `WINDOW_S`, or a flood under an
unregistered name, are reported as a fault of the service (`alerts.operations`), because there is no
registered sensor to report them for. While most readings are old, the service is catching up on a
backlog. During that time, neither new unregistered sensors nor rejected messages count.

`ReadingCounts` counts the readings of each registered sensor: those with sensor data, those with
each quality flag, and those with faults. Unregistered sensors are in the quarantine list instead.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from detection.arrivals import DOUBT_S, DOUBTS, Doubts
from detection.channels import FOLLOWED_KEYS
from detection.events import INTEGRITY, Detail
from detection.quantities import FINE_PARTICLES, UNLIKELY
from ingest.decoding import Bounded
from ingest.second_sender import Contradictions
from ingest.validation import FLOODED, UNREAD, WAITING, may_alert
from storage.rate_limit import Bound, RateLimit
from storage.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Hashable, Iterable, Mapping


MAX_JUMP: Final = 1_000_000
OPEN_S: Final = 60.0
"""How long to wait for a missing number, in seconds of receive time."""
_OPEN_GAPS: Final = 64
_NEAR: Final = 100
"""Largest step between consecutive numbers of one device."""
_LINES: Final = 4
_COPIES: Final = 4
_LEARNED_S: Final = DOUBT_S / (DOUBTS - 1)
"""Doubts farther apart than this, in seconds, never add up to a report."""


@dataclass(slots=True)
class _Line:
    newest: int
    stamp: float = -math.inf
    length: int = 1


@dataclass(slots=True)
class Numbering:
    """Follow the sequence numbers of one sensor's readings in the order of arrival.

    **Missing readings.** A gap in the numbers is not always a loss: messages can overtake each
    other, and after a reconnection the broker may redeliver old ones after newer ones. So a gap
    stays open for `OPEN_S`, and only the numbers that are still missing then are counted. Two kinds
    of jump are not gaps. If the number is lower but the time stamp is later, the counter has
    restarted. (If the number is in an open gap, the stamp must be later by at least `OPEN_S`.) If
    the number jumps by more than `MAX_JUMP`, the counter was set, because no device buffers that
    many readings.

    **Two devices.** If the numbers return to where they were before a jump or restart, a second
    device is sending. This is certain if the readings have time stamps and the two counters are far
    apart. Otherwise, it only raises a doubt. Four other observations also raise a doubt:

    - a reading without a number, although the sensor numbers its readings;
    - a number that repeats or, without a time stamp, is lower and in no open gap, unless one of the
      last readings came again within `OPEN_S`;
    - a number from an open gap that arrives with a later time stamp than the newest number;
    - a jump back to a high number.

    The first three count only once a later number continues the counter. Some formats split a
    moment into several messages, so a reading raises no doubt if it shares no quantity with the
    last numbered reading. Its air quantities must also be among those received within `_LEARNED_S`
    of the first numbered reading. Otherwise, an attacker could later forge quantities that the
    sensor doesn't send. A genuine device may cause a single doubt, so only `DOUBTS` of them within
    `DOUBT_S` are reported.

    A line is a run of consecutive numbers from one device. The longest lines are remembered, so
    random numbers do not displace the sensor's own line.

    `lines`: the remembered lines, the current one first.
    `received`, `names`: receive time and quantities of the last numbered reading.
    `usual`, `usual_until`: quantities received before `usual_until`.
    `gaps`: first and last missing number of each open gap, and when it was noticed.
    `is_odd`: whether a reading since the last number raises a doubt.
    `recent`: the last numbered readings without a time stamp.
    """

    lines: list[_Line] = field(default_factory=list)
    received: float = -math.inf
    names: frozenset[str] = frozenset()
    usual: frozenset[str] = frozenset()
    usual_until: float = -math.inf
    gaps: list[tuple[int, int, float]] = field(default_factory=list)
    is_odd: bool = False
    doubts: Doubts = field(default_factory=Doubts)
    recent: list[Reading] = field(default_factory=list)

    def add(self, reading: Reading) -> tuple[int, bool]:
        """Return how many more readings are missing, and whether two devices are sending."""
        seq, lines = reading.seq, self.lines
        if seq is None:
            self._look_at(reading)
            return 0, False
        if not lines:
            self.usual_until = reading.received + _LEARNED_S
            self._begin(seq, reading)
            return 0, False
        missing = self._close(reading.received) if self.gaps else 0
        step = seq - lines[0].newest
        if step == 0 or (step < 0 and self._is_copy(reading)):
            self._look_at(reading)
            return missing, False
        before = None if step == 1 else self._find_earlier_line(seq, step)
        late = not reading.is_timed or reading.order <= (before or lines[0]).stamp
        late = late or (reading.order < lines[0].stamp + OPEN_S and self._find_gap(seq) is not None)
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
            self._continue_line(seq, reading)
        else:
            missing += self._start_line(seq, step, reading)
            doubtful |= step < -_NEAR and seq > _NEAR
        return missing, doubtful and self.doubts.add(reading.received)

    def _look_at(self, reading: Reading) -> None:
        """Check whether another device may have sent a reading with no number or an old one."""
        is_new = reading.received != self.received and not self._is_copy(reading)
        if is_new and may_alert(reading):
            names = reading.values.keys()
            if reading.received < self.usual_until:
                self.usual |= names
            self.is_odd |= not (
                self.names.isdisjoint(names) and names & FOLLOWED_KEYS <= self.usual
            )

    def _is_copy(self, reading: Reading) -> bool:
        """Return whether a message came again, for example through a second gateway."""
        return not reading.is_timed and any(
            known.seq == reading.seq
            and (known.values, known.events) == (reading.values, reading.events)
            and 0 <= reading.received - known.received < OPEN_S
            for known in self.recent
        )

    def _find_earlier_line(self, seq: int, step: int) -> _Line | None:
        """Return an earlier line that this number continues better than the current line."""
        most = step - 1 if 0 < step <= _NEAR else _NEAR
        near = (line for line in self.lines[1:] if 0 < seq - line.newest <= most)
        return max(near, key=lambda line: line.newest, default=None)

    def _begin(self, seq: int, reading: Reading) -> None:
        self._set_aside(_Line(seq, length=0))
        self.lines.insert(0, self.lines.pop())
        self._continue_line(seq, reading)

    def _set_aside(self, line: _Line) -> None:
        """Remember a line without making it current; if there are too many, drop the shortest."""
        if len(self.lines) >= _LINES:
            self.lines.remove(min(self.lines[1:], key=lambda known: known.length))
        self.lines.append(line)

    def _continue_line(self, seq: int, reading: Reading) -> None:
        line = self.lines[0]
        line.newest, line.length = seq, line.length + 1
        self.received = reading.received
        if reading.is_timed:
            line.stamp = reading.order
        else:
            self.recent = [*self.recent[1 - _COPIES :], reading]
        if self.names != reading.values.keys():
            self.names = frozenset(reading.values)
            if reading.received < self.usual_until:
                self.usual |= self.names

    def _return_to(self, line: _Line, seq: int, reading: Reading) -> None:
        """Make an earlier line current, and remove gaps that its number disproves."""
        if reading.is_timed:
            self.gaps = [gap for gap in self.gaps if not gap[0] <= seq <= gap[1]]
        else:
            self._fill(seq)
        self.lines.remove(line)
        self.lines.insert(0, line)
        self._continue_line(seq, reading)

    def _start_line(self, seq: int, step: int, reading: Reading) -> int:
        """Begin a new line; return how many more readings are missing."""
        if 0 < step <= MAX_JUMP:
            missing = self._open(self.lines[0].newest + 1, seq, reading.received)
        else:
            missing = self._close(math.inf)
        self._begin(seq, reading)
        return missing

    def _open(self, first: int, end: int, now: float) -> int:
        """Open a gap from `first` to `end` - 1; close the oldest gaps if there are too many.

        Return how many numbers are missing in the closed gaps.
        """
        if first < end:
            self.gaps.append((first, end - 1, now))
        over, self.gaps = self.gaps[:-_OPEN_GAPS], self.gaps[-_OPEN_GAPS:]
        return _count_missing(over)

    def _close(self, now: float) -> int:
        """Close gaps that were open for `OPEN_S`; return how many numbers are still missing."""
        over = [gap for gap in self.gaps if now - gap[2] >= OPEN_S]
        self.gaps = [gap for gap in self.gaps if now - gap[2] < OPEN_S]
        return _count_missing(over)

    def _fill(self, seq: int) -> bool:
        """Remove a number from its gap; return whether it was missing."""
        k = self._find_gap(seq)
        if k is None:
            return False
        first, last, since = self.gaps[k]
        parts = [(first, seq - 1, since), (seq + 1, last, since)]
        self.gaps[k : k + 1] = [part for part in parts if part[0] <= part[1]]
        return True

    def _find_gap(self, seq: int) -> int | None:
        return next((k for k, gap in enumerate(self.gaps) if gap[0] <= seq <= gap[1]), None)


def _count_missing(gaps: Iterable[tuple[int, int, float]]) -> int:
    return sum(last - first + 1 for first, last, _ in gaps)


PER_S: Final = 20
BURST: Final = 200
MAX_PER_S: Final = 2_000
CALM_S: Final = 10
_USUAL_S: Final = 900.0
"""How long a kind counts as usual after its last reading."""
_BACKLOG_PER_S: Final = 5
"""How many readings a sensor may store each second while it is offline."""
_BACKLOG: Final = 100_000
"""How many readings it may store in all: over a day at one per second."""
_QUEUE: Final = 5_000
"""How many messages of a name may wait in the broker, however short the outage was."""
_LONG_QUEUE: Final = 250_000
"""How many may wait after a long outage: over a weekend at one per second."""


@dataclass(slots=True)
class _Kind:
    """State of one kind of message.

    `second`: second in which the last message was received.
    `count`: messages received in that second.
    `left`: how many more messages may arrive before they count as a flood.
    `loud`: last second with more than `PER_S` messages.
    `last`: receive time of the last message.
    `stamp`: last second of a time stamp that added readings from the backlog.
    `read`: last second in which a reading of a flood was kept.
    """

    second: int = 0
    count: int = 0
    left: int = BURST
    loud: int = 0
    last: float = -math.inf
    stamp: int = 0
    floods: bool = False
    read: int = 0

    def take(self, time: float, now: float, sender: _Sender) -> bool:
        """Count a message by time stamp and receive time; return whether it is part of a flood."""
        second, own = int(now), int(time)
        if second != self.second:
            if self.floods and abs(second - self.loud) > CALM_S:
                self.floods = False
            self.left = min(self.left + PER_S * abs(second - self.second), BURST)
            self.second, self.count = second, 0
        self.count += 1
        self.last = now
        if self.count > PER_S:
            self.loud = second
            if self.floods or self.count > MAX_PER_S:
                self.floods = True
                return True
        elif self.floods:
            return True
        if self.left < PER_S and own != self.stamp:
            self.stamp = own
            stored = min(PER_S, int(sender.backlog))
            self.left += stored
            sender.backlog -= stored
        self.left -= 1
        self.floods = self.left < 0
        return self.floods


@dataclass(slots=True)
class _Sender:
    """State of one name.

    `backlog`: how many stored readings the sensor may still send faster than `PER_S`.
    `queue`: how many more messages that waited in the broker are read.
    `last`: receive time of its last message.
    """

    kinds: defaultdict[Hashable, _Kind] = field(default_factory=lambda: defaultdict(_Kind))
    backlog: float = 0.0
    queue: float = _QUEUE
    last: float = -math.inf

    def note(self, now: float, most: int = _BACKLOG) -> None:
        """Allow a backlog for the silence before a message; it shrinks with time, too."""
        since_s = abs(now - self.last)
        self.last = now
        left, stored = self.backlog - PER_S * since_s, _BACKLOG_PER_S * since_s
        self.backlog = min(max(left, stored), most)
        self.queue = min(self.queue + PER_S * since_s, _QUEUE)


class Floods:
    """Detect floods by sensor name, for at most `names` names.

    All sensors share one session, and its messages are delivered and acknowledged in order. A flood
    from one account would therefore delay all others, unless its messages cost almost nothing.
    During a flood, only the first reading of each second is kept. The others are dropped and
    counted.

    There are four kinds of readings: with or without a time stamp, and with or without a sequence
    number. Each kind has its own limit, so a flood of one kind does not displace the others. While
    another kind arrives at its usual rate, the kept readings of the flood are stored but not
    evaluated.

    Each second of receive time adds `PER_S` readings to a budget of at most `BURST`. So does each
    second that occurs in the readings' own time stamps, so a sensor can send the readings that it
    stored while offline. But a forger can choose stamps, so they add at most `_BACKLOG_PER_S`
    readings for each second in which nothing arrived under the name, and `_BACKLOG` in all. A kind
    that exceeds its budget is a flood, and so are more than `MAX_PER_S` readings in a second. A
    flood ends once no second has had more than `PER_S` messages for `CALM_S` seconds.

    Messages that waited in the broker while the service was stopped arrive faster than they were
    sent. So their rate doesn't count, only their number: `_QUEUE`, refilled by `PER_S` each second,
    and the backlog of the silence before them.
    """

    def __init__(self, names: int = 10_000) -> None:
        self._senders: Bounded[_Sender] = Bounded(names)

    def restore(self, readings: Iterable[Reading]) -> None:
        """Load the newest readings of the journal."""
        for reading in readings:
            self._find(reading.sensor).last = reading.received

    def is_flood(self, name: str, kind: Hashable, now: float) -> bool:
        """Count a live message without readings; return whether it belongs to a flood."""
        sender = self._find(name)
        return sender.kinds[kind].take(now, now, sender)

    def on_live(self, name: str, kind: Hashable, reading: Reading, now: float) -> Reading | None:
        """Return the reading of a live message, possibly flagged as `FLOODED`; None to drop it."""
        sender = self._find(name)
        sender.note(now)
        own = sender.kinds[kind]
        if not own.take(reading.time, now, sender):
            return reading
        if own.read == own.second:
            return None
        own.read = own.second
        others = (other for other in sender.kinds.values() if other is not own)
        if any(not k.floods and abs(now - k.last) < _USUAL_S for k in others):
            return msgspec.structs.replace(reading, flags=(*reading.flags, FLOODED))
        return reading

    def admits_waiting(self, name: str, now: float) -> bool:
        """Count a message that waited in the broker; return whether to read it."""
        sender = self._find(name)
        sender.note(now, _LONG_QUEUE)
        if sender.queue >= 1:
            sender.queue -= 1
        else:
            sender.backlog -= 1
        return sender.backlog >= 0

    def _find(self, name: str) -> _Sender:
        sender = self._senders.get(name)
        if sender is None:
            sender = self._senders[name] = _Sender()
        return sender


_SHAPES: Final = 8
_EACH_BYTES: Final = 128
_MAX_COST: Final = 504
"""Maximum cost charged for a message's size. Larger messages are rejected unread
(`ingest.validation`), so they must not use up the budget."""
_BEGINNING: Final = 256
_DIGITS: Final = b"0123456789.-"


@dataclass(slots=True)
class _Budget:
    """Budget of one sender.

    `second`, `spent`, `count`: cost and number of the messages received in the current second.
    `usual`: how often each shape arrived while the rate was low.
    `beyond`: messages beyond the budget in this second, by shape.
    """

    second: int = 0
    spent: int = 0
    count: int = 0
    usual: Counter[int] = field(default_factory=Counter)
    beyond: Counter[int] = field(default_factory=Counter)


class Budgets:
    """Limit the cost of reading the live messages of each sender, before they are decoded.

    The sender is the sensor that the topic names. Topics that name no sensor count together if
    their first two levels are the same. An account may publish on any number of topics, but all of
    them contain its name.

    Reading a message may cost a thousand times as much as sending it, for example if it is long and
    no decoder can read it. So at most `MAX_PER_S` messages are read each second, and a message
    counts once more for each `_EACH_BYTES`. Beyond this budget, a message is read only if its shape
    (its beginning without digits) is usual for the sender, and at most `PER_S` times a second for
    each shape. A flood therefore does not displace the sensor's own messages.
    """

    def __init__(self, senders: int = 10_000) -> None:
        self._senders: Bounded[_Budget] = Bounded(senders)

    def permits(self, sender: str, payload: bytes, now: float) -> bool:
        """Count a message; return whether to read it."""
        own = self._senders.get(sender)
        if own is None:
            own = self._senders[sender] = _Budget()
        if own.second != int(now):
            own.second, own.spent, own.count = int(now), 0, 0
            own.beyond.clear()
        own.count += 1
        own.spent += 1 + min(len(payload) // _EACH_BYTES, _MAX_COST)
        if own.spent <= MAX_PER_S and own.count > PER_S:
            return True
        shape = hash(payload[:_BEGINNING].translate(None, _DIGITS))
        if own.spent > MAX_PER_S:
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
_NEXT_S: Final = 0.001
AGAIN_S: Final = 60.0
"""Interval at which a continuing finding is reported again, so its incident stays open."""


class Integrity:
    """Check the messages of registered sensors. The time per message is O(open gaps)."""

    def __init__(self, on_fault: Callable[[Detail], None] = lambda _what: None) -> None:
        self._on_fault = on_fault
        self._numbers: dict[str, Numbering] = {}
        self._live: dict[str, Contradictions] = {}
        self._stamped: set[str] = set()
        self._repeats = RateLimit(Bound(REPEATS, WINDOW_S))
        self._refused = RateLimit(Bound(REFUSED, WINDOW_S))
        self._unregistered = RateLimit(Bound(UNREGISTERED, WINDOW_S))
        self._reported: dict[tuple[str, Detail], float] = {}
        self._found: list[Reading] = []
        self._old = 0.0
        """Moving average of the share of readings that were old when they arrived."""

    def restore(self, readings: Iterable[Reading]) -> Counter[str]:
        """Load the newest readings of the journal; return how many are missing by sensor."""
        missing: Counter[str] = Counter()
        for reading in readings:
            if n := self._add(reading)[0]:
                missing[reading.sensor] += n
        return missing

    def on_flood(self, sensor: str | None, now: float) -> None:
        """Report a flood; `sensor` is None if the name is not registered."""
        if sensor is None:
            self._on_fault(Detail.UNREGISTERED)
        else:
            self._find(sensor, Detail.FLOODED, now)

    def on_reading(self, reading: Reading) -> int:
        """Check a new reading; return how many more readings of its sensor are missing."""
        now = reading.received
        if reading.is_timed:
            self._old += 0.05 * ((abs(now - reading.time) > FRESH_S) - self._old)
        missing, two = self._add(reading)
        if two:
            self._find(reading.sensor, Detail.TWO_SENDERS, now)
        return missing

    def on_live(self, reading: Reading) -> None:
        """Compare a new live reading with those before it, stored or not."""
        if self._contradicts(reading, is_stamped=reading.is_timed):
            self._find(reading.sensor, Detail.TWO_SENDERS, reading.received)

    def on_waiting(self, reading: Reading) -> None:
        """Compare a reading that waited in the broker with those before it, by their time stamps.

        If the sensor's readings have time stamps and this one has none, it counts as sent just
        after the reading before it. If they have none, it isn't known when they were sent.
        """
        at, known = reading.time, self._live.get(reading.sensor)
        if not reading.is_timed:
            if known is None or reading.sensor not in self._stamped:
                return
            at = known.received + _NEXT_S
        sent = msgspec.structs.replace(reading, time=at, received=at)
        if self._contradicts(sent, is_stamped=reading.is_timed):
            self._find(reading.sensor, Detail.TWO_SENDERS, reading.received)

    def _contradicts(self, reading: Reading, *, is_stamped: bool) -> bool:
        if not reading.values or not may_alert(reading):
            return False
        if is_stamped and not reading.values.keys().isdisjoint(FINE_PARTICLES):
            self._stamped.add(reading.sensor)
        known = self._live.get(reading.sensor)
        if known is None:
            known = self._live[reading.sensor] = Contradictions()
        return known.add(reading)

    def on_repeated(self, reading: Reading, *, delivered_again: bool) -> None:
        """Check a copy of an accepted reading."""
        now, known = reading.received, self._live.get(reading.sensor)
        usual_s = known.delay.most_s if known else 0.0
        if delivered_again or "retained" in reading.flags or now - reading.time < OLD_S + usual_s:
            return
        if self._repeats.take(reading.sensor, now):
            self._find(reading.sensor, Detail.REPEATED, now)

    def on_refused(self, sensor: str, now: float) -> None:
        """Count a rejected message on a sensor's topic."""
        if self._old < 0.5 and self._refused.take(sensor, now):
            self._find(sensor, Detail.REFUSED, now)

    def on_unregistered(self, now: float) -> None:
        """Count an unregistered sensor that is seen for the first time."""
        if self._old < 0.5 and self._unregistered.take("", now):
            self._on_fault(Detail.UNREGISTERED)

    def take_findings(self) -> tuple[Reading, ...]:
        """Return the findings since the last call, to be journaled."""
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
    """Names of the counts of a sensor; a closed set."""

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
    UNREAD = "unread"
    WAITING = "waiting"
    FAULT = "fault"
    SKIPPED = "skipped"
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
    UNREAD: CountKind.UNREAD,
    WAITING: CountKind.WAITING,
}
"""The count that each quality flag increases. `no_time` has none, because some formats never send a
time. `unknown_sensor` has none, because unregistered sensors are not counted."""

_FINE: Final = frozenset(FINE_PARTICLES)
_Stored: TypeAlias = tuple[dict[str, dict[str, int]], dict[str, int], dict[str, dict[str, int]]]
_MANY: Final = 5
"""Consecutive unlikely readings after which a sensor is reported."""


class UnlikelyValues:
    """Count consecutive readings of each sensor with values that seem to be in the wrong unit.

    Each quantity is counted separately. Only long runs matter, because a few odd values prove
    nothing. A single plausible value other than 0 ends a run. Fine particles count only if their
    value has changed.
    """

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, int]] = {}
        self._last: dict[tuple[str, str], float] = {}

    def add(self, sensor: str, values: Mapping[str, float]) -> None:
        """Add the values of a reading."""
        for key, (least, most) in UNLIKELY.items():
            value = values.get(key)
            if value is None:
                continue
            if least < value < most:
                if key not in _FINE or self._last.setdefault((sensor, key), value) != value:
                    runs = self.runs.setdefault(sensor, {})
                    runs[key] = runs.get(key, 0) + 1
                    self._last[sensor, key] = value
            elif sensor in self.runs and value != 0:
                self.runs[sensor].pop(key, None)

    def list_quantities(self, sensor: str, least: int = _MANY) -> tuple[str, ...]:
        """Return the quantities with at least `least` unlikely values in a row."""
        return tuple(key for key, n in self.runs.get(sensor, {}).items() if n >= least)


class ReadingCounts:
    """Count readings by sensor and `CountKind`, and notice sensors that send no particle values.

    The counts only grow.
    """

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, int]] = {}
        self._no_particles_since: dict[str, int] = {}
        self.unlikely = UnlikelyValues()

    def add(self, reading: Reading, *, duplicate: bool = False) -> None:
        """Count one reading of a registered sensor; a duplicate increases only that count."""
        counts = self._find_counts(reading.sensor)
        if duplicate:
            counts[CountKind.DUPLICATE] += 1
            return
        counts[CountKind.READINGS] += reading.has_sensor_data
        self.unlikely.add(reading.sensor, reading.values)
        if reading.faults:
            counts[CountKind.FAULT] += 1
        if reading.flags:
            for kind in {_OF_FLAG[flag] for flag in reading.flags if flag in _OF_FLAG}:
                counts[kind] += 1
        sensor, without = reading.sensor, self._no_particles_since
        if not _FINE.isdisjoint(reading.values) or "vendor_vape" in reading.events:
            without.pop(sensor, None)
        elif sensor not in without and reading.has_sensor_data:
            without[sensor] = int(reading.received)

    def add_flooded(self, sensor: str) -> None:
        """Count a reading that was dropped as part of a flood."""
        self._find_counts(sensor)[CountKind.FLOODED] += 1

    def _find_counts(self, sensor: str) -> dict[str, int]:
        counts = self._counts.get(sensor)
        if counts is None:
            counts = self._counts[sensor] = dict.fromkeys(CountKind, 0)
        return counts

    def add_skipped(self, readings: Mapping[str, int]) -> None:
        """Count readings that the detectors could not use, by sensor."""
        for sensor, n in readings.items():
            if sensor in self._counts:
                self._counts[sensor][CountKind.SKIPPED] += n

    def add_missing(self, sensor: str, readings: int) -> None:
        """Count missing readings of a sensor that already has counts."""
        self._counts[sensor][CountKind.MISSING] += readings

    def total(self, kind: CountKind) -> int:
        """Return the sum of one count over all sensors."""
        return sum(counts[kind] for counts in self._counts.values())

    def get_counts(self, sensor: str) -> dict[str, int]:
        """Return the counts of a sensor, without zeros."""
        return {str(key): n for key, n in self._counts.get(sensor, {}).items() if n}

    def get_particles_stopped_at(self, sensor: str) -> int | None:
        """Return when a sensor stopped sending particle values (Unix seconds); None if it has not.

        The device's own vape alarm counts as a particle value.
        """
        return self._no_particles_since.get(sensor)

    def snapshot(self) -> bytes:
        """Return everything as JSON."""
        return msgspec.json.encode((self._counts, self._no_particles_since, self.unlikely.runs))

    def restore(self, body: bytes, registered: Container[str]) -> None:
        """Load the counts of a snapshot, only for registered sensors.

        Raises `msgspec.MsgspecError`.
        """
        stored = msgspec.json.decode(body, type=_Stored)
        counts, since, runs = ({k: v for k, v in p.items() if k in registered} for p in stored)
        self._counts = {k: {kind: n.get(kind, 0) for kind in CountKind} for k, n in counts.items()}
        self._no_particles_since, self.unlikely.runs = since, runs
