"""Sources: sprays, fragrances, cleaning; water, dryers, fog; dust and leaking smoke; a breath.

Sprays: sizes from Dua 1995 (doi 10.1080/02786829508965318: MMAD 2.3-8.8 µm, GSD 2.0-3.8) and
Bertholon 2015 (most particles below 0.3 µm: the residue tail); losses are checked against Seller
2021 (doi 10.1016/j.buildenv.2021.107738). Propellant, solvent and hand rub release grams: 100-1000
times the gas of a puff.

Water: Zhou 2007 (shower droplets 5-7 µm in the stall), recordings of uHoo monitors in homes (+8-37
%RH in 10 min, +0.4-2.5 °C), Sain 2018 (doi 10.1111/ina.12414: ultrasonic humidifier 3-6e4 /cm³),
Giao 2022 (hand dryer, doi 10.3389/fpubh.2022.804825). Below about 90% RH, droplets evaporate in
under a second, so `Emission.fog` particles exist only in air close to saturation.

Dust: Serfozo 2014 (walking: PM10 +84%, number below 1 µm unchanged), Tian 2014 (resuspension rises
with size). No source gives the amounts, so their ranges are estimates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sensor_sim.physics.aerosol import Aerosol, Mode
from sensor_sim.physics.emission import Emission
from sensor_sim.streams import draw_log

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np


def _can(
    rng: np.random.Generator,
    particles_mg: float,
    gas_mg: tuple[float, ...],
    late_mg: tuple[float, ...],
) -> Iterator[Emission]:
    """Draw a pressurized can: coarse droplets, fine residue, gas at once and from surfaces."""
    fine = draw_log(rng, 0.005, 0.05)
    sticking = rng.uniform(1, 4)
    coarse = Aerosol(
        (Mode(rng.uniform(2.3, 8.8), rng.uniform(2.0, 3.0)),),
        volatile=rng.uniform(0.5, 0.9),
        efold_s=draw_log(rng, 1, 60),
        sticking_per_h=sticking,
    )
    residue = Aerosol((Mode(rng.uniform(0.25, 0.5), 1.8),), sticking_per_h=sticking)
    length = rng.uniform(0.5, 5)
    bursts = tuple(float(i) * rng.uniform(2, 5) for i in range(int(rng.integers(1, 4))))
    share = tuple(1 / len(bursts) for _ in bursts)
    cooling = -0.3 * sum(gas_mg) / 1000
    yield Emission(
        times_s=bursts,
        shares=share,
        duration_s=length,
        particles_mg=particles_mg * (1 - fine),
        aerosol=coarse,
        gas_mg=gas_mg,
        heat_kj=cooling,
    )
    yield Emission(
        times_s=bursts,
        shares=share,
        duration_s=length,
        particles_mg=particles_mg * fine,
        aerosol=residue,
    )
    yield Emission(rng.uniform(120, 600), gas_mg=late_mg)


def deodorant(rng: np.random.Generator) -> Iterator[Emission]:
    """Draw a deodorant or body spray: 10-500 mg airborne, 0.3-5 g propellant and ethanol."""
    grams = draw_log(rng, 0.3, 5)
    prop = rng.uniform(0.4, 0.8)
    gas = (0.0, 800 * grams * (1 - prop), 1000 * grams * prop, draw_log(rng, 1, 30), 0.0)
    late = (0.0, 200 * grams * (1 - prop), 0.0, draw_log(rng, 1, 30), 0.0)
    return _can(rng, draw_log(rng, 10, 500), gas, late)


def hair_spray(rng: np.random.Generator) -> Iterator[Emission]:
    """Draw a hair spray: more solvent, and resin residue."""
    grams = draw_log(rng, 0.5, 5)
    gas = (0.0, 500 * grams, 400 * grams, draw_log(rng, 1, 10), 0.0)
    return _can(rng, draw_log(rng, 20, 500), gas, (0.0, 300 * grams, 0.0, 2.0, 0.0))


def air_freshener(rng: np.random.Generator) -> Iterator[Emission]:
    """Draw an air freshener, sprayed by hand or by a timer on the wall: 0.1-2 g."""
    grams = draw_log(rng, 0.1, 2)
    gas = (draw_log(rng, 0.1, 5), 300 * grams, 600 * grams, 20 * grams, 0.0)
    return _can(rng, draw_log(rng, 5, 150), gas, (0.5, 50 * grams, 0.0, 10 * grams, 0.0))


def perfume(rng: np.random.Generator) -> Iterator[Emission]:
    """Draw perfume, sprayed or dabbed: 0.05-0.6 g ethanol, few droplets."""
    gas = (0.0, draw_log(rng, 50, 600), 0.0, draw_log(rng, 3, 40), 0.0)
    yield Emission(
        1.0,
        particles_mg=draw_log(rng, 0.3, 20),
        aerosol=Aerosol((Mode(rng.uniform(4, 15), 2.0),), 0.9, draw_log(rng, 1, 15)),
    )
    yield Emission(rng.uniform(20, 120), gas_mg=gas)


def trigger_cleaner(rng: np.random.Generator) -> Iterator[Emission]:
    """Draw a trigger spray and wipe: 1-50 mg of large droplets; 0.02-1 g evaporates in 5-20 min."""
    n = int(rng.integers(2, 10))
    times = tuple(float(i) * rng.uniform(1, 6) for i in range(n))
    late = draw_log(rng, 20, 1000)
    yield Emission(
        times_s=times,
        shares=tuple(1 / n for _ in times),
        duration_s=1.0,
        particles_mg=draw_log(rng, 1, 50),
        aerosol=Aerosol((Mode(draw_log(rng, 5, 30), 2.0),), 0.95, draw_log(rng, 1, 10)),
        water_g=rng.uniform(0, 3),
    )
    yield Emission(
        rng.uniform(300, 1200),
        gas_mg=(0.05 * late, 0.85 * late, 0.0, 0.1 * late, 0.0),
        water_g=rng.uniform(2, 15),
    )


def hand_sanitizer(rng: np.random.Generator) -> Iterator[Emission]:
    """Draw a hand rub: 0.3-2 g ethanol over 20-60 s, no particles."""
    gas = (draw_log(rng, 0.1, 3), draw_log(rng, 300, 2000), 0.0, 1.0, 0.0)
    yield Emission(rng.uniform(20, 60), gas_mg=gas)


def floor_cleaning(rng: np.random.Generator) -> Iterator[Emission]:
    """Draw mopping: 0.5-10 g of solvent and scent over 10-40 min, moisture, stirred-up dust."""
    grams = draw_log(rng, 0.5, 10)
    length = rng.uniform(600, 2400)
    gas = (30 * grams, 800 * grams, 0.0, 100 * grams, 0.0)
    dust = Aerosol((Mode(rng.uniform(4, 8), 2.0),))
    yield Emission(length, gas_mg=gas, water_g=rng.uniform(20, 120))
    yield Emission(0.5 * length, particles_mg=draw_log(rng, 0.5, 8), aerosol=dust)


def reed_diffuser(rng: np.random.Generator) -> Iterator[Emission]:
    """Draw a reed diffuser: propylene glycol and scent all day.

    A bathroom with a diffuser had 273-528 ppb PG (doi 10.3390/atmos14061012); 12-60 mg/h gives this
    at a few air changes per hour.
    """
    rate = draw_log(rng, 12, 60)
    hours = rng.uniform(6, 10)
    gas = (rate * hours, 0.1 * rate * hours, 0.0, 0.15 * rate * hours, 0.0)
    yield Emission(hours * 3600, gas_mg=gas)


def _steam(
    rng: np.random.Generator, length_s: float, water_g_min: float, heat_kj_min: float
) -> Iterator[Emission]:
    minutes = length_s / 60
    droplets = Aerosol((Mode(rng.uniform(2, 7), 1.8),))
    yield Emission(
        length_s,
        water_g=water_g_min * minutes,
        heat_kj=heat_kj_min * minutes,
        gas_mg=(0.0, 0.5 * minutes, 0.0, 0.2 * minutes, 0.0),
    )
    yield Emission(
        length_s, particles_mg=draw_log(rng, 10, 150) * minutes, aerosol=droplets, fog=True
    )


def hot_tap(rng: np.random.Generator) -> Iterator[Emission]:
    """Draw a hot tap left running for 0.5-6 min: 3-20 g vapor per minute."""
    return _steam(rng, draw_log(rng, 30, 360), draw_log(rng, 3, 20), draw_log(rng, 3, 25))


def shower(rng: np.random.Generator) -> Iterator[Emission]:
    """Draw a hot shower of 3-15 min: 10-45 g vapor per minute and 10-60 kJ."""
    return _steam(rng, draw_log(rng, 180, 900), draw_log(rng, 10, 45), draw_log(rng, 10, 60))


def hand_dryer(rng: np.random.Generator) -> Iterator[Emission]:
    """Draw a hand dryer, 10-40 s: warm air, some droplets and motor wear (0-13 µg/m³ PM2.5)."""
    yield Emission(
        rng.uniform(10, 40),
        particles_mg=draw_log(rng, 0.002, 0.25),
        aerosol=Aerosol((Mode(rng.uniform(0.3, 1.0), 1.8),), 0.3, 60),
        water_g=rng.uniform(-3, 4),
        heat_kj=rng.uniform(5, 25),
    )


def flush(rng: np.random.Generator) -> Iterator[Emission]:
    """Draw a toilet flush: a little coarse spray that dries, and a little moisture."""
    yield Emission(
        4.0,
        particles_mg=draw_log(rng, 0.002, 0.05),
        aerosol=Aerosol((Mode(rng.uniform(2, 6), 2.0),), 0.95, 1.0),
        water_g=rng.uniform(0, 1),
    )


def humidifier(rng: np.random.Generator) -> Iterator[Emission]:
    """Draw an ultrasonic humidifier, 5-60 min: water, and salt from hard water as fine residue."""
    length = draw_log(rng, 300, 3600)
    hours = length / 3600
    residue = Aerosol((Mode(rng.uniform(0.3, 0.9), 1.8),), density_g_cm3=2.0)
    yield Emission(length, water_g=draw_log(rng, 100, 400) * hours)
    yield Emission(length, particles_mg=draw_log(rng, 5, 100) * hours, aerosol=residue)
    yield Emission(
        length,
        particles_mg=draw_log(rng, 1000, 20000) * hours,
        aerosol=Aerosol((Mode(rng.uniform(3, 5), 1.6),)),
        fog=True,
    )


def nebulizer(rng: np.random.Generator) -> Iterator[Emission]:
    """Draw a medical or salt nebulizer, 3-12 min: droplets dry to a salt residue."""
    length = rng.uniform(180, 720)
    aerosol = Aerosol(
        (Mode(rng.uniform(3, 5), 1.9),),
        volatile=rng.uniform(0.88, 0.97),
        efold_s=rng.uniform(0.5, 3),
        density_g_cm3=1.1,
    )
    yield Emission(
        length, particles_mg=draw_log(rng, 100, 2000), aerosol=aerosol, water_g=rng.uniform(1, 5)
    )


def fog_machine(rng: np.random.Generator) -> Iterator[Emission]:
    """Draw theatrical glycol fog drifting in for 1-10 min: like vapor, but longer and much more."""
    length = draw_log(rng, 60, 600)
    aerosol = Aerosol(
        (Mode(rng.uniform(0.6, 1.5), 1.7),),
        volatile=rng.uniform(0.6, 0.95),
        efold_s=draw_log(rng, 120, 900),
        density_g_cm3=1.1,
    )
    mg = draw_log(rng, 30, 400)
    yield Emission(
        length,
        particles_mg=mg,
        aerosol=aerosol,
        gas_mg=(draw_log(rng, 0.5, 2) * mg, 0.0, 0.0, 0.0, 0.0),
        water_g=rng.uniform(5, 40),
    )


def _dust(rng: np.random.Generator, mg: float, length_s: float, people: float) -> Emission:
    return Emission(
        length_s,
        particles_mg=mg,
        aerosol=Aerosol((Mode(rng.uniform(4, 10), 2.0),)),
        water_g=people * length_s / 60 * 0.6,
        co2_g=people * length_s / 60 * 0.6,
        gas_mg=(0.0, 0.3 * people, 0.0, 0.5 * people, 0.0),
        heat_kj=people * length_s / 60 * 4.0,
    )


def class_change(rng: np.random.Generator) -> Iterator[Emission]:
    """Draw the crowd of a class change: coarse dust, breath, body scent for 3-7 min."""
    people = rng.uniform(3, 12)
    yield _dust(rng, draw_log(rng, 0.3, 6), rng.uniform(180, 420), people)


def paper_dust(rng: np.random.Generator) -> Iterator[Emission]:
    """Draw paper towels and shaken clothes: 10-60 s of coarse dust."""
    yield _dust(rng, draw_log(rng, 0.1, 3), rng.uniform(10, 60), 1.0)


def incense(rng: np.random.Generator) -> Iterator[Emission]:
    """Draw cooking, incense or candle smoke leaking in for 5-60 min: 50-500 µg/m³."""
    length = draw_log(rng, 300, 3600)
    mg = draw_log(rng, 0.15, 1.5) * length / 60
    yield Emission(
        length,
        particles_mg=mg,
        aerosol=Aerosol((Mode(rng.uniform(0.2, 0.5), 1.7),), 0.1, 600),
        gas_mg=(0.0, 0.5 * mg, 0.0, 0.5 * mg, 2 * mg),
        water_g=rng.uniform(0, 20),
        co_mg=3 * mg,
    )


def breath(rng: np.random.Generator) -> Iterator[Emission]:
    """Draw someone breathing or talking right at the sensor: +3-4% RH for seconds, CO2."""
    n = int(rng.integers(1, 4))
    yield Emission(
        times_s=tuple(4.0 * i for i in range(n)),
        shares=tuple(1 / n for _ in range(n)),
        duration_s=2.0,
        water_g=n * rng.uniform(0.05, 0.2),
        co2_g=n * 0.08,
        heat_kj=n * 0.05,
    )
