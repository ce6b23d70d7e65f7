"""Sources: exhaled e-cigarette and cannabis aerosol, and cigarettes.

Ranges from Sousan 2022 (doi 10.1080/02786826.2022.2047152: MMD 0.41-0.62 µm), Wallace (AAAR 2020,
abstract 210: ~88% of nicotine vape mass volatile; THC 2.5-6.5 mg a puff, low volatility),
Zhao 2020 (doi 10.1016/j.atmosenv.2020.117731: cannabis vape modes at 0.4 and 0.8 µm), a public
Juul recording (fine excess falls to 1/e in 19 s, interquartile range 15-24 s) and, for cigarettes,
Ott (Indoor Air 24:199) and the 2-3 mg/min of the emission literature.

No source says how much of a puff a metal-oxide sensor sees: glycols alone would give a tenth of
what some monitors show. So the gas of a session is drawn from a range ten times as wide as the
range of its amounts, from hardly any response to one doubling of the signal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sensor_sim.physics.aerosol import Aerosol, Mode
from sensor_sim.physics.emission import Emission
from sensor_sim.streams import draw_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def draw_puff_times(
    rng: np.random.Generator, low: int, high: int, gap_low_s: float = 5, gap_high_s: float = 60
) -> tuple[float, ...]:
    """Draw `low` to `high` puffs, `gap_low_s` to `gap_high_s` apart; the first at zero."""
    n = int(rng.integers(low, high + 1))
    gaps = [draw_log(rng, gap_low_s, gap_high_s) for _ in range(n - 1)]
    return (0.0, *(float(t) for t in np.cumsum(gaps)))


def draw_shares(rng: np.random.Generator, n: int) -> tuple[float, ...]:
    """Draw unequal shares of `n` puffs that sum to one."""
    weight = rng.lognormal(0, 0.4, n)
    return tuple(float(w) for w in weight / weight.sum())


def _draw_efold_s(rng: np.random.Generator, median: float, low: float, high: float) -> float:
    return float(np.clip(median * rng.lognormal(0, 0.45), low, high))


def _draw_gas_mg(rng: np.random.Generator, glycol: float, terpene: float) -> tuple[float, ...]:
    """Draw a session's gas: these amounts, mg, times 0.5-5 for flavors, acids and products."""
    factor = draw_log(rng, 0.5, 5)
    return (factor * glycol, 0.0, 0.0, factor * terpene, 0.0)


def _nicotine(
    rng: np.random.Generator,
    mg_per_puff: Callable[[], float],
    mmd: tuple[float, float],
    puffs: tuple[int, int],
) -> Iterator[Emission]:
    times = draw_puff_times(rng, *puffs)
    aerosol = Aerosol(
        (Mode(rng.uniform(*mmd), rng.uniform(1.4, 1.8)),),
        volatile=0.75 + 0.22 * rng.random() ** 0.5,
        efold_s=_draw_efold_s(rng, 14, 8, 60),
        density_g_cm3=1.2,
    )
    mass = sum(mg_per_puff() for _ in times)
    yield Emission(
        times_s=times,
        shares=draw_shares(rng, len(times)),
        duration_s=rng.uniform(1, 4),
        particles_mg=mass,
        aerosol=aerosol,
        gas_mg=_draw_gas_mg(
            rng,
            len(times) * draw_log(rng, 0.1, 3) * rng.uniform(0.7, 1),
            len(times) * draw_log(rng, 0.005, 0.2),
        ),
        water_g=len(times) * rng.uniform(0.0, 0.08),
        co2_g=len(times) * 0.05,
    )


def nicotine_pod(rng: np.random.Generator) -> Iterator[Emission]:
    """Draw a pod device: 0.1-2 mg per puff, 1-10 puffs."""
    return _nicotine(rng, lambda: draw_log(rng, 0.1, 2), (0.4, 0.65), (1, 10))


def disposable(rng: np.random.Generator) -> Iterator[Emission]:
    """Draw a disposable: like a pod, with somewhat more liquid per puff."""
    return _nicotine(rng, lambda: draw_log(rng, 0.3, 3), (0.4, 0.65), (1, 10))


def stealth(rng: np.random.Generator) -> Iterator[Emission]:
    """Draw puffs held in, or blown into a sleeve or the bowl: few, small droplets (0.3-0.4 µm)."""
    return _nicotine(rng, lambda: draw_log(rng, 0.03, 0.4), (0.3, 0.4), (1, 5))


def box_mod(rng: np.random.Generator) -> Iterator[Emission]:
    """Draw a box mod: 2-20 mg of larger droplets per puff, which evaporate in 20-180 s."""
    times = draw_puff_times(rng, 1, 8, 8, 60)
    n = len(times)
    aerosol = Aerosol(
        (Mode(rng.uniform(0.5, 1.0), rng.uniform(1.6, 2.0)),),
        volatile=rng.uniform(0.7, 0.95),
        efold_s=_draw_efold_s(rng, 45, 20, 180),
        density_g_cm3=1.2,
    )
    yield Emission(
        times_s=times,
        shares=draw_shares(rng, n),
        duration_s=rng.uniform(2, 5),
        particles_mg=n * draw_log(rng, 2, 20),
        aerosol=aerosol,
        gas_mg=_draw_gas_mg(rng, n * draw_log(rng, 2, 20), n * draw_log(rng, 0.02, 1)),
        water_g=n * rng.uniform(0, 0.3),
        co2_g=n * 0.05,
    )


def thc_cartridge(rng: np.random.Generator) -> Iterator[Emission]:
    """Draw a THC/CBD pen: 2.5-6.5 mg per puff in two modes; most of it doesn't evaporate."""
    times = draw_puff_times(rng, 1, 5, 10, 60)
    n = len(times)
    split = rng.uniform(0.4, 0.7)
    aerosol = Aerosol(
        (
            Mode(0.40 * rng.uniform(0.9, 1.1), 1.5, split),
            Mode(0.82 * rng.uniform(0.9, 1.1), 1.5, 1 - split),
        ),
        volatile=rng.uniform(0.1, 0.5),
        efold_s=draw_log(rng, 60, 600),
    )
    yield Emission(
        times_s=times,
        shares=draw_shares(rng, n),
        duration_s=rng.uniform(2, 6),
        particles_mg=n * rng.uniform(2.5, 6.5),
        aerosol=aerosol,
        gas_mg=(*_draw_gas_mg(rng, 0.0, n * draw_log(rng, 0.2, 2))[:4], n * 0.02),
        co2_g=n * 0.05,
    )


def cigarette(rng: np.random.Generator) -> Iterator[Emission]:
    """Draw a cigarette: 10-18 mg over 5-8 min, with puffs above a smoldering base, and CO."""
    length = rng.uniform(300, 480)
    aerosol = Aerosol(
        (Mode(rng.uniform(0.2, 0.4), rng.uniform(1.5, 2.0)),),
        volatile=0.2,
        efold_s=draw_log(rng, 120, 600),
    )
    mass = rng.uniform(10, 18)
    gas = (0.0, 0.0, 0.0, 0.5, draw_log(rng, 5, 40))
    times = draw_puff_times(rng, 8, 12, 25, 55)
    yield Emission(
        length,
        particles_mg=0.6 * mass,
        aerosol=aerosol,
        gas_mg=gas,
        co_mg=rng.uniform(40, 80),
        co2_g=0.4,
        heat_kj=15.0,
    )
    yield Emission(
        times_s=times,
        shares=draw_shares(rng, len(times)),
        duration_s=2.0,
        particles_mg=0.4 * mass,
        aerosol=aerosol,
        water_g=0.3,
        co2_g=0.4,
    )
