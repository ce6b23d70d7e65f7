"""What people do in a restroom, and what it releases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sensor_sim.streams import log_uniform
from sensor_sim.worlds.two_zones.emission import Act, Emission, aerosol, bin_shares, emit

if TYPE_CHECKING:
    from collections.abc import Callable

Source = tuple[list[Emission], Act]

_GLYCOL_PPB_M3_MG: Final = 330.0
"""VOC of propylene glycol: 1 mg in 30 m³ reads 11 ppb."""
_ETHANOL_PPB_M3_G: Final = 510_000.0
"""VOC of ethanol or propellant: 1 g in 30 m³ reads 17 ppm."""
_VAPE_MG: Final = {
    "pod": (0.2, 3.0),
    "disposable": (0.4, 4.0),
    "mod": (2.0, 20.0),
    "thc": (2.5, 6.5),
    "stealth": (0.1, 0.6),
}
"""Exhaled in a puff, mg."""
_VAPE_VOLATILITY: Final = {"thc": (0.1, 0.5), "mod": (0.7, 0.95)}
_VAPE_EFOLD_S: Final = {"thc": (60.0, 600.0), "mod": (20.0, 180.0)}


def vape(rng: np.random.Generator, onset: float) -> Source:
    """1-10 puffs, 5-60 s apart."""
    style = str(rng.choice(list(_VAPE_MG), p=[0.3, 0.32, 0.1, 0.16, 0.12]))
    puffs = int(rng.integers(1, 4 if style == "stealth" else 11))
    if style == "mod":
        median_um, spread = rng.uniform(0.5, 1.0), rng.uniform(1.6, 2)
    else:
        median_um, spread = rng.uniform(0.4, 0.65), rng.uniform(1.4, 1.8)
    if style == "thc":
        median_um, spread = rng.uniform(0.45, 0.75), rng.uniform(1.7, 2.0)
    volatile = rng.uniform(*_VAPE_VOLATILITY.get(style, (0.75, 0.97)))
    efold_s = log_uniform(rng, *_VAPE_EFOLD_S.get(style, (8.0, 60.0)))
    voc_response = rng.uniform(0.3, 1.0) * log_uniform(rng, 1, 5)
    direct = rng.uniform(0.0, 0.3)
    emissions: list[Emission] = []
    at = onset
    for _ in range(puffs):
        mg, duration_s = log_uniform(rng, *_VAPE_MG[style]), rng.uniform(1.2, 4)
        voc = log_uniform(rng, 0.2, 1.2) * mg * _GLYCOL_PPB_M3_MG * voc_response
        emissions += aerosol(
            at, duration_s, mg, median_um, spread, volatile, efold_s, voc, direct, vape=True
        )
        at += rng.uniform(5, 60)
    return emissions, Act("vape", style, onset, at)


def steam(rng: np.random.Generator, onset: float) -> Source:
    """Hot tap or shower: droplets live only in saturated air; humidity and heat rise first."""
    shower = rng.random() < 0.3
    duration_s = rng.uniform(240, 900) if shower else rng.uniform(25, 200)
    water_g_s = rng.uniform(0.5, 2.0) if shower else rng.uniform(0.05, 0.35)
    emission = emit(
        onset,
        duration_s,
        bin_shares(rng.uniform(2, 7), 1.8) * log_uniform(rng, 300, 6000),
        1 / rng.uniform(0.4, 4),
        voc=log_uniform(rng, 0.5, 8),
        water_g_s=water_g_s,
        heat_w=water_g_s * 900,
        direct=rng.uniform(0.05, 0.3),
    )
    return [emission], Act("steam", "shower" if shower else "tap", onset, onset + duration_s)


def spray(rng: np.random.Generator, onset: float) -> Source:
    """Deodorant, hairspray, freshener or perfume, with propellant and ethanol."""
    kinds = ["deodorant", "hairspray", "freshener", "perfume"]
    style = str(rng.choice(kinds, p=[0.45, 0.15, 0.2, 0.2]))
    if style == "perfume":
        duration_s = rng.uniform(0.3, 1.5)
        emissions = aerosol(
            onset,
            duration_s,
            mg=log_uniform(rng, 0.5, 20),
            median_um=rng.uniform(5, 20),
            spread=2,
            volatile=0.95,
            efold_s=rng.uniform(1, 6),
            voc=log_uniform(rng, 0.1, 1) * _ETHANOL_PPB_M3_G,
            direct=rng.uniform(0.05, 0.3),
        )
    else:
        duration_s = rng.uniform(0.5, 5)
        emissions = aerosol(
            onset,
            duration_s,
            mg=log_uniform(rng, 10, 500),
            median_um=rng.uniform(2.3, 8.8),
            spread=rng.uniform(2, 3.2),
            volatile=rng.uniform(0.5, 0.9),
            efold_s=log_uniform(rng, 2, 60),
            voc=log_uniform(rng, 0.3, 5) * _ETHANOL_PPB_M3_G,
            direct=rng.uniform(0.03, 0.3),
            water_g_s=0.01,
            heat_w=-20,
        )
        emissions += aerosol(
            onset,
            duration_s,
            mg=log_uniform(rng, 0.3, 8),
            median_um=rng.uniform(0.25, 0.5),
            spread=1.6,
            volatile=0.2,
            efold_s=60,
            voc=0,
            direct=0.1,
        )
    return emissions, Act("spray", style, onset, onset + duration_s)


def _sanitizer(rng: np.random.Generator, onset: float) -> Source:
    duration_s = rng.uniform(20, 60)
    emission = emit(
        onset,
        duration_s,
        np.zeros(4),
        voc=log_uniform(rng, 0.3, 2) * _ETHANOL_PPB_M3_G / duration_s,
        water_g_s=0.005,
        direct=rng.uniform(0.05, 0.3),
    )
    return [emission], Act("sanitizer", "gel", onset, onset + duration_s)


def _cleaning(rng: np.random.Generator, onset: float) -> Source:
    duration_s = rng.uniform(300, 1500)
    emissions: list[Emission] = []
    for _ in range(int(rng.integers(2, 12))):
        emissions += aerosol(
            onset + rng.uniform(0, duration_s * 0.7),
            duration_s=rng.uniform(1, 4),
            mg=log_uniform(rng, 1, 50),
            median_um=rng.uniform(5, 30),
            spread=2,
            volatile=0.95,
            efold_s=rng.uniform(1, 10),
            voc=log_uniform(rng, 0.02, 0.5) * _ETHANOL_PPB_M3_G,
            direct=rng.uniform(0.02, 0.2),
            water_g_s=0.05,
        )
    emissions.append(
        emit(
            onset,
            duration_s,
            bin_shares(6, 2) * log_uniform(rng, 1, 20),
            voc=log_uniform(rng, 0.5, 10) * _ETHANOL_PPB_M3_G / duration_s,
            water_g_s=rng.uniform(0.05, 0.3),
        )
    )
    return emissions, Act("cleaning", "cart", onset, onset + duration_s)


def _dust(rng: np.random.Generator, onset: float) -> Source:
    """Class change: feet and paper towels raise PM10 by 5-100 µg/m³ and PM1 hardly."""
    duration_s = rng.uniform(60, 400)
    emission = emit(
        onset,
        duration_s,
        bin_shares(rng.uniform(4, 9), 2) * log_uniform(rng, 1, 14),
        voc=log_uniform(rng, 1, 20),
        water_g_s=0.04,
        heat_w=150,
        co2=rng.uniform(20, 120),
        direct=0.5,
    )
    return [emission], Act("dust", "crowd", onset, onset + duration_s)


def _dryer(rng: np.random.Generator, onset: float) -> Source:
    duration_s = rng.uniform(12, 45)
    emission = emit(
        onset,
        duration_s,
        bin_shares(0.6, 1.8) * log_uniform(rng, 0.5, 12),
        voc=log_uniform(rng, 0.5, 5),
        water_g_s=0.1,
        heat_w=900,
        direct=0.3,
    )
    return [emission], Act("dryer", "hand", onset, onset + duration_s)


def _flush(rng: np.random.Generator, onset: float) -> Source:
    duration_s = rng.uniform(3, 8)
    emissions = aerosol(
        onset,
        duration_s,
        mg=log_uniform(rng, 0.005, 0.15),
        median_um=rng.uniform(1, 5),
        spread=2,
        volatile=0.9,
        efold_s=rng.uniform(1, 10),
        voc=log_uniform(rng, 5, 200),
        direct=0.05,
        water_g_s=0.05,
    )
    return emissions, Act("flush", "toilet", onset, onset + duration_s)


def _smoke(rng: np.random.Generator, onset: float) -> Source:
    duration_s = rng.uniform(200, 480)
    emissions = aerosol(
        onset,
        duration_s,
        mg=rng.uniform(10, 18),
        median_um=rng.uniform(0.25, 0.4),
        spread=1.7,
        volatile=0.2,
        efold_s=300,
        voc=rng.uniform(5, 40) * _GLYCOL_PPB_M3_MG,
        direct=rng.uniform(0.05, 0.3),
        water_g_s=0.003,
        heat_w=10,
        co2=10,
    )
    return emissions, Act("smoke", "cigarette", onset, onset + duration_s)


def _nebulizer(rng: np.random.Generator, onset: float) -> Source:
    duration_s = rng.uniform(300, 700)
    emissions = aerosol(
        onset,
        duration_s,
        mg=log_uniform(rng, 20, 120),
        median_um=rng.uniform(2.5, 4.5),
        spread=1.9,
        volatile=0.85,
        efold_s=rng.uniform(2, 15),
        voc=0,
        direct=rng.uniform(0.05, 0.3),
        water_g_s=0.01,
    )
    return emissions, Act("nebulizer", "asthma", onset, onset + duration_s)


NUISANCES_AN_HOUR: Final[tuple[tuple[Callable[..., Source], float], ...]] = (
    (steam, 0.35),
    (spray, 0.20),
    (_sanitizer, 0.6),
    (_dust, 1.1),
    (_dryer, 2.0),
    (_flush, 6.0),
    (_smoke, 0.012),
    (_cleaning, 0.06),
    (_nebulizer, 0.004),
)
