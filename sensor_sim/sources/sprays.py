"""Sprays, fragrances, sanitizer and cleaning.

Sizes from Dua 1995 (doi 10.1080/02786829508965318: MMAD
2.3-8.8 µm, GSD 2.0-3.8) and Bertholon 2015 (most particles below 0.3 µm: the residue tail);
losses are checked against Seller 2021 (doi 10.1016/j.buildenv.2021.107738). Masses of propellant,
solvent and hand rub are grams: 100-1000 times the gas of a puff.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sensor_sim.physics.aerosol import Aerosol, Mode
from sensor_sim.physics.emission import Emission
from sensor_sim.streams import log_uniform

if TYPE_CHECKING:
    import numpy as np


def _can(
    rng: np.random.Generator,
    particles_mg: float,
    gas_mg: tuple[float, ...],
    late_mg: tuple[float, ...],
) -> tuple[Emission, ...]:
    """Pressurised can: coarse droplets with a fine residue tail, gas at once and from surfaces."""
    fine = log_uniform(rng, 0.005, 0.05)
    sticking = float(rng.uniform(1, 4))
    coarse = Aerosol(
        (Mode(float(rng.uniform(2.3, 8.8)), float(rng.uniform(2.0, 3.0))),),
        volatile=float(rng.uniform(0.5, 0.9)),
        efold_s=log_uniform(rng, 1, 60),
        sticking_per_h=sticking,
    )
    residue = Aerosol((Mode(float(rng.uniform(0.25, 0.5)), 1.8),), sticking_per_h=sticking)
    length = float(rng.uniform(0.5, 5))
    bursts = tuple(float(i) * float(rng.uniform(2, 5)) for i in range(int(rng.integers(1, 4))))
    share = tuple(1 / len(bursts) for _ in bursts)
    cooling = -0.3 * sum(gas_mg) / 1000
    return (
        Emission(
            times_s=bursts,
            shares=share,
            duration_s=length,
            particles_mg=particles_mg * (1 - fine),
            aerosol=coarse,
            gas_mg=gas_mg,
            heat_kj=cooling,
        ),
        Emission(
            times_s=bursts,
            shares=share,
            duration_s=length,
            particles_mg=particles_mg * fine,
            aerosol=residue,
        ),
        Emission(float(rng.uniform(120, 600)), gas_mg=late_mg),
    )


def deodorant(rng: np.random.Generator) -> tuple[Emission, ...]:
    """Deodorant or body spray: 10-500 mg airborne, 0.3-5 g propellant and ethanol."""
    grams = log_uniform(rng, 0.3, 5)
    prop = float(rng.uniform(0.4, 0.8))
    gas = (0.0, 800 * grams * (1 - prop), 1000 * grams * prop, log_uniform(rng, 1, 30), 0.0)
    late = (0.0, 200 * grams * (1 - prop), 0.0, log_uniform(rng, 1, 30), 0.0)
    return _can(rng, log_uniform(rng, 10, 500), gas, late)


def hair_spray(rng: np.random.Generator) -> tuple[Emission, ...]:
    """Hair spray: more solvent, resin residue."""
    grams = log_uniform(rng, 0.5, 5)
    gas = (0.0, 500 * grams, 400 * grams, log_uniform(rng, 1, 10), 0.0)
    return _can(rng, log_uniform(rng, 20, 500), gas, (0.0, 300 * grams, 0.0, 2.0, 0.0))


def air_freshener(rng: np.random.Generator) -> tuple[Emission, ...]:
    """Air freshener can, by hand or by a timer on the wall: 0.1-2 g."""
    grams = log_uniform(rng, 0.1, 2)
    gas = (log_uniform(rng, 0.1, 5), 300 * grams, 600 * grams, 20 * grams, 0.0)
    return _can(rng, log_uniform(rng, 5, 150), gas, (0.5, 50 * grams, 0.0, 10 * grams, 0.0))


def perfume(rng: np.random.Generator) -> tuple[Emission, ...]:
    """Perfume atomiser or dab: 0.05-0.6 g ethanol, few droplets."""
    gas = (0.0, log_uniform(rng, 50, 600), 0.0, log_uniform(rng, 3, 40), 0.0)
    droplets = Emission(
        1.0,
        particles_mg=log_uniform(rng, 0.3, 20),
        aerosol=Aerosol((Mode(float(rng.uniform(4, 15)), 2.0),), 0.9, log_uniform(rng, 1, 15)),
    )
    return (droplets, Emission(float(rng.uniform(20, 120)), gas_mg=gas))


def trigger_cleaner(rng: np.random.Generator) -> tuple[Emission, ...]:
    """Trigger spray and wipe: 1-50 mg of large droplets, 0.02-1 g evaporating for 5-20 min."""
    n = int(rng.integers(2, 10))
    times = tuple(float(i) * float(rng.uniform(1, 6)) for i in range(n))
    late = log_uniform(rng, 20, 1000)
    return (
        Emission(
            times_s=times,
            shares=tuple(1 / n for _ in times),
            duration_s=1.0,
            particles_mg=log_uniform(rng, 1, 50),
            aerosol=Aerosol((Mode(log_uniform(rng, 5, 30), 2.0),), 0.95, log_uniform(rng, 1, 10)),
            water_g=float(rng.uniform(0, 3)),
        ),
        Emission(
            float(rng.uniform(300, 1200)),
            gas_mg=(0.05 * late, 0.85 * late, 0.0, 0.1 * late, 0.0),
            water_g=float(rng.uniform(2, 15)),
        ),
    )


def hand_sanitizer(rng: np.random.Generator) -> tuple[Emission, ...]:
    """Hand rub: 0.3-2 g ethanol over 20-60 s, no particles."""
    gas = (log_uniform(rng, 0.1, 3), log_uniform(rng, 300, 2000), 0.0, 1.0, 0.0)
    return (Emission(float(rng.uniform(20, 60)), gas_mg=gas),)


def floor_cleaning(rng: np.random.Generator) -> tuple[Emission, ...]:
    """Mopping: 0.5-10 g of solvent and scent over 10-40 min, moisture, stirred dust."""
    grams = log_uniform(rng, 0.5, 10)
    length = float(rng.uniform(600, 2400))
    gas = (30 * grams, 800 * grams, 0.0, 100 * grams, 0.0)
    dust = Aerosol((Mode(float(rng.uniform(4, 8)), 2.0),))
    return (
        Emission(length, gas_mg=gas, water_g=float(rng.uniform(20, 120))),
        Emission(0.5 * length, particles_mg=log_uniform(rng, 0.5, 8), aerosol=dust),
    )


def reed_diffuser(rng: np.random.Generator) -> tuple[Emission, ...]:
    """Reed diffuser: propylene glycol and scent all day.

    A bathroom with one held 273-528 ppb PG (doi 10.3390/atmos14061012); 12-60 mg/h gives that
    at a few air changes per hour.
    """
    rate = log_uniform(rng, 12, 60)
    hours = float(rng.uniform(6, 10))
    gas = (rate * hours, 0.1 * rate * hours, 0.0, 0.15 * rate * hours, 0.0)
    return (Emission(hours * 3600, gas_mg=gas),)
