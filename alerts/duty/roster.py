"""Who is notified of an incident at an instant, nearest first.

`Roster.candidates` takes the receivers of the matching routes, their people on duty, then the
distance: nearest, next nearest, the lead of the building, the catch-all. Each is a ring; a person
is in one. Without any ring everyone reachable is one: an empty schedule swallows no incident.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

from alerts.duty.reasons import Reason, RingName
from alerts.duty.shifts import OnDuty
from alerts.routing.matchers import chosen
from language.facts import Fact, fact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from alerts.duty.shifts import Shift
    from alerts.duty.timetable import Timetable
    from alerts.routing.matchers import Chosen, Route


@dataclass(frozen=True, slots=True)
class Zone:
    """A floor, or the other floors of a building; neighbors are one stair or passage away."""

    id: str
    building: str
    floor: str = ""
    site: str = ""
    neighbours: tuple[str, ...] = ()


@dataclass(frozen=True)
class ZoneMap:
    """All zones as a graph; distances are steps between neighbors."""

    zones: tuple[Zone, ...] = ()

    @cached_property
    def _next(self) -> Mapping[str, set[str]]:
        joined = defaultdict[str, set[str]](set)
        for zone in self.zones:
            for other in zone.neighbours:
                joined[zone.id].add(other)
                joined[other].add(zone.id)
        return joined

    @cached_property
    def _of_building(self) -> Mapping[str, list[Zone]]:
        buildings = defaultdict[str, list[Zone]](list)
        for zone in self.zones:
            buildings[zone.building].append(zone)
        return buildings

    def of(self, labels: Mapping[str, str]) -> str | None:
        """Return the zone of an incident: of its floor, else of its building; None without one."""
        building = self._of_building.get(labels.get("building", ""), ())
        place = [z for z in building if not z.site or z.site == labels.get("site", "")]
        exact = [z for z in place if z.floor == labels.get("floor", "")]
        whole = [z for z in place if not z.floor]
        return next((zone.id for zone in (*exact, *whole)), None)

    def steps(self, start: str) -> dict[str, int]:
        """Return the distance from a zone to every reachable zone."""
        found = {start: 0}
        waiting = deque([start])
        while waiting:
            here = waiting.popleft()
            for there in sorted(self._next.get(here, ())):
                if there not in found:
                    found[there] = found[here] + 1
                    waiting.append(there)
        return found

    def nearest(self, steps: Mapping[str, int], zones: Iterable[str]) -> int | None:
        """Return the distance to the nearest of the zones; 0 without zones; None if unreachable."""
        named = tuple(zones)
        return min((steps[z] for z in named if z in steps), default=None if named else 0)


@dataclass(frozen=True, slots=True)
class Receiver:
    """A group that routes name.

    `people` are always on duty, everywhere, for a group without shifts. `leads`, by building, are
    notified when nobody on duty responds, and `catch_all` last.
    """

    id: str
    people: tuple[str, ...] = ()
    leads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    catch_all: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A person to notify, and why."""

    person: str
    why: Fact


@dataclass(frozen=True, slots=True)
class Ring:
    """People who are notified together; the next ring only if none of them responds."""

    name: RingName
    people: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Roster:
    """Everything that decides who is notified; `everyone` is all staff, in order.

    `reachable` is staff with an address. If nobody has one, everyone counts as reachable. `sites`
    are the names of the sites of a person, None for all: nobody is notified of any other.
    """

    root: Route
    receivers: Mapping[str, Receiver]
    shifts: tuple[Shift, ...] = ()
    zones: ZoneMap = field(default_factory=ZoneMap)
    timetables: Mapping[str, Timetable] = field(default_factory=dict)
    """Bells and holidays of each site, by its name."""
    everyone: tuple[str, ...] = ()
    reachable: frozenset[str] = frozenset()
    sites: Mapping[str, frozenset[str] | None] = field(default_factory=dict)

    def serves(self, person: str, labels: Mapping[str, str]) -> bool:
        """Whether a person may be notified of an incident, by its site."""
        only = self.sites.get(person)
        return only is None or labels.get("site", "") in only

    def routes(self, labels: Mapping[str, str]) -> tuple[Chosen, ...]:
        """Return the matching routes, each receiver once."""
        first: dict[str, Chosen] = {}
        for node in chosen(self.root, labels):
            first.setdefault(node.receiver, node)
        return tuple(first.values())

    def on_duty(self, receiver: str, at: datetime) -> tuple[OnDuty, ...]:
        """Return who of a receiver is on duty, reachable or not, perhaps in several zones."""
        why = fact(Reason.ALWAYS, receiver=receiver)
        always = [OnDuty(person, (), why) for person in self.receivers[receiver].people]
        shifts = [shift for shift in self.shifts if shift.receiver == receiver]
        return (*always, *(found for shift in shifts for found in shift.on_duty(at)))

    def near(
        self, on_duty: Iterable[OnDuty], labels: Mapping[str, str]
    ) -> dict[int, list[Candidate]]:
        """Return people on duty by distance from the incident, nearest first, each person once."""
        start = self.zones.of(labels)
        steps = {} if start is None else self.zones.steps(start)
        reached = (
            (self.zones.nearest(steps, one.zones), one)
            for one in on_duty
            if one.site in ("", labels.get("site", "")) and self.serves(one.person, labels)
        )
        by_distance = sorted(
            ((far, one) for far, one in reached if far is not None), key=lambda item: item[0]
        )
        nearest: dict[str, tuple[int, OnDuty]] = {}
        for far, one in by_distance:
            nearest.setdefault(one.person, (far, one))
        rings: dict[int, list[Candidate]] = {}
        for far, one in nearest.values():
            where = {"zones": far} if one.zones else {}
            candidate = Candidate(one.person, Fact(one.why.code, one.why.params | where))
            rings.setdefault(far, []).append(candidate)
        return rings

    def candidates(self, labels: Mapping[str, str], at: datetime) -> tuple[Ring, ...]:
        """Return who is notified, in order; never empty while there is any staff."""
        receivers = [self.receivers[node.receiver] for node in self.routes(labels)]
        near = self.near((one for r in receivers for one in self.on_duty(r.id, at)), labels)
        reachable = [
            ring for ring in near.values() if any(self.is_reachable(c.person) for c in ring)
        ]
        by_distance = list(zip(NEAR, reachable, strict=False))
        building = labels.get("building", "")
        leads = [
            Candidate(p, fact(Reason.LEAD, receiver=r.id, building=building))
            for r in receivers
            for p in r.leads.get(building, ())
        ]
        last = [
            Candidate(p, fact(Reason.CATCH_ALL, receiver=r.id))
            for r in receivers
            for p in r.catch_all
        ]
        rest = [(RingName.EVERYONE, [Candidate(p, _LAST_RESORT) for p in self.everyone])]
        planned = [*by_distance, (RingName.LEAD, leads), (RingName.CATCH_ALL, last)]
        found = self._rings(planned, labels) or self._rings(rest, labels)
        # An outage that belongs to no site is everybody's where nobody has all sites.
        return found or (() if labels.get("site") else self._rings(rest, None))

    def _rings(
        self,
        planned: Sequence[tuple[RingName, list[Candidate]]],
        labels: Mapping[str, str] | None,
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
        """Whether a person has an address, or nobody has."""
        return not self.reachable or person in self.reachable


NEAR: Final = (RingName.NEAREST, RingName.NEXT_NEAREST)
"""Rings of people on duty, before the lead of the building."""
_LAST_RESORT: Final = fact(Reason.LAST_RESORT)
