"""Compute how an optical instrument responds to aerosol that evaporates and deposits.

A release has a lognormal mass distribution, divided into size classes. In each class, a fast and a
slow liquid evaporate by the d² law (lifetime ∝ d0²) and leave a residue. The class settles
according to its current size. An instrument's channel is a response by diameter, so its signal
depends on number and size, not mass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import expit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DIAMETERS_UM: Final = np.geomspace(0.02, 60.0, 120)
AGES_S: Final = np.concatenate([np.arange(60.0), np.geomspace(60.0, 28_800.0, 90)])
"""Ages at which kernels are computed; values in between are interpolated."""

_CLASSES: Final = np.linspace(-2.4, 2.4, 13)
_SHARES: Final = np.exp(-(_CLASSES**2) / 2) / np.exp(-(_CLASSES**2) / 2).sum()
_LIFETIME_PER_E_FOLD: Final = 1 / (1 - np.exp(-2 / 3))  # for a mass that decreases as (1 - t/T)^1.5


@dataclass(frozen=True, slots=True)
class Aerosol:
    """Aerosol with a lognormal mass distribution, two volatile liquids and a residue.

    Attributes
    ----------
    median_um, gsd : float
        Mass median diameter and geometric standard deviation when released.
    fast, slow : float
        Volume shares of the two liquids; the rest does not evaporate.
    fast_s, slow_s : float
        Time in which a median droplet loses 63% of each liquid, seconds.
    density : float
        In g/cm³.
    """

    median_um: float
    gsd: float
    fast: float = 0.0
    fast_s: float = 1.0
    slow: float = 0.0
    slow_s: float = 1.0
    density: float = 1.1

    def response(self, rows: Floats, deposition: float) -> Floats:
        """Return the signal of each channel at `AGES_S` for 1 µg/m³ released.

        Parameters
        ----------
        rows : ndarray, shape (channels, len(DIAMETERS_UM))
            Responses by diameter to 1 particle/cm³; the first is the mass at density 1.
        deposition : float
            Particle loss, relative to still air.

        Returns
        -------
        ndarray, shape (channels, len(AGES_S))
        """
        first = self.median_um * self.gsd**_CLASSES
        number = _SHARES / (self.density * np.pi / 6 * first**3)
        square = (first[:, None] / self.median_um) ** 2 * _LIFETIME_PER_E_FOLD
        volume = np.full((first.size, AGES_S.size), 1 - self.fast - self.slow)
        for share, e_fold in ((self.fast, self.fast_s), (self.slow, self.slow_s)):
            volume += share * np.maximum(0, 1 - AGES_S / (square * e_fold)) ** 1.5
        now = first[:, None] * np.cbrt(np.maximum(volume, 1e-6))
        airborne = number[:, None] * np.exp(-deposition_h(now) * deposition * AGES_S / 3600)
        step = np.log(DIAMETERS_UM[1] / DIAMETERS_UM[0])
        place = np.clip(np.log(now / DIAMETERS_UM[0]) / step, 0, DIAMETERS_UM.size - 1.001)
        low = place.astype(np.intp)
        part = place - low
        seen = rows[:, low] * (1 - part) + rows[:, low + 1] * part
        signal: Floats = (seen * airborne).sum(axis=1)
        signal[0] *= self.density
        return signal


def deposition_h(diameter_um: Floats) -> Floats:
    """Return losses to surfaces in still air, per hour: 0.3 at 0.4 µm, 4 at 10 µm."""
    return 0.28 + np.minimum(0.04 * diameter_um**2, 25.0)


def above(cut_um: float, sharpness: float = 12.0) -> Floats:
    """Return the share counted as larger than `cut_um`, by diameter."""
    return np.asarray(expit(sharpness * np.log(DIAMETERS_UM / cut_um)))


def sphere_mass(scale: float = 1.0) -> Floats:
    """Return the mass of 1 particle/cm³, µg/m³, by diameter; sizes are scaled by `scale`."""
    return np.pi / 6 * (scale * DIAMETERS_UM) ** 3


def ideal_mass(cut_um: float) -> Floats:
    """Return the mass that passes an impactor, by diameter."""
    return sphere_mass() * (1 - above(cut_um, 8.0))


def scatter(wavelength_um: float, index_m1: float, knee: float) -> Floats:
    """Return sideways scattered light by diameter: d⁶ below the knee, d² with ripple above.

    Parameters
    ----------
    index_m1 : float
        Refractive index minus 1, which sets the ripple (anomalous diffraction).
    knee : float
        Size parameter π d/λ at which d² replaces d⁶.
    """
    x = np.pi * DIAMETERS_UM / wavelength_um
    ripple = 1 + 0.2 * np.sin(2 * x * index_m1) * np.exp(-x / 25)
    law: Floats = DIAMETERS_UM**2 * x**4 / (x**4 + knee**4) * ripple
    return law
