"""The numbers of one sensor's readings: which never came, and whether two devices send.

Missing readings
----------------
A gap in the numbers is not yet a loss: messages overtake each other, and after a reconnection the
broker delivers some of them again, behind newer ones. So a gap stays open for `OPEN_S`, and only
what is still missing then counts. A counter that begins anew is no gap: its number is below one
that came before, and its stamp is later. Neither is a jump larger than `MAX_JUMP`: no buffer holds
that much, the counter was set.

Two senders
-----------
A counter that goes on where it was before it jumped, or began anew, is that of a second device.
That is certain where the two are far apart, and a doubt where they are near. So is a reading
without a number among numbered ones of the same quantities, the same number in another message of
them while the counter goes on, and a jump back to a high number. Several doubts within `_DOUBT_S`
are reported: an honest device may give rise to one. The lines of numbers that lasted longest are
remembered, so random ones do not displace the sensor's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ingest.validation import may_alert

if TYPE_CHECKING:
    from collections.abc import Iterable

    from storage.reading import Reading

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
    """Follows the readings of one sensor in the order of their arrival.

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
        if step < 0 and late and (before is None or reading.is_timed):
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
        for k, (first, last, since) in enumerate(self.gaps):
            if first <= seq <= last:
                parts = [(first, seq - 1, since), (seq + 1, last, since)]
                self.gaps[k : k + 1] = [part for part in parts if part[0] <= part[1]]
                return True
        return False


def _size(gaps: Iterable[tuple[int, int, float]]) -> int:
    return sum(last - first + 1 for first, last, _ in gaps)
