"""Recognize a second sender by readings that contradict each other, even without numbers.

Only two devices under one name do this, again and again:

- *The air jumps*: fine particles rise to three times as much, or fall to a third, and back within
  `_WITHIN_S`. Neither air nor particle sensors are that fast.
- *The clock jumps*: readings that are always late are suddenly up to date, and then late again. Or
  readings without time stamps alternate with old ones that have one.
- *Readings crowd*: for most of a minute, more than `_PER_S` readings arrive each second, and more
  than twice as many as usual.
- *Readings are lost*: newer and older particle readings alternate as they arrive, and no numbers
  explain it.

A device may jump once. So jumps are *doubts*, and only `DOUBTS` of them within `DOUBT_S` are
reported. Doubts within `_APART_S` count once, because stored readings without time stamps may all
arrive at once. Only live readings count, and like the detectors, these rules take no reading to be
later than its receipt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from detection.channels import MASS_OF_N03
from detection.quantities import FINE_PARTICLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storage.reading import Reading

DOUBTS: Final = 4
DOUBT_S: Final = 600.0
_APART_S: Final = 5.0
_WITHIN_S: Final = 3.0
_JUMP_UG_M3: Final = 20.0
_JUMP_SHARE: Final = 2.0
_LEARNED_S: Final = 200.0
_OLD_S: Final = 60.0
_LIVE_S: Final = 15.0
_LOST_S: Final = 60.0
_PER_S: Final = 3
_CROWDED_S: Final = 40
_LEARN: Final = 1 / 256


@dataclass(slots=True)
class Doubts:
    """The receive times of the last readings that raised a doubt."""

    times: list[float] = field(default_factory=list)

    def add(self, now: float, apart_s: float = 0.0, within_s: float = DOUBT_S) -> bool:
        """Add a doubt, unless the last one was less than `apart_s` ago; return whether many."""
        recent = [at for at in self.times if 0 <= now - at < within_s]
        if not recent or now - recent[-1] >= apart_s:
            recent = [*recent[1 - DOUBTS :], now]
        self.times = recent
        return len(recent) >= DOUBTS and recent[-1] == now


@dataclass(slots=True)
class Contradictions:
    """Compare each live reading of a sensor with those before it.

    `newest`: latest time.
    `received`, `is_timed`: receive time of the last reading, and whether it had a time stamp.
    `late_s`: how late readings usually are, at best; learned for `_LEARNED_S` from `since`, and
    anew if no reading was as late for that long (`confirmed`).
    `goes_back`: whether its times went back meanwhile, so that this proves nothing.
    `fine`, `time`, `fine_received`: the last reading with fine particles.
    `rose`, `jumped`: direction and receive time of the last jump of the air.
    `began`: receive time of the first reading.
    `second`, `count`: last second with readings, and how many; `usual` is the usual number.
    `crowded_s`: number of crowded seconds, less the other seconds since.
    `fine_newest`, `fine_seq`: latest time of fine particles, and the number of that reading.
    `has_passed`: whether it came after the last lost reading.
    """

    newest: float = -math.inf
    received: float = -math.inf
    is_timed: bool = False
    late_s: float = math.inf
    since: float = -math.inf
    confirmed: float = -math.inf
    goes_back: bool = False
    fine: float = math.nan
    time: float = -math.inf
    fine_received: float = -math.inf
    rose: bool = False
    jumped: float = -math.inf
    began: float = math.inf
    second: int = 0
    count: int = 0
    usual: float = 1.0
    crowded_s: int = 0
    fine_newest: float = -math.inf
    fine_seq: int | None = None
    has_passed: bool = False
    doubts: Doubts = field(default_factory=Doubts)
    lost: Doubts = field(default_factory=Doubts)

    def add(self, reading: Reading) -> bool:
        """Add a live reading that may alert; return whether two devices are sending."""
        now, time, is_timed = reading.received, reading.time, reading.is_timed
        time = min(time, now)
        if now - self.confirmed > _LEARNED_S or now < self.received:
            self.late_s, self.since, self.newest, self.goes_back = math.inf, now, time, False
            self.began = min(self.began, now)
            self.fine_newest = min(self.fine_newest, time)
        late, is_learning = now - time, now - self.since < _LEARNED_S
        if is_learning and late < self.late_s:
            self.late_s = late
        is_usual = -_WITHIN_S <= late - self.late_s <= _WITHIN_S
        if is_usual:
            self.confirmed = now
        is_back = self.newest - time > _WITHIN_S
        doubtful = is_back and (is_usual or is_timed > self.is_timed)
        self.goes_back |= doubtful and is_learning
        if self.goes_back or not is_back:
            doubtful = self._jumps(reading.values, now, time)
        is_lost = not reading.values.keys().isdisjoint(FINE_PARTICLES) and self._loses(reading)
        self.newest = max(self.newest, time)
        self.received, self.is_timed = now, is_timed
        crowd = late <= self.late_s + _OLD_S and self._crowds(int(now))
        return crowd or is_lost or (doubtful and self.doubts.add(now, _APART_S))

    def _loses(self, reading: Reading) -> bool:
        """Return whether readings of fine particles are lost again and again."""
        now, seq, time = reading.received, reading.seq, min(reading.time, reading.received)
        if time >= self.fine_newest:
            self.has_passed = self.has_passed or time > self.fine_newest
            self.fine_newest, self.fine_seq = time, seq
            return False
        in_order = seq is None or self.fine_seq is None or seq >= self.fine_seq
        is_lost = in_order and now - time <= _LIVE_S and self.has_passed
        self.has_passed = False
        return is_lost and self.lost.add(now, within_s=_LOST_S)

    def _jumps(self, values: Mapping[str, float], now: float, time: float) -> bool:
        """Return whether the air jumped back."""
        fine = values.get(FINE_PARTICLES[0])
        if fine is None:
            key = next((key for key in FINE_PARTICLES if key in values), None)
            if key is None:
                return False
            fine = values[key] * (MASS_OF_N03 if key == FINE_PARTICLES[-1] else 1.0)
        rise, gap, forward = fine - self.fine, now - self.fine_received, time - self.time
        low = self.fine if rise > 0 else fine
        self.fine, self.time, self.fine_received = fine, time, now
        if not abs(rise) >= _JUMP_UG_M3 or abs(rise) < _JUMP_SHARE * low:
            return False
        if not 0 < max(gap, forward) <= _WITHIN_S:
            return False
        rose, self.rose = self.rose, rise > 0
        jumped, self.jumped = self.jumped, now
        return rose is not self.rose and now - jumped <= _WITHIN_S

    def _crowds(self, second: int) -> bool:
        """Count a reading; return whether the last minute was crowded."""
        if second == self.second:
            self.count += 1
            return False
        is_crowded = self.count > max(_PER_S, 2 * self.usual)
        passed = abs(second - self.second)
        self.crowded_s = max(self.crowded_s + (2 if is_crowded else 0) - passed, 0)
        if second - self.began < _LEARNED_S:
            self.crowded_s = 0
        self.usual += _LEARN * (self.count - self.usual)
        self.second, self.count = second, 1
        return self.crowded_s >= _CROWDED_S
