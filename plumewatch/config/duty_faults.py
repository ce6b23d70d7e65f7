"""Faults of who hears, between entries of the configuration: all of them, each where it is.

References are held against what was written, so that a fault of one entry hides none of another.
What a school would not see until an incident comes (`coverage_gaps`) is looked for when
there is none of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Final, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ValidationError

from alerts.duty.zones import Zone, ZoneMap
from alerts.errors import CalendarError, MatcherError
from alerts.routing.labels import LABELS
from alerts.routing.matchers import parse_matchers
from plumewatch.config.coverage_gaps import dead_ends
from plumewatch.config.duty import (
    BellsConfig,
    DutySections,
    HolidayConfig,
    OverrideConfig,
    ReceiverConfig,
    RoutingConfig,
    ShiftConfig,
    TermConfig,
    ZoneConfig,
)
from plumewatch.config.duty_settings import (
    ALL_PERIODS,
    Person,
    hours_of,
    moment,
    names_of,
    roster_of,
    timetable_of,
)
from plumewatch.config.http_faults import Found

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from plumewatch.config.duty import RoutingNodeConfig

_MOST_HOLIDAYS: Final = 366
_SECTIONS: Final = frozenset(f.alias or name for name, f in DutySections.model_fields.items())
_Model = TypeVar("_Model", bound=BaseModel)


def duty_faults(tree: Mapping[str, Any]) -> Iterator[Found]:
    """Faults of all sections about who hears; wrong types are told elsewhere.

    Parameters
    ----------
    tree : mapping
        As `tomllib` gives it, with paths that lead from the working folder.
    """
    if not tree.keys() & _SECTIONS:
        return
    book = _Book.of(tree)
    found = [
        *_of_routing(book),
        *_of_receivers(book),
        *_of_zones(book),
        *_of_bells(book),
        *_of_shifts(book),
        *_of_overrides(book),
    ]
    yield from found
    if found or book.sections is None or book.zone is None:
        return
    try:
        roster = roster_of(book.sections, book.staff, book.zone)
    except CalendarError:
        return  # told above
    yield from dead_ends(book.sections, roster, book.places)


@dataclass(frozen=True, slots=True)
class _Book:
    """What can be known of the sections, whatever is wrong with some of them.

    Attributes
    ----------
    sections : DutySections or None
        All of it, if it has no fault of its own.
    places : tuple of mapping of str to str
        Labels of every room and sensor.
    people : frozenset of str
        Ids of all staff.
    receivers : frozenset of str
        Names that a route may give.
    """

    tree: Mapping[str, Any]
    sections: DutySections | None
    zone: ZoneInfo | None
    staff: tuple[Person, ...]
    places: tuple[Mapping[str, str], ...]
    people: frozenset[str]
    receivers: frozenset[str]

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> _Book:
        """Read what can be read."""
        mine = {key: tree[key] for key in _SECTIONS & tree.keys()}
        staff = tuple(
            Person(
                str(e["id"]),
                str(e.get("name", "")),
                str(e.get("role", "staff")),
                reachable=bool(e.get("notify")),
            )
            for _, e in _entries(tree, "staff")
            if "id" in e
        )
        return cls(
            tree,
            _valid(DutySections, mine),
            _zone(tree.get("timezone")),
            staff,
            tuple(_places(tree)),
            frozenset(person.id for person in staff),
            _ids(tree, "receiver") | {person.role for person in staff},
        )

    def each(self, key: str, model: type[_Model]) -> Iterator[tuple[str, _Model]]:
        """Entries of a list that are valid by themselves, with their paths."""
        for path, entry in _entries(self.tree, key):
            found = _valid(model, entry)
            if found is not None:
                yield path, found

    def ids(self, key: str) -> frozenset[str]:
        """Ids of a list, also of entries with other faults."""
        return _ids(self.tree, key)

    def unknown(
        self, path: str, names: Iterable[str], known: frozenset[str], what: str
    ) -> Iterator[Found]:
        """Names that refer to nothing."""
        for name in names:
            if name not in known:
                yield Found(
                    path, repr(name), f"must be {what}: " + (_some(known) or "there is none")
                )


def _valid(model: type[_Model], entry: object) -> _Model | None:
    try:
        return model.model_validate(entry)
    except ValidationError:
        return None


def _zone(name: object) -> ZoneInfo | None:
    try:
        return ZoneInfo(str(name))
    except (ValueError, OSError, LookupError):
        return None


def _entries(tree: Mapping[str, Any], key: str) -> list[tuple[str, dict[str, Any]]]:
    found = tree.get(key)
    if not isinstance(found, list):
        return []
    return [(f"{key}.{i}", entry) for i, entry in enumerate(found) if isinstance(entry, dict)]


def _ids(tree: Mapping[str, Any], key: str) -> frozenset[str]:
    return frozenset(str(e["id"]) for _, e in _entries(tree, key) if "id" in e)


def _places(tree: Mapping[str, Any]) -> Iterator[Mapping[str, str]]:
    """Labels of every room with each of its sensors, and of a place that is no room."""
    sensors: dict[str, list[str]] = {}
    for _, sensor in _entries(tree, "sensor"):
        sensors.setdefault(str(sensor.get("room", "")), []).append(str(sensor.get("id", "")))
    for _, room in _entries(tree, "room"):
        for sensor_id in sensors.get(str(room.get("id", "")), [""]):
            yield {
                "site": str(room.get("site") or tree.get("site", "")),
                "building": str(room.get("building", "")),
                "floor": str(room.get("floor", "")),
                "room": str(room.get("id", "")),
                "room_type": str(room.get("kind", "restroom")),
                "sensor": sensor_id,
            }


def _some(names: Iterable[str]) -> str:
    """Name some of what is allowed."""
    known = sorted(names)
    return ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")


def _of_routing(book: _Book) -> Iterator[Found]:
    routing = _valid(RoutingConfig, book.tree.get("routing"))
    if routing is None:
        return
    if not routing.receiver:
        allowed = "must name the receiver of what no route takes"
        yield Found("routing.receiver", "missing", allowed)
    else:
        yield from book.unknown("routing.receiver", [routing.receiver], book.receivers, _RECEIVER)
    for i, node in enumerate(routing.routes):
        yield from _of_node(book, f"routing.routes.{i}", node)


_RECEIVER: Final = "the id of a [[receiver]] or a role that somebody has"


def _of_node(book: _Book, path: str, node: RoutingNodeConfig) -> Iterator[Found]:
    if node.receiver is not None:
        yield from book.unknown(f"{path}.receiver", [node.receiver], book.receivers, _RECEIVER)
    for k, text in enumerate(node.matchers):
        where = f"{path}.matchers.{k}"
        try:
            matchers = parse_matchers(text)
        except MatcherError as error:
            yield Found(where, repr(text), f'must be conditions such as kind="vape": {error}')
            continue
        if not matchers:
            yield Found(where, repr(text), "must have at least one condition")
        names = (matcher.name for matcher in matchers)
        yield from book.unknown(where, names, frozenset(LABELS), "a label")
    for i, child in enumerate(node.routes):
        yield from _of_node(book, f"{path}.routes.{i}", child)


def _named(routing: RoutingConfig | None) -> frozenset[str]:
    """Receivers to which a route leads."""
    if routing is None:
        return frozenset({"staff", "facilities"})

    def below(nodes: Iterable[RoutingNodeConfig]) -> Iterator[str]:
        for node in nodes:
            yield node.receiver or ""
            yield from below(node.routes)

    return frozenset({routing.receiver or "", *below(routing.routes)})


def _of_receivers(book: _Book) -> Iterator[Found]:
    written = book.tree.get("routing")
    routing = _valid(RoutingConfig, written)
    whole = written is None or (routing is not None and routing.receiver)
    named = _named(routing) if whole else None
    rostered = {str(e.get("receiver")) for _, e in _entries(book.tree, "shift")}
    buildings = frozenset(place["building"] for place in book.places)
    for path, entry in book.each("receiver", ReceiverConfig):
        yield from book.unknown(f"{path}.people", entry.people, book.people, _STAFF)
        yield from book.unknown(f"{path}.catch_all", entry.catch_all, book.people, _STAFF)
        yield from book.unknown(f"{path}.leads", entry.leads, buildings, "a building of a [[room]]")
        for building, people in entry.leads.items():
            yield from book.unknown(f"{path}.leads.{building}", people, book.people, _STAFF)
        if entry.people and entry.id in rostered:
            yield Found(
                f"{path}.people",
                "given beside a [[shift]]",
                "must be left out: who has no shift is told through leads or catch_all",
            )
        if not entry.people and entry.id not in rostered:
            allowed = "must name people, or a [[shift]] must name this receiver"
            yield Found(f"{path}.people", "nobody", allowed)
        if not entry.people and not entry.catch_all:
            allowed = "must name at least one person, who is told when nobody on duty is near"
            yield Found(f"{path}.catch_all", "nobody", allowed)
        if named is not None and entry.id not in named:
            yield Found(f"{path}.id", repr(entry.id), "must be named by a route; none leads to it")


_STAFF: Final = "the id of a [[staff]]"


def _of_zones(book: _Book) -> Iterator[Found]:
    ids = book.ids("zone")
    places: dict[tuple[str, str, str], str] = {}
    for path, entry in book.each("zone", ZoneConfig):
        others = ids - {entry.id}
        yield from book.unknown(f"{path}.next", entry.next, others, "the id of another [[zone]]")
        place = (entry.site, entry.building, entry.floor)
        if places.setdefault(place, path) != path:
            value = ", ".join(part for part in place if part)
            yield Found(
                path, repr(value), f"must be a place of its own, but is also {places[place]}"
            )
    zones = [zone for _, zone in book.each("zone", ZoneConfig)]
    if len(zones) < len(ids) or not ids:
        return  # one with a fault may be the one of a room
    zone_map = ZoneMap(tuple(Zone(z.id, z.building, z.floor, z.site) for z in zones))
    for room in {p["room"]: p for p in book.places}.values():
        if zone_map.of(room) is None:
            where = ", ".join(room[key] for key in ("building", "floor") if room[key])
            allowed = f"must lie in a [[zone]], as there are zones; none is {where!r}"
            yield Found("zone", f"room {room['room']!r}", allowed)


def _of_bells(book: _Book) -> Iterator[Found]:
    rung: dict[tuple[str, str], str] = {}
    for path, entry in book.each("bells", BellsConfig):
        if bool(entry.days) == bool(entry.dates):
            yield Found(path, "both or neither of days and dates", "exactly one of them")
        yield from _order(path, entry.first, entry.last)
        if entry.dates and (entry.first or entry.last):
            yield Found(path, "first or last beside dates", "must be left out")
        yield from _of_periods(path, entry)
        if not entry.first and not entry.last:
            for day, name in product(entry.days or (), {p.name for p in entry.periods}):
                other = rung.setdefault((day, name), path)
                if other != path:
                    allowed = f"rings on {day} in {other} too; give it another name, or terms"
                    yield Found(f"{path}.periods", repr(name), allowed)
    for path, holiday in book.each("holiday", HolidayConfig):
        yield from _order(path, holiday.first, holiday.last)
        if holiday.last and (holiday.last - holiday.first).days > _MOST_HOLIDAYS:
            yield Found(path, repr(holiday.name), f"at most {_MOST_HOLIDAYS} days")
    yield from _of_terms(book)


def _of_terms(book: _Book) -> Iterator[Found]:
    before: list[tuple[str, TermConfig]] = []
    for path, term in book.each("term", TermConfig):
        yield from _order(path, term.first, term.last)
        for other, earlier in before:
            if term.name.casefold() == earlier.name.casefold():
                yield Found(f"{path}.name", repr(term.name), f"must not be that of {other}")
            if term.first <= earlier.last and earlier.first <= term.last:
                yield Found(path, f"{term.first} to {term.last}", f"must not overlap {other}")
        before.append((path, term))


def _of_periods(path: str, entry: BellsConfig) -> Iterator[Found]:
    names: set[str] = set()
    for k, period in enumerate(entry.periods):
        where = f"{path}.periods.{k}"
        if period.start >= period.end:
            value = f"{period.start}-{period.end}"
            yield Found(where, value, "a period must start before it ends, on the same day")
        if period.name in names:
            yield Found(f"{where}.name", repr(period.name), "must be unique in its schedule")
        names.add(period.name)


def _order(path: str, first: Any, last: Any) -> Iterator[Found]:
    if first and last and first > last:
        yield Found(f"{path}.last", str(last), f"must not be before first, {first}")


def _of_shifts(book: _Book) -> Iterator[Found]:
    zones = book.ids("zone")
    periods = frozenset(
        str(period.get("name"))
        for _, bells in _entries(book.tree, "bells")
        for _, period in _entries(bells, "periods")
    )
    for path, entry in book.each("shift", ShiftConfig):
        yield from book.unknown(f"{path}.receiver", [entry.receiver], book.receivers, _RECEIVER)
        yield from book.unknown(f"{path}.people", entry.people, book.people, _STAFF)
        yield from book.unknown(f"{path}.zones", entry.zones, zones, "the id of a [[zone]]")
        named = (name for name in entry.periods if name != ALL_PERIODS)
        what = f"a period of a [[bells]], or {ALL_PERIODS!r} for all"
        yield from book.unknown(f"{path}.periods", named, periods, what)
        if ALL_PERIODS in entry.periods and not periods:
            yield Found(f"{path}.periods", repr(ALL_PERIODS), "there must be a [[bells]]")
        yield from _order(path, entry.first, entry.last)
        yield from _of_hours(book, path, entry)
        if entry.turns and len(set(entry.people)) < 2:
            yield Found(f"{path}.turns", f"{len(entry.people)} people", "at least two take turns")


def _of_hours(book: _Book, path: str, entry: ShiftConfig) -> Iterator[Found]:
    clock = entry.start is not None or entry.end is not None
    ways = (bool(entry.periods), clock, entry.calendar_file is not None)
    if sum(ways) != 1:
        value = f"{sum(ways)} of periods, start and end, calendar_file"
        yield Found(path, value, "exactly one of them")
        return
    if clock and (entry.start is None or entry.end is None):
        yield Found(path, "one of start and end", "both of them")
    if entry.on_holidays and not clock:
        yield Found(f"{path}.on_holidays", "true", "only beside start and end")
    if entry.calendar_file is None:
        if not entry.people:
            yield Found(f"{path}.people", "nobody", "must name at least one person")
        return
    if entry.days:
        yield Found(f"{path}.days", "given", "the calendar says the days")
    timetable = timetable_of(DutySections(), book.zone or ZoneInfo("UTC"))
    try:
        hours_of(entry, timetable, names_of(book.staff))
    except CalendarError as error:
        for line in str(error).split("\n"):
            yield Found(f"{path}.calendar_file", entry.calendar_file.name, line)


def _of_overrides(book: _Book) -> Iterator[Found]:
    shifts = book.ids("shift")
    of_shift = {s.id: s for _, s in book.each("shift", ShiftConfig) if not s.calendar_file}
    added = {(o.shift, o.add) for _, o in book.each("override", OverrideConfig)}
    for path, entry in book.each("override", OverrideConfig):
        shift, goes = of_shift.get(entry.shift), entry.remove
        known = goes in book.people and (entry.shift, goes) not in added
        if shift and known and goes not in shift.people:
            allowed = f"must be of the shift: {_some(shift.people)}"
            yield Found(f"{path}.remove", repr(goes), allowed)
        yield from book.unknown(f"{path}.shift", [entry.shift], shifts, "the id of a [[shift]]")
        for key, person in (("add", entry.add), ("remove", entry.remove)):
            yield from book.unknown(f"{path}.{key}", filter(None, [person]), book.people, _STAFF)
        if not entry.add and not entry.remove:
            yield Found(path, "neither add nor remove", "at least one of them")
        if entry.add and entry.add == entry.remove:
            yield Found(f"{path}.add", repr(entry.add), "must be somebody else than remove")
        zone = book.zone or ZoneInfo("UTC")
        if moment(entry.start, zone) >= moment(entry.end, zone):
            yield Found(f"{path}.end", str(entry.end), f"must be after start, {entry.start}")
