"""Gases, water vapor and heat: species groups, conversions, loss to walls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOLAR_VOLUME_L: Final = 24.2
"""Molar volume of air at 22 °C and 1013 hPa, L/mol."""


# Groups to which a metal-oxide sensor responds more or less strongly: glycol and flavor (1 mg in
# 30 m³ is 11 ppb), alcohols, propellants, terpenes and perfume, combustion gases.
_MOLAR_MASS = np.array([76.0, 46.0, 52.0, 136.0, 40.0])

PPB_PER_MG_M3: Final[NDArray[np.float64]] = 1000 * MOLAR_VOLUME_L / _MOLAR_MASS
"""Mixing ratio of 1 mg/m³ of each group, ppb."""

WALL_LOSS_PER_H: Final[NDArray[np.float64]] = np.array([1.5, 0.2, 0.0, 0.3, 0.2])
"""Loss to surfaces in addition to air exchange, 1/h: glycols stick, propellant does not (prior)."""


def saturation_g_m3(temp_c: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Return the saturation density of water vapor, g/m³ (Magnus formula, Sonntag 1990 constants).

    >>> round(float(saturation_g_m3(22.0)), 1)
    19.4
    """
    t = np.asarray(temp_c, dtype=np.float64)
    pressure_hpa = 6.112 * np.exp(17.62 * t / (243.12 + t))
    return np.asarray(216.7 * pressure_hpa / (273.15 + t))
