"""Learn how often and how late a sensor's readings arrive.

Readings that arrive more often than usual may come from two devices that send under one name. All
times are receive times in Unix seconds, and nothing here reads a clock.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import msgspec

from detection.liveness import UNLEARNED_S
from detection.quantities import FINE_PARTICLES

if TYPE_CHECKING:
    from collections.abc import Mapping

_RECENT: Final = 6
"""Number of the last intervals that show whether readings are crowded."""
_USUAL: Final = 8
"""Number of arrivals from which the usual rate is known."""
AT_ONCE_S: Final = 0.05
DOUBTS: Final = 4
DOUBT_S: Final = 600.0
APART_S: Final = 5.0
_MEMORY_S: Final = 4 * 3600.0
_CROWDED: Final = 0.6
_REGULAR: Final = 0.9
_DOWN: Final = 8.0
"""`Arrivals.fastest_s` falls this many times faster than it rises."""
_EVEN: Final = 1.15
"""Up to this ratio of the longest to the shortest, intervals are about equal."""
_SLACK: Final = 0.25
"""After a pause, a sensor may send this many more readings at once than its rate explains."""
_DELAY_S: Final = 200.0
_DELAY_VARIES_S: Final = 3.0
_LIVE_S: Final = 60.0
_FORGOTTEN_S: Final = 86_400.0


class Arrivals(msgspec.Struct):
    """The last arrivals of one sensor, and how often readings usually arrive.

    `times`: times of the last arrivals, in Unix seconds.
    `rate`: arrivals per second, averaged over the last `learned_s`, which is at most `_MEMORY_S`.
    `fastest_s`: the shortest time that `_RECENT` intervals usually take; 0 if unknown.
    `pause_s`, `at_once`: pause before the last arrival, and how many readings came with it.
    `usually_at_once`: the most readings that came at once while the rate was being learned.

    Readings are crowded if the last `_RECENT` intervals took less than `_REGULAR` of `fastest_s`,
    or less than `_CROWDED` of the average. If a sensor reports regularly, a single additional
    reading is therefore too many. While readings are crowded, `rate` and `fastest_s` adapt slowly:
    a second sender has to continue for hours before its readings count as usual. A gap of more than
    four intervals counts as four, because the sensor may have been off.

    A reading's time stamp counts as its time of arrival, because several readings may arrive in one
    batch. Readings without stamps that arrive within `AT_ONCE_S` count as one arrival, unless there
    are more of them than usual and more than the sensor could have collected in the pause before.
    """

    times: list[float] = []
    rate: float = 0.0
    learned_s: float = 0.0
    fastest_s: float = 0.0
    pause_s: float = 0.0
    at_once: int = 1
    usually_at_once: int = 1

    @property
    def interval_s(self) -> float:
        """Shortest usual interval, in seconds; 0 if unknown."""
        return self.fastest_s / _RECENT

    @property
    def is_even(self) -> bool:
        """Whether the last intervals are about equal, as after the interval was changed."""
        gaps = [later - time for time, later in pairwise(self.times)]
        return AT_ONCE_S < max(gaps, default=0.0) < _EVEN * min(gaps, default=0.0)

    @property
    def is_fast(self) -> bool:
        """Whether the last two intervals together were shorter than usual."""
        if len(self.times) <= 2 or not self.rate:
            return False
        usual_s = 2.0 * max(_CROWDED / self.rate, _REGULAR * self.interval_s)
        return self.times[-1] - self.times[-3] < usual_s

    def add(self, now: float, time: float = math.inf, *, is_counted: bool = True) -> bool:
        """Add an arrival at `now` with the time stamp `time`; return whether readings are crowded.

        A stamp is disregarded if it is not between the last arrival and `now`.
        """
        last = self.times[-1] if self.times else -math.inf
        now = time if last < time < now else now
        since = now - last
        if since < 0.0:
            self.times = []  # the clock was set back
        is_learned = self.rate * self.learned_s >= _USUAL
        if since >= AT_ONCE_S:
            if is_counted:
                self.pause_s, self.at_once = since, 1
        elif is_counted and since >= 0.0:
            self.at_once += 1
            fits = self.pause_s * self.rate + _SLACK if is_learned else math.inf
            is_counted = self.at_once > max(self.usually_at_once, fits)
            if not is_learned:
                self.usually_at_once = max(self.usually_at_once, self.at_once)
        if is_counted:
            self.times = [*self.times[-_RECENT:], now]
        took_s = now - self.times[0] if len(self.times) > _RECENT else math.inf
        is_crowded = is_learned and took_s < max(
            _CROWDED * _RECENT / self.rate, _REGULAR * self.fastest_s
        )
        if is_counted and 0.0 <= since < math.inf:
            self._learn(since, took_s, is_crowded=is_crowded)
        return is_crowded

    def _learn(self, since: float, took_s: float, *, is_crowded: bool) -> None:
        since = min(since, 4.0 / self.rate) if self.rate else since
        if not is_crowded:
            self.learned_s = min(self.learned_s + since, _MEMORY_S)
        memory_s = _MEMORY_S if is_crowded else self.learned_s
        self.rate += (1.0 - self.rate * since) / memory_s
        if took_s < math.inf:
            share = since / memory_s
            if took_s < self.fastest_s and not is_crowded:
                share = min(_DOWN * share, 1.0)
            self.fastest_s += (share if self.fastest_s else 1.0) * (took_s - self.fastest_s)


class Delay(msgspec.Struct):
    """How long after its time stamp a sensor's reading usually arrives.

    The delay is long if the sensor's clock is slow, and varies if a gateway sends batches.

    `least_s`, `most_s`: shortest and longest usual delay, learned for `_DELAY_S` from `since`.
    `confirmed`: when a reading last had a usual delay. If that is longer ago than `_DELAY_S` and
    than twice `pause_s`, `least_s` and `most_s` are learned again.
    `pause_s`: the longest time between two such readings, at most `UNLEARNED_S`.
    """

    least_s: float = 0.0
    most_s: float = 0.0
    since: float = -math.inf
    confirmed: float = -math.inf
    pause_s: float = 0.0

    def add(self, now: float, late_s: float, *, is_in_order: bool) -> bool:
        """Add a reading's delay; return whether it is usual.

        A reading out of order may belong to a backlog. It doesn't raise `most_s`, unless it is the
        first one learned from.
        """
        pause_s = now - self.confirmed
        if not 0.0 <= pause_s <= max(_DELAY_S, 2.0 * self.pause_s):
            self.least_s = self.most_s = late_s
            self.since = now
        elif now - self.since < _DELAY_S:
            self.least_s = min(self.least_s, late_s)
            self.most_s = max(self.most_s, late_s if is_in_order else 0.0)
        is_usual = late_s + _DELAY_VARIES_S >= self.least_s
        is_usual &= late_s - _DELAY_VARIES_S <= self.most_s
        if is_usual:
            self.confirmed = now
            self.pause_s = max(self.pause_s, min(pause_s, UNLEARNED_S) if pause_s < math.inf else 0)
        return is_usual

    def is_live(self, now: float, time: float) -> bool:
        """Return whether a reading is at most `_LIVE_S` later than the shortest usual delay."""
        return now - time <= self.least_s + _LIVE_S

    def limit(self, now: float, time: float) -> float:
        """Return a reading's time, or `now` minus the usual delay if it arrived sooner than usual.

        Without this limit, forged readings with correct times would make a sensor's own readings
        look old if its clock is slow. The limit applies only if the delay is steady.
        """
        usual = now - self.least_s
        is_steady = self.most_s - self.least_s <= _DELAY_VARIES_S
        return usual if is_steady and time > usual + _DELAY_VARIES_S else time


class ParticleArrivals(Arrivals):
    """How often the readings with a sensor's main particle quantity arrive.

    `mains`: the main quantity, then those that temporarily replaced it, each with the time it last
    arrived.
    `received`, `values`: the last reading with the main quantity.

    Other readings with particles don't count, because a device may split one measurement across
    several messages. A copy that arrives within half an interval, for example through a second
    gateway, doesn't count either. Another quantity replaces the main one only after `UNLEARNED_S`
    without the main one, and only until the main one arrives again. Otherwise, forged readings with
    another quantity could replace the sensor's own. A quantity that hasn't arrived for a day is
    forgotten.
    """

    mains: dict[str, float] = {}
    received: float = -math.inf
    values: dict[str, float] = {}

    def find_main(self, values: Mapping[str, float], now: float) -> str | None:
        """Return the main quantity if a reading with particles has it, and record its arrival.

        Return None if the reading lacks it. `values` must have a particle quantity.
        """
        for key, at in self.mains.items():
            if key in values:
                self.mains[key] = now
                return key
            if 0.0 <= now - at <= UNLEARNED_S:
                return None
        kept = {key: at for key, at in self.mains.items() if 0.0 <= now - at < _FORGOTTEN_S}
        key = next(key for key in FINE_PARTICLES if key in values)
        self.mains = {**kept, key: now}
        return key

    def is_copy(self, values: dict[str, float], now: float) -> bool:
        """Return whether a reading repeats the last one; if not, remember the reading."""
        since = now - self.received
        is_near = 0.0 <= since < AT_ONCE_S or 0.0 <= since * 2.0 * _RECENT < self.fastest_s
        if is_near and self.values == values:
            return True
        self.received, self.values = now, values
        return False


class Doubts(msgspec.Struct):
    """The receive times of the last readings that raised a doubt."""

    times: list[float] = []

    def add(
        self, now: float, apart_s: float = 0.0, within_s: float = DOUBT_S, enough: int = DOUBTS
    ) -> bool:
        """Add a doubt unless the last was under `apart_s` ago; return whether there are enough."""
        recent = [at for at in self.times if 0 <= now - at < within_s]
        if not recent or now - recent[-1] >= apart_s:
            recent = [*recent[1 - DOUBTS :], now]
        self.times = recent
        return len(recent) >= enough and recent[-1] == now
