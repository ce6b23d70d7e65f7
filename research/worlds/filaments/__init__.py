"""World of filaments: a shared, fluctuating flow pulls exhaled clouds apart into strands.

A release is a bundle of Gaussian filaments (after Farrell et al. 2002, Environ. Fluid Mech. 2:143).
All filaments move with the same divergence-free rolls of the room's air, which people, the door and
the fan drive. So a sensor sees strands and gaps, not a smooth cone. The vapor of a cloud slows the
evaporation of its droplets, so a dense cloud persists until it is diluted. After four minutes, what
remains of it is added to a well-mixed room that exchanges air with the corridor.

- `rooms`: rooms, their ventilation, and the school.
- `people`: bells, visits, vaping sessions, and what they release.
- `flow`: motion of the air and of filaments.
- `droplets`: evaporation, coagulation and deposition.
- `balance`: the well-mixed background.
- `instruments`: sensors.
- `simulation`: runs all of these in order.
"""

from research.worlds.filaments.simulation import filaments

__all__ = ["filaments"]
