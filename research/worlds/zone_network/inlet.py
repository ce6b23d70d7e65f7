"""Compute the air at a sensor's inlet: unmixed plumes, growth in humid air, ideal measurements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import ndtr

from research.worlds.zone_network.layout import (
    DENSITY,
    HYGROSCOPICITY,
    MODES,
    SPHERE,
    Mode,
    Species,
    saturation_g_m3,
)
from research.worlds.zone_network.series import fluctuation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from research.worlds.zone_network.room import Room

    Floats = NDArray[np.float64]

_COUNT_CUTS: Final = (0.3, 0.5, 1.0, 2.5, 5.0, 10.0)
_MASS_CUTS: Final = (1.0, 2.5, 4.0, 10.0)
_PM25: Final = 1
_PM10: Final = 3
_VAPED: Final = [Mode.VAPE, Mode.THC]
_OTHERS: Final = [Mode.SPRAY, Mode.MIST, Mode.SMOKE, Mode.FOG]


@dataclass(frozen=True, slots=True)
class Inlet:
    """Air at the inlet, one value per second.

    - `counts` (6, n): particles/cm³ larger than 0.3, 0.5, 1, 2.5, 5, 10 µm.
    - `masses` (4, n): PM1, PM2.5, PM4, PM10, µg/m³.
    - `vaped`: PM2.5 from vaping alone, µg/m³.
    - `nephelometer`, `sps`, `sds`: µg/m³ as measured by the optics of Plantower, Sensirion, Nova.
    - `alcohol_ppb`: all gases, in ppb of ethanol.
    """

    humidity: Floats
    temperature: Floats
    co2: Floats
    counts: Floats
    masses: Floats
    vaped: Floats
    nephelometer: Floats
    sps: Floats
    sds: Floats
    alcohol_ppb: Floats

    @property
    def fine_share(self) -> Floats:
        """Ratio of PM1 to PM2.5."""
        share: Floats = self.masses[0] / (self.masses[_PM25] + 1e-6)
        return share

    @property
    def not_vaped(self) -> Floats:
        """PM2.5 without vaping, µg/m³."""
        rest: Floats = self.masses[_PM25] - self.vaped
        return rest


def at_inlet(room: Room, recorded: NDArray[np.float32], rng: np.random.Generator) -> Inlet:
    """Return the air at a sensor's inlet, given the air of its zone (seconds, species)."""
    air = recorded.astype(float)
    n = len(air)
    first = slice(0, MODES)
    number = air[:, first] + 1e-9
    mass = air[:, 16:24] + air[:, 24:32]

    vape, other, gas = _draw_lumps(room, air, mass, rng)
    lump = np.ones((n, MODES))
    lump[:, _VAPED] = vape[:, None]
    lump[:, _OTHERS] = other[:, None]

    humidity = np.clip(air[:, Species.WATER] / saturation_g_m3(air[:, Species.HEAT]), 0.02, 0.995)
    activity = np.minimum(humidity, 0.968)[:, None]
    growth = np.cbrt(1 + HYGROSCOPICITY * activity / (1 - activity))
    log_diameter = np.clip(air[:, 8:16] / number, -5, 4)
    log_volume = np.log((mass + 1e-12) / (number * DENSITY * SPHERE))
    variance = np.clip((log_volume - 3 * log_diameter) / 4.5, 0.05, 0.7)
    width = np.sqrt(variance)
    # derive the median from mass and width, to conserve mass
    wet_median = np.clip((log_volume - 4.5 * variance) / 3, -5, 4) + np.log(growth)
    wet_mass_median = wet_median + 3 * variance
    wet_mass = mass * growth**3 * lump
    wet_number = number * lump

    counts, masses = np.zeros((len(_COUNT_CUTS), n)), np.zeros((len(_MASS_CUTS), n))
    vaped, nephelometer, sps, sds = np.zeros((4, n))
    for mode in Mode:
        if mass[:, mode].max() < 0.01:
            continue
        total, median, sigma = wet_number[:, mode], wet_median[:, mode], width[:, mode]
        for count, cut in zip(counts, _COUNT_CUTS, strict=True):
            count += total * ndtr((median - np.log(cut)) / sigma)  # noqa: PLW2901 - in place
        total, median = wet_mass[:, mode], wet_mass_median[:, mode]
        below = [total * ndtr((np.log(cut) - median) / sigma) for cut in _MASS_CUTS]
        masses += below
        pm25, pm10 = below[_PM25], below[_PM10]
        if mode in _VAPED:
            vaped += pm25
        d = np.exp(median)
        seen = (d / 0.3) ** 3 / (1 + (d / 0.3) ** 3)
        nephelometer += pm10 * seen / (1 + (d / 1.2) ** 1.6)
        sps += (pm25 + 0.12 * pm10) * seen / (1 + (d / 2.5) ** 1.2)
        cubed = (d / 0.42) ** 3
        sds += pm10 * cubed / (1 + cubed) / (1 + (d / 3) ** 0.7)
    return Inlet(
        humidity=humidity * 100,
        temperature=air[:, Species.HEAT],
        co2=air[:, Species.CO2] + 420,
        counts=counts,
        masses=masses,
        vaped=vaped,
        nephelometer=nephelometer,
        sps=sps,
        sds=sds,
        alcohol_ppb=(
            air[:, Species.ALCOHOL] / 1.88 * gas
            + 0.6 * air[:, Species.GLYCOL] / 3.1 * vape
            + air[:, Species.GLYCEROL] * 0.02 / 3.7
            + 0.9 * air[:, Species.TERPENE] / 5.6
        ),
    )


def _draw_lumps(
    room: Room, air: Floats, mass: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Draw how the concentrations of vape, other aerosol and gas fluctuate while unmixed."""
    n = len(air)
    eddies = fluctuation(rng, n, room.lump_s) * 0.85 + fluctuation(rng, n, room.lump_s * 6) * 0.53

    def lump(unmixed: Species, total: Floats) -> Floats:
        share = np.clip(air[:, unmixed] / total, 0, 1)
        variance = np.log1p(room.lumpiness * share)
        factor: Floats = np.exp(np.sqrt(variance) * eddies - variance / 2)
        return factor

    others = mass[:, Mode.SPRAY] + mass[:, Mode.MIST] + mass[:, Mode.SMOKE] + mass[:, Mode.FOG]
    return (
        lump(Species.UNMIXED_VAPE, mass[:, Mode.VAPE] + mass[:, Mode.THC] + 0.05),
        lump(Species.UNMIXED_OTHER, others + 0.05),
        lump(Species.UNMIXED_GAS, air[:, Species.ALCOHOL] + 20),
    )
