"""World of restrooms as networks of four to eight zones joined by closed loops of flow.

Air moves along loops (outside, corridor, entry, room, exhaust and out again; stall and room; wind
both ways; thermal plumes; hand-dryer jets), so mass is kept whatever drives them. Eight aerosol
modes are each carried as number, log diameter, involatile and volatile mass. Vapors feed back on
evaporation, stick to tiles and leave them again; water condenses on walls. All rooms step together,
one second at a time. Devices add the optics and gas sensors of their families, and firmware that
averages, holds and loses readings.

The school draws from one random stream, each room from a second and its device from a third: the
order of draws is part of the world.
"""

from research.worlds.zone_network.simulation import zone_network

__all__ = ["zone_network"]
