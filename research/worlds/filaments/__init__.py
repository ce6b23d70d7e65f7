"""World of filaments: exhaled clouds as strands that one shared, fluctuating flow pulls apart.

A release is a bundle of Gaussian filaments (after Farrell et al. 2002, Environ. Fluid Mech. 2:143).
All are advected by the same divergence-free rolls of the room, whose strength follows people, door
and fan, so a sensor sees strands and gaps, not a smooth cone. Their droplets evaporate against the
vapor of their own cloud: a dense cloud lives until it is diluted. What is left after four minutes
joins a well-mixed balance of the room with the corridor.

- `rooms`: geometry, ventilation, the school around.
- `people`: bells, visits, vaping sessions, and what they release.
- `flow`: motion of the air and of filaments.
- `droplets`: evaporation, coagulation and deposition.
- `balance`: the well-mixed background.
- `instruments`: sensors.
- `simulation`: all of it in order.
"""

from research.worlds.filaments.simulation import filaments

__all__ = ["filaments"]
