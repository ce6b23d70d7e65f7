"""All data for a report, read once from the state database and the time series."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

from language.messages import _, write_date
from reports import read
from reports.kpis import CountedRows, Kpis, compute_kpis, select_counted
from reports.rows import AIR, HEALTH, SensorDay, name_rooms
from reports.school import Place, get_day_bounds, list_days
from reports.suppress import Published, hide_small_counts
from storage.registry import make_sort_key

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from datetime import date
    from zoneinfo import ZoneInfo

    from reports.rows import DutySpan, IncidentRow, NoticeRow
    from reports.school import Calendar, Period, School
    from storage.registry import Registry
    from storage.timeseries import Series

_FIELDS: Final = ("online_s", "period_s", "received", "missing", "expected")
_DAY_S: Final = 86_400.0
_NO_SUMS: Final = (0.0,) * len(_FIELDS)


@dataclass(frozen=True)
class Facts:
    """What happened at some places in a half-open time window; times are Unix seconds.

    - `deleted_before`: retention deleted incidents opened before this time; -inf if it deleted
      none.
    - `recorded_from`: when the complete record of incidents begins; inf if there is no record.
    - `missed_before`: number of earlier incidents that nobody has responded to or checked.
    - `period`: the window, if it was requested by name.
    - `before`, `year_before`: facts of the previous period, and of the same period a year earlier,
      if they are on record.
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
    read_duty: Callable[[], Iterable[DutySpan]] = tuple
    roles: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, str] = field(default_factory=dict)
    place: str = ""
    deleted_before: float = -math.inf
    recorded_from: float = -math.inf
    missed_before: int = 0
    period: Period | None = None
    before: Facts | None = None
    year_before: Facts | None = None
    calendars: Mapping[str, Calendar] = field(default_factory=dict)
    """Calendar of each school of a district, by name."""

    def find_calendar(self, row: IncidentRow) -> Calendar:
        """Return the calendar of an incident's school."""
        return self.calendars.get(row.site, self.calendar)

    @property
    def names_sites(self) -> bool:
        """Whether there are several schools, so that place names include the school."""
        return any(room.names_site for room in self.registry.rooms.values())

    def list_whole_days(self) -> list[date]:
        """Return the school days that are over, on record and entirely inside the window."""
        end = min(self.end, self.now)
        return [
            day
            for day in list_days(self.start, end, self.calendar.zone)
            if day in self.school_days
            and self.calendar.get_bounds(day)[0] >= max(self.start, self.recorded_from)
            and self.calendar.get_bounds(day)[1] <= end
        ]

    @property
    def covered_from(self) -> float:
        """Start of the part of the window that is on record, Unix seconds."""
        return min(max(self.start, self.recorded_from), self.end)

    @cached_property
    def unrecorded_days(self) -> frozenset[date]:
        """School days before the record begins, or on which no sensor was online at all."""
        calendar = self.calendar
        online = {day.day for day in self.sensor_days if day.online_s > 0}
        known = [day.day for day in self.sensor_days]
        return frozenset(
            day
            for day in calendar.school_days
            if calendar.get_bounds(day)[1] <= self.covered_from
            or (known and min(known) <= day <= max(known) and day not in online)
        )

    @cached_property
    def school_days(self) -> frozenset[date]:
        """School days on record."""
        return self.calendar.school_days - self.unrecorded_days

    def describe_missing(self) -> str:
        """Describe what retention deleted from the window; empty if it deleted nothing."""
        if self.deleted_before <= self.start:
            return ""
        day = self.calendar.to_local(min(self.deleted_before, self.end))
        return _(
            "Retention deleted incidents before %(day)s.", day=write_date(day, "date and time")
        )

    @cached_property
    def duty(self) -> tuple[DutySpan, ...]:
        """The times at which each person was on duty."""
        return tuple(self.read_duty())

    @cached_property
    def shifts(self) -> Mapping[str, str]:
        """The shift of the person who was notified first, if they had one, by incident id."""
        local = self.calendar.to_local
        spans: defaultdict[tuple[str, date], list[DutySpan]] = defaultdict(list)
        for span in self.duty:
            for day in {local(span.start).date(), local(span.end - 1e-3).date()}:
                spans[span.person, day].append(span)
        delivered = [n for n in self.notices if n.delivered_at is not None]
        delivered.sort(key=lambda n: n.delivered_at or 0.0, reverse=True)
        first = {notice.incident: notice for notice in delivered}
        found = {}
        for incident, notice in first.items():
            at = notice.created_at
            own = spans.get((notice.person, local(at).date()), ())
            shift = next((s.shift for s in own if s.start <= at < s.end), "")
            if shift:
                found[incident] = shift
        return found

    @cached_property
    def counted(self) -> CountedRows:
        """The rows that the key figures count."""
        return select_counted(self.incidents, self.notices, self.sensor_days)

    def is_school_day(self, row: IncidentRow) -> bool:
        """Return whether an incident was opened on a school day."""
        calendar = self.find_calendar(row)
        return calendar.to_local(row.opened_at).date() in calendar.school_days

    @cached_property
    def days_of_sensors(self) -> Mapping[str, list[SensorDay]]:
        """The days of each sensor, by its id."""
        found: defaultdict[str, list[SensorDay]] = defaultdict(list)
        for day in self.counted.sensor_days:
            found[day.sensor].append(day)
        return found

    @cached_property
    def room_names(self) -> Mapping[str, str]:
        """Unique display names of the rooms, by room id."""
        rooms = (*self.registry.rooms.values(), *self.registry.former.values())
        known = [(r.id, r.name, r.floor, r.whole_building) for r in rooms]
        left = {row.room_id: row.room for row in self.incidents} | dict.fromkeys(
            (room.id for room in rooms), ""
        )
        others = [(room, name, "", "") for room, name in left.items() if name]
        return name_rooms([*known, *others])

    @cached_property
    def air(self) -> list[IncidentRow]:
        """Counted incidents of vaping and smoke."""
        return [row for row in self.counted.incidents if row.kind in AIR]

    @cached_property
    def alerts(self) -> list[IncidentRow]:
        """Counted incidents, except incidents about devices."""
        return [row for row in self.counted.incidents if row.kind not in HEALTH]

    @cached_property
    def room_totals(self) -> Mapping[str, int]:
        """Number of vaping and smoke incidents by room, highest first."""
        counts = Counter(self.room_names[row.room_id] for row in self.air)
        return dict(sorted(counts.items(), key=lambda room: (-room[1], make_sort_key(room[0]))))

    @cached_property
    def published(self) -> Published:
        """Vaping and smoke by room and class period, without counts too small to publish."""
        counts = Counter(
            (self.room_names[row.room_id], self.find_calendar(row).find_period(row.opened_at))
            for row in self.air
        )
        seen = {period for _room, period in counts}
        periods = self.calendar.list_periods(self.covered_from, min(self.end, self.now), seen)
        rows = {room: [counts[room, period] for period in periods] for room in self.room_totals}
        return hide_small_counts(periods, rows)

    @cached_property
    def kpis(self) -> Kpis:
        """All key figures of the window."""
        return compute_kpis(
            self.counted, self.duty, self.now, self.recorded_from, self.is_school_day
        )


def gather(
    school: School,
    db: sqlite3.Connection,
    place: Place,
    start: float,
    end: float,
    now: float,
    *,
    series: Series | None = None,
    only: Registry | None = None,
    days_of_sensors: int | None = None,
) -> Facts:
    """Read all data for a report on a place, or on the rooms of `only`; this blocks.

    Sensor availability is read for the last `days_of_sensors` days of the window, by default for
    all days. Raises `PlaceError` or `StorageError`.
    """
    here = school.select_place(place) if only is None else replace(school, registry=only)
    over = min(end, now)
    part = here.registry
    names = {} if only is None else dict.fromkeys(room.site for room in only.rooms.values())
    places = [place] if only is None else [Place(name) for name in names]
    rooms = None if place == Place() and only is None else [*part.rooms, *part.former]
    incidents = read.read_incidents(db, school.registry, start, end, rooms)
    notices = read.read_notices(db, school.roles, start, end, rooms)
    facts = Facts(
        school=school.name,
        start=start,
        end=end,
        now=now,
        registry=here.registry,
        calendar=school.build_calendar(start, over),  # future days don't count as school days
        incidents=tuple(incidents),
        notices=tuple(notices),
        read_duty=partial(school.list_duty, start, over, places),
        roles=school.roles,
        codes=school.codes,
        place=school.name_place(place),
        deleted_before=read.read_deleted_before(db),
        recorded_from=read.read_recorded_from(db),
        missed_before=read.count_missed(db, start, rooms),
        calendars=school.build_calendars(start, over),
    )
    if series is None:
        return facts
    since = start if days_of_sensors is None else max(start, over - _DAY_S * days_of_sensors)
    days = read_sensor_days(series, here.registry.sensors, since, over, facts.calendar.zone)
    return replace(facts, sensor_days=tuple(days))


def read_sensor_days(
    series: Series, sensors: Collection[str], since: float, until: float, zone: ZoneInfo
) -> Iterator[SensorDay]:
    """Yield the availability of each sensor on each day.

    A sensor is expected to be online all day, starting with its first record in the window. Times
    when the service did not run count as unavailable.
    """
    known: set[str] = set()
    for day in list_days(since, until, zone):
        start, end = (max(since, min(at, until)) for at in get_day_bounds(day, zone))
        if start < end:
            found = series.sum_health(_FIELDS, start, end, sensors)
            for sensor in sensors:
                online_s, period_s, received, missing, expected = found.get(sensor, _NO_SUMS)
                if sensor in found or sensor in known:
                    whole = end - start if sensor in known else period_s
                    counts = int(received), int(missing), expected
                    yield SensorDay(sensor, day, min(online_s, whole), whole, *counts)
            known.update(found)
