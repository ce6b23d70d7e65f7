"""A silence that recurs: each of its occurrences becomes a silence of its own, a day ahead.

So an occurrence is listed, recorded and limited like any silence, and whoever ends it early ends
this one alone. Occurrences that the configuration no longer has are ended.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from alerts.duty.shifts import ClockHours

_AHEAD: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class RecurringSilence:
    """What is muted when, and why; from `first` to `last`, if they are given."""

    matchers: tuple[str, ...]
    reason: str
    hours: ClockHours
    first: date | None = None
    last: date | None = None

    def occurrences(self, now: float) -> dict[str, tuple[float, float]]:
        """Return those that are not over and begin within a day: start and end, by a key."""
        at = datetime.fromtimestamp(now, UTC)
        named = repr((self.matchers, self.reason, self.hours.start, self.hours.end)).encode()
        key = hashlib.sha256(named).hexdigest()[:16]
        found = {}
        for span in self.hours.between(at - _AHEAD, at + _AHEAD):
            day = span.start.astimezone(self.hours.zone).date()
            in_time = (self.first or day) <= day <= (self.last or day)
            if in_time and span.end > at and span.start <= at + _AHEAD:
                spans = (span.start.timestamp(), span.end.timestamp())
                found[f"{key} {day.isoformat()}"] = spans
        return found
