"""Restroom worlds: independent physics of one subject, behind one interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sensor_sim.worlds.two_zones import two_zones
from sensor_sim.worlds.zone_network import zone_network

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sensor_sim.worlds.world import World

WORLDS: Final[Mapping[str, World]] = {
    "two_zones": two_zones,
    "zone_network": zone_network,
}

__all__ = ["WORLDS", "two_zones", "zone_network"]
