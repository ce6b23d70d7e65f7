"""Build the roster, which decides who is notified, from the routing and duty sections."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

from alerts.duty.roster import Receiver, Roster, Route, Zone, ZoneMap, parse_matchers
from alerts.duty.shifts import ClockHours, LessonHours, Override, Shift
from alerts.duty.timetable import (
    DAY_MIN,
    WEEKDAYS,
    Bells,
    Period,
    Timetable,
    find_instant,
    parse_minutes,
)
from alerts.policy import BUILT_IN_ROUTES, build_role_receivers
from plumewatch.config.sections.duty import RoutingConfig
from plumewatch.config.sites import ALL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plumewatch.config.sections.duty import (
        BellsConfig,
        DutySections,
        OverrideConfig,
        RoutingNodeConfig,
        ShiftConfig,
        TermConfig,
        ZoneConfig,
    )
    from plumewatch.config.sections.staff import StaffConfig
    from storage.registry import Site

ALL_PERIODS = "*"
_Entry = TypeVar("_Entry", "BellsConfig", "TermConfig")


def build_roster(
    sections: DutySections, staff: Sequence[StaffConfig], sites: Mapping[str, Site]
) -> Roster:
    """Build the roster from sections without faults; `sites` maps ids to sites."""
    timetables = {
        key: build_timetable(sections, ZoneInfo(site.zone), key) for key, site in sites.items()
    }
    overrides: dict[str, list[OverrideConfig]] = {}
    for change in sections.override:
        overrides.setdefault(change.shift, []).append(change)
    shifts = []
    for entry in sections.shift:
        timetable = timetables[entry.site]
        zone = timetable.zone
        shifts.append(
            Shift(
                id=entry.id,
                receiver=entry.receiver,
                people=tuple(entry.people),
                hours=_build_hours(entry, timetable),
                zone=zone,
                site=_find_name(entry.site, sites),
                zones=tuple(entry.zones),
                first=entry.first,
                last=entry.last,
                overrides=tuple(_build_override(o, zone) for o in overrides.get(entry.id, ())),
            )
        )
    return Roster(
        root=BUILT_IN_ROUTES if sections.routing is None else _build_route(sections.routing),
        receivers=_build_receivers(sections, staff),
        shifts=tuple(shifts),
        zones=ZoneMap(tuple(build_zone(entry, sites) for entry in sections.zone)),
        timetables={site.name: timetables[key] for key, site in sites.items() if key},
        everyone=tuple(person.id for person in staff if person.role != "helpdesk"),
        reachable=frozenset(person.id for person in staff if person.notify),
        sites={person.id: find_sites(person, sites) for person in staff},
    )


def find_sites(person: StaffConfig, sites: Mapping[str, Site]) -> frozenset[str] | None:
    """Find the names of a person's sites; None means all."""
    if ALL in person.sites or not person.sites:
        return None
    return frozenset(_find_name(site, sites) for site in person.sites)


def _find_name(site: str, sites: Mapping[str, Site]) -> str:
    return sites[site].name if site and site in sites else site


def _build_override(entry: OverrideConfig, zone: ZoneInfo) -> Override:
    start, end = convert_to_utc(entry.start, zone), convert_to_utc(entry.end, zone)
    return Override(entry.shift, start, end, entry.add, entry.remove)


def build_zone(entry: ZoneConfig, sites: Mapping[str, Site]) -> Zone:
    """Build a zone of the roster."""
    site = _find_name(entry.site, sites)
    return Zone(entry.id, entry.building, entry.floor, site, tuple(entry.next))


def _build_route(node: RoutingConfig | RoutingNodeConfig) -> Route:
    routes = tuple(map(_build_route, node.routes))
    if isinstance(node, RoutingConfig):
        return Route(node.receiver, routes=routes)
    matchers = tuple(matcher for text in node.matchers for matcher in parse_matchers(text))
    return Route(node.receiver, matchers, node.continues, routes)


def _build_receivers(sections: DutySections, staff: Sequence[StaffConfig]) -> dict[str, Receiver]:
    rostered = {shift.receiver for shift in sections.shift}
    found = build_role_receivers((person.id, person.role) for person in staff)
    for role in rostered & found.keys():
        found[role] = replace(found[role], people=())
    for entry in sections.receiver:
        leads = {building: tuple(people) for building, people in entry.leads.items()}
        last = tuple(entry.catch_all or entry.people)
        found[entry.id] = Receiver(entry.id, tuple(entry.people), leads, last)
    return found


def select_entries(entries: Sequence[_Entry], site: str) -> list[_Entry]:
    """Select the entries of a site; if it has none, the entries for all sites."""
    own = [entry for entry in entries if site and entry.site == site]
    return own or [entry for entry in entries if not entry.site]


def build_timetable(sections: DutySections, zone: ZoneInfo, site: str = "") -> Timetable:
    """Build a site's bell schedules and holidays; without a site, the ones for all sites."""
    holidays = (
        entry.first + timedelta(days=n)
        for entry in sections.holiday
        if entry.site in ("", site)
        for n in range(((entry.last or entry.first) - entry.first).days + 1)
    )
    bells = tuple(map(_build_bells, select_entries(sections.bells, site)))
    return Timetable(zone, bells, frozenset(holidays))


def _build_bells(entry: BellsConfig) -> Bells:
    return Bells(
        id=entry.id,
        periods=tuple(
            Period(p.name, parse_minutes(p.start), parse_minutes(p.end, latest=DAY_MIN))
            for p in entry.periods
        ),
        weekdays=frozenset() if entry.dates else number_weekdays(entry.days),
        dates=frozenset(entry.dates),
        first=entry.first,
        last=entry.last,
    )


def number_weekdays(days: Sequence[str] | None) -> frozenset[int]:
    """Return weekday numbers, with Monday as 0; None means every day."""
    return frozenset(map(WEEKDAYS.index, WEEKDAYS if days is None else days))


def _build_hours(entry: ShiftConfig, timetable: Timetable) -> LessonHours | ClockHours:
    days = number_weekdays(entry.days)
    if entry.start is not None and entry.end is not None:
        start, end = parse_minutes(entry.start), parse_minutes(entry.end, latest=DAY_MIN)
        holidays = frozenset() if entry.on_holidays else timetable.holidays
        return ClockHours(timetable.zone, start, end, days, holidays)
    named = frozenset() if ALL_PERIODS in entry.periods else frozenset(entry.periods)
    return LessonHours(timetable, days, named)


def convert_to_utc(local: datetime, zone: ZoneInfo) -> datetime:
    """Convert a time to UTC; without an offset, it is a local time in `zone`."""
    if local.tzinfo is not None:
        return local.astimezone(UTC)
    day = date(local.year, local.month, local.day)
    return find_instant(zone, day, local.hour * 60 + local.minute) + timedelta(seconds=local.second)
