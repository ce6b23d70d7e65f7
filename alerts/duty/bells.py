"""Bell schedules and holidays: which lesson periods a date has."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from alerts.duty.wall_time import Span, instant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date, datetime

_UTC: Final = ZoneInfo("UTC")
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""Names of the days, in the order of `date.weekday`."""


@dataclass(frozen=True, slots=True)
class Period:
    """A lesson, break or lunch, by the clock face of one day.

    Attributes
    ----------
    name : str
        As people say it, such as ``"3"`` or ``"lunch"``.
    start, end : int
        Minutes after midnight, start before end.
    """

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Bells:
    """The periods of a usual or of a special day.

    Attributes
    ----------
    weekdays : frozenset of int
        Days of the week on which it rings, Monday is 0.
    dates : frozenset of date
        Special days; on these it rings instead of all schedules of the week.
    first, last : date or None
        The term: outside of it the schedule of the week does not ring.
    """

    id: str
    periods: tuple[Period, ...]
    weekdays: frozenset[int] = frozenset()
    dates: frozenset[date] = frozenset()
    first: date | None = None
    last: date | None = None

    def rings_weekly(self, day: date) -> bool:
        """Tell whether it rings on a date by its day of the week."""
        early = self.first is not None and day < self.first
        late = self.last is not None and day > self.last
        return day.weekday() in self.weekdays and not early and not late


@dataclass(frozen=True, slots=True)
class Timetable:
    """All bell schedules and the holidays.

    Attributes
    ----------
    zone : ZoneInfo
        Of the school.
    holidays : frozenset of date
        Days without lessons.
    """

    zone: ZoneInfo = _UTC
    bells: tuple[Bells, ...] = ()
    holidays: frozenset[date] = frozenset()

    def periods_on(self, day: date) -> tuple[Period, ...]:
        """Periods of a date: none on a holiday, those of a special day, else of the week."""
        if day in self.holidays:
            return ()
        special = [b for b in self.bells if day in b.dates]
        rung = special or [b for b in self.bells if b.rings_weekly(day)]
        return tuple(period for b in rung for period in b.periods)

    def lessons(self, start: datetime, end: datetime) -> Iterator[Span]:
        """Yield periods that touch [start, end), day by day."""
        for day in days_around(start, end, self.zone):
            for period in self.periods_on(day):
                span = self.span(day, period)
                if span.start < end and span.end > start:
                    yield span

    def span(self, day: date, period: Period) -> Span:
        """One period of a date as instants."""
        return Span(
            instant(self.zone, day, period.start),
            instant(self.zone, day, period.end),
            f"period {period.name}",
        )


def days_around(start: datetime, end: datetime, zone: ZoneInfo) -> Iterator[date]:
    """Yield the local dates of [start, end] and the one before, for what began overnight."""
    day = start.astimezone(zone).date() - timedelta(days=1)
    last = end.astimezone(zone).date()
    while day <= last:
        yield day
        day += timedelta(days=1)
