"""Zones of a restroom, aerosol modes, species in a zone's air, and drivers of flow.

A zone's air is a row of `Species.COUNT` values. Each aerosol mode has a number, number times mean
log diameter, involatile mass and volatile mass. Gases, heat and auxiliary tracers follow. Aerosol
is in particles/cm³ and µg/m³, gases in µg/m³, water in g/m³, CO2 in ppm above outdoor air, and heat
as temperature in °C.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SPHERE: Final = np.pi / 6
"""Volume of a sphere of diameter 1."""


class Zone(IntEnum):
    """Zones of air; a room that lacks one uses a neighboring zone instead."""

    MAIN = 0
    STALL_A = 1
    STALL_B = 2
    ENTRY = 3
    CEILING = 4
    EXHAUST = 5
    CORRIDOR = 6
    NOOK = 7
    OUTSIDE = 8


INDOORS: Final = 8
"""Number of zones with simulated air; the outside air is an input."""
NODES: Final = 9


class Mode(IntEnum):
    """Aerosol populations, each lognormal in size."""

    BACKGROUND = 0
    DUST = 1
    SMOKE = 2
    VAPE = 3
    THC = 4
    SPRAY = 5
    MIST = 6
    FOG = 7


MODES: Final = 8
DENSITY: Final = np.array([1.5, 2.0, 1.3, 1.2, 1.0, 1.0, 1.02, 1.12])
"""Density of each mode, g/cm³."""
HYGROSCOPICITY: Final = np.array([0.22, 0.02, 0.12, 0.35, 0.02, 0.15, 0.5, 0.3])
"""Hygroscopicity (kappa) of each mode."""


class Species(IntEnum):
    """Columns of a zone's air; an aerosol name is the first of eight columns, one per mode."""

    NUMBER = 0
    LOG_DIAMETER = 8
    INVOLATILE = 16
    VOLATILE = 24
    ALCOHOL = 32
    GLYCOL = 33
    GLYCEROL = 34
    TERPENE = 35
    WATER = 36
    CO2 = 37
    HEAT = 38
    UNMIXED_VAPE = 39
    UNMIXED_OTHER = 40
    VAPE_RATE = 41
    SPRAY_RATE = 42
    UNMIXED_GAS = 43
    COUNT = 44


class Driver(IntEnum):
    """Causes of air flow, each with a strength by second."""

    ALWAYS = 0
    FAN = 1
    DOOR = 2
    STALL_A_DOOR = 3
    STALL_B_DOOR = 4
    PEOPLE_MAIN = 5
    HAND_DRYER = 6
    WIND_IN = 7
    WIND_OUT = 8
    TURBULENCE_1 = 9
    TURBULENCE_2 = 10
    HEAT_STALL_A = 11
    HEAT_STALL_B = 12
    SUPPLY = 13
    BELL = 14


DRIVERS: Final = 15


def saturation_g_m3(temperature_c: Floats) -> Floats:
    """Return the water vapor in saturated air, g/m³."""
    return (
        216.7
        * 6.112
        * np.exp(17.62 * temperature_c / (243.12 + temperature_c))
        / (273.15 + temperature_c)
    )
