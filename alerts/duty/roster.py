"""From the labels of an incident and an instant to people, nearest first.

`Roster.candidates` asks the tree of routes which receivers hear, then who of them is on duty, then
how far they are: those nearest, those next nearest, the lead of the building, the catch-all. Each
is a ring; a ring without anybody who can be reached is left out, and a person is in one ring only.
If that leaves no ring, everybody who can be reached is one: an empty schedule never swallows an
incident.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from alerts.duty.bells import Timetable
from alerts.duty.shifts import OnDuty
from alerts.duty.zones import ZoneMap
from alerts.routing.tree import chosen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from alerts.duty.shifts import Shift
    from alerts.routing.tree import Chosen, Route


@dataclass(frozen=True, slots=True)
class Receiver:
    """A group that routes name.

    Attributes
    ----------
    people : tuple of str
        Always on duty, everywhere; for a group without shifts.
    leads : mapping of str to tuple of str
        People to tell of a building, by its name, when nobody on duty answers.
    catch_all : tuple of str
        People to tell last.
    """

    id: str
    people: tuple[str, ...] = ()
    leads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    catch_all: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A person who may be told, and why that one."""

    person: str
    why: str


@dataclass(frozen=True, slots=True)
class Ring:
    """People who are told at once; the next ring only if none of them answers.

    Attributes
    ----------
    name : str
        ``"nearest"``, ``"next nearest"``, ``"building lead"``, ``"catch-all"`` or ``"everybody"``.
    people : tuple of Candidate
        Never empty.
    """

    name: str
    people: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Roster:
    """Everything that decides who hears.

    Attributes
    ----------
    receivers : mapping of str to Receiver
        All that the tree names.
    timetable : Timetable
        What the bells say.
    everyone : tuple of str
        All staff, in order.
    reachable : frozenset of str
        Staff with an address. If nobody has one, nobody is left out for it.
    """

    root: Route
    receivers: Mapping[str, Receiver]
    shifts: tuple[Shift, ...] = ()
    zones: ZoneMap = field(default_factory=ZoneMap)
    timetable: Timetable = field(default_factory=Timetable)
    everyone: tuple[str, ...] = ()
    reachable: frozenset[str] = frozenset()

    def routes(self, labels: Mapping[str, str]) -> tuple[Chosen, ...]:
        """Nodes of the tree that answer, each receiver once."""
        first: dict[str, Chosen] = {}
        for node in chosen(self.root, labels):
            first.setdefault(node.receiver, node)
        return tuple(first.values())

    def on_duty(self, receiver: str, at: datetime) -> tuple[OnDuty, ...]:
        """Who of a receiver is on duty, reachable or not; a person may be in several zones."""
        always = tuple(
            OnDuty(person, (), f"{receiver}, always on duty")
            for person in self.receivers[receiver].people
        )
        return always + tuple(
            found
            for shift in self.shifts
            if shift.receiver == receiver
            for found in shift.on_duty(at)
        )

    def near(
        self, on_duty: Iterable[OnDuty], labels: Mapping[str, str]
    ) -> dict[int, list[Candidate]]:
        """People on duty who are not out of reach, by steps from the incident, fewest first.

        Each person once, where nearest.
        """
        start = self.zones.of(labels)
        steps = {} if start is None else self.zones.steps(start)
        found: list[tuple[int, Candidate]] = []
        for one in on_duty:
            far = self.zones.nearest(steps, one.zones)
            if far is not None:
                found.append((far, Candidate(one.person, one.why + _where(far, one.zones))))
        rings: dict[int, list[Candidate]] = {}
        placed: set[str] = set()
        for far, candidate in sorted(found, key=lambda item: item[0]):
            if candidate.person not in placed:
                placed.add(candidate.person)
                rings.setdefault(far, []).append(candidate)
        return rings

    def candidates(self, labels: Mapping[str, str], at: datetime) -> tuple[Ring, ...]:
        """Who is told, in what order.

        Parameters
        ----------
        labels : mapping of str to str
            Of the incident, see `alerts.routing.labels`.
        at : datetime
            Aware.

        Returns
        -------
        tuple of Ring
            Never empty while there is any staff.
        """
        receivers = [self.receivers[node.receiver] for node in self.routes(labels)]
        near = self.near((one for r in receivers for one in self.on_duty(r.id, at)), labels)
        heard = [ring for ring in near.values() if any(self.can_hear(c.person) for c in ring)]
        by_distance = list(zip(heard, _NAMES, strict=False))
        building = labels.get("building", "")
        leads = [
            Candidate(person, f"{receiver.id}, lead of {building}")
            for receiver in receivers
            for person in receiver.leads.get(building, ())
        ]
        last = [
            Candidate(person, f"{receiver.id}, catch-all")
            for receiver in receivers
            for person in receiver.catch_all
        ]
        rest = [
            Candidate(person, "nobody of the receivers can be reached") for person in self.everyone
        ]
        planned = [*by_distance, (leads, "building lead"), (last, "catch-all")]
        return self._rings(planned) or self._rings([(rest, "everybody")])

    def _rings(self, planned: Sequence[tuple[list[Candidate], str]]) -> tuple[Ring, ...]:
        told: set[str] = set()
        rings = []
        for people, name in planned:
            fresh: dict[str, Candidate] = {}
            for candidate in people:
                if self.can_hear(candidate.person) and candidate.person not in told:
                    fresh.setdefault(candidate.person, candidate)
            told |= fresh.keys()
            if fresh:
                rings.append(Ring(name, tuple(fresh.values())))
        return tuple(rings)

    def can_hear(self, person: str) -> bool:
        """Tell whether a person has an address, or nobody has."""
        return not self.reachable or person in self.reachable


_NAMES: Final = ("nearest", "next nearest")
"""Rings of people on duty, before the lead of the building."""


def _where(far: int, zones: tuple[str, ...]) -> str:
    if not zones:
        return ""
    return ", here" if far == 0 else f", {far} zone{'s' if far > 1 else ''} away"
