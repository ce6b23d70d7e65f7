"""Recognize a second sender by contradictory readings, even without sequence numbers.

Each of these patterns, if it recurs, means that two devices are sending under one name:

- *The air jumps*: fine particles triple, or fall to a third, and return within `_WITHIN_S`. Neither
  air nor particle sensors are that fast.
- *Readings are crowded*: for most of a minute, more than `_PER_S` readings arrive each second, and
  more than twice as many as usual (`detection.arrivals`).
- *Readings are overtaken*: readings with newer and older times keep alternating, although the older
  ones are no later than usual and sequence numbers do not explain the order. A single older reading
  is reported if it is older by more than `_WITHIN_S` and its particles differ from those of the
  newest one as much as in a jump.

The readings of a single device may jump once, so a jump is only a *doubt*. `DOUBTS` doubts within
`DOUBT_S` are reported. The rules are stricter while readings arrive too often and unevenly (a
device with a shorter interval sends evenly). Then a single jump is reported, a return within
`_INTERVALS` times the usual interval is a doubt, and one doubt fewer is enough. Doubts less than
`APART_S` apart count once, because stored readings without time stamps may all arrive at once.
Except for crowding, only readings with particles count, because only they can hide a plume from the
detectors. As for the detectors, a reading's time is at most its receive time, and while readings
arrive too often, older ones count as sent when they were received. A backlog is not compared: its
times advance more than `_CATCHES_UP` times as fast as ours, and have not gone back for `DOUBT_S`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from detection.arrivals import (
    APART_S,
    AT_ONCE_S,
    DOUBT_S,
    DOUBTS,
    Arrivals,
    Delay,
    Doubts,
    ParticleArrivals,
)
from detection.channels import measure_fine

if TYPE_CHECKING:
    from storage.reading import Reading

_WITHIN_S: Final = 3.0
_MOST: Final = 32
_INTERVALS: Final = 1.25
_CATCHES_UP: Final = 3.0
_JUMP_UG_M3: Final = 20.0
_JUMP_SHARE: Final = 2.0
_OLD_S: Final = 60.0
_LIVE_S: Final = 15.0
_LOST_S: Final = 60.0
_PER_S: Final = 3
_CROWDED_S: Final = 40


@dataclass(slots=True)
class Contradictions:
    """Compare each reading of a sensor with those before it.

    `received`: receive time of the last reading with particles.
    `recent`: times and values of the last one, and of those within `_WITHIN_S` before it,
    since the last jump.
    `newest`, `newest_at`, `newest_fine`, `seq`: time, receive time, value and sequence number of
    the reading with the latest time.
    `has_passed`: whether `newest` has advanced since the last reading with an older time.
    `older`, `older_at`: time and receive time of the last reading that was older than `newest`.
    `fell_back`: when such a reading last had an earlier time than the one before it.
    `rose`, `jumped`: direction and time of the last jump.
    `crowded_s`: crowded seconds minus the uncrowded seconds since then, at least 0.
    `arrivals`, `all_arrivals`: how often readings with particles arrive, and how often any do.
    """

    received: float = -math.inf
    recent: list[tuple[float, float]] = field(default_factory=list)
    newest: float = -math.inf
    newest_at: float = -math.inf
    newest_fine: float = math.nan
    seq: int | None = None
    has_passed: bool = False
    older: float = -math.inf
    older_at: float = -math.inf
    fell_back: float = -math.inf
    rose: bool = False
    jumped: float = -math.inf
    crowded_s: float = 0.0
    arrivals: ParticleArrivals = field(default_factory=ParticleArrivals)
    all_arrivals: Arrivals = field(default_factory=Arrivals)
    delay: Delay = field(default_factory=Delay)
    doubts: Doubts = field(default_factory=Doubts)
    lost: Doubts = field(default_factory=Doubts)
    long_lost: Doubts = field(default_factory=Doubts)

    def add(self, reading: Reading) -> bool:
        """Add a reading that may alert; return whether two devices are sending."""
        now, time = reading.received, min(reading.time, reading.received)
        late, fine = now - time, measure_fine(reading.values)
        is_crowded = self.delay.is_live(now, time) and self._is_crowded(now)
        if fine is None or (
            (is_main := self.arrivals.find_main(reading.values, now) is not None)
            and self.arrivals.is_copy(reading.values, now)
        ):
            return is_crowded
        is_usual = self.delay.add(now, late, is_in_order=time >= self.newest)
        if self.delay.since == now:
            self.newest = time
        late -= self.delay.least_s
        is_part = not is_main and 0.0 <= now - self.received < AT_ONCE_S
        is_live = self.delay.is_live(now, time)
        is_frequent = is_live and self.arrivals.add(now, time, is_counted=not is_part)
        often = is_frequent and not self.arrivals.is_even
        within_s = max(_INTERVALS * self.arrivals.interval_s if often else 0.0, _WITHIN_S)
        if is_older := self.newest - time > _WITHIN_S:
            if time < self.older - _WITHIN_S:
                self.fell_back = now
            catches_up = time - self.older > _CATCHES_UP * (now - self.older_at)
            catches_up = catches_up and not 0.0 <= now - self.fell_back < DOUBT_S
            self.older, self.older_at = time, now
            is_older = catches_up or not is_frequent
        is_compared = not is_part and not is_older
        back_s = self._measure_jump(fine, now, time, within_s) if is_compared else math.inf
        is_long_lost = is_usual and self.newest - time > _LIVE_S
        hides = is_usual and self.newest - time > _WITHIN_S and now - self.newest_at <= _OLD_S
        hides = hides and _jumps(fine, self.newest_fine)
        is_lost = self._is_overtaken(reading, time, fine)
        self.received = now
        enough = DOUBTS - often
        doubtful = back_s <= within_s and self.doubts.add(now, APART_S, enough=enough)
        doubtful |= often and back_s <= _WITHIN_S
        if is_lost and is_long_lost:
            doubtful |= self.long_lost.add(now)
        if is_lost and (is_usual or late <= _LIVE_S):
            doubtful |= self.lost.add(now, within_s=_LOST_S)
        return is_crowded or doubtful or hides

    def _is_overtaken(self, reading: Reading, time: float, fine: float) -> bool:
        """Return whether an older reading follows a newer one.

        It counts only if `newest` has advanced since the last older reading, and if sequence
        numbers do not explain the order.
        """
        if time >= self.newest:
            self.has_passed |= time > self.newest
            self.newest, self.newest_at = time, reading.received
            self.newest_fine, self.seq = fine, reading.seq
            return False
        has_passed, self.has_passed = self.has_passed, False
        seq = reading.seq
        return has_passed and (seq is None or self.seq is None or seq >= self.seq)

    def _measure_jump(self, fine: float, now: float, time: float, within_s: float) -> float:
        """Return how long ago fine particles jumped, or infinity if they do not jump back now.

        If readings arrive in the order of their time stamps, the stamps are compared. So a batch
        is not a jump.
        """
        sent = time if time >= self.newest else now
        gap = max(now - self.received, time - self.newest)
        values = [value for _, value in self.recent]
        low, high = min(values, default=math.nan), max(values, default=math.nan)
        falls, rises = fine < high and _jumps(fine, high), fine > low and _jumps(fine, low)
        jumps = 0 < gap <= within_s and (rises or falls)
        since = sent if jumps else sent - _WITHIN_S
        self.recent = [*(one for one in self.recent if one[0] > since), (sent, fine)][-_MOST:]
        if not jumps:
            return math.inf
        rose, self.rose = self.rose, not falls if self.rose else rises
        jumped, self.jumped = self.jumped, sent
        return abs(sent - jumped) if rose is not self.rose else math.inf

    def _is_crowded(self, now: float) -> bool:
        """Count a reading; return whether the last minute was crowded."""
        times, per_s = self.all_arrivals.times, max(_PER_S, 2.0 * self.all_arrivals.rate)
        since = max(now - times[-1], 0.0) if times else 0.0
        is_counted = not times or not 0.0 <= now - times[-1] < AT_ONCE_S
        crowds = self.all_arrivals.add(now, is_counted=is_counted)
        if not crowds or (now - times[0]) * per_s >= len(times):
            since = -since
        self.crowded_s = max(self.crowded_s + since, 0.0)
        return self.crowded_s >= _CROWDED_S


def _jumps(one: float, other: float) -> bool:
    """Return whether two values of fine particles differ so much that air can't explain it."""
    return abs(one - other) >= max(_JUMP_UG_M3, _JUMP_SHARE * min(one, other))
