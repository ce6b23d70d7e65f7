"""Faults and attacks on demand: what students, dust, power strips and networks do to sensors.

All are seeded and streaming, so that a simulation of any length can carry them and any split into
chunks gives the same. Those at the sensor are in `sensor_sim.faults.at_sensor`, those of the
network in `sensor_sim.faults.on_wire`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sensor_sim.faults.at_sensor import BlownAt, ClockJump, Covered, RippedOff, Unplugged
from sensor_sim.faults.on_wire import Flood, Garbage, GatewayOutage, Replay, Spoof

if TYPE_CHECKING:
    from collections.abc import Mapping

ATTACKS: Final[Mapping[str, type]] = {
    "covered": Covered,
    "blown_at": BlownAt,
    "unplugged": Unplugged,
    "ripped_off": RippedOff,
    "clock_jump": ClockJump,
    "gateway_outage": GatewayOutage,
    "replay": Replay,
    "spoof": Spoof,
    "flood": Flood,
    "garbage": Garbage,
}
"""All faults and attacks by the name a scenario file calls them."""
