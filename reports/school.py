"""The school that a report covers: places, school days, class periods, shifts, named periods."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Protocol

from language.messages import Message, _, defer, mark, write_date
from language.plain_text import suggest_name
from reports.rows import DutySpan
from storage.registry import Registry, join_place, make_sort_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from zoneinfo import ZoneInfo

KINDS: Final = ("week", "month", "term", "school_year")

_DAY: Final = timedelta(days=1)
_LAST_YEAR: Final = 2261
_SAME_TERM_DAYS: Final = 60
"""A term's start moves by at most this many days from year to year."""


class PeriodError(ValueError):
    """The text doesn't name a period; the message explains the allowed forms."""


@dataclass(frozen=True, slots=True)
class Term:
    """A part of a school year; both days are included."""

    name: str
    first: date
    last: date


@dataclass(frozen=True, slots=True)
class Period:
    """A named period; `kind` is one of `KINDS`, and both days are included."""

    kind: str
    name: str
    first: date
    last: date

    @property
    def title(self) -> str:
        """Display name of the period.

        >>> Period("month", "2026-11", date(2026, 11, 1), date(2026, 11, 30)).title
        'November 2026'
        >>> Period("week", "2026-W47", date(2026, 11, 16), date(2026, 11, 22)).title
        'week of November 16, 2026'
        """
        if self.kind == "term":
            return self.name
        if self.kind == "month":
            return write_date(self.first, "month")
        if self.kind == "week":
            return _("week of %(date)s", date=write_date(self.first, "date"))
        return _("school year %(name)s", name=self.name)


@dataclass(frozen=True, slots=True)
class SchoolTimes:
    """Terms of a school, in any order, and the month in which its school year begins."""

    terms: tuple[Term, ...] = ()
    first_month: int = 7

    def find_term(self, day: date) -> str:
        """Return the name of the term that includes a day; empty if there is none."""
        return next((t.name for t in self.terms if t.first <= day <= t.last), "")

    def find_school_year(self, day: date) -> str:
        """Return the name of a day's school year.

        >>> [SchoolTimes().find_school_year(date(2027, month, 1)) for month in (6, 7)]
        ['2026/27', '2027/28']
        """
        return self._make_year(day).name

    def parse_period(self, kind: str, text: str) -> Period:
        """Parse the name of a period; raise `PeriodError` if it isn't one.

        >>> found = SchoolTimes().parse_period("week", "2026-W47")
        >>> str(found.first), str(found.last)
        ('2026-11-16', '2026-11-22')
        """
        match kind:
            case "week":
                like = mark("'%(text)s' is not a week; a week looks like 2026-W47 (ISO 8601)")
                return _parse_numbered(text.strip(), r"(\d{4})-?W(\d{2})", _make_week, like)
            case "month":
                like = mark("'%(text)s' is not a month; a month looks like 2026-11")
                return _parse_numbered(text.strip(), r"(\d{4})-(\d{2})", _make_month, like)
            case "term":
                return self._find_period(text.strip())
        return self._parse_school_year(text.strip())

    def find_previous(self, period: Period) -> Period | None:
        """Return the previous period of the same kind; None before the first term."""
        day = period.first - _DAY
        match period.kind:
            case "week":
                return _make_iso_week(day)
            case "month":
                return _make_month(day.year, day.month)
            case "term":
                earlier = [t for t in self.terms if t.last < period.first]
                last = max(earlier, key=lambda t: t.last, default=None)
                return None if last is None else Period("term", last.name, last.first, last.last)
        return self._make_year(day)

    def find_year_earlier(self, period: Period) -> Period | None:
        """Return the same week, month or term a year earlier, if any; None for a school year.

        >>> SchoolTimes().find_year_earlier(SchoolTimes().parse_period("week", "2026-W53")).name
        '2025-W52'
        """
        match period.kind:
            case "week" | "month":
                year, number = map(int, re.findall(r"\d+", period.name))
                if period.kind == "month":
                    return _make_month(year - 1, number)
                return _make_week(year - 1, min(number, date(year - 1, 12, 28).isocalendar().week))
            case "term":
                there = period.first - timedelta(days=365)
                apart = {t.name: abs((t.first - there).days) for t in self.terms}
                name = min(apart, key=apart.__getitem__, default="")
                return self._find_period(name) if name and apart[name] < _SAME_TERM_DAYS else None
        return None

    def _find_period(self, text: str) -> Period:
        for term in self.terms:
            if term.name.casefold() == text.casefold():
                return Period("term", term.name, term.first, term.last)
        names = [term.name for term in self.terms]
        there = ", ".join(map(repr, names)) + suggest_name(text, names)
        message = mark("'%(text)s' is not a term: the configuration has no [[term]]")
        if there:
            message = mark("'%(text)s' is not a term; the terms are %(there)s")
        raise PeriodError(Message(message, {"text": text[:40], "there": there}))

    def _parse_school_year(self, text: str) -> Period:
        found = re.fullmatch(r"(\d{4})(?:[/-]\d{2}(?:\d{2})?)?", text, re.ASCII)
        if found and 1 < int(found[1]) <= _LAST_YEAR:
            made = self._make_year(date(int(found[1]), self.first_month, 1))
            if text.replace("-", "/") in {made.name, f"{made.first.year}/{made.last.year}"}:
                return made
        like = self._make_year(date(2026, self.first_month, 1)).name
        raise PeriodError(
            defer(
                "'%(text)s' is not a school year; a school year looks like %(like)s",
                text=text[:40],
                like=like,
            )
        )

    def _make_year(self, day: date) -> Period:
        begins = day.year - (day.month < self.first_month)
        first = date(begins, self.first_month, 1)
        last = date(begins + 1, self.first_month, 1) - _DAY
        name = f"{first.year}" if self.first_month == 1 else f"{first.year}/{last.year % 100:02d}"
        return Period("school_year", name, first, last)


def _parse_numbered(
    text: str, pattern: str, make: Callable[[int, int], Period], like: str
) -> Period:
    """Parse a year and number as a period; `like` is the error message."""
    found = re.fullmatch(pattern, text, re.ASCII)
    try:
        if found and int(found[1]) <= _LAST_YEAR:
            return make(int(found[1]), int(found[2]))
    except ValueError:
        pass
    raise PeriodError(Message(like, {"text": text[:40]}))


def _make_week(year: int, number: int) -> Period:
    return _make_iso_week(date.fromisocalendar(year, number, 1))


def _make_iso_week(day: date) -> Period:
    first = day - timedelta(days=day.weekday())
    return Period("week", f"{first:%G-W%V}", first, first + timedelta(days=6))


def _make_month(year: int, number: int) -> Period:
    first = date(year, number, 1)
    last = (first + timedelta(days=31)).replace(day=1) - _DAY
    return Period("month", f"{first:%Y-%m}", first, last)


_SATURDAY: Final = 5
_MORNING, _AFTERNOON = 8, 15


class PlaceError(ValueError):
    """The school or building doesn't exist; the message lists the existing ones."""


@dataclass(frozen=True, slots=True)
class Place:
    """The part of a school that a report covers; empty fields mean the whole school."""

    site: str = ""
    """Id of a site."""
    building: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Lesson:
    """One class period of a day, as a half-open span in Unix seconds."""

    start: float
    end: float
    name: str


class OnDuty(Protocol):
    """One person on duty."""

    @property
    def person(self) -> str:
        """The staff member's id."""


class Shift(Protocol):
    """Hours on duty of one group of people."""

    @property
    def id(self) -> str:
        """Name of the shift."""

    @property
    def site(self) -> str:
        """Its school in a district; empty for all schools."""

    def find_edges(self, start: datetime, end: datetime) -> Iterable[datetime]:
        """Return the times within (start, end) at which the people on duty may change."""

    def find_on_duty(self, at: datetime) -> Sequence[OnDuty]:
        """Return the people on duty at a time."""


@dataclass(frozen=True)
class Calendar:
    """School days and class periods in a window; without bell schedules, `lessons` is None."""

    zone: ZoneInfo
    school_days: frozenset[date]
    lessons: tuple[Lesson, ...] | None = None
    times: SchoolTimes = field(default_factory=SchoolTimes)

    @cached_property
    def _starts(self) -> list[float]:
        return [lesson.start for lesson in self.lessons or ()]

    def find_period(self, moment: float) -> str:
        """Return the class period, or ``"between"``; without bell schedules, the clock hour."""
        if self.lessons is None:
            return f"{self.to_local(moment):%H}:00"
        k = bisect_right(self._starts, moment) - 1
        inside = k >= 0 and moment < self.lessons[k].end
        return self.lessons[k].name if inside else "between"

    def sort_periods(self, periods: Iterable[str]) -> list[str]:
        """Sort class periods by their start time, ``"between"`` last."""
        begins: dict[str, time] = {}
        for lesson in self.lessons or ():
            at = self.to_local(lesson.start).time()
            begins[lesson.name] = min(at, begins.get(lesson.name, at))
        return sorted(periods, key=lambda name: (begins.get(name, time.max), _make_key(name)))

    def list_periods(self, start: float, end: float, seen: Iterable[str]) -> list[str]:
        """Return the class periods in a window, and the names in `seen`, sorted.

        Without bell schedules, hours from 8 to 15 replace the class periods.
        """
        found = {*seen}
        if self.lessons is not None:
            inside = [lesson for lesson in self.lessons if lesson.start < end > start < lesson.end]
            found |= {lesson.name for lesson in inside}
            if not any(each.start <= start and end <= each.end for each in inside):
                found.add("between")
        else:
            first, last = math.floor(start / 3600.0), math.ceil(end / 3600.0)
            hours = {self.to_local(k * 3600.0).hour for k in range(first, min(last, first + 48))}
            found |= {f"{hour:02d}:00" for hour in hours if _MORNING <= hour <= _AFTERNOON}
        return self.sort_periods(found)

    def get_bounds(self, day: date) -> tuple[float, float]:
        """Return when a day and the next one begin, in Unix seconds."""
        return get_day_bounds(day, self.zone)

    def to_local(self, moment: float) -> datetime:
        """Convert Unix seconds to local time."""
        return datetime.fromtimestamp(moment, UTC).astimezone(self.zone)


@dataclass(frozen=True)
class School:
    """The configuration for reports; `codes` are the state's codes by incident kind."""

    name: str
    zone: ZoneInfo
    registry: Registry
    times: SchoolTimes = field(default_factory=SchoolTimes)
    holidays: frozenset[date] = frozenset()
    lessons_on: Callable[[date], Sequence[Lesson]] | None = None
    roles: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, str] = field(default_factory=dict)
    sites: Mapping[str, School] = field(default_factory=dict)
    """The schools of a district by name, each with its own time zone, days and periods."""
    find_shifts: Callable[[Place], Iterable[Shift]] = lambda _place: ()
    """Finds the shifts that cover a place."""

    def select_place(self, place: Place) -> School:
        """Return the school with only a place's rooms and sensors; raise `PlaceError`."""
        here = [*self.registry.rooms.values(), *self.registry.former.values()]
        for what, key, wanted in (
            ("site", "site_id", place.site),
            ("building", "building", place.building),
        ):
            known = {getattr(room, key): getattr(room, what) for room in here}
            if wanted and wanted not in known:
                raise PlaceError(_describe_unknown(what, wanted, known))
            here = [room for room in here if wanted in ("", getattr(room, key))]
        ids = {room.id for room in here}
        sensors = (s for s in self.registry.sensors.values() if s.room in ids)
        names = {room.site for room in here}
        sites = self.registry.list_sites(with_closed=True)
        sites = [site for site in sites if site.name in names]
        return replace(self, registry=Registry.build(here, sensors, sites))

    def name_place(self, place: Place) -> str:
        """Return the display name of a place; empty for the whole school."""
        sites = self.registry.list_sites(with_closed=True)
        return join_place(place.building, *(s.title for s in sites if s.id == place.site))

    def is_school_day(self, day: date) -> bool:
        """Return whether a day has class periods, or, without bell schedules, is a workday."""
        if self.sites:
            return any(school.is_school_day(day) for school in self.sites.values())
        if self.lessons_on is not None:
            return bool(self.lessons_on(day))
        return day.weekday() < _SATURDAY and day not in self.holidays

    def build_calendar(self, start: float, end: float) -> Calendar:
        """Return the school days and class periods of all days in a window."""
        days = list_days(start, end, self.zone)
        lessons = None
        if self.lessons_on is not None:
            lessons = tuple(sorted(x for d in days for x in self.lessons_on(d)))
        school_days = frozenset(filter(self.is_school_day, days))
        return Calendar(self.zone, school_days, lessons, self.times)

    def build_calendars(self, start: float, end: float) -> dict[str, Calendar]:
        """Return the calendar of each school of a district, by name."""
        return {name: school.build_calendar(start, end) for name, school in self.sites.items()}

    def list_duty(
        self, start: float, end: float, places: Iterable[Place] = (Place(),)
    ) -> Iterator[DutySpan]:
        """Yield each person's time on duty on school days; people without a shift are left out."""
        shifts = {shift.id: shift for place in places for shift in self.find_shifts(place)}
        calendar, calendars = self.build_calendar(start, end), self.build_calendars(start, end)
        for day in sorted(calendar.school_days):
            for shift in shifts.values():
                own = calendars.get(shift.site, calendar)
                bounds = own.get_bounds(day)
                inside = max(bounds[0], start), min(bounds[1], end)
                if day not in own.school_days or inside[0] >= inside[1]:
                    continue
                begin, close = (datetime.fromtimestamp(at, UTC) for at in inside)
                moments = sorted({begin, *shift.find_edges(begin, close), close})
                for first, last in pairwise(moments):
                    for found in shift.find_on_duty(first):
                        span = first.timestamp(), last.timestamp()
                        yield DutySpan(found.person, *span, shift.id)


def _describe_unknown(what: str, wanted: str, known: Mapping[str, str]) -> str:
    """Write the message for an unknown place; `known` has display names by accepted name."""
    there = (repr(key) if key == name else f"{key!r} ({name})" for key, name in known.items())
    near = suggest_name(
        wanted, {**{name: key for key, name in known.items()}, **{k: k for k in known}}
    )
    return f"no {what} {wanted!r}; choose from {', '.join(sorted(there, key=make_sort_key))}{near}"


def get_day_bounds(day: date, zone: ZoneInfo) -> tuple[float, float]:
    """Return when a local day and the next one begin, in Unix seconds."""
    start, end = (datetime.combine(day + timedelta(days=k), time(), tzinfo=zone) for k in (0, 1))
    return start.timestamp(), end.timestamp()


def list_days(start: float, end: float, zone: ZoneInfo) -> list[date]:
    """Return the local days in ``[start, end)``, Unix seconds."""
    first = datetime.fromtimestamp(start, zone).date()
    last = datetime.fromtimestamp(max(start, end - 1e-3), zone).date()
    return [first + timedelta(days=k) for k in range((last - first).days + 1)]


def _make_key(text: str) -> tuple[int, str]:
    """Return a sort key: the number in a name; names without one sort last."""
    digits = "".join(c for c in text if c.isdigit())
    return int(digits[:6] or 10**6), text
