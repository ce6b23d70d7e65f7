"""World of restrooms as networks of four to eight zones, connected by closed loops of flow.

Air moves in closed loops, so mass is always conserved: from outside through corridor, entry, room
and exhaust, between stall and room, by wind in both directions, in thermal plumes, and in
hand-dryer jets. Each of eight aerosol modes has a number, a log diameter, and involatile and
volatile mass. Vapors slow evaporation; tiles absorb and release them. Water condenses on walls. All
rooms advance together, one second at a time. Devices have the optics and gas sensors of their
families, and firmware that averages, repeats and loses readings.

The school, each room and each device have random streams of their own. The order of draws is part
of the world.
"""

from research.worlds.zone_network.simulation import zone_network

__all__ = ["zone_network"]
