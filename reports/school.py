"""The school of a report: its places, its days and lessons, its shifts."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Protocol

from reports.periods import SchoolTimes
from reports.rows import DutySpan
from storage.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from zoneinfo import ZoneInfo

_SATURDAY: Final = 5
_MORNING, _AFTERNOON = 8, 15


class PlaceError(ValueError):
    """There is no such site or building; the message names those there are."""


@dataclass(frozen=True, slots=True)
class Place:
    """The part of a school that a report covers; empty for all of it."""

    site: str = ""
    building: str = ""

    def __str__(self) -> str:
        """Name the place for people."""
        return ", ".join(part for part in (self.building, self.site) if part)


@dataclass(frozen=True, slots=True, order=True)
class Lesson:
    """One lesson period of a day, Unix seconds, half-open."""

    start: float
    end: float
    name: str


class OnDuty(Protocol):
    """One person on duty."""

    @property
    def person(self) -> str:
        """Id of the member of staff."""


class Shift(Protocol):
    """Hours on duty of one group of people."""

    @property
    def id(self) -> str:
        """Name of the shift."""

    def edges(self, start: datetime, end: datetime) -> Iterable[datetime]:
        """Return the instants within (start, end) at which who is on duty may change."""

    def on_duty(self, at: datetime) -> Sequence[OnDuty]:
        """Return who is on duty at an instant."""


@dataclass(frozen=True)
class Calendar:
    """School days and lessons of a window; without bells `lessons` is empty."""

    zone: ZoneInfo
    school_days: frozenset[date]
    lessons: tuple[Lesson, ...] = ()
    times: SchoolTimes = field(default_factory=SchoolTimes)

    @cached_property
    def _starts(self) -> list[float]:
        return [lesson.start for lesson in self.lessons]

    def period(self, moment: float) -> str:
        """Name the lesson period, or ``"between"``; without bells the clock hour."""
        if not self.lessons:
            return f"{self.local(moment):%H}:00"
        k = bisect_right(self._starts, moment) - 1
        inside = k >= 0 and moment < self.lessons[k].end
        return self.lessons[k].name if inside else "between"

    def in_order(self, periods: Iterable[str]) -> list[str]:
        """Sort lesson periods by when they begin in the day, ``"between"`` last."""
        begins: dict[str, time] = {}
        for lesson in self.lessons:
            at = self.local(lesson.start).time()
            begins[lesson.name] = min(at, begins.get(lesson.name, at))
        return sorted(periods, key=lambda name: (begins.get(name, time.max), natural(name)))

    def periods(self, start: float, end: float, seen: Iterable[str]) -> list[str]:
        """Name all lesson periods of a window, and those of `seen`, in the order of the day.

        Without bells these are the clock hours from 8 to 15.
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
        return self.in_order(found)

    def bounds(self, day: date) -> tuple[float, float]:
        """Return the beginning of a day and of the following one, Unix seconds."""
        start, end = (
            datetime.combine(day + timedelta(days=k), time(), tzinfo=self.zone) for k in (0, 1)
        )
        return start.timestamp(), end.timestamp()

    def local(self, moment: float) -> datetime:
        """Return Unix seconds as local time."""
        return datetime.fromtimestamp(moment, UTC).astimezone(self.zone)


@dataclass(frozen=True)
class School:
    """What reports need of the configuration.

    `lessons_on` returns the lessons of a day; None if the school has no bell schedule. `roles` has
    the role of each member of staff by id, `codes` the state's code of each kind of incident.
    """

    name: str
    zone: ZoneInfo
    registry: Registry
    times: SchoolTimes = field(default_factory=SchoolTimes)
    holidays: frozenset[date] = frozenset()
    lessons_on: Callable[[date], Sequence[Lesson]] | None = None
    roles: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, str] = field(default_factory=dict)
    sites: Mapping[str, School] = field(default_factory=dict)
    """The schools of a district by name, each with its own zone, days and lessons."""

    def at(self, place: Place) -> School:
        """Return the school with the rooms and sensors of a place only.

        Raises `PlaceError` if there is no such site or building.
        """
        here = list(self.registry.rooms.values())
        for key, asked in (("site", place.site), ("building", place.building)):
            known = sorted({getattr(room, key) for room in here})
            if asked and asked not in known:
                raise PlaceError(f"no {key} {asked!r}; there is {', '.join(map(repr, known))}")
            here = [room for room in here if asked in ("", getattr(room, key))]
        ids = {room.id for room in here}
        sensors = (s for s in self.registry.sensors.values() if s.room in ids)
        return replace(self, registry=Registry.of(here, sensors))

    def is_school_day(self, day: date) -> bool:
        """Whether bells ring; without bells, whether it is neither weekend nor holiday."""
        if self.lessons_on is not None:
            return bool(self.lessons_on(day))
        return day.weekday() < _SATURDAY and day not in self.holidays

    def has_school(self, moment: float) -> bool:
        """Whether a moment, Unix seconds, is on a school day."""
        return self.is_school_day(datetime.fromtimestamp(moment, self.zone).date())

    def calendar(self, start: float, end: float) -> Calendar:
        """Return the school days and lessons of the days that a window touches."""
        days = days_of(start, end, self.zone)
        lessons = [] if self.lessons_on is None else [x for d in days for x in self.lessons_on(d)]
        school_days = frozenset(filter(self.is_school_day, days))
        return Calendar(self.zone, school_days, tuple(sorted(lessons)), self.times)

    def calendars(self, start: float, end: float) -> dict[str, Calendar]:
        """Return the calendar of each school of a district, by name."""
        return {name: school.calendar(start, end) for name, school in self.sites.items()}

    def duty(self, shifts: Sequence[Shift], start: float, end: float) -> Iterator[DutySpan]:
        """Yield who is on duty when, on school days of a window, Unix seconds, half-open.

        People without a shift, who are always notified, have no hours.
        """
        calendar = self.calendar(start, end)
        for day in sorted(calendar.school_days):
            bounds = calendar.bounds(day)
            inside = max(bounds[0], start), min(bounds[1], end)
            if inside[0] >= inside[1]:
                continue
            begin, close = (datetime.fromtimestamp(at, UTC) for at in inside)
            for shift in shifts:
                moments = sorted({begin, *shift.edges(begin, close), close})
                for first, last in pairwise(moments):
                    for found in shift.on_duty(first):
                        span = first.timestamp(), last.timestamp()
                        yield DutySpan(found.person, *span, shift.id)


def days_of(start: float, end: float, zone: ZoneInfo) -> list[date]:
    """Return the local days that ``[start, end)`` touches, Unix seconds."""
    first = datetime.fromtimestamp(start, zone).date()
    last = datetime.fromtimestamp(max(start, end - 1e-3), zone).date()
    return [first + timedelta(days=k) for k in range((last - first).days + 1)]


def natural(text: str) -> tuple[int, str]:
    """Return a sort key: by the number in a name, names without one last."""
    digits = "".join(c for c in text if c.isdigit())
    return int(digits[:6] or 10**6), text
