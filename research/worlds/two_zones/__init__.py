"""World of two mixed zones a room: near the source, and the rest where the sensor hangs.

Aerosol is held in four optical bins and five pools of its own volatility, beside it VOC, water
vapor, heat and CO2. Air is exchanged between the zones and ventilated from the far one; particles
settle and evaporate, slower in humid air. One-second Euler steps for all rooms at once. The
concentration at the inlet fluctuates while the zones are unmixed. Devices follow with the lags of
their parts, then average, add noise, round, drift out of step and skip reports.

Rooms, happenings and units are drawn from `seed`; noise from a second stream, in the order in
which devices report. Results do not depend on `air.CHUNK_S`.
"""

from research.worlds.two_zones.simulation import two_zones

__all__ = ["two_zones"]
