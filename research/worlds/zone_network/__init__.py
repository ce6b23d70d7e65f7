"""World of restrooms as networks of four to eight zones, connected by closed loops of flow.

Air moves in closed loops (from outside through corridor, entry, room and exhaust; between stall and
room; wind in both directions; thermal plumes; hand-dryer jets), so mass is always conserved. Each
of eight aerosol modes has a number, a log diameter, and involatile and volatile mass. Vapors slow
evaporation, and stick to tiles and leave them again; water condenses on walls. All rooms advance
together by one second at a time. Devices have the optics and gas sensors of their families, and
firmware that averages, repeats and loses readings.

The school is drawn from one random stream, and each room and each device from its own. The order of
draws is part of the world.
"""

from research.worlds.zone_network.simulation import zone_network

__all__ = ["zone_network"]
