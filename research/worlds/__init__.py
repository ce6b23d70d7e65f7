"""Restroom worlds: independent simulations of restroom air behind one interface.

`WORLDS` lists them. Each world is a module or folder in this package with a function of the same
name, and is imported when it first runs. The tests cover every world in `WORLDS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from research.worlds.world import Happening, Readings, World


@dataclass(frozen=True, slots=True)
class _Named:
    """A world identified by name, so that it can be passed to worker processes."""

    name: str

    def __call__(
        self,
        seed: int,
        rooms: int,
        hours: float,
        vape_rate: float = 0.35,
        nuisance_rate: float = 1.0,
    ) -> tuple[Readings, list[Happening]]:
        world: World = getattr(import_module(f"research.worlds.{self.name}"), self.name)
        return world(seed, rooms, hours, vape_rate, nuisance_rate)


WORLDS: Final[Mapping[str, World]] = {
    "plume_grid": _Named("plume_grid"),
    "parcels": _Named("parcels"),
    "mixing_jets": _Named("mixing_jets"),
    "school": _Named("school"),
    "two_zones": _Named("two_zones"),
    "zone_network": _Named("zone_network"),
    "filaments": _Named("filaments"),
}
"""All worlds by name."""
