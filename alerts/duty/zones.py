"""Zones of a school and how far they are from each other, in steps between neighbours."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Zone:
    """A floor, or a building without floors of its own.

    Attributes
    ----------
    floor : str
        Empty for all floors of the building that are no zone of their own.
    site : str
        Empty for any.
    neighbours : tuple of str
        Zones one stair or passage away; holds both ways.
    """

    id: str
    building: str
    floor: str = ""
    site: str = ""
    neighbours: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ZoneMap:
    """All zones as a graph."""

    zones: tuple[Zone, ...] = ()
    _next: Mapping[str, frozenset[str]] = field(init=False, repr=False, compare=False)
    _of_building: Mapping[str, tuple[Zone, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Join neighbours both ways; sort zones by building."""
        joined: dict[str, set[str]] = {zone.id: set() for zone in self.zones}
        for zone in self.zones:
            for other in zone.neighbours:
                joined[zone.id].add(other)
                joined.setdefault(other, set()).add(zone.id)
        object.__setattr__(self, "_next", {k: frozenset(v) for k, v in joined.items()})
        buildings: dict[str, tuple[Zone, ...]] = {}
        for zone in self.zones:
            buildings[zone.building] = (*buildings.get(zone.building, ()), zone)
        object.__setattr__(self, "_of_building", buildings)

    def of(self, labels: Mapping[str, str]) -> str | None:
        """Zone in which an incident is: that of its floor, else of its building; None if none."""
        building = self._of_building.get(labels.get("building", ""), ())
        place = [z for z in building if not z.site or z.site == labels.get("site", "")]
        exact = [z for z in place if z.floor == labels.get("floor", "")]
        whole = [z for z in place if not z.floor]
        return next((zone.id for zone in (*exact, *whole)), None)

    def steps(self, start: str) -> dict[str, int]:
        """Count the steps from a zone to every zone that can be reached from it."""
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
        """Fewest steps to any of the zones; 0 if there are none named; None if out of reach."""
        named = tuple(zones)
        return min((steps[z] for z in named if z in steps), default=0 if not named else None)
