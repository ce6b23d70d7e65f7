"""World of Lagrangian puffs in school restrooms.

Every act releases tens of parcels, which drift, grow, reflect off the walls and leave through the
exhaust grille. Droplets in 52 size slices evaporate by the d² law, slowed by the vapor of their
plume. Background particles grow with humidity. There are five families of gases. Each room's sensor
is drawn from several makes.

The order of random draws is part of the world: a change in the order changes every seed's world.
"""

from research.worlds.parcels.simulate import parcels

__all__ = ["parcels"]
