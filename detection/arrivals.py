"""Compare how often a sensor's particle readings arrive with its usual rate."""

from __future__ import annotations

import math
from typing import Final

import msgspec

_SAME_S: Final = 0.05
_RECENT: Final = 6
_LEARNED: Final = 8
_MEMORY_S: Final = 4 * 3600.0
_CROWDED: Final = 0.6


class Arrivals(msgspec.Struct):
    """The last arrivals of one sensor, and the usual rate.

    `times`: the last receive times, in Unix seconds; several within `_SAME_S` count as one.
    `rate`: arrivals per second, averaged over the last `learned_s`, which is at most `_MEMORY_S`.

    While readings arrive too often, the rate adapts slowly, so a second sender has to continue for
    hours before its readings count as usual. A gap of more than four intervals counts as four,
    because the sensor may have been off.
    """

    times: list[float] = []
    rate: float = 0.0
    learned_s: float = 0.0

    def add(self, now: float) -> bool:
        """Add an arrival; return whether readings arrive much more often than usual."""
        times = self.times
        since = now - times[-1] if times else math.inf
        is_crowded = (
            len(times) == _RECENT
            and self.rate * self.learned_s >= _LEARNED
            and (now - times[0]) * self.rate < _CROWDED * _RECENT
        )
        if since >= _SAME_S:
            self.times = [*times[1 - _RECENT :], now]
            since = min(since, 4.0 / self.rate) if self.rate else since
            if is_crowded:
                self.rate += (1.0 - self.rate * since) / _MEMORY_S
            elif times:
                self.learned_s = min(self.learned_s + since, _MEMORY_S)
                self.rate += (1.0 - self.rate * since) / self.learned_s
        elif since < 0.0:
            self.times = [now]  # the clock was set back
        return is_crowded
