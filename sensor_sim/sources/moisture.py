"""Hot water, hand dryers, flushes, humidifiers, fog.

Zhou 2007 (shower droplets 5-7 µm in the stall), recordings of uHoo monitors in homes
(+8-37 %RH in 10 min, +0.4-2.5 °C), Sain 2018 (doi 10.1111/ina.12414: ultrasonic humidifier
3-6e4 /cm³), Giao 2022 (hand dryer, doi 10.3389/fpubh.2022.804825). Water droplets below about
90 %RH are gone in under a second, so `Emission.fog` particles count only where the air nears
saturation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sensor_sim.physics.aerosol import Aerosol, Mode
from sensor_sim.physics.emission import Emission
from sensor_sim.streams import log_uniform

if TYPE_CHECKING:
    import numpy as np


def _steam(
    rng: np.random.Generator, length_s: float, water_g_min: float, heat_kj_min: float
) -> tuple[Emission, ...]:
    minutes = length_s / 60
    droplets = Aerosol((Mode(float(rng.uniform(2, 7)), 1.8),))
    return (
        Emission(
            length_s,
            water_g=water_g_min * minutes,
            heat_kj=heat_kj_min * minutes,
            gas_mg=(0.0, 0.5 * minutes, 0.0, 0.2 * minutes, 0.0),
        ),
        Emission(
            length_s, particles_mg=log_uniform(rng, 10, 150) * minutes, aerosol=droplets, fog=True
        ),
    )


def hot_tap(rng: np.random.Generator) -> tuple[Emission, ...]:
    """Hot tap left running 0.5-6 min: 3-20 g vapour a minute."""
    return _steam(rng, log_uniform(rng, 30, 360), log_uniform(rng, 3, 20), log_uniform(rng, 3, 25))


def shower(rng: np.random.Generator) -> tuple[Emission, ...]:
    """Hot shower of 3-15 min: 10-45 g vapour a minute and 10-60 kJ."""
    return _steam(
        rng, log_uniform(rng, 180, 900), log_uniform(rng, 10, 45), log_uniform(rng, 10, 60)
    )


def hand_dryer(rng: np.random.Generator) -> tuple[Emission, ...]:
    """Hand dryer, 10-40 s: warm air, some droplets and motor wear (0-13 µg/m³ PM2.5)."""
    return (
        Emission(
            float(rng.uniform(10, 40)),
            particles_mg=log_uniform(rng, 0.002, 0.25),
            aerosol=Aerosol((Mode(float(rng.uniform(0.3, 1.0)), 1.8),), 0.3, 60),
            water_g=float(rng.uniform(-3, 4)),
            heat_kj=float(rng.uniform(5, 25)),
        ),
    )


def flush(rng: np.random.Generator) -> tuple[Emission, ...]:
    """Toilet flush: a little coarse spray that dries, a breath of moisture."""
    return (
        Emission(
            4.0,
            particles_mg=log_uniform(rng, 0.002, 0.05),
            aerosol=Aerosol((Mode(float(rng.uniform(2, 6)), 2.0),), 0.95, 1.0),
            water_g=float(rng.uniform(0, 1)),
        ),
    )


def humidifier(rng: np.random.Generator) -> tuple[Emission, ...]:
    """Ultrasonic humidifier, 5-60 min: water, and the salt of hard water as fine residue."""
    length = log_uniform(rng, 300, 3600)
    hours = length / 3600
    residue = Aerosol((Mode(float(rng.uniform(0.3, 0.9)), 1.8),), density_g_cm3=2.0)
    return (
        Emission(length, water_g=log_uniform(rng, 100, 400) * hours),
        Emission(length, particles_mg=log_uniform(rng, 5, 100) * hours, aerosol=residue),
        Emission(
            length,
            particles_mg=log_uniform(rng, 1000, 20000) * hours,
            aerosol=Aerosol((Mode(float(rng.uniform(3, 5)), 1.6),)),
            fog=True,
        ),
    )


def nebulizer(rng: np.random.Generator) -> tuple[Emission, ...]:
    """Medical or salt nebulizer, 3-12 min: droplets dry to salt residue of 0.4-1.5 µm."""
    length = float(rng.uniform(180, 720))
    aerosol = Aerosol(
        (Mode(float(rng.uniform(3, 5)), 1.9),),
        volatile=float(rng.uniform(0.88, 0.97)),
        efold_s=float(rng.uniform(0.5, 3)),
        density_g_cm3=1.1,
    )
    return (
        Emission(
            length,
            particles_mg=log_uniform(rng, 100, 2000),
            aerosol=aerosol,
            water_g=float(rng.uniform(1, 5)),
        ),
    )


def fog_machine(rng: np.random.Generator) -> tuple[Emission, ...]:
    """Theatrical glycol fog drifting in for 1-10 min: like vape, but minutes long and much."""
    length = log_uniform(rng, 60, 600)
    aerosol = Aerosol(
        (Mode(float(rng.uniform(0.6, 1.5)), 1.7),),
        volatile=float(rng.uniform(0.6, 0.95)),
        efold_s=log_uniform(rng, 120, 900),
        density_g_cm3=1.1,
    )
    mg = log_uniform(rng, 30, 400)
    return (
        Emission(
            length,
            particles_mg=mg,
            aerosol=aerosol,
            gas_mg=(log_uniform(rng, 0.5, 2) * mg, 0.0, 0.0, 0.0, 0.0),
            water_g=float(rng.uniform(5, 40)),
        ),
    )
