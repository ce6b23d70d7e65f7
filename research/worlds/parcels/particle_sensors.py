"""Simulate how each family of optical particle sensors measures the air at its inlet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from research.worlds.parcels.draws import Floats, draw_log, lagged, wander
from research.worlds.parcels.substances import BINS, DIAMETER, PM1, PM25

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator
    from numpy.typing import NDArray

_PLANTOWER: Final = np.array(
    [0.01, 0.1, 0.42, 0.85, 1.0, 1.05, 0.95, 0.6, 0.3, 0.1, 0.045, 0.02, 0.005]
)
_SENSIRION: Final = np.array(
    [0.02, 0.15, 0.5, 0.9, 1.0, 1.0, 0.95, 0.8, 0.5, 0.12, 0.05, 0.02, 0.01]
)
_SENSIRION_LARGE: Final = np.array([0, 0, 0, 0, 0, 0.02, 0.05, 0.18, 0.3, 0.2, 0.08, 0.04, 0.02])
"""Share of each bin's mass that the device detects."""
_SPHERE: Final = 0.5236
_COUNTS: Final = ("n03", "n05", "n10", "n25", "n50", "n100")


@dataclass(frozen=True, slots=True)
class Unit:
    """One device and its sampling times.

    - `gain`: constant factor on all values.
    - `drift` (samples,): additional factor at each sample.
    - `steps` (samples,): second of each sample.
    - `interval_s`: time between samples.
    - `is_averaging`: whether it reports means over its interval, or over half of it.
    """

    rng: Generator
    model: str
    gain: float
    drift: Floats
    interval_s: int
    steps: NDArray[np.intp]
    is_averaging: bool

    def noise(self) -> Floats:
        """Draw standard normal noise, one value per sample."""
        return self.rng.standard_normal(len(self.steps))

    def sample(self, series: Floats) -> Floats:
        """Return the unit's samples of a series with one value per second."""
        if not self.is_averaging:
            return series[self.steps]
        window = max(2, int(self.interval_s * (1 if self.rng.random() < 0.7 else 0.5)))
        return self.sum(series, window) / window

    def sum(self, series: Floats, window: int) -> Floats:
        """Return sums over the last `window` seconds."""
        total: Floats = np.cumsum(np.concatenate([np.zeros((1, *series.shape[1:])), series]), 0)
        before = total[np.maximum(self.steps + 1 - window, 0)]
        return np.subtract(total[self.steps + 1], before)


def sense_particles(unit: Unit, particles: Floats) -> dict[str, Floats]:
    """Return the particle columns of a unit.

    - `particles` (seconds, BINS): particles at its inlet, µg/m³.
    """
    return _FAMILIES[unit.model](unit, particles)


def _plantower(unit: Unit, particles: Floats) -> dict[str, Floats]:
    """Return the readings of Plantower and similar sensors, which hardly resolve sizes.

    Values are whole µg/m³; coarse dust is hardly detected.
    """
    rng = unit.rng
    inlet_s = _draw_inlet(unit)
    scattered = lagged(particles @ _PLANTOWER, inlet_s)
    dust = lagged(particles[:, PM25:11].sum(1), inlet_s)
    fine = unit.sample(scattered) * unit.gain * unit.drift * rng.uniform(1.0, 1.5)
    coarse = unit.sample(dust)
    floor = rng.uniform(0.15, 0.8)
    droplets = lagged(particles[:, PM1:10] @ _PLANTOWER[PM1:10], inlet_s)
    big = unit.sample(droplets) / np.maximum(unit.sample(scattered), 0.5)
    sd = np.sqrt(floor**2 + (0.012 * fine) ** 2 + 0.015 * fine)
    pm25 = np.maximum(fine + unit.noise() * sd + rng.uniform(-1, 0.6), 0) + 0.0
    limit = rng.choice([999.0, 1200.0, 5000.0], p=[0.2, 0.3, 0.5])
    bend = rng.uniform(500, 2500)
    pm25 = np.where(pm25 > 500, 500 + bend * (1 - np.exp(-(pm25 - 500) / bend)), pm25)
    share = rng.uniform(0.6, 0.73) - 0.35 * np.clip(big - 0.33, 0, 0.67)
    share -= 0.05 * np.log10(1 + fine / 40)
    pm1 = pm25 * np.clip(share + unit.noise() * 0.012, 0.33, 0.85)
    pm10 = pm25 * rng.uniform(1.02, 1.16) + coarse * rng.uniform(0.02, 0.08)
    pm10 += np.maximum(0, unit.noise()) * floor * 0.8
    if unit.model == "SDS011":
        pm10 = pm25 * rng.uniform(1.1, 1.35) + coarse * rng.uniform(0.1, 0.3)
        pm10 = np.minimum(pm10 + np.abs(unit.noise()) * 0.5, 1999.0)
        return {"pm25": np.minimum(pm25, 999.9).round(1), "pm10": pm10.round(1)}
    pm25 = np.minimum(np.round(pm25), limit)
    pm1 = np.minimum(np.round(pm1), limit)
    pm10 = np.maximum(pm25, np.minimum(np.round(pm10), 2 * limit))
    columns = {"pm1": pm1, "pm25": pm25, "pm10": pm10}
    if unit.model != "GS601" and rng.random() < 0.8:
        columns |= _plantower_counts(unit, fine, coarse, np.clip(big - 0.15, 0, 0.8))
    return columns


def _plantower_counts(unit: Unit, fine: Floats, coarse: Floats, big: Floats) -> dict[str, Floats]:
    """Return the counts, which the firmware mostly derives from the mass."""
    rng = unit.rng
    above_03 = 1.85 * np.maximum(fine, 0.05) ** rng.uniform(0.88, 0.96)
    above_03 = above_03 * draw_log(rng, 0.8, 1.4) * (1 - 0.3 * big)
    shares = (
        1,
        rng.uniform(0.26, 0.33),
        rng.uniform(0.045, 0.085),
        rng.uniform(0.006, 0.013),
        rng.uniform(0.0015, 0.004),
        rng.uniform(0.0005, 0.0016),
    )
    spread = rng.uniform(0.6, 1.6)
    columns = {}
    smaller = np.full(len(fine), np.inf)
    of_coarse = (0, 0, 0, 1, 0.5, 0.1)
    for number, (name, share, dust) in enumerate(zip(_COUNTS, shares, of_coarse, strict=True)):
        counts = above_03 * share * (1 + (1.6 * big if number >= 2 else 0))
        counts = (counts + coarse * 0.0008 * dust) * 100
        counts = np.round(counts + unit.noise() * spread * np.sqrt(counts))
        smaller = np.minimum(smaller, np.clip(counts, 0, 65535))
        columns[name] = np.round(smaller / 100, 2)
    return columns


def _sensirion(unit: Unit, particles: Floats) -> dict[str, Floats]:
    """Return the readings of SPS30, SEN5x and Meraki, which have a fine and a coarse channel."""
    rng = unit.rng
    inlet_s = _draw_inlet(unit)
    scattered = lagged(particles @ _SENSIRION, inlet_s)
    large = lagged(particles @ _SENSIRION_LARGE, inlet_s)
    fine = unit.sample(scattered) * unit.gain * unit.drift
    coarse = unit.sample(large) * unit.gain
    floor = rng.uniform(0.1, 0.35)
    noise = unit.noise() * np.sqrt(floor**2 + (rng.uniform(0.012, 0.035) * fine) ** 2)
    fine = np.maximum(fine + noise, 0) + 0.0
    pm1 = fine * rng.uniform(0.86, 0.97)
    pm25 = fine + coarse * rng.uniform(0.4, 0.8)
    pm10 = pm25 * rng.uniform(1.0, 1.06) + coarse * rng.uniform(0.25, 0.6)
    limit = rng.choice([1000.0, 3000.0, 6500.0])
    if unit.model == "Meraki":
        return {"pm25": np.round(np.minimum(pm25, limit))}
    decimals = 1 if unit.model == "SEN5x" or rng.random() < 0.4 else 2
    columns = {
        name: np.round(np.minimum(mass, limit), decimals)
        for name, mass in (("pm1", pm1), ("pm25", pm25), ("pm10", pm10))
    }
    if unit.model == "SPS30" or rng.random() < 0.4:
        above_03 = fine * rng.uniform(5.5, 7.5)
        large_share = np.clip(coarse / np.maximum(pm25, 0.3), 0, 1)
        counts = (
            above_03,
            above_03 * (rng.uniform(0.1, 0.16) + 0.3 * large_share),
            above_03 * (0.008 + 0.08 * large_share),
            above_03 * (0.0006 + 0.012 * large_share),
        )
        for name, count in zip(_COUNTS, counts, strict=False):
            noisy = np.maximum(count * (1 + unit.noise() * 0.01), 0)
            columns[name] = np.round(noisy, 2) + 0.0
    return columns


def _opc(unit: Unit, particles: Floats) -> dict[str, Floats]:
    """Return the readings of an Alphasense OPC-N3, a counter with coincidence in dense air."""
    rng = unit.rng
    _draw_inlet(unit)
    efficiency = np.ones(BINS)
    efficiency[:3] = 0
    efficiency[3:5] = rng.uniform(0.35, 0.9), rng.uniform(0.8, 1)
    efficiency[9:] = 0.95, 0.9, 0.7, 0.4
    volume = _SPHERE * 1.1 * DIAMETER[None] ** 3
    per_cm3 = particles / volume * efficiency * unit.gain
    flow = rng.uniform(3.5, 5.5)  # cm³/s
    window = max(1, min(unit.interval_s, 10))
    expected = unit.sum(per_cm3, window) * flow
    wobble = np.exp(wander(rng, len(particles), 200, 0.08, 5))[unit.steps, None]
    counts = rng.poisson(np.minimum(expected * wobble, 1e8)) / (flow * window)
    mass = counts * (_SPHERE * 1.65 * 0.78 * DIAMETER[None] ** 3)
    below_1, above_1 = mass[:, :PM1].sum(1), mass[:, PM1:PM25].sum(1)
    cap = rng.uniform(70, 105)
    pm1 = cap * (1 - np.exp(-below_1 / cap))
    lost = below_1 - pm1
    merged = above_1 + lost * rng.uniform(0.5, 0.95) + pm1 * rng.uniform(0.05, 0.2)
    merged = merged + pm1**2 / cap * 0.25
    coarse = mass[:, PM25:11].sum(1)
    columns = {
        "pm1": np.round(pm1, 2),
        "pm25": np.round(pm1 + merged, 2),
        "pm10": np.round(pm1 + merged + coarse + lost * rng.uniform(0, 0.15), 2),
    }
    for name, first in zip(_COUNTS, (3, 5, 7, 9, 10, 11), strict=True):
        count = counts[:, first:].sum(1)
        if first < PM1:
            count = count / (1 + count / rng.uniform(600, 1200))
        columns[name] = np.round(count, 3)
    return columns


def _draw_inlet(unit: Unit) -> float:
    """Draw the lag of the inlet, seconds."""
    rng = unit.rng
    inlet_s = rng.uniform(0.8, 3) if unit.model == "OPC-N3" else rng.uniform(1, 6)
    return rng.uniform(5, 20) if unit.model in {"GS601", "Meraki"} else inlet_s


_FAMILIES: Final[dict[str, Callable[[Unit, Floats], dict[str, Floats]]]] = {
    "PMS5003": _plantower,
    "PMS7003": _plantower,
    "SPS30": _sensirion,
    "SEN5x": _sensirion,
    "OPC-N3": _opc,
    "SDS011": _plantower,
    "GS601": _plantower,
    "Meraki": _sensirion,
}
