r"""Decide who is notified of an incident at a given time, nearest people first.

Matchers and the tree of routes to receivers work as in Alertmanager 0.28. Matchers look like
``kind=~"vape|smoke"`` or ``floor!="2"`` and are separated by commas. A trailing comma and
surrounding braces are allowed. Names and values are either words or double-quoted strings. A word
has no white space and none of ``{}!=~,\"'```. Inside quotes, ``\" \\ \n \t`` are escapes. Patterns
use RE2 syntax and must match the whole value. Matching takes linear time.

`Roster.plan_rings` takes the receivers of the matching routes and groups their people into rings:
the nearest on duty, the next nearest, the building lead, the catch-all. Each person is in only one
ring. If all rings are empty, everyone who can be reached forms one, so an empty schedule never
hides an incident.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Final

import re2

from alerts.duty.reasons import Reason, RingName
from alerts.duty.shifts import OnDuty
from alerts.errors import MatcherError
from language.messages import Fact, build_fact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from alerts.duty.shifts import Shift
    from alerts.duty.timetable import Timetable
    from storage.registry import Room

LABELS: Final = ("site", "building", "floor", "room", "room_type", "kind", "severity", "sensor")
"""All labels; matchers on other names are rejected."""


def build_labels(room: Room, *, kind: str, severity: str, sensor: str) -> dict[str, str]:
    """Return the nonempty labels of an incident; matchers treat missing labels as empty.

    >>> from storage.registry import Room
    >>> build_labels(
    ...     Room("N2", "Boys", "", "North", ""), kind="vape", severity="warning", sensor="s1"
    ... )
    ... # doctest: +NORMALIZE_WHITESPACE
    {'building': 'North', 'room': 'N2', 'room_type': 'restroom', 'kind': 'vape',
     'severity': 'warning', 'sensor': 's1'}
    """
    values = (room.site, room.building, room.floor, room.id, room.kind, kind, severity, sensor)
    return {name: value for name, value in zip(LABELS, values, strict=True) if value}


MAX_PATTERN: Final = 1000
_WORD: Final = r"""[^\s{}!=~,\\"'`]+"""
_TEXT: Final = rf"""(?:"((?:[^"\\\n]|\\[nt\\"])*)"|({_WORD}))"""
_MATCHER: Final = re.compile(rf"\s*{_TEXT}\s*(=~|!~|!=|=)\s*{_TEXT}\s*(?:,\s*|$)")
_ESCAPES: Final = {"n": "\n", "t": "\t", "\\": "\\", '"': '"'}


class MatchOp(StrEnum):
    """How a label's value is compared."""

    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


_PATTERNS: Final = (MatchOp.REGEX, MatchOp.NOT_REGEX)
_WANTED: Final = (MatchOp.EQUAL, MatchOp.REGEX)


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on a label; an absent label counts as empty.

    Raises MatcherError for an empty name or an invalid pattern.

    >>> Matcher("floor", MatchOp.NOT_EQUAL, "2").matches({"kind": "vape"})
    True
    """

    name: str
    op: MatchOp
    value: str

    def __post_init__(self) -> None:
        if not self.name:
            raise MatcherError("a label needs a name")
        if self.op in _PATTERNS:
            _compile(self.value)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether labels meet the condition."""
        test = _compile(self.value) if self.op in _PATTERNS else self.value.__eq__
        return test(labels.get(self.name, "")) is (self.op in _WANTED)

    def __str__(self) -> str:
        name = self.name if re.fullmatch(_WORD, self.name) else _quote(self.name)
        return f"{name}{self.op}{_quote(self.value)}"


@lru_cache(maxsize=4096)
def _compile(pattern: str) -> Callable[[str], bool]:
    if len(pattern) > MAX_PATTERN:
        raise MatcherError(f"a regular expression has at most {MAX_PATTERN} characters")
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        cause = error.args[0] if error.args else "invalid"
        text = cause.decode("utf-8", "replace") if isinstance(cause, bytes) else str(cause)
        raise MatcherError(f"{pattern!r} is not a regular expression (RE2): {text}") from error
    return lambda value: compiled.fullmatch(value) is not None


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """Parse matchers, with or without braces; a `MatcherError` gives the column, counting from 1.

    >>> [str(m) for m in parse_matchers('{kind=~"vape|smoke", floor!=2}')]
    ['kind=~"vape|smoke"', 'floor!="2"']
    """
    inner, at = text.strip(), 0
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1].strip()
    found: list[Matcher] = []
    while at < len(inner):
        column = text.index(inner) + at + 1
        match = _MATCHER.match(inner, at)
        if match is None:
            raise MatcherError(f'column {column}: expected a condition, such as floor="2"')
        name, op, value = match[1] or match[2] or "", MatchOp(match[3]), match[4] or match[5] or ""
        try:
            found.append(Matcher(_unescape(name), op, _unescape(value)))
        except MatcherError as error:
            raise MatcherError(f"column {column}: {error}") from error
        at = match.end()
    return tuple(found)


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: _ESCAPES[found[1]], text)


def _quote(text: str) -> str:
    r"""Quote a value so that it is parsed back unchanged.

    >>> print(_quote('O"Neil'))
    "O\"Neil"
    """
    escapes = {char: f"\\{key}" for key, char in _ESCAPES.items()}
    return '"' + "".join(escapes.get(char, char) for char in text) + '"'


@dataclass(frozen=True, slots=True)
class Route:
    """A node of the routing tree; without a receiver, it inherits its parent's.

    All matchers must match. With `continues`, later siblings are tried as well.
    """

    receiver: str | None
    matchers: tuple[Matcher, ...] = ()
    continues: bool = False
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """A matching node and the path to it from the root."""

    receiver: str
    path: tuple[Route, ...]

    def constrains(self, label: str) -> bool:
        """Return whether a route on the path has a matcher for a label."""
        return any(m.name == label and m.op in _WANTED for r in self.path for m in r.matchers)

    def explain(self) -> str:
        """Return the matchers that led to this node.

        >>> RouteMatch("staff", (Route("staff"),)).explain()
        'no route matches: default receiver'
        """
        matchers = [str(m) for route in self.path for m in route.matchers]
        return "route " + ", ".join(matchers) if matchers else "no route matches: default receiver"


def choose_routes(root: Route, labels: Mapping[str, str]) -> tuple[RouteMatch, ...]:
    """Return the matching nodes, at least one, depth first; raise ValueError for a bad root."""
    if not root.receiver or root.matchers:
        raise ValueError("the root route needs a receiver and no matchers")
    return tuple(_choose(root, (), "", labels))


def _choose(
    route: Route, above: tuple[Route, ...], inherited: str, labels: Mapping[str, str]
) -> Iterator[RouteMatch]:
    receiver = route.receiver or inherited
    path = (*above, route)
    matched = False
    for child in route.routes:
        if not all(matcher.matches(labels) for matcher in child.matchers):
            continue
        matched = True
        yield from _choose(child, path, receiver, labels)
        if not child.continues:
            break
    if not matched:
        yield RouteMatch(receiver, path)


def walk_routes(
    root: Route, where: tuple[int, ...] = (), above: str = ""
) -> Iterator[tuple[tuple[int, ...], str, Route]]:
    """Yield each node with its path (a child index for each level) and its receiver."""
    receiver = root.receiver or above
    yield where, receiver, root
    for i, child in enumerate(root.routes):
        yield from walk_routes(child, (*where, i), receiver)


@dataclass(frozen=True, slots=True)
class Zone:
    """One floor, or a building's remaining floors; neighbors are one stair or hallway away."""

    id: str
    building: str
    floor: str = ""
    site: str = ""
    neighbors: tuple[str, ...] = ()


@dataclass(frozen=True)
class ZoneMap:
    """All zones as a graph; distances count steps from neighbor to neighbor."""

    zones: tuple[Zone, ...] = ()

    @cached_property
    def _next(self) -> Mapping[str, set[str]]:
        joined = defaultdict[str, set[str]](set)
        for zone in self.zones:
            for other in zone.neighbors:
                joined[zone.id].add(other)
                joined[other].add(zone.id)
        return joined

    def find_zone(self, labels: Mapping[str, str]) -> str | None:
        """Return the zone of an incident's floor, or else of its building, or None."""
        building, site = labels.get("building", ""), labels.get("site", "")
        place = [z for z in self.zones if z.building == building and z.site in ("", site)]
        exact = [z for z in place if z.floor == labels.get("floor", "")]
        whole = [z for z in place if not z.floor]
        return next((zone.id for zone in (*exact, *whole)), None)

    def measure_distances(self, start: str) -> dict[str, int]:
        """Return the distance from a zone to each zone reachable from it."""
        found, reached = {start: 0}, [start]
        for here in reached:  # the loop appends to it
            for there in sorted(self._next.get(here, ())):
                if there not in found:
                    found[there] = found[here] + 1
                    reached.append(there)
        return found


@dataclass(frozen=True, slots=True)
class Receiver:
    """A group of people that routes refer to.

    `people` are always on duty, everywhere; shifts add others. If nobody on duty responds, the
    building's `leads` are notified, and then `catch_all`.
    """

    id: str
    people: tuple[str, ...] = ()
    leads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    catch_all: tuple[str, ...] = ()
    is_role: bool = False
    """Whether the receiver stands for everyone with a role."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A person to notify, and why."""

    person: str
    why: Fact


@dataclass(frozen=True, slots=True)
class Ring:
    """People who are notified together; the next ring follows if none of them responds."""

    name: RingName
    people: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Roster:
    """All data for deciding who is notified.

    `everyone` lists the people to notify as a last resort, in order. `reachable` contains the staff
    who have an address; if nobody has one, everyone counts as reachable. `sites` maps each person
    to the names of their sites, or to None for all sites. People are not notified of incidents at
    other sites.
    """

    root: Route
    receivers: Mapping[str, Receiver]
    shifts: tuple[Shift, ...] = ()
    zones: ZoneMap = field(default_factory=ZoneMap)
    timetables: Mapping[str, Timetable] = field(default_factory=dict)
    """Bell schedules and holidays, by site name."""
    everyone: tuple[str, ...] = ()
    reachable: frozenset[str] = frozenset()
    sites: Mapping[str, frozenset[str] | None] = field(default_factory=dict)

    def serves(self, person: str, labels: Mapping[str, str]) -> bool:
        """Return whether a person can be notified of incidents at the site in `labels`."""
        only = self.sites.get(person)
        return only is None or labels.get("site", "") in only

    def match_routes(self, labels: Mapping[str, str]) -> tuple[RouteMatch, ...]:
        """Return the first matching route for each receiver."""
        first: dict[str, RouteMatch] = {}
        for node in choose_routes(self.root, labels):
            first.setdefault(node.receiver, node)
        return tuple(first.values())

    def find_on_duty(self, receiver: str, at: datetime) -> tuple[OnDuty, ...]:
        """Return the receiver's people on duty, reachable or not; a person may appear twice."""
        why = build_fact(Reason.ALWAYS, receiver=receiver)
        always = [OnDuty(person, (), why) for person in self.receivers[receiver].people]
        shifts = [shift for shift in self.shifts if shift.receiver == receiver]
        return (*always, *(found for shift in shifts for found in shift.find_on_duty(at)))

    def group_by_distance(
        self, on_duty: Iterable[OnDuty], labels: Mapping[str, str]
    ) -> dict[int, list[Candidate]]:
        """Group people on duty by distance from the incident, nearest first, each person once."""
        start = self.zones.find_zone(labels)
        steps = {} if start is None else self.zones.measure_distances(start)
        nearest: dict[str, tuple[int, OnDuty]] = {}
        for one in on_duty:
            reached = (steps[zone] for zone in one.zones if zone in steps)
            far = min(reached, default=None if one.zones else 0)
            is_here = one.site in ("", labels.get("site", "")) and self.serves(one.person, labels)
            if far is not None and is_here and far < nearest.get(one.person, (math.inf,))[0]:
                nearest[one.person] = (far, one)
        rings: dict[int, list[Candidate]] = {}
        for far, one in sorted(nearest.values(), key=lambda item: item[0]):
            where = {"zones": far} if one.zones else {}
            candidate = Candidate(one.person, Fact(one.why.code, one.why.params | where))
            rings.setdefault(far, []).append(candidate)
        return rings

    def plan_rings(self, labels: Mapping[str, str], at: datetime) -> tuple[Ring, ...]:
        """Return the rings to notify, in order."""
        receivers = [self.receivers[node.receiver] for node in self.match_routes(labels)]
        near = self.group_by_distance(
            (one for r in receivers for one in self.find_on_duty(r.id, at)), labels
        )
        reachable = [
            ring for ring in near.values() if any(self.is_reachable(c.person) for c in ring)
        ]
        by_distance = list(zip(NEAR, reachable, strict=False))
        building = labels.get("building", "")
        leads = [
            Candidate(p, build_fact(Reason.LEAD, receiver=r.id, building=building))
            for r in receivers
            for p in r.leads.get(building, ())
        ]
        last = [
            Candidate(p, build_fact(Reason.CATCH_ALL, receiver=r.id))
            for r in receivers
            for p in r.catch_all
        ]
        rest = [(RingName.EVERYONE, [Candidate(p, _LAST_RESORT) for p in self.everyone])]
        planned = [*by_distance, (RingName.LEAD, leads), (RingName.CATCH_ALL, last)]
        found = self._build_rings(planned, labels) or self._build_rings(rest, labels)
        # If an outage belongs to no site and nobody serves all sites, notify everybody.
        return found or (() if labels.get("site") else self._build_rings(rest, None))

    def _build_rings(
        self, planned: Sequence[tuple[RingName, list[Candidate]]], labels: Mapping[str, str] | None
    ) -> tuple[Ring, ...]:
        placed: set[str] = set()
        rings: dict[RingName, list[Candidate]] = {}
        for name, people in planned:
            for candidate in people:
                person = candidate.person
                if labels is not None and not self.serves(person, labels):
                    continue
                if self.is_reachable(person) and person not in placed:
                    placed.add(person)
                    rings.setdefault(name, []).append(candidate)
        return tuple(Ring(name, tuple(people)) for name, people in rings.items())

    def is_reachable(self, person: str) -> bool:
        """Return whether a person has an address; true for everyone if nobody has one."""
        return not self.reachable or person in self.reachable


NEAR: Final = (RingName.NEAREST, RingName.NEXT_NEAREST)
"""Rings of people on duty; the building lead's ring follows them."""
_LAST_RESORT: Final = build_fact(Reason.LAST_RESORT)
