"""Convert a school's wall times to instants, with its bell schedules and holidays.

Two rules apply when daylight saving time begins or ends:

- A skipped wall time means the instant when the clocks jump: 02:30 becomes 03:00.
- A repeated wall time means its first occurrence.

Wall times therefore never run backward. Spans that touch on the clock also touch as instants, so a
schedule without gaps or overlaps stays that way when the clocks change.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from language.messages import defer

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY_MIN: Final = 1440
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""Names of the days, in the order of `date.weekday`."""
_UTC: Final = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open UTC span [start, end)."""

    start: datetime
    end: datetime

    def contains(self, at: datetime) -> bool:
        """Return whether an instant is in the span."""
        return self.start <= at < self.end


def parse_minutes(text: str, *, latest: int = DAY_MIN - 1) -> int:
    """Convert ``HH:MM`` to minutes after midnight; raise ValueError if later than `latest`.

    >>> parse_minutes("07:45"), parse_minutes("24:00", latest=DAY_MIN)
    (465, 1440)
    """
    hours, colon, rest = text.partition(":")
    if len(text) == 5 and colon and (hours + rest).isascii() and (hours + rest).isdecimal():
        found = int(hours) * 60 + int(rest)
        if int(rest) < 60 and found <= latest:
            return found
    last = f"{latest // 60:02}:{latest % 60:02}"
    raise ValueError(
        defer("must be a time from 00:00 to %(latest)s, with two digits: 08:00", latest=last)
    )


def is_within(day: date, first: date | None, last: date | None) -> bool:
    """Return whether a date is in a range; None means no limit."""
    return (first or date.min) <= day <= (last or date.max)


def format_clock(at: datetime, zone: ZoneInfo) -> str:
    """Return an instant's wall time in a zone, as ``HH:MM``."""
    return at.astimezone(zone).strftime("%H:%M")


@lru_cache(maxsize=16_384)
def find_instant(zone: ZoneInfo, day: date, after_midnight: int) -> datetime:
    """Return the UTC instant when clocks show this many minutes after midnight of `day`.

    These are minutes on the clock, not elapsed minutes; 1440 or more means the next day.

    >>> chicago = ZoneInfo("America/Chicago")
    >>> find_instant(chicago, date(2020, 3, 8), 150).astimezone(chicago).strftime("%H:%M")
    '03:00'
    """
    shown = datetime(day.year, day.month, day.day) + timedelta(minutes=after_midnight)  # noqa: DTZ001 - a wall time
    while True:
        at = shown.replace(tzinfo=zone).astimezone(UTC)
        if at.astimezone(zone).replace(tzinfo=None) == shown:
            return at
        shown += timedelta(minutes=1)  # skipped wall time: try the next minute


@dataclass(frozen=True, slots=True)
class Period:
    """A class period or break, such as ``"3"`` or ``"lunch"``, in minutes after midnight."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Bells:
    """A bell schedule for weekdays of a term (Monday is 0), or for special dates."""

    id: str
    periods: tuple[Period, ...]
    weekdays: frozenset[int] = frozenset()
    dates: frozenset[date] = frozenset()
    first: date | None = None
    last: date | None = None


@dataclass(frozen=True, slots=True)
class Timetable:
    """A school's bell schedules, and its holidays; holidays have no periods."""

    zone: ZoneInfo = _UTC
    bells: tuple[Bells, ...] = ()
    holidays: frozenset[date] = frozenset()

    def list_periods(self, day: date) -> list[tuple[str, Span]]:
        """Return a date's periods, from its special or weekly schedule; none on holidays."""
        if day in self.holidays:
            return []
        special = [b for b in self.bells if day in b.dates]
        weekly = (
            b for b in self.bells if day.weekday() in b.weekdays and is_within(day, b.first, b.last)
        )
        return [
            (p.name, Span(*(find_instant(self.zone, day, at) for at in (p.start, p.end))))
            for b in special or weekly
            for p in b.periods
        ]


def list_days_around(start: datetime, end: datetime, zone: ZoneInfo) -> Iterator[date]:
    """Yield the local dates in [start, end], and the day before for overnight spans."""
    day = start.astimezone(zone).date() - timedelta(days=1)
    last = end.astimezone(zone).date()
    while day <= last:
        yield day
        day += timedelta(days=1)
