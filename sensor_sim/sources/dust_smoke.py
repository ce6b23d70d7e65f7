"""Dust of people and paper; smoke that leaks in; a breath at the inlet.

Serfozo 2014 (walking: PM10 +84 %, number below 1 µm unchanged), Tian 2014 (resuspension rises
with size), section 8 of the project's parameter table for amounts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sensor_sim.physics.aerosol import Aerosol, Mode
from sensor_sim.physics.emission import Emission
from sensor_sim.streams import log_uniform

if TYPE_CHECKING:
    import numpy as np


def _dust(rng: np.random.Generator, mg: float, length_s: float, people: float) -> Emission:
    return Emission(
        length_s,
        particles_mg=mg,
        aerosol=Aerosol((Mode(float(rng.uniform(4, 10)), 2.0),)),
        water_g=people * length_s / 60 * 0.6,
        co2_g=people * length_s / 60 * 0.6,
        gas_mg=(0.0, 0.3 * people, 0.0, 0.5 * people, 0.0),
        heat_kj=people * length_s / 60 * 4.0,
    )


def class_change(rng: np.random.Generator) -> tuple[Emission, ...]:
    """Crowd of a class change: coarse dust, breath, body scent for 3-7 min."""
    people = float(rng.uniform(3, 12))
    return (_dust(rng, log_uniform(rng, 0.3, 6), float(rng.uniform(180, 420)), people),)


def paper_dust(rng: np.random.Generator) -> tuple[Emission, ...]:
    """Paper towels, shaken clothes: 10-60 s of coarse dust."""
    return (_dust(rng, log_uniform(rng, 0.1, 3), float(rng.uniform(10, 60)), 1.0),)


def incense(rng: np.random.Generator) -> tuple[Emission, ...]:
    """Cooking, incense or candle smoke leaking in for 5-60 min: 50-500 µg/m³."""
    length = log_uniform(rng, 300, 3600)
    mg = log_uniform(rng, 0.15, 1.5) * length / 60
    return (
        Emission(
            length,
            particles_mg=mg,
            aerosol=Aerosol((Mode(float(rng.uniform(0.2, 0.5)), 1.7),), 0.1, 600),
            gas_mg=(0.0, 0.5 * mg, 0.0, 0.5 * mg, 2 * mg),
            water_g=float(rng.uniform(0, 20)),
            co_mg=3 * mg,
        ),
    )


def breath(rng: np.random.Generator) -> tuple[Emission, ...]:
    """Somebody breathes or talks right at the sensor: +3-4 %RH for seconds, CO2."""
    n = int(rng.integers(1, 4))
    return (
        Emission(
            times_s=tuple(4.0 * i for i in range(n)),
            shares=tuple(1 / n for _ in range(n)),
            duration_s=2.0,
            water_g=n * float(rng.uniform(0.05, 0.2)),
            co2_g=n * 0.08,
            heat_kj=n * 0.05,
        ),
    )
