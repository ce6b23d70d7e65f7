"""Find faults between entries of routing, zones, bells, shifts and overrides."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final

from alerts.access.directory import is_from_directory
from alerts.duty.roster import LABELS, ZoneMap, choose_routes, parse_matchers, walk_routes
from alerts.errors import MatcherError
from alerts.policy import FACILITIES, ROUTED, STAFF, Severity
from language.messages import defer, mark
from plumewatch.config.faults import ConfigFault, find_unknown, list_some
from plumewatch.config.roster import ALL_PERIODS, build_zone, convert_to_utc
from plumewatch.config.sections.duty import DutySections

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from datetime import date

    from alerts.duty.roster import Route
    from plumewatch.config.draft import Draft
    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.config.sections.duty import (
        BellsConfig,
        RoutingConfig,
        RoutingNodeConfig,
        ShiftConfig,
    )

_MAX_HOLIDAYS: Final = 366
_RECEIVER: Final = mark("must be the id of a [[receiver]] or a role: %(known)s")
_STAFF: Final = mark("must be the id of a [[staff]]: %(known)s")
_OF_ROSTER: Final = (*DutySections.model_fields, "timezone", "room", "sensor", "staff", "sites")


def find_duty_faults(draft: Draft) -> Iterator[ConfigFault]:
    """Find faults in routing and duty; if there are none, find routes that no incident reaches."""
    config = draft.config
    people = {person.id for person in config.staff}
    if config.sign_in.group:  # people from groups are not listed here
        named = [name for shift in config.shift for name in shift.people]
        named += [name for change in config.override for name in (change.add, change.remove)]
        people |= set(filter(is_from_directory, named))
    receivers = {STAFF, FACILITIES, *(r.id for r in config.receiver)}
    receivers |= {p.role for p in config.staff}
    found = [
        *_find_routing_faults(draft, receivers),
        *_find_receiver_faults(draft, people),
        *_find_zone_faults(draft),
        *_find_bells_faults(draft),
        *_find_holiday_faults(draft),
        *_find_term_faults(draft),
        *_find_shift_faults(draft, people, receivers),
        *_find_override_faults(draft, people),
    ]
    yield from found
    if not found and config.routing is not None and draft.is_valid(*_OF_ROSTER):
        yield from _find_unreachable(config.build_roster().root, _list_places(config))


def _find_order_faults(path: str, first: date | None, last: date | None) -> Iterator[ConfigFault]:
    if first and last and first > last:
        yield ConfigFault(
            f"{path}.last", str(last), defer("must not be before first, %(first)s", first=first)
        )


def _find_routing_faults(draft: Draft, receivers: Collection[str]) -> Iterator[ConfigFault]:
    routing = draft.config.routing
    if routing is None or not draft.is_table("routing"):
        return
    if not routing.receiver:
        allowed = "must name the receiver of incidents that no route matches"
        yield ConfigFault("routing.receiver", "missing", allowed)
    else:
        yield from find_unknown("routing.receiver", [routing.receiver], receivers, _RECEIVER)
    for path, node in _walk_nodes("routing", routing):
        yield from find_unknown(f"{path}.receiver", [node.receiver], receivers, _RECEIVER)
        for k, text in enumerate(node.matchers):
            yield from _find_matcher_faults(f"{path}.matchers.{k}", text)


def _walk_nodes(
    path: str, parent: RoutingConfig | RoutingNodeConfig
) -> Iterator[tuple[str, RoutingNodeConfig]]:
    for i, node in enumerate(parent.routes):
        yield f"{path}.routes.{i}", node
        yield from _walk_nodes(f"{path}.routes.{i}", node)


def _find_matcher_faults(path: str, text: str) -> Iterator[ConfigFault]:
    try:
        matchers = parse_matchers(text)
    except MatcherError as error:
        yield ConfigFault(path, repr(text), f'must be conditions such as kind="vape": {error}')
        return
    if not matchers:
        yield ConfigFault(path, repr(text), "must have at least one condition")
    yield from find_unknown(
        path, (matcher.name for matcher in matchers), LABELS, "must be a label: %(known)s"
    )


def _find_receiver_faults(draft: Draft, people: Collection[str]) -> Iterator[ConfigFault]:
    config = draft.config
    rostered = {shift.receiver for shift in config.shift}
    buildings = {room.building for room in config.room}
    routing = config.routing
    named: set[str | None] | None = {"staff", "facilities"}
    if routing is not None:
        named = {routing.receiver, *(node.receiver for _, node in _walk_nodes("routing", routing))}
    if not draft.is_valid("routing") or (routing is not None and not routing.receiver):
        named = None
    for path, entry in draft.iterate_tables("receiver", config.receiver):
        yield from find_unknown(f"{path}.people", entry.people, people, _STAFF)
        yield from find_unknown(f"{path}.catch_all", entry.catch_all, people, _STAFF)
        yield from find_unknown(
            f"{path}.leads", entry.leads, buildings, "must be a building of a [[room]]: %(known)s"
        )
        for building, leads in entry.leads.items():
            yield from find_unknown(f"{path}.leads.{building}", leads, people, _STAFF)
        if not draft.is_valid(path):
            continue
        if entry.people and entry.id in rostered:
            allowed = "must be left out: people without a shift are paged via leads or catch_all"
            yield ConfigFault(f"{path}.people", "given together with a [[shift]]", allowed)
        if not entry.people and entry.id not in rostered:
            allowed = "must name people, or a [[shift]] must name this receiver"
            yield ConfigFault(f"{path}.people", "nobody", allowed)
        if not entry.people and not entry.catch_all:
            allowed = "must name at least one person, who is notified if nobody on duty responds"
            yield ConfigFault(f"{path}.catch_all", "nobody", allowed)
        if named is not None and entry.id not in named:
            allowed = "must be used by a route; none leads to it"
            yield ConfigFault(f"{path}.id", repr(entry.id), allowed)


def _find_zone_faults(draft: Draft) -> Iterator[ConfigFault]:
    config = draft.config
    ids = {zone.id for zone in config.zone}
    places: dict[tuple[str, str, str], str] = {}
    zones = list(draft.iterate_valid("zone", config.zone))
    for path, entry in zones:
        what = "must be the id of another [[zone]]: %(known)s"
        yield from find_unknown(f"{path}.next", entry.next, ids - {entry.id}, what)
        place = (entry.site, entry.building, entry.floor)
        if places.setdefault(place, path) != path:
            value = repr(", ".join(part for part in place if part))
            allowed = f"must not be the same place as {config.locate_entry(places[place])}"
            yield ConfigFault(path, value, allowed)
    if not zones or len(zones) < len(config.zone):
        return  # the room's zone may be faulty
    zone_map = ZoneMap(tuple(build_zone(zone, config.index_sites()) for _, zone in zones))
    outside: dict[tuple[str, str], list[str]] = {}
    for _, room in draft.iterate_valid("room", config.room):
        site = config.find_site(room.site).name
        labels = {"site": site, "building": room.building, "floor": room.floor}
        if zone_map.find_zone(labels) is None:
            where = ", ".join(filter(None, (room.building, room.floor)))
            outside.setdefault((site, where), []).append(room.id)
    for (_site, where), rooms in outside.items():
        more = f" and {len(rooms) - 1} more" if len(rooms) > 1 else ""
        allowed = f"must be in a [[zone]], because zones are configured; none covers {where!r}"
        yield ConfigFault("zone", f"room {rooms[0]!r}{more}", allowed)


def _find_bells_faults(draft: Draft) -> Iterator[ConfigFault]:
    rung: dict[tuple[str, str, str], str] = {}
    for path, entry in draft.iterate_valid("bells", draft.config.bells):
        if bool(entry.days) == bool(entry.dates):
            yield ConfigFault(
                path, "both or neither of days and dates", defer("exactly one of them")
            )
        yield from _find_order_faults(path, entry.first, entry.last)
        if entry.dates and (entry.first or entry.last):
            yield ConfigFault(path, "first or last together with dates", defer("must be left out"))
        yield from _find_period_faults(path, entry)
        if not entry.first and not entry.last:
            for day, name in product(entry.days or (), {p.name for p in entry.periods}):
                other = rung.setdefault((entry.site, day, name), path)
                if other != path:
                    allowed = (
                        f"is also on {day} in {draft.config.locate_entry(other)};"
                        " rename it, or give both schedules first and last"
                    )
                    yield ConfigFault(f"{path}.periods", repr(name), allowed)


def _find_period_faults(path: str, entry: BellsConfig) -> Iterator[ConfigFault]:
    names: set[str] = set()
    for k, period in enumerate(entry.periods):
        where = f"{path}.periods.{k}"
        if period.start >= period.end:
            allowed = defer("a period must start before it ends, on the same day")
            yield ConfigFault(where, f"{period.start}-{period.end}", allowed)
        if period.name in names:
            yield ConfigFault(
                f"{where}.name", repr(period.name), defer("must be unique in its schedule")
            )
        names.add(period.name)


def _find_holiday_faults(draft: Draft) -> Iterator[ConfigFault]:
    for path, holiday in draft.iterate_valid("holiday", draft.config.holiday):
        yield from _find_order_faults(path, holiday.first, holiday.last)
        if holiday.last and (holiday.last - holiday.first).days > _MAX_HOLIDAYS:
            yield ConfigFault(
                path, repr(holiday.name), defer("at most %(n)s days", n=_MAX_HOLIDAYS)
            )


def _find_term_faults(draft: Draft) -> Iterator[ConfigFault]:
    terms = list(draft.iterate_valid("term", draft.config.term))
    for k, (path, term) in enumerate(terms):
        yield from _find_order_faults(path, term.first, term.last)
        for other, earlier in ((o, e) for o, e in terms[:k] if e.site == term.site):
            if term.name.casefold() == earlier.name.casefold():
                allowed = f"must differ from {draft.config.locate_entry(f'{other}.name')}"
                yield ConfigFault(f"{path}.name", repr(term.name), allowed)
            if term.first <= earlier.last and earlier.first <= term.last:
                value = f"{term.first} to {term.last}"
                yield ConfigFault(
                    path, value, f"must not overlap {draft.config.locate_entry(other)}"
                )


def _find_shift_faults(
    draft: Draft, people: Collection[str], receivers: Collection[str]
) -> Iterator[ConfigFault]:
    config = draft.config
    zones = {zone.id for zone in config.zone}
    periods = {period.name for bells in config.bells for period in bells.periods}
    for path, entry in draft.iterate_tables("shift", config.shift):
        yield from find_unknown(f"{path}.receiver", [entry.receiver], receivers, _RECEIVER)
        yield from find_unknown(f"{path}.people", entry.people, people, _STAFF)
        yield from find_unknown(
            f"{path}.zones", entry.zones, zones, mark("must be the id of a [[zone]]: %(known)s")
        )
        named = (name for name in entry.periods if name != ALL_PERIODS)
        what = f"must be a period of a [[bells]], or {ALL_PERIODS!r} for all: %(known)s"
        yield from find_unknown(f"{path}.periods", named, periods, what)
        if ALL_PERIODS in entry.periods and not periods:
            yield ConfigFault(f"{path}.periods", repr(ALL_PERIODS), "there must be a [[bells]]")
        yield from _find_order_faults(path, entry.first, entry.last)
        if draft.is_valid(path):
            yield from _find_hours_faults(path, entry)


def _find_hours_faults(path: str, entry: ShiftConfig) -> Iterator[ConfigFault]:
    by_clock = entry.start is not None or entry.end is not None
    if bool(entry.periods) is by_clock:
        value = "periods, and start or end" if by_clock else "no hours"
        yield ConfigFault(path, value, defer("must have either periods, or start and end"))
        return
    if by_clock and (entry.start is None or entry.end is None):
        yield ConfigFault(path, "one of start and end", defer("both of them"))
    if entry.on_holidays and not by_clock:
        yield ConfigFault(f"{path}.on_holidays", "true", "only together with start and end")
    if not entry.people:
        yield ConfigFault(f"{path}.people", "nobody", defer("must name at least one person"))


def _find_override_faults(draft: Draft, people: Collection[str]) -> Iterator[ConfigFault]:
    config = draft.config
    ids = {shift.id for shift in config.shift}
    shifts = {s.id: s for _, s in draft.iterate_valid("shift", config.shift)}
    overrides = list(draft.iterate_valid("override", config.override))
    added = {(entry.shift, entry.add) for _, entry in overrides}
    for path, entry in overrides:
        shift, gone = shifts.get(entry.shift), entry.remove
        known = gone in people and (entry.shift, gone) not in added
        if shift and known and gone not in shift.people:
            allowed = defer("must be in the shift: %(people)s", people=list_some(shift.people))
            yield ConfigFault(f"{path}.remove", repr(gone), allowed)
        yield from find_unknown(
            f"{path}.shift", [entry.shift], ids, mark("must be the id of a [[shift]]: %(known)s")
        )
        for key, person in (("add", entry.add), ("remove", entry.remove)):
            yield from find_unknown(f"{path}.{key}", [person or None], people, _STAFF)
        if not entry.add and not entry.remove:
            yield ConfigFault(path, "neither add nor remove", defer("at least one of them"))
        if entry.add and entry.add == entry.remove:
            allowed = defer("must be someone other than remove")
            yield ConfigFault(f"{path}.add", repr(entry.add), allowed)
        zone = config.get_zone(shift.site if shift else "")
        if convert_to_utc(entry.start, zone) >= convert_to_utc(entry.end, zone):
            allowed = defer("must be after start, %(start)s", start=entry.start)
            yield ConfigFault(f"{path}.end", str(entry.end), allowed)


def _list_places(config: PlumewatchConfig) -> Iterator[Mapping[str, str]]:
    sensors: dict[str, list[str]] = {}
    for sensor in config.sensor:
        sensors.setdefault(sensor.room, []).append(sensor.id)
    for room in config.room:
        for sensor_id in sensors.get(room.id, [""]):
            yield {
                "site": config.find_site(room.site).name,
                "building": room.building,
                "floor": room.floor,
                "room": room.id,
                "room_type": room.kind,
                "sensor": sensor_id,
            }


def _find_unreachable(root: Route, places: Iterable[Mapping[str, str]]) -> Iterator[ConfigFault]:
    """Find routes that no combination of place, kind and severity reaches."""
    asked = {matcher.name for *_, node in walk_routes(root) for matcher in node.matchers}
    distinct = {frozenset((k, v) for k, v in place.items() if k in asked) for place in places}
    distinct.add(frozenset())  # an outage of several sensors has no room
    kinds = sorted(ROUTED) if "kind" in asked else [""]
    severities = tuple(Severity) if "severity" in asked else ("",)
    dead = {id(node) for where, _, node in walk_routes(root) if where and not node.routes}
    for place, kind, severity in product(distinct, kinds, severities):
        if not dead:
            return
        labels = {**dict(place), "kind": kind, "severity": severity}
        dead -= {id(node.path[-1]) for node in choose_routes(root, labels)}
    for where, receiver, node in walk_routes(root):
        if id(node) in dead:
            matchers = ", ".join(map(str, node.matchers))
            yield ConfigFault(
                ".".join(["routing", *(f"routes.{i}" for i in where)]),
                f"{matchers} to {receiver!r}",
                "must be reachable: no registered room and kind gets here, because none matches or"
                f" an earlier route matches first; kinds are {', '.join(sorted(ROUTED))}",
            )
