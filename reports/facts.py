"""Everything a report is made from, gathered once."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final

from reports.kpis import Chosen, Kpis, chosen, kpis
from reports.periods import SchoolTimes
from reports.rows import AIR, place_of
from reports.suppress import Published, published

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from zoneinfo import ZoneInfo

    from reports.periods import Period
    from reports.rows import DutySpan, IncidentRow, NoticeRow, SensorDay, StagedTest
    from storage.firmware import Firmware
    from storage.registry import Registry

_SATURDAY: Final = 5
_MORNING, _AFTERNOON = 8, 15


def days_of(start: float, end: float, zone: ZoneInfo) -> list[date]:
    """Local days that ``[start, end)`` touches, Unix seconds."""
    first = datetime.fromtimestamp(start, zone).date()
    last = datetime.fromtimestamp(max(start, end - 1e-3), zone).date()
    return [first + timedelta(days=k) for k in range((last - first).days + 1)]


def natural(text: str) -> tuple[int, str]:
    """Order names by the number in them, those without one last."""
    digits = "".join(c for c in text if c.isdigit())
    return int(digits[:6] or 10**6), text


def weekdays(days: Iterable[date]) -> frozenset[date]:
    """Days from Monday to Friday."""
    return frozenset(day for day in days if day.weekday() < _SATURDAY)


@dataclass(frozen=True, slots=True, order=True)
class Lesson:
    """One lesson period of a day, Unix seconds, half-open."""

    start: float
    end: float
    name: str


@dataclass(frozen=True)
class Calendar:
    """Which days have school, and which lesson it is when.

    Attributes
    ----------
    lessons : tuple of Lesson
        In order; empty if the school has not said when its bells ring.
    times : SchoolTimes
        Its terms and school years.
    """

    zone: ZoneInfo
    school_days: frozenset[date]
    lessons: tuple[Lesson, ...] = ()
    times: SchoolTimes = field(default_factory=SchoolTimes)

    @cached_property
    def _starts(self) -> list[float]:
        return [lesson.start for lesson in self.lessons]

    def period(self, moment: float) -> str:
        """Name of the lesson period; ``"between"`` outside; without lessons the clock hour."""
        if not self.lessons:
            return f"{self.local(moment):%H}:00"
        k = bisect_right(self._starts, moment) - 1
        inside = k >= 0 and moment < self.lessons[k].end
        return self.lessons[k].name if inside else "between"

    def periods(self, start: float, end: float, seen: Iterable[str]) -> list[str]:
        """Names of all lesson periods of a window, and of those `seen`, in their order.

        Without lessons, the clock hours from 8 to 15.
        """
        found = {*seen}
        if self.lessons:
            inside = [lesson for lesson in self.lessons if lesson.start < end > start < lesson.end]
            found |= {lesson.name for lesson in inside}
            within = any(each.start <= start and end <= each.end for each in inside)
            found |= set() if within else {"between"}
        else:
            first, last = math.floor(start / 3600.0), math.ceil(end / 3600.0)
            hours = {self.local(k * 3600.0).hour for k in range(first, min(last, first + 48))}
            found |= {f"{hour:02d}:00" for hour in hours if _MORNING <= hour <= _AFTERNOON}
        return sorted(found, key=natural)

    def bounds(self, day: date) -> tuple[float, float]:
        """Beginning of a day and of the following one at the school, Unix seconds."""
        start, end = (
            datetime.combine(day + timedelta(days=k), time(), tzinfo=self.zone) for k in (0, 1)
        )
        return start.timestamp(), end.timestamp()

    def local(self, moment: float) -> datetime:
        """Moment on the school's clock."""
        return datetime.fromtimestamp(moment, UTC).astimezone(self.zone)


@dataclass(frozen=True)
class Facts:
    """What happened at some places in a window.

    Attributes
    ----------
    school : str
        Name of site or district.
    place : str
        What of it, in words; empty for all.
    start, end, now : float
        Window, half-open, and the moment of the report, Unix seconds.
    registry : Registry
        Rooms and sensors of the places.
    roles : mapping of str to str
        Role of each member of staff, by id.
    codes : mapping of str to str
        Code of the state for each kind of incident.
    staged : tuple of StagedTest
        Tests staff staged in the window, if they say.
    firmware : mapping of str to Firmware
        What sensors run now, by sensor.
    deleted_before : float
        Incidents opened before it were deleted by retention, but for those held; -inf if none were.
    recorded_from : float
        Since when all incidents are on record; inf if there is no record.
    period : Period or None
        What the window is called, if it was asked for by a name.
    before : Facts or None
        The period before it, as far as it is on record; None if nothing of it is.
    """

    school: str
    start: float
    end: float
    now: float
    registry: Registry
    calendar: Calendar
    incidents: tuple[IncidentRow, ...]
    notices: tuple[NoticeRow, ...]
    sensor_days: tuple[SensorDay, ...] = ()
    duty: tuple[DutySpan, ...] = ()
    roles: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, str] = field(default_factory=dict)
    place: str = ""
    staged: tuple[StagedTest, ...] = ()
    firmware: Mapping[str, Firmware] = field(default_factory=dict)
    deleted_before: float = -math.inf
    recorded_from: float = -math.inf
    period: Period | None = None
    before: Facts | None = None

    def whole_days(self) -> list[date]:
        """Days with school that are wholly inside the window and over."""
        end = min(self.end, self.now)
        return [
            day
            for day in days_of(self.start, end, self.calendar.zone)
            if day in self.calendar.school_days
            and self.calendar.bounds(day)[0] >= self.start
            and self.calendar.bounds(day)[1] <= end
        ]

    def missing(self) -> str:
        """Say what of the window is no longer there; empty if nothing is."""
        if self.deleted_before <= self.start:
            return ""
        day = self.calendar.local(min(self.deleted_before, self.end))
        return f"Incidents before {day:%-d %B %Y %H:%M} were deleted by retention, save those held."

    @cached_property
    def shifts(self) -> Mapping[str, str]:
        """Shift of whom was told first of an incident, by its id; not of those without one."""
        local = self.calendar.local
        spans: defaultdict[tuple[str, date], list[DutySpan]] = defaultdict(list)
        for span in self.duty:
            for day in {local(span.start).date(), local(span.end - 1e-3).date()}:
                spans[span.person, day].append(span)
        told = [n for n in self.notices if n.delivered_at is not None]
        told.sort(key=lambda n: n.delivered_at or 0.0, reverse=True)
        first = {notice.incident: notice for notice in told}
        found = {}
        for incident, notice in first.items():
            at = notice.created_at
            own = spans.get((notice.person, local(at).date()), ())
            shift = next((s.shift for s in own if s.start <= at < s.end), "")
            if shift:
                found[incident] = shift
        return found

    @cached_property
    def chosen(self) -> Chosen:
        """What figures are computed over."""
        return chosen(
            self.incidents,
            self.notices,
            self.sensor_days,
            self.calendar.school_days,
            self.calendar.zone,
        )

    @cached_property
    def air(self) -> list[IncidentRow]:
        """The incidents that somebody has to walk to."""
        return [row for row in self.chosen.incidents if row.kind in AIR]

    @cached_property
    def published(self) -> Published:
        """What may be shown of them by room and lesson period, and what sums."""
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for row in self.air:
            counts[place_of(row.room, row.building)][self.calendar.period(row.opened_at)] += 1
        seen = {period for own in counts.values() for period in own}
        periods = self.calendar.periods(self.start, min(self.end, self.now), seen)
        return published(
            periods, {room: [own[period] for period in periods] for room, own in counts.items()}
        )

    @cached_property
    def kpis(self) -> Kpis:
        """All key figures."""
        return kpis(self.chosen, self.duty, self.now, self.recorded_from)
