"""Evaporation, condensation and growth of a cell's aerosol.

The columns of a cell's air are six groups of nine size bins (µg/m³ of air), then the gases.
Droplets of the liquid groups shrink by the d² law: each bin's droplets move to the next smaller bin
at a rate of ``K / (d² - d'²)``, and the difference in mass becomes vapor. Vapor in the air slows
this: for glycol relative to the saturation of glycerol (0.1-0.2 ppm, 400-750 µg/m³), for water
relative to 100% humidity. Solvents are not slowed. The residue is emitted separately, at the size
of the dried droplet.

From SCIENCE.md: lifetimes of droplets (section 1: 38 s for 1 µm of glycerol); e-folding times of
8-60 s (pod), 20-180 s (mod), 60-600 s (THC) (section 8); deposition (section 5); loss of coarse
spray droplets (section 3); volume growth of ``1 + k RH / (1 - RH)`` (section 2).
"""

from __future__ import annotations

from math import erf, log, sqrt
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

EDGES_UM: Final = np.array([0.1, 0.3, 0.5, 0.7, 1.0, 1.7, 2.5, 5.0, 10.0, 30.0])
DIAMETERS_UM: Final = np.sqrt(EDGES_UM[1:] * EDGES_UM[:-1])
BINS: Final = len(DIAMETERS_UM)
COUNT_PER_UG: Final = 1.74 / DIAMETERS_UM**3
"""Particles/cm³ in 1 µg/m³ at a density of 1.1 g/cm³."""
FINE: Final = slice(0, 6)
"""Bins below 2.5 µm."""

VAPE, FOG, SOLVENT, WATER, VAPE_RESIDUE, INERT = (slice(i * BINS, (i + 1) * BINS) for i in range(6))
LIQUIDS: Final = 4
"""Number of groups that evaporate; they are the first ones."""
GLYCEROL, LIGHT, STICKY, VAPOUR, HEAT, CO2 = range(6 * BINS, 6 * BINS + 6)
"""Columns above the room's background: glycerol vapor (µg/m³), gases that walls don't absorb and
gases that they do (MOX response in ppm of ethanol), water vapor (g/m³), heat (K) and CO2 (ppm)."""
WIDTH: Final = CO2 + 1
AEROSOL: Final = slice(0, 6 * BINS)

GLYCEROL_UM2_S: Final = 1 / 38
"""Decrease of d² of pure glycerol in clean air, µm²/s."""
SOLVENT_UM2_S: Final = 1.5
WATER_UM2_S: Final = 400.0
DEPOSITION_H: Final = np.array([0.3, 0.3, 0.4, 0.5, 0.7, 1.1, 2.0, 5.0, 20.0])

_SQUARES_UM2: Final = DIAMETERS_UM**2
_GAPS_UM2: Final = np.append(_SQUARES_UM2[0], np.diff(_SQUARES_UM2))
_PASSED_ON: Final = np.append(0.0, (DIAMETERS_UM[:-1] / DIAMETERS_UM[1:]) ** 3)
_CONDENSED: Final = np.array([0, 0, 0, 0, 0.2, 0.4, 0.4, 0, 0])


def size_shares(median_um: float, spread: float) -> NDArray[np.float64]:
    """Return each bin's share of a lognormal aerosol's mass; the outer bins include its tails.

    - `median_um`: mass median. `spread`: geometric standard deviation.
    """
    below = [0.5 * (1 + erf(log(e / median_um) / (log(spread) * sqrt(2)))) for e in EDGES_UM[1:-1]]
    return np.diff(np.array([0.0, *below, 1.0]))


def speed_of(median_um: float, e_fold_s: float) -> float:
    """Return the rate, relative to glycerol, at which evaporation takes `e_fold_s` to 1/e."""
    return float(0.49 * median_um**2 / (GLYCEROL_UM2_S * e_fold_s))


def saturation_g_m3(temperature: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the water vapor at 100% relative humidity for a temperature in °C (Magnus)."""
    pressure = 611.2 * np.exp(17.62 * temperature / (243.12 + temperature))
    return np.asarray(pressure / (0.4615 * (temperature + 273.15)))


def evaporate(
    air: NDArray[np.float64],
    speed: NDArray[np.float64],
    glycerol_saturation: NDArray[np.float64],
    humidity: NDArray[np.float64],
) -> None:
    """Shrink the droplets by one second's evaporation, in place.

    Parameters
    ----------
    air : ndarray, shape (rooms, cells, WIDTH)
    speed : ndarray, shape (rooms, LIQUIDS)
        Decrease of d² per second in clean air, µm².
    glycerol_saturation : ndarray, shape (rooms,)
        Saturation in µg/m³.
    humidity : ndarray, shape (rooms, cells)
        Relative humidity; 1 is saturated.
    """
    rooms, cells, _ = air.shape
    drive = np.ones((rooms, cells, LIQUIDS))
    glycol = 1 - air[:, :, GLYCEROL] / glycerol_saturation[:, None]
    drive[:, :, 0] = drive[:, :, 1] = np.maximum(glycol, 0.02) * (
        1.3 - 0.7 * np.minimum(humidity, 1)
    )
    drive[:, :, 3] = np.maximum(1 - humidity, 0.0)
    rate = (drive * speed[:, None, :])[..., None] / _GAPS_UM2
    droplets = air[:, :, : LIQUIDS * BINS].reshape(rooms, cells, LIQUIDS, BINS)
    leaving = droplets * (rate / (1 + rate))
    arriving = leaving * _PASSED_ON
    droplets -= leaving
    droplets[..., :-1] += arriving[..., 1:]
    air[:, :, : LIQUIDS * BINS] = droplets.reshape(rooms, cells, LIQUIDS * BINS)
    vapor = leaving.sum(axis=-1) - arriving.sum(axis=-1)
    air[:, :, GLYCEROL] += vapor[:, :, 0] + vapor[:, :, 1]
    air[:, :, VAPOUR] += 1e-6 * vapor[:, :, 3]


def condense(air: NDArray[np.float64], over: NDArray[np.float64]) -> None:
    """Turn vapor above saturation (`over`, g/m³, shape (rooms, cells)) into droplets, in place."""
    air[:, :, VAPOUR] -= over
    air[:, :, WATER] += (1e6 * over)[..., None] * _CONDENSED


def grow(
    bins: NDArray[np.float64], humidity: NDArray[np.floating], uptake: float
) -> NDArray[np.float64]:
    """Return the sizes of dry particles in humid air.

    - `bins` (n, BINS): dry mass, µg/m³.
    - `humidity` (n,): relative humidity; 1 is saturated.
    - `uptake`: the constant k of volume growth.
    """
    h = np.clip(humidity, 0.0, 0.97)
    volume = 1 + uptake * h / (1 - h)
    wet = bins * volume[:, None]
    # diameters grow by the cube root of the volume growth, which moves mass to the next bin
    widths = np.diff(np.log(EDGES_UM))[:-1]
    moving = wet[:, :-1] * np.minimum((np.log(volume) / 3)[:, None] / widths, 1.0)
    wet[:, :-1] -= moving
    wet[:, 1:] += moving
    return np.asarray(wet)
