"""School restrooms by Lagrangian puffs.

Every act releases some tens of parcels, which drift, grow, reflect at the walls and leave by the
exhaust grille. Droplets follow a d² law in 52 slices of size, slowed by the vapor of their own
plume; background particles grow with humidity. Gases come in five families. Each sensor is of a
make of its own.

The order of random draws is part of the world: a change of it makes another world of every seed.
"""

from research.worlds.parcels.simulate import parcels

__all__ = ["parcels"]
