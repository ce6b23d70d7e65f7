"""Limit the rate of attempts for each key, over a sliding window."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

_MAX_KEYS: Final = 10_000


class Bound(NamedTuple):
    """At most this many attempts in `window_s` seconds."""

    attempts: int
    window_s: float


class RateLimit:
    """Counts attempts by key, in memory. Beyond `max_keys` keys, it drops the oldest ones.

    If the clock is set back, attempts later than the new time no longer count.

    >>> limit = RateLimit(Bound(2, 60.0))
    >>> [limit.take("a", now) for now in (0.0, 10.0, 20.0, 60.0)]
    [0.0, 0.0, 40.0, 0.0]
    """

    def __init__(self, *bounds: Bound, max_keys: int = _MAX_KEYS) -> None:
        self.bounds = bounds
        self._kept = max(bound.attempts for bound in bounds)
        self._most_keys = max_keys
        self._times: dict[str, deque[float]] = {}

    def get_wait_s(self, key: str, now: float) -> float:
        """Return the seconds until the next attempt is allowed, or 0.0."""
        times = self._times.get(key)
        if times is None:
            return 0.0
        while times and times[-1] > now:
            times.pop()
        reached = [bound for bound in self.bounds if len(times) >= bound.attempts]
        waits = (times[-bound.attempts] + bound.window_s - now for bound in reached)
        return max(0.0, *waits) if reached else 0.0

    def count(self, key: str, now: float) -> None:
        """Count an attempt, whether or not it was allowed."""
        if key not in self._times and len(self._times) >= self._most_keys:
            del self._times[next(iter(self._times))]
        self._times.setdefault(key, deque(maxlen=self._kept)).append(now)

    def take(self, key: str, now: float) -> float:
        """Count an attempt and return 0.0, or return the seconds until it is allowed."""
        wait_s = self.get_wait_s(key, now)
        if not wait_s:
            self.count(key, now)
        return wait_s

    def refund(self, key: str) -> None:
        """Stop counting the last attempt of a key."""
        if times := self._times.get(key):
            times.pop()

    def reset(self, key: str) -> None:
        """Drop all attempts of a key."""
        self._times.pop(key, None)
