"""World with two mixed zones per room: one near the source, one with the sensor.

A zone's state is aerosol in four optical bins and five volatility pools, VOC, water vapor, heat and
CO2. The zones exchange air, and the far zone is ventilated. Particles settle and evaporate;
evaporation is slower in humid air. All rooms advance together in Euler steps of one second. The
concentration at the inlet fluctuates while the zones differ. Devices have lags and noise. They
average and round values, report with jitter, and skip some reports.

Rooms, events and units are drawn from `seed`. Noise is drawn from a second random stream, in the
order of reports, so results do not depend on `air.CHUNK_S`.
"""

from research.worlds.two_zones.simulation import two_zones

__all__ = ["two_zones"]
