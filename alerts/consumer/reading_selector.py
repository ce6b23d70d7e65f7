"""Choose the readings that the detectors receive, and put them in order.

Readings that must never alert are left out. A sensor's readings that arrive out of order are put
back in order (`Reorder`). While a sensor's readings arrive too often, steep falls are delayed
(`FallDelay`). If a time stamp is in the future, the receive time is used, because the detectors
would otherwise ignore all readings until then.

If our clock is set while readings arrive, the journal records the change (`clock_step`), and the
times of readings from sensors without a clock are shifted. If our clock was set back while the
service was down, there is no such record. A sensor then starts over if its last reading is in the
future.
"""

from __future__ import annotations

import math
from bisect import insort
from itertools import chain
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from detection.arrivals import APART_S, Arrivals, Delay, Doubts, ParticleArrivals
from detection.channels import FOLLOWED_KEYS, MIN_S, measure_fine
from detection.combined import CombinedDetector, CombinedState, Stream
from detection.errors import SnapshotError
from detection.events import Detail
from detection.quantities import COLUMN_INDEX, COLUMNS, FINE_PARTICLES
from storage.reading import Reading

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

    from detection.events import Event

    Place = Callable[[str], tuple[str, str] | None]

MAX_WAIT_S: Final = 1.0
"""Maximum time that a reading waits for a gap to fill, in seconds of receive time."""
MAX_WAITING: Final = 64
"""Maximum number of waiting readings per sensor; beyond it, the missing reading counts as lost."""
MAX_UNFILLED_GAPS: Final = 3
"""After this many unfilled gaps in a row, readings no longer wait for gaps to fill."""
_MAX_JUMP: Final = 1_000_000
_UNORDERED: Final = frozenset({"no_time", "time_replaced", "unknown_sensor"})


class _SensorQueue(msgspec.Struct):
    """A sensor's waiting readings, and the number and time stamp of the last one passed on."""

    seq: int
    stamp: float
    waiting: list[Reading] = []
    unfilled_gaps: int = 0

    @property
    def deadline(self) -> float:
        return min(reading.received for reading in self.waiting) + MAX_WAIT_S


class _State(msgspec.Struct):
    now: float
    queues: dict[str, _SensorQueue]


class Reorder:
    """Puts a sensor's readings back in order when messages arrive out of order.

    The detectors cannot use a reading that arrives after a later one of the same sensor. Readings
    get out of order when a broker redelivers unacknowledged messages after a reconnection, or when
    messages take different routes through gateways. If a device numbers its readings, the reading
    after a gap waits until the gap is filled, for at most `MAX_WAIT_S`.

    Readings that arrive in order never wait, and each takes constant time. A lost reading delays
    the readings after it once, by `MAX_WAIT_S`. After `MAX_UNFILLED_GAPS` unfilled gaps in a row,
    readings no longer wait for a gap to fill, until a reading of the sensor does arrive out of
    order. Readings without numbers never wait. If a later reading has already passed, the late
    reading passes at once, and the consumer counts it as skipped. If the number drops but the time
    stamp advances, the device has reset its counter.

    Waits are measured in receive time, and no clock is read. The result therefore depends only on
    the readings, not on how they are split into batches.
    """

    def __init__(self) -> None:
        self._queues: dict[str, _SensorQueue] = {}
        self._waiting: dict[str, _SensorQueue] = {}
        self._now = float("-inf")

    def on_reading(self, reading: Reading) -> list[Reading]:
        """Add a reading, in order of arrival; return the readings that pass now."""
        passed = self.on_time(reading.received) if self._waiting else []
        self._now = max(self._now, reading.received)
        seq = reading.seq
        if seq is None or not _UNORDERED.isdisjoint(reading.flags):
            return [*passed, reading]
        queue = self._queues.get(reading.sensor)
        if queue is None:
            self._queues[reading.sensor] = _SensorQueue(seq, reading.order)
            return [*passed, reading]
        jump = seq - queue.seq
        newest = queue.waiting[-1].order if queue.waiting else queue.stamp
        if jump > _MAX_JUMP or (jump < 0 and reading.order > newest):
            passed += self._pass_all(reading.sensor, queue)
            queue.seq, queue.stamp = seq, reading.order
        elif jump <= 0:
            if jump < 0:
                queue.unfilled_gaps = 0
        elif jump == 1:
            if queue.waiting:
                queue.unfilled_gaps = 0
            return [*passed, *self._pass_with_followers(reading, queue)]
        else:
            insort(queue.waiting, reading, key=_get_number)
            self._waiting[reading.sensor] = queue
            queue.unfilled_gaps += len(queue.waiting) > MAX_WAITING
            if queue.unfilled_gaps >= MAX_UNFILLED_GAPS or len(queue.waiting) > MAX_WAITING:
                passed += self._pass_all(reading.sensor, queue)
            return passed
        return [*passed, reading]

    def on_time(self, now: float) -> list[Reading]:
        """Return the readings that have waited long enough at `now`, a receive time."""
        self._now = max(self._now, now)
        passed: list[Reading] = []
        while due := [
            (queue.deadline, name)
            for name, queue in self._waiting.items()
            if queue.deadline <= self._now
        ]:
            _, name = min(due)
            queue = self._waiting[name]
            queue.unfilled_gaps += 1
            passed += self._pass_with_followers(queue.waiting.pop(0), queue)
            if not queue.waiting:
                self._waiting.pop(name, None)
        return passed

    def set_back(self, now: float) -> list[Reading]:
        """Return all waiting readings and continue at `now`, after the clock was set back."""
        self._now = float("inf")
        passed = self.on_time(self._now)
        self._now = now
        return passed

    def snapshot(self) -> bytes:
        """Return the state as MessagePack."""
        return msgspec.msgpack.encode(_State(self._now, self._queues))

    @classmethod
    def restore(cls, body: bytes) -> Reorder:
        """Continue from a snapshot; raise `msgspec.MsgspecError` if it is invalid."""
        made = cls()
        found = msgspec.msgpack.decode(body, type=_State)
        made._now, made._queues = found.now, found.queues
        made._waiting = {name: queue for name, queue in found.queues.items() if queue.waiting}
        return made

    def _pass_with_followers(self, reading: Reading, queue: _SensorQueue) -> Sequence[Reading]:
        """Pass a reading and the readings that waited only for it."""
        passed = [reading]
        queue.seq, queue.stamp = _get_number(reading), reading.order
        filled = False
        while queue.waiting and _get_number(queue.waiting[0]) <= queue.seq + 1:
            filled = True
            follower = queue.waiting.pop(0)
            queue.seq, queue.stamp = _get_number(follower), follower.order
            passed.append(follower)
        if filled and not queue.waiting:
            self._waiting.pop(reading.sensor, None)
        return passed

    def _pass_all(self, sensor: str, queue: _SensorQueue) -> list[Reading]:
        passed, queue.waiting = queue.waiting, []
        self._waiting.pop(sensor, None)
        if passed:
            queue.seq, queue.stamp = _get_number(passed[-1]), passed[-1].order
        return passed


def _get_number(reading: Reading) -> int:
    return reading.seq or 0


_NEAR_S: Final = 15.0
"""A time stamp is used at once if it is at most this many seconds earlier than the last reading
without one."""
_CONTINUES_S: Final = 60.0
_WAIT_INTERVALS: Final = 1.25
_FALL_UG_M3: Final = 5.0
_FALL_SHARE: Final = 3.0
_MOMENT_S: Final = 0.1
_MAX_HELD: Final = 64
_ENOUGH: Final = 3
_TWO_SENDERS: Final = f"integrity:{Detail.TWO_SENDERS}"
_LEARNED_S: Final = 600.0
_USUAL_S: Final = 4 * 3600.0


class _SeparateQuantity(Arrivals):
    """Arrivals of a quantity in messages without particles.

    `since`: when the first one arrived.
    `last`: up to two values, the latest last.
    """

    since: float = math.inf
    last: tuple[float, ...] = ()

    def take(self, reading: Reading, value: float) -> float | None:
        """Add a value; return the median of the last three.

        Return None if there are fewer than three, or if they arrive too often.
        """
        is_crowded = self.add(reading.received, reading.time)
        self.since = min(self.since, reading.received)
        three = (*self.last, value)
        self.last = three[-2:]
        return None if is_crowded or len(three) < 3 else sorted(three)[1]


class _Sensor(msgspec.Struct):
    """One sensor's arrivals, its last reading passed on, and lower readings that wait.

    `arrivals`, `delay`: how often its particle readings arrive, and how late.
    `together`: when each quantity last arrived together with particles.
    `apart`: arrivals of quantities in messages without particles, by quantity.
    `first`: when the sensor's first reading with particles arrived.
    `newest`: event time of the last reading passed on.
    `untimed`: when, by our clock, a reading without a time stamp last arrived; None while time
    stamps are used.
    `readings`: the last particle reading passed on, then waiting ones in descending order.
    `fell`: when a steep fall was last passed on.
    `doubts`: when recent falls turned out not to last.
    """

    arrivals: ParticleArrivals = msgspec.field(default_factory=ParticleArrivals)
    delay: Delay = msgspec.field(default_factory=Delay)
    together: dict[str, float] = {}
    apart: dict[str, _SeparateQuantity] = {}
    first: float = math.inf
    newest: float = -math.inf
    untimed: float | None = None
    fell: float = -math.inf
    doubts: Doubts = msgspec.field(default_factory=Doubts)
    readings: list[Reading] = []

    def take(self, reading: Reading, *, has_fine: bool) -> tuple[Reading, bool]:
        """Return a reading as the detectors may see it, and whether it has the main quantity."""
        values, now, known = reading.values, reading.received, self.together
        time = min(reading.time, now)
        limited = self.delay.limit(now, time)
        if limited < time:
            reading = msgspec.structs.replace(reading, time=limited)
        main = self.arrivals.find_main(values, now) if has_fine else None
        if main is None:
            return self.select(reading), False
        self.delay.add(now, now - time, is_in_order=limited >= self.newest)
        self.first = min(self.first, now)
        if not values.keys() <= known.keys() or now - known[main] > _LEARNED_S:
            known.update(dict.fromkeys(values, now))
        return reading, True

    def select(self, reading: Reading) -> Reading:
        """Remove values that may be forged from a reading that lacks the main quantity."""
        values, now = reading.values, reading.received
        if not self.arrivals.mains or FOLLOWED_KEYS.isdisjoint(values):
            return reading
        kept = {key: value for key, value in values.items() if key not in FOLLOWED_KEYS}
        for key in values.keys() & FOLLOWED_KEYS:
            if now - self.together.get(key, -math.inf) < _USUAL_S:
                continue
            apart = self.apart.setdefault(key, _SeparateQuantity())
            median = apart.take(reading, values[key])
            is_usual = apart.since < self.first + _LEARNED_S or now - apart.since > _USUAL_S
            value = values[key] if key in FINE_PARTICLES else median
            if value is not None and is_usual:
                kept[key] = value
        return msgspec.structs.replace(reading, values=kept)

    def goes_back(self, reading: Reading) -> bool:
        """Return whether the detectors must continue from this reading's time, which is earlier.

        If the sensor reports fine particles, only readings with them decide which clock is used.
        """
        if self.arrivals.mains and reading.values.keys().isdisjoint(FINE_PARTICLES):
            return False
        time, untimed = min(reading.time, reading.received), self.untimed
        if not reading.is_timed:
            self.untimed = time
            return False
        if untimed is None:
            return False
        continues_s = max(_CONTINUES_S, 2.0 * self.delay.pause_s)
        if untimed - time > _NEAR_S and reading.received - untimed <= continues_s:
            return False
        self.untimed = None
        return untimed >= time

    def is_soon(self, now: float, since: float) -> bool:
        """Return whether less than `_WAIT_INTERVALS` usual intervals have passed."""
        return (now - since) * self.arrivals.rate < _WAIT_INTERVALS

    def date(self, reading: Reading, within_s: float, later: float) -> Reading:
        """Set a reading's time to `later` if it is up to `within_s` older than the last one."""
        time = min(reading.time, reading.received)
        if time <= self.newest < time + within_s:
            time = later
            reading = msgspec.structs.replace(reading, time=later)
        self.newest = time
        return reading


class FallDelay:
    """Delays steep falls while a sensor's readings arrive too often.

    A second device that sends clean air under the sensor's name would otherwise dilute a plume, or
    make the sensor's own readings look old. Instead, a reading that is much lower than the last one
    passed waits for `_WAIT_INTERVALS` usual intervals, and is dropped if one at least as high
    arrives meanwhile. Rises and gradual falls pass at once. A reading that is older than the last
    one passed counts as measured when it was received. If particles rise steeply again before a
    steep fall has passed, or soon after it has, that is a *doubt*. `_ENOUGH` of them within
    `DOUBT_S`, each at least `APART_S` after the last, mean that two devices are sending, whatever
    the time stamps claim.

    Some devices split one measurement into several messages with the same time stamp. The later
    ones count as measured just after the first, because the detectors ignore a reading that is not
    newer than the last.

    Forged values of other quantities could explain a plume away. If a sensor sends a quantity
    together with particles, it is used only from such messages. Otherwise, the median of the last
    three values is used, but not while they arrive too often, and not if the quantity is new.
    """

    def __init__(self, skipped: Counter[str], sensors: dict[str, _Sensor] | None = None) -> None:
        self.sensors = sensors or {}
        self._skipped = skipped

    def on_reading(self, reading: Reading) -> list[Reading]:
        """Add a reading; return the readings that pass now."""
        own = self.sensors.get(reading.sensor)
        if own is None:
            own = self.sensors[reading.sensor] = _Sensor()
        now, fine, arrivals = reading.received, measure_fine(reading.values), own.arrivals
        reading, is_main = own.take(reading, has_fine=fine is not None)
        if not is_main:
            fine = measure_fine(reading.values)
        if reading.is_timed and not own.delay.is_live(now, reading.time):
            return [reading]
        passed = [reading]
        is_new = is_main and not arrivals.is_copy(reading.values, now)
        if fine is None or not arrivals.add(now, reading.time, is_counted=is_new):
            if fine is not None:
                passed, own.readings = [*own.readings[1:], reading], passed
            return [own.date(each, _MOMENT_S, own.newest + MIN_S) for each in passed]
        passed = self._delay_falls(own, reading, fine)
        return [own.date(each, math.inf, each.received) for each in passed]

    def _delay_falls(self, own: _Sensor, reading: Reading, fine: float) -> list[Reading]:
        now, held, passed = reading.received, own.readings, list[Reading]()
        is_back = _is_steep(_measure(held[0]), fine) and own.is_soon(now, own.fell)
        while len(held) > 1 and _measure(held[-1]) <= fine:
            is_back |= _is_steep(_measure(held.pop()), fine)
            self._skipped[reading.sensor] += 1
        if is_back and own.doubts.add(now, APART_S, enough=_ENOUGH):
            own.doubts = Doubts()
            reading = msgspec.structs.replace(reading, events=(*reading.events, _TWO_SENDERS))
        if not _is_steep(fine, _measure(held[0])):
            passed, held[:] = [reading], [reading]
        elif len(held) < _MAX_HELD:
            held.append(reading)
        else:
            self._skipped[reading.sensor] += 1
        while len(held) > 1 and not own.is_soon(now, held[0].received):
            passed.append(held[1])
            own.fell = now
            del held[0]
        return passed

    def list_on_our_clock(self) -> set[str]:
        """Return the sensors for which our clock is used."""
        return {name for name, own in self.sensors.items() if own.untimed is not None}

    def move_clock(self, now: float, by_s: float) -> None:
        """Forget arrivals, as the clock was set to `now`; shift times taken from it by `by_s`."""
        for own in self.sensors.values():
            own.newest, own.delay = -math.inf, Delay()
            own.untimed = None if own.untimed is None else min(own.untimed + by_s, now)
            for arrivals in (own.arrivals, *own.apart.values()):
                arrivals.times = []


def _measure(reading: Reading) -> float:
    return measure_fine(reading.values) or 0.0


def _is_steep(low: float, high: float) -> bool:
    return high >= max(low + _FALL_UG_M3, _FALL_SHARE * low)


CLOCK_SET_BACK_S: Final = 60.0
"""If the receive time drops by more than this many seconds, the clock was set back."""


class _Snapshot(msgspec.Struct):
    detectors: CombinedState
    last_adjustment: int
    order: bytes
    newest_received: float
    held: dict[str, _Sensor]


class ReadingSelector:
    """Passes each sensor's readings to the detectors in order.

    `place` returns a sensor's building and room, and `may_alert` whether a reading is evaluated.

    If a sensor's reading has no time stamp, the service's clock is used. Once its readings have
    time stamps again, these are used, even if they are earlier. If they are earlier by more than
    `_NEAR_S`, they are used only once no reading without a time stamp has arrived for
    `_CONTINUES_S` and for twice the sensor's longest pause, because some devices send old averages
    in between, and an attacker might do the same. If a sensor reports fine particles, only readings
    with them decide which clock is used. Otherwise, anyone who sends temperatures under the
    sensor's name could hide a plume.
    """

    def __init__(
        self,
        place: Place,
        may_alert: Callable[[Reading], bool],
    ) -> None:
        self.detectors = CombinedDetector(place)
        self._place, self._may_alert = place, may_alert
        self._reorder = Reorder()
        self._fall_delay = FallDelay(self.detectors.plumes.skipped)
        self._newest_received = float("-inf")

    def snapshot(self, last_adjustment: int) -> bytes:
        """Return the state, including the number of the last threshold adjustment."""
        return msgspec.msgpack.encode(
            _Snapshot(
                self.detectors.get_state(),
                last_adjustment,
                self._reorder.snapshot(),
                self._newest_received,
                self._fall_delay.sensors,
            )
        )

    def restore(self, body: bytes) -> int:
        """Restore a state and return the number of its last threshold adjustment.

        Raises `SnapshotError` if the state is invalid.
        """
        try:
            found = msgspec.msgpack.decode(body, type=_Snapshot)
            reorder = Reorder.restore(found.order)
        except msgspec.MsgspecError as error:
            raise SnapshotError(f"not a snapshot: {error}") from error
        self.detectors = CombinedDetector.restore(found.detectors, self._place)
        self._reorder = reorder
        self._newest_received = found.newest_received
        self._fall_delay = FallDelay(self.detectors.plumes.skipped, found.held)
        return found.last_adjustment

    def step(self, readings: Sequence[Reading]) -> list[Event]:
        """Evaluate readings in the order of their arrival."""
        events: list[Event] = []
        ordered: list[Reading] = []
        for reading in readings:
            now, by_s = reading.received, reading.clock_step
            if by_s or now < self._newest_received - CLOCK_SET_BACK_S:
                events += self._evaluate([*ordered, *self._reorder.set_back(now)])
                events += self._move_clock(now, by_s) if by_s else self._start_again(now)
                ordered = []
            self._newest_received = max(self._newest_received, now)
            ordered += self._reorder.on_reading(reading)
        return events + self._evaluate(ordered)

    def on_time(self, now: float) -> list[Event]:
        """Evaluate the readings that have waited long enough for earlier ones."""
        return self._evaluate(self._reorder.on_time(now))

    def _move_clock(self, now: float, by_s: float) -> list[Event]:
        """Continue after our clock was set, and shift all times taken from it by `by_s`."""
        self._newest_received = now
        self._fall_delay.move_clock(now, by_s)
        return self.detectors.move_clock(now, by_s, self._fall_delay.list_on_our_clock())

    def _start_again(self, now: float) -> list[Event]:
        """Start over for sensors with readings after `now`: our clock was set back."""
        self._newest_received = now
        self._fall_delay.move_clock(now, 0.0)
        return self.detectors.set_back(now)

    def _evaluate(self, readings: Sequence[Reading]) -> list[Event]:
        events: list[Event] = []
        shown: list[Reading] = []
        alerting = filter(self._may_alert, readings)
        for reading in chain.from_iterable(map(self._fall_delay.on_reading, alerting)):
            if self._fall_delay.sensors[reading.sensor].goes_back(reading):
                events += self._detect(shown)
                shown = []
                at = min(reading.time, reading.received)
                events += self.detectors.plumes.go_back(reading.sensor, at, reading.received)
            shown.append(reading)
        return events + self._detect(shown)

    def _detect(self, shown: Sequence[Reading]) -> list[Event]:
        return self.detectors.step(build_stream(shown)) if shown else []


def build_stream(readings: Sequence[Reading]) -> Stream:
    """Convert readings to arrays for the detectors."""
    n = len(readings)
    names = list(dict.fromkeys(reading.sensor for reading in readings))
    at = {name: i for i, name in enumerate(names)}
    values = np.full((n, len(COLUMNS)), np.nan)
    for row, reading in enumerate(readings):
        for key, value in reading.values.items():
            values[row, COLUMN_INDEX[key]] = value
    return Stream(
        names,
        np.fromiter((at[r.sensor] for r in readings), np.int32, count=n),
        np.fromiter((r.time for r in readings), np.float64, count=n),
        np.fromiter((r.received for r in readings), np.float64, count=n),
        values,
        {i: (r.events, r.faults) for i, r in enumerate(readings) if r.events or r.faults},
    )
