"""From what a school writes about who hears to the roster that decides it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from alerts.duty.calendar import MAX_CALENDAR_BYTES, CalendarHours
from alerts.duty.roster import Receiver, Roster, Zone, ZoneMap
from alerts.duty.shifts import ClockHours, LessonHours, Override, Shift, Turns
from alerts.duty.timetable import DAY_MIN, WEEKDAYS, Bells, Period, Timetable, instant, minutes
from alerts.errors import CalendarError
from alerts.policy import BUILT_IN_ROUTES, role_receivers
from alerts.routing.matchers import parse_matchers
from alerts.routing.tree import Route

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from zoneinfo import ZoneInfo

    from alerts.duty.shifts import Hours
    from plumewatch.config.sections.duty import (
        BellsConfig,
        DutySections,
        OverrideConfig,
        RoutingNodeConfig,
        ShiftConfig,
        ZoneConfig,
    )
    from plumewatch.config.sections.staff import StaffConfig

ALL_PERIODS = "*"


def roster_of(sections: DutySections, staff: Sequence[StaffConfig], zone: ZoneInfo) -> Roster:
    """Make the roster of sections without faults (`plumewatch.config.duty_faults`).

    Raises
    ------
    CalendarError
        If a calendar cannot be read.
    """
    timetable = timetable_of(sections, zone)
    changes: dict[str, list[Override]] = {}
    for entry in sections.override:
        changes.setdefault(entry.shift, []).append(_override(entry, zone))
    names = names_of(staff)
    shifts = tuple(
        Shift(
            id=entry.id,
            receiver=entry.receiver,
            people=tuple(entry.people),
            hours=hours_of(entry, timetable, names),
            zone=zone,
            zones=tuple(entry.zones),
            turns=_turns(entry, zone),
            first=entry.first,
            last=entry.last,
            overrides=tuple(changes.get(entry.id, ())),
        )
        for entry in sections.shift
    )
    return Roster(
        root=routes_of(sections),
        receivers=_receivers(sections, staff),
        shifts=shifts,
        zones=ZoneMap(tuple(map(zone_of, sections.zones))),
        timetable=timetable,
        everyone=tuple(person.id for person in staff),
        reachable=frozenset(person.id for person in staff if person.notify),
    )


def zone_of(entry: ZoneConfig) -> Zone:
    """Return a zone as the roster has it."""
    return Zone(entry.id, entry.building, entry.floor, entry.site, tuple(entry.next))


def names_of(staff: Sequence[StaffConfig]) -> dict[str, str]:
    """Ids and names in lower case, to ids; a name that two people have is nobody's."""
    found: dict[str, str] = {}
    shared: set[str] = set()
    for person in staff:
        for key in {person.id.lower(), person.name.lower()}:
            if found.setdefault(key, person.id) != person.id:
                shared.add(key)
    return {key: person for key, person in found.items() if key not in shared}


def routes_of(sections: DutySections) -> Route:
    """Make the tree of routes; the built-in one if none is written.

    Raises
    ------
    MatcherError
        If a condition cannot be read.
    """
    if sections.routing is None:
        return BUILT_IN_ROUTES
    return Route(sections.routing.receiver, routes=tuple(map(_route, sections.routing.routes)))


def _route(node: RoutingNodeConfig) -> Route:
    return Route(
        node.receiver,
        tuple(matcher for text in node.matchers for matcher in parse_matchers(text)),
        node.goes_on,
        tuple(map(_route, node.routes)),
    )


def _receivers(sections: DutySections, staff: Sequence[StaffConfig]) -> dict[str, Receiver]:
    """Roles, which hear by their shifts if they have any, and what is written."""
    rostered = {shift.receiver for shift in sections.shift}
    found = role_receivers((person.id, person.role) for person in staff)
    for role in rostered & found.keys():
        found[role] = Receiver(role, catch_all=found[role].catch_all)
    for entry in sections.receiver:
        found[entry.id] = Receiver(
            entry.id,
            tuple(entry.people),
            {building: tuple(people) for building, people in entry.leads.items()},
            tuple(entry.catch_all or entry.people),
        )
    return found


def timetable_of(sections: DutySections, zone: ZoneInfo) -> Timetable:
    """Bell schedules and holidays."""
    holidays = (
        entry.first + timedelta(days=n)
        for entry in sections.holiday
        for n in range(((entry.last or entry.first) - entry.first).days + 1)
    )
    return Timetable(zone, tuple(map(_bells, sections.bells)), frozenset(holidays))


def _bells(entry: BellsConfig) -> Bells:
    return Bells(
        id=entry.id,
        periods=tuple(
            Period(p.name, minutes(p.start), minutes(p.end, latest=DAY_MIN)) for p in entry.periods
        ),
        weekdays=frozenset() if entry.dates else weekdays(entry.days),
        dates=frozenset(entry.dates),
        first=entry.first,
        last=entry.last,
    )


def weekdays(days: Sequence[str] | None) -> frozenset[int]:
    """Numbers of days of the week, Monday is 0; every day if none is named."""
    return frozenset(map(WEEKDAYS.index, WEEKDAYS if days is None else days))


def hours_of(entry: ShiftConfig, timetable: Timetable, names: dict[str, str]) -> Hours:
    """When a shift runs.

    Raises
    ------
    CalendarError
        If its calendar cannot be read.
    """
    days = weekdays(entry.days)
    if entry.calendar_file is not None:
        raw = _read(entry.calendar_file)
        return CalendarHours(raw, timetable.zone, names=None if entry.people else names)
    if entry.start is not None and entry.end is not None:
        return ClockHours(
            timetable.zone,
            minutes(entry.start),
            minutes(entry.end, latest=DAY_MIN),
            days,
            frozenset() if entry.on_holidays else timetable.holidays,
        )
    named = frozenset() if ALL_PERIODS in entry.periods else frozenset(entry.periods)
    return LessonHours(timetable, days, named)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_CALENDAR_BYTES + 1)
    except OSError as error:
        raise CalendarError(f"cannot be read: {error.strerror}") from error


def _turns(entry: ShiftConfig, zone: ZoneInfo) -> Turns | None:
    turns = entry.turns
    if turns is None:
        return None
    return Turns(zone, turns.since, minutes(turns.at), turns.days)


def _override(entry: OverrideConfig, zone: ZoneInfo) -> Override:
    start, end = moment(entry.start, zone), moment(entry.end, zone)
    return Override(entry.shift, start, end, entry.add, entry.remove)


def moment(written: datetime, zone: ZoneInfo) -> datetime:
    """Instant that somebody wrote: with an offset, or as wall time of the school."""
    if written.tzinfo is not None:
        return written.astimezone(UTC)
    day = date(written.year, written.month, written.day)
    minute = instant(zone, day, written.hour * 60 + written.minute)
    return minute + timedelta(seconds=written.second)
