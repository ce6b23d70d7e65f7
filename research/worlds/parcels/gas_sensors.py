"""Simulate metal-oxide gas sensors: the sensing element and the firmware."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from research.worlds.parcels.draws import Floats, draw_log, lagged, wander
from sensor_sim.devices.voc_index import VocIndex

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from research.worlds.parcels.air import Air


@dataclass(frozen=True, slots=True)
class GasSignal:
    """A sensor's outputs by second; None for outputs that this kind does not have."""

    ppb: Floats | None = None
    index: NDArray[np.int32] | None = None
    ticks: NDArray[np.int64] | None = None


def sense_gas(rng: Generator, kind: str, air: Air) -> GasSignal:
    """Return the signal of a sensor of `kind`."""
    families = [rng.uniform(0.3, 1.0), rng.uniform(0.6, 2.2), rng.uniform(0.25, 0.7)]
    weights = np.array([1.0, *families, rng.uniform(0.8, 2.0)])
    effect = air.gases @ weights + air.tvoc * rng.uniform(0.8, 1.2)
    tau = {
        "BME680": rng.uniform(8, 20),
        "ENS160": rng.uniform(4, 12),
        "slow": rng.uniform(20, 60),
    }.get(kind, rng.uniform(4, 11))
    effect = lagged(effect, tau)
    if kind in {"SGP40", "SGP41raw", "SEN"}:
        ticks = _ticks(rng, effect, air.rh)
        if kind == "SGP41raw":
            return GasSignal(ticks=ticks)
        hours_before = rng.choice([0, 1, 4, 10])
        before = np.tile(ticks[:600], hours_before * 6)
        index = VocIndex(1).process(np.concatenate([before, ticks])[None])[0]
        return GasSignal(index=index[len(before) :], ticks=ticks)
    if kind == "SGP30":
        return GasSignal(ppb=_sgp30(rng, effect, air.rh))
    return GasSignal(ppb=_estimate(rng, kind, effect, air.rh))


def _ticks(rng: Generator, effect: Floats, rh: Floats) -> NDArray[np.int64]:
    """Return the raw signal of an SGP4x: the logarithm of its resistance."""
    seconds = len(effect)
    half_effect = draw_log(rng, 200, 1000)
    per_doubling = rng.uniform(710, 1030)
    clean = rng.uniform(29500, 33500)
    per_rh = rng.choice([draw_log(rng, 0.5, 4), draw_log(rng, 5, 28)], p=[0.7, 0.3])
    humid = lagged(rh, rng.uniform(3, 10)) - 45
    ticks: Floats = (
        clean
        - per_doubling * np.log2((effect + half_effect) / half_effect)
        - per_rh * humid
        + wander(rng, seconds, 20000, 25, 60)
        + wander(rng, seconds, rng.uniform(3, 20), rng.uniform(2, 9))
        + rng.standard_normal(seconds) * rng.uniform(1, 6)
    )
    return np.clip(np.round(ticks), 0, 65535).astype(np.int64)


def _sgp30(rng: Generator, effect: Floats, rh: Floats) -> Floats:
    """Return the concentration above the sensor's learned baseline, ppb."""
    seconds = len(effect)
    low = np.quantile(effect, 0.03) * rng.uniform(0.5, 1.05)
    baseline = np.minimum(low, lagged(effect, 40000))
    ppb = np.maximum(0, (effect - baseline)) * draw_log(rng, 0.6, 2.2)
    ppb = (
        ppb * np.exp(wander(rng, seconds, 600, 0.05, 5))
        + np.abs(wander(rng, seconds, 15, rng.uniform(1, 7)))
        + rng.standard_normal(seconds) * (1 + 0.01 * ppb)
    )
    ppb = ppb + rng.uniform(0, 6) * np.maximum(0, lagged(rh, 5) - lagged(rh, 900))
    return np.clip(np.round(ppb), 0, 60000)


def _estimate(rng: Generator, kind: str, effect: Floats, rh: Floats) -> Floats:
    """Return the concentration that the firmware estimates from the resistance, ppb."""
    seconds = len(effect)
    gain = draw_log(rng, 0.5, 1.8)
    ppb = gain * effect ** rng.uniform(0.85, 1.05)
    ppb = ppb * np.exp(wander(rng, seconds, 3000, 0.08, 30)) * (
        1 + 0.004 * rng.uniform(0, 4) * (rh - lagged(rh, 1800))
    ) + rng.standard_normal(seconds) * (1.5 + 0.01 * ppb)
    if kind == "BME680":
        hold_s = 300 if rng.random() < 0.25 else 3
        phase = int(rng.integers(hold_s))
        held = (np.arange(seconds) + phase) // hold_s * hold_s - phase
        ppb = np.round(ppb[np.clip(held, 0, seconds - 1)] / 10) * 10
    return np.clip(np.round(ppb), 0, 65000)
