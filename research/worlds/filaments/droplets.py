"""Simulate droplets in a cloud: evaporation by size, coagulation and deposition.

A release is represented by droplets at the quantiles of its lognormal mass distribution. Each
droplet shrinks to its residue by the d² law, slowed by Raoult's law and by vapor that is not
diluted yet. The Kelvin and Fuchs corrections are omitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import ndtri

from research.worlds.filaments.flow import AGES
from research.worlds.filaments.rooms import CENTERS_UM

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from research.worlds.filaments.flow import Paths
    from research.worlds.filaments.people import Releases

_SHRINK_UM2_S: Final = np.array([0.0263, 3800.0, 12_500.0, 0.0015, 0.1])
"""Decrease of d² by substance in vapor-free air at 22 °C, µm²/s, from lifetimes of 0.5-5 µm
droplets (isolated, d² law): glycerol 0.5 µm 9.5 s, water 5 µm 0.013 s at 50% RH, ethanol 5 µm 2
ms. Cannabis oil is set to minutes; fog glycols lie between glycerol and propylene glycol (8 ms)."""
SATURATION_UG_M3: Final = np.array([560.0, 1.94e7, 1.1e8, 30.0, 2000.0])
"""Vapor over the pure liquid: glycerol about 0.15 ppm."""
_QUANTILES: Final = 6
_COAGULATION_M3_S: Final = 7e-16
_DENSITY_UG_UM3: Final = 1.1e-6
_SETTLE: Final = 3.1e-5
"""Settling velocity of a 1 µm particle (Stokes), m/s; it grows with d²."""


@dataclass(frozen=True, slots=True)
class Lives:
    """Airborne mass of each release by age and size bin, µg, shape (releases, AGES, bins).

    `residue` (releases, bins) and `volatile` (releases,) remain at the end, µg.
    """

    mass: NDArray[np.float32]
    residue: NDArray[np.float64]
    volatile: NDArray[np.float64]


def deposition(
    diameter_um: NDArray[np.float64], surface: float, height: float
) -> NDArray[np.float64]:
    """Return surface losses, 1/s: from 0.3/h at 0.4 µm to 5/h above 10 µm (Howard-Reed 2003)."""
    settling = _SETTLE * np.minimum(diameter_um, 12.0) ** 2 / height
    thin = 0.25 + 0.05 / np.maximum(diameter_um, 0.1)
    return np.asarray(surface * thin / 3600 + settling)


def live(
    releases: Releases,
    paths: Paths,
    humidity: NDArray[np.float64],
    surface: float,
    height: float,
) -> Lives:
    """Simulate the droplets of `releases`; `humidity` is the room's at each release, %."""
    substance = releases.substance
    shrink = _SHRINK_UM2_S[substance] * releases.haste
    shrink *= np.where(substance == 1, 1.0, 1 - 0.006 * np.minimum(humidity, 95))
    full = SATURATION_UG_M3[substance]
    ambient = np.where(substance == 1, np.minimum(humidity / 100, 0.995), 0.0)
    ranks = ndtri((np.arange(_QUANTILES) + 0.5) / _QUANTILES)
    born = releases.mmd[:, None] * releases.gsd[:, None] ** ranks
    each = releases.mass_ug[:, None] / _QUANTILES
    cube0 = born**3
    core = (1 - releases.volatile[:, None]) * cube0
    cube = cube0.copy()
    growth = np.ones(releases.mass_ug.size)
    alive = np.ones_like(born)
    vapor = np.zeros(releases.mass_ug.size)
    moist = np.where(substance == 1, 1e6 * releases.water_g, 0.0)
    number = (each / (_DENSITY_UG_UM3 * np.pi / 6 * cube0)).sum(axis=1)
    bins = np.empty((releases.mass_ug.size, AGES, CENTERS_UM.size), np.float32)
    for age in range(AGES):
        cloud, left = paths.cloud[:, age], paths.left[:, age]
        diameter = np.cbrt(cube) * np.cbrt(growth)[:, None]
        bins[:, age] = _binned(each * alive * cube / cube0, diameter)
        saturated = ambient + (vapor + moist) * left / (full * cloud)
        room_left = np.maximum(1 - saturated, 0)
        pull = shrink * room_left
        share = 1 - core / cube
        square = np.maximum(np.cbrt(cube) ** 2 - pull[:, None] * share, 0)
        lost = cube - np.maximum(square**1.5, core)
        total = (each * alive * lost / cube0).sum(axis=1)
        part = np.minimum(1.0, full * cloud * room_left / np.maximum(total, 1e-12))
        cube -= part[:, None] * lost
        vapor += part * total
        growth *= 1 + _COAGULATION_M3_S * number / (growth * cloud) / 2
        alive *= np.exp(-deposition(diameter, surface, height))
    last = each * alive * paths.left[:, [-1]]
    residue = _binned(last * core / cube0, np.cbrt(core))
    return Lives(bins, residue, (last * (cube - core) / cube0).sum(axis=1))


def _binned(mass: NDArray[np.float64], diameter: NDArray[np.float64]) -> NDArray[np.float64]:
    """Split each mass between the two bins with the nearest centers."""
    centers = np.log(CENTERS_UM)
    place = np.interp(np.log(np.maximum(diameter, 1e-3)), centers, np.arange(centers.size))
    return np.stack(
        [(mass * np.clip(1 - np.abs(place - i), 0, 1)).sum(axis=1) for i in range(centers.size)],
        axis=1,
    )
