"""From configuration, state and series to what a report is made from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from plumewatch.cli.format_time import SpanError
from plumewatch.config.paths import DataPaths
from plumewatch.config.roster import timetable_of
from plumewatch.config.timeseries_settings import opened_series
from plumewatch.service.data_folder import opened_state
from reports import read
from reports.facts import Calendar, Facts, Lesson, days_of, weekdays
from reports.periods import SchoolTimes, Term
from reports.rows import DutySpan, SensorDay
from storage import firmware
from storage.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import date

    from alerts.duty.shifts import Shift
    from plumewatch.config.model import PlumewatchConfig
    from storage.timeseries import Series

_FIELDS: Final = ("online_s", "period_s", "received", "missing")


@dataclass(frozen=True, slots=True)
class Place:
    """What a report is about; empty for all."""

    site: str = ""
    building: str = ""

    def __str__(self) -> str:
        """Say it in words; empty for all."""
        return ", ".join(part for part in (self.building, self.site) if part)


def registry_of(config: PlumewatchConfig, place: Place) -> Registry:
    """Rooms and sensors of a place.

    Raises
    ------
    SpanError
        If there is no such site or building; it names those there are.
    """
    registry = config.registry()
    for key, asked in (("site", place.site), ("building", place.building)):
        there = sorted({getattr(room, key) for room in registry.rooms.values()})
        if asked and asked not in there:
            raise SpanError(f"--{key} {asked!r}: there is {', '.join(map(repr, there))}")
    rooms = [
        room
        for room in registry.rooms.values()
        if place.site in ("", room.site) and place.building in ("", room.building)
    ]
    if not rooms:
        raise SpanError(f"site {place.site!r} has no building {place.building!r}")
    kept = {room.id for room in rooms}
    return Registry.of(rooms, (s for s in registry.sensors.values() if s.room in kept))


def calendar_of(config: PlumewatchConfig, start: float, end: float) -> Calendar:
    """Days with school in a window, and their lessons.

    Where bells are written, a day has school if they ring; else if it is no weekend and no holiday.
    """
    zone, times = config.zone(), times_of(config)
    days = days_of(start, end, zone)
    timetable = timetable_of(config, zone)
    if not timetable.bells:
        return Calendar(zone, weekdays(days) - timetable.holidays, times=times)
    lessons = [
        Lesson(span.start.timestamp(), span.end.timestamp(), period.name)
        for day in days
        for period in timetable.periods_on(day)
        for span in (timetable.span(day, period),)
    ]
    rung = frozenset(day for day in days if timetable.periods_on(day))
    return Calendar(zone, rung, tuple(sorted(lessons)), times)


def school_day_of(config: PlumewatchConfig) -> Callable[[float], bool]:
    """Return what tells whether a moment, Unix seconds, is on a day with school."""
    zone = config.zone()

    @cache
    def has_school(day: date) -> bool:
        noon = datetime.combine(day, time(12), zone).timestamp()
        return day in calendar_of(config, noon, noon).school_days

    return lambda moment: has_school(datetime.fromtimestamp(moment, zone).date())


def times_of(config: PlumewatchConfig) -> SchoolTimes:
    """Terms and school years."""
    terms = tuple(Term(term.name, term.first, term.last) for term in config.term)
    return SchoolTimes(terms, config.reports.school_year_month)


def shifts_at(config: PlumewatchConfig, place: Place) -> list[Shift]:
    """Return the shifts of people who are on duty at a place, or everywhere."""
    near = {
        zone.id
        for zone in config.zones
        if place.building in ("", zone.building)
        and (not zone.site or place.site in ("", zone.site))
    }
    return [s for s in config.roster().shifts if not s.zones or not near.isdisjoint(s.zones)]


def duty_of(
    shifts: Sequence[Shift], calendar: Calendar, start: float, end: float
) -> Iterator[DutySpan]:
    """Yield who was on duty when by the shifts, on days with school.

    People without shifts, who are always told, have no hours.

    Parameters
    ----------
    calendar : Calendar
        Of the days that the window touches.
    start, end : float
        Window, half-open, Unix seconds; nothing outside of it is counted.
    """
    for day in sorted(calendar.school_days):
        bounds = calendar.bounds(day)
        inside = max(bounds[0], start), min(bounds[1], end)
        if inside[0] >= inside[1]:
            continue
        begun, over = (datetime.fromtimestamp(at, UTC) for at in inside)
        for shift in shifts:
            moments = sorted({begun, *shift.edges(begun, over), over})
            for first, last in pairwise(moments):
                for found in shift.on_duty(first):
                    span = first.timestamp(), last.timestamp()
                    yield DutySpan(found.person, *span, shift.id)


def duty_between(
    config: PlumewatchConfig, shifts: Sequence[Shift], start: float, end: float
) -> tuple[DutySpan, ...]:
    """Return who was on duty when in a window, as reports count it."""
    return tuple(duty_of(shifts, calendar_of(config, start, end), start, end))


def gathered(
    config: PlumewatchConfig,
    place: Place,
    start: float,
    end: float,
    now: float,
    *,
    with_sensors: bool = True,
    with_duty: bool = True,
    on_day: Callable[[int, int], None] = lambda _done, _of: None,
) -> Facts:
    """Read all that a report needs; blocks.

    Parameters
    ----------
    start, end, now : float
        Window, half-open, and moment of the report, Unix seconds.
    with_sensors : bool
        Read how sensors were, which takes longest.
    with_duty : bool
        Work out who was on duty.
    on_day : callable
        Progress: days read, of how many.

    Raises
    ------
    SpanError
        If there is no such place.
    StorageError, sqlite3.Error
        If state or series cannot be read.
    """
    registry = registry_of(config, place)
    paths = DataPaths(config.data_dir)
    roles = {member.id: member.role for member in config.staff}
    calendar = calendar_of(config, start, min(end, now))  # what is to come is no school day yet
    with opened_state(paths.state) as db:
        incidents = read.incidents(db, config.registry(), start, end)
        notices = read.notices(db, roles, start, end)
        deleted_before, recorded_from = read.deleted_before(db), read.recorded_from(db)
        told = firmware.current(db) if with_sensors else {}
    if place != Place():
        incidents = [row for row in incidents if row.room_id in registry.rooms]
        kept = {row.id for row in incidents}
        notices = [notice for notice in notices if notice.incident in kept]
    facts = Facts(
        school=config.site,
        start=start,
        end=end,
        now=now,
        registry=registry,
        calendar=calendar,
        incidents=tuple(incidents),
        notices=tuple(notices),
        duty=tuple(duty_of(shifts_at(config, place), calendar, start, min(end, now)))
        if with_duty
        else (),
        roles=roles,
        codes={kind.value: code for kind, code in config.reports.state_codes.items()},
        place=str(place),
        firmware=told,
        deleted_before=deleted_before,
        recorded_from=recorded_from,
    )
    if not with_sensors:
        return facts
    with opened_series(config) as series:
        return replace(facts, sensor_days=tuple(sensor_days(series, facts, on_day)))


def sensor_days(
    series: Series, facts: Facts, on_day: Callable[[int, int], None]
) -> Iterator[SensorDay]:
    """Yield how each sensor was on each day with school.

    A day is expected whole, from the sensor's first record in the window on: while the service did
    not run, nobody watched. Of the first day, what was looked at is expected.
    """
    days = days_of(facts.start, facts.end, facts.calendar.zone)
    known: set[str] = set()
    for k, day in enumerate(days, start=1):
        start, end = _bounds(facts, day)
        if start < end:
            found = series.sums("sensor_health", _FIELDS, start, end, facts.registry.sensors)
            for sensor in facts.registry.sensors:
                online_s, period_s, received, missing = found.get(sensor, (0.0,) * len(_FIELDS))
                if sensor in found or sensor in known:
                    expected = end - start if sensor in known else period_s
                    yield SensorDay(
                        sensor, day, min(online_s, expected), expected, int(received), int(missing)
                    )
            known.update(found)
        on_day(k, len(days))


def _bounds(facts: Facts, day: date) -> tuple[float, float]:
    """Return a day inside the window and not in the future, Unix seconds."""
    start, end = facts.calendar.bounds(day)
    return max(start, facts.start), min(end, facts.end, facts.now)
