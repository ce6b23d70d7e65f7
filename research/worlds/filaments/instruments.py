"""Simulate how each sensor family measures the air at its inlet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.signal import lfilter

from research.worlds.filaments.balance import water_full
from research.worlds.filaments.rooms import CENTERS_UM, wander
from research.worlds.world import COLUMNS
from sensor_sim.devices.voc_index import VocIndex
from sensor_sim.streams import draw_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_PARTICLE_UG: Final = 1.1e-6 * np.pi / 6 * CENTERS_UM**3
_SCATTER: Final = np.array([0.12, 1.0, 1.05, 0.75, 0.2, 0.04, 0.01])
"""A Plantower's response per mass by size bin; it hardly detects dust (Ouimette 2023)."""
_OPC_SEEN: Final = np.array([0.0, 0.3, 0.85, 1.0, 1.0, 1.0, 0.9])
"""Share of each size bin that an OPC-N3 detects.

Its first bin begins at 0.35 µm and misses most e-cigarette aerosol (Sousan 2022b)."""
_OPC_FLOW_CM3_S: Final = 4.7
_OPC_CROWDED_CM3: Final = 1.5e4
"""Number concentration at which 63% of particles share the beam with another one."""


@dataclass(frozen=True, slots=True)
class Air:
    """Air at the inlet by second: µg/m³ by size bin, VOC in ppm of ethanol, RH %, °C, CO2 ppm."""

    bins: NDArray[np.float32]
    voc: Floats
    humidity: Floats
    temp: Floats
    co2: Floats


@dataclass(frozen=True, slots=True)
class Sensor:
    """One sensor: its model, reporting interval and errors."""

    model: str
    particles: str
    gas: str
    interval_s: float
    averages: bool
    has_co2: bool
    has_counts: bool


_MODELS: Final = (
    # model, particle sensor, gas sensors, intervals, share, share with CO2
    ("pms5003", "pms", ("", "ens160", "sgp30"), (1, 2, 5, 10, 30, 60), 0.2, 0.1),
    ("pms7003", "pms", ("sgp30", "ens160", "raw+index"), (2, 5, 10, 30), 0.16, 0.2),
    ("sps30", "sps", ("raw+index", "raw", "sgp30", ""), (1, 2, 5, 10), 0.18, 0.2),
    ("sen54", "sps", ("index",), (1, 5, 10, 30), 0.1, 0.0),
    ("sen55", "sps", ("index", "raw+index"), (1, 2, 5, 10, 60), 0.14, 0.2),
    ("sds011", "sds", ("", "ens160"), (2, 10, 60), 0.06, 0.0),
    ("opc-n3", "opc", ("", "raw+index"), (1, 5, 10), 0.08, 0.1),
    ("airbox", "slow", ("ppb", "ugm3"), (30, 60), 0.08, 1.0),
)


def draw_sensor(rng: np.random.Generator) -> Sensor:
    """Draw a random sensor from one of the families."""
    shares = np.array([model[4] for model in _MODELS])
    model, particles, gases, intervals, _, co2 = _MODELS[rng.choice(len(_MODELS), p=shares)]
    interval = float(rng.choice(intervals))
    averages = bool(interval >= 5 and rng.random() < 0.6)
    has_counts = particles == "opc" or (particles in {"pms", "sps"} and rng.random() < 0.6)
    gas = str(rng.choice(gases))
    return Sensor(model, particles, gas, interval, averages, bool(rng.random() < co2), has_counts)


def observe(rng: np.random.Generator, sensor: Sensor, air: Air) -> tuple[Floats, Floats]:
    """Return times in seconds since the start, and values in the order of `COLUMNS`."""
    n = air.voc.size
    period = sensor.interval_s * (1 + rng.normal(0, 2e-4))
    time = rng.uniform(0.05, sensor.interval_s) + period * np.arange(int(n / period))
    time += np.clip(rng.normal(0, 0.02, time.size), -0.1, 0.1) * sensor.interval_s
    time = time[(time < n - 0.01) & (rng.random(time.size) > draw_log(rng, 2e-4, 0.02))]
    for _ in range(rng.poisson(0.7 * n / 86_400)):  # no network, or no power
        begin = rng.uniform(0, n)
        time = time[(time < begin) | (time > begin + rng.exponential(600))]
    at = np.maximum(time, 0).astype(int)
    window = int(sensor.interval_s) if sensor.averages else 1

    def sampled(values: Floats, tau: float) -> Floats:
        return _sampled(values, tau, at, window)

    hygroscopic = rng.uniform(0.08, 0.3)
    wet = np.minimum(air.humidity, 96.0) / 100
    swell = ((1 + hygroscopic * wet / (1 - wet)) / (1 + hygroscopic))[:, None]
    tau = rng.uniform(1.5, 7.0)
    bins = sampled(air.bins.astype(float) * np.where(CENTERS_UM < 4, swell, 1.0), tau)
    bins *= np.exp(draw_log(rng, 0.01, 0.12) * wander(rng, at.size, 20 * 86_400 / period))[:, None]
    columns = _PARTICLES[sensor.particles](rng, bins, max(1, window))
    if not sensor.has_counts:
        columns = {name: v for name, v in columns.items() if not name.startswith("n")}
    columns |= _gas(rng, sensor.gas, air, at, sampled)
    columns |= _climate(rng, air, sampled, holds=sensor.particles == "pms" and rng.random() < 0.15)
    if sensor.has_co2:
        noise = rng.normal(0, rng.uniform(4, 20), at.size)
        columns["co2"] = np.round(
            sampled(air.co2, rng.uniform(20, 90)) * rng.uniform(0.95, 1.05) + noise
        )
    if sensor.particles in {"sds", "slow"} and rng.random() < 0.4:
        columns = {name: v for name, v in columns.items() if name not in {"rh", "temp"}}
    values = np.full((at.size, len(COLUMNS)), np.nan)
    for name, column in columns.items():
        values[:, COLUMNS.index(name)] = column
    return np.asarray(time), values


def _sampled(values: Floats, tau: float, at: NDArray[np.int_], window: int) -> Floats:
    """Return first-order lagged values at times `at`, averaged over the `window` s before."""
    keep = np.exp(-1 / tau)
    lagged, _ = lfilter([1 - keep], [1.0, -keep], values, axis=0, zi=keep * values[:1])
    if window == 1:
        return np.asarray(lagged)[at].astype(float)
    total = np.concatenate([np.zeros_like(lagged[:1]), np.cumsum(lagged, axis=0, dtype=float)])
    first = np.maximum(at + 1 - window, 0)
    mean: Floats = (total[at + 1] - total[first]).T / (at + 1 - first)
    return np.maximum(mean.T, 0)


def _noisy(rng: np.random.Generator, value: Floats, sd: Floats | float, step: float) -> Floats:
    noisy = np.maximum(value + sd * rng.standard_normal(value.size), 0)
    return np.asarray(np.round(noisy / step) * step)


def _plantower(rng: np.random.Generator, bins: Floats, averaged: int) -> dict[str, Floats]:
    """Plantower: one signal for all sizes; its size classes are mostly guesses (Kuula 2020).

    PM2.5 noise is 0.3 µg/m³ at 1 µg/m³ and 6 at 1200; counts have 0.5-1.7 times the Poisson noise.
    """
    gain = rng.lognormal(0.1, 0.18)
    scatter = gain * bins @ _SCATTER
    small = bins[:, :2] @ _SCATTER[:2] / np.maximum(bins @ _SCATTER, 1e-9)
    # saturates gradually toward the counter's limit
    pm25 = scatter / (1 + scatter / 4000)
    shared = rng.standard_normal(pm25.size)
    sd = 0.2 * np.sqrt((pm25 + 2) / averaged)
    pm25 = pm25 + sd * shared
    dusty = np.minimum(bins[:, 4:].sum(axis=1) / np.maximum(bins.sum(axis=1), 1e-9), 1)
    step = 1.0 if averaged == 1 else 0.1
    pm1 = pm25 * np.clip(rng.normal(0.56, 0.03) + 0.2 * small, 0.45, 0.9)
    pm10 = pm25 * (1.02 + rng.uniform(0.1, 0.3) * dusty)
    out = {"pm1": pm1, "pm25": pm25, "pm10": pm10}
    out = {name: _noisy(rng, v, 0.3 * sd, step) for name, v in out.items()}
    above = 150 * np.maximum(scatter, 0.05) ** 0.95
    shares = {"n03": 1.0, "n05": 0.29, "n10": 0.07, "n25": 0.012, "n50": 0.004, "n100": 0.0015}
    for name, share in shares.items():
        coarse = 1 + 2.5 * dusty if name in {"n10", "n25", "n50", "n100"} else 1.0
        count = np.minimum(above * share * coarse, 65_535)
        out[name] = _noisy(rng, count, 1.1 * np.sqrt(count / averaged), 1.0) / 100
    return out


def _sensirion(rng: np.random.Generator, bins: Floats, averaged: int) -> dict[str, Floats]:
    """Sensirion: two size classes; PM4 and PM10 extrapolated. Noise 0.25 at 2, 4.4 at 165 µg/m³."""
    gain = rng.lognormal(0, 0.07)
    fine = gain * bins @ np.array([0.45, 1, 1, 0.25, 0.03, 0.0, 0.0])
    middle = gain * bins @ np.array([0, 0, 0.05, 0.75, 0.3, 0.08, 0.03])
    sd = (0.2 + 0.024 * fine) / np.sqrt(averaged)
    fine = fine + sd * rng.standard_normal(fine.size)
    masses = {"pm1": fine, "pm25": fine + middle, "pm10": fine + 1.9 * middle}
    out = {name: _noisy(rng, v, 0.15 * sd, 0.1) for name, v in masses.items()}
    number = np.maximum(fine, 0.02) * 6.8
    for name, share in {"n05": 1.0, "n10": 1.17, "n25": 1.19, "n100": 1.2}.items():
        # Sensirion counts particles below each size; the columns count particles above it.
        out[name] = number * (1.2 - share) + middle * (0.3 if name == "n05" else 0.08)
        out[name] = _noisy(rng, out[name], 0.02 * out[name] + 0.01, 0.01)
    return out


def _nova(rng: np.random.Generator, bins: Floats, averaged: int) -> dict[str, Floats]:
    """SDS011: one laser; the device averages about ten seconds and reports steps of 0.1 µg/m³."""
    gain = rng.lognormal(0, 0.15)
    fine = gain * bins @ np.array([0.1, 0.8, 1, 0.8, 0.3, 0.05, 0.0])
    dust = gain * bins @ np.array([0, 0, 0, 0.2, 0.5, 0.3, 0.1])
    sd = (0.3 + 0.03 * fine) / np.sqrt(averaged)
    return {
        "pm25": _noisy(rng, fine, sd, 0.1),
        "pm10": _noisy(rng, 1.15 * fine + dust, 1.5 * sd, 0.1),
    }


def _alphasense(rng: np.random.Generator, bins: Floats, averaged: int) -> dict[str, Floats]:
    """OPC-N3: counts single particles (Poisson noise); two at once count as one larger particle."""
    gain = rng.lognormal(-0.1, 0.12)
    number = bins * _OPC_SEEN / _PARTICLE_UG / 1e6
    together = -np.expm1(-number.sum(axis=1, keepdims=True) / _OPC_CROWDED_CM3)
    moved = 0.15 * together * number
    number = number * (1 - together)
    number[:, 1:] += moved[:, :-1]
    taken = _OPC_FLOW_CM3_S * max(averaged, 1)
    number = rng.poisson(np.minimum(number * taken, 1e9)) / taken
    mass = gain * number * _PARTICLE_UG * 1e6
    out = {
        name: np.round(mass[:, :upto].sum(axis=1), 2)
        for name, upto in {"pm1": 3, "pm25": 4, "pm10": 6}.items()
    }
    for first, name in enumerate(("n03", "n05", "n10", "n25", "n50", "n100")):
        out[name] = np.round(number[:, first + 1 :].sum(axis=1), 3)
    return out


def _slow_monitor(rng: np.random.Generator, bins: Floats, averaged: int) -> dict[str, Floats]:
    """Slow monitor: only PM2.5, in whole numbers, with 5-15 false peaks a day over 30 µg/m³."""
    pm25 = rng.lognormal(0, 0.2) * bins @ np.array([0.3, 1, 1, 0.8, 0.2, 0.05, 0])
    peaks = rng.random(pm25.size) < 8 / 1440
    pm25 = pm25 + peaks * rng.lognormal(3.6, 0.6, pm25.size)
    return {"pm25": _noisy(rng, pm25, 1.0 + 0.05 * pm25 / np.sqrt(averaged), 1.0)}


_PARTICLES: Final[dict[str, Callable[[np.random.Generator, Floats, int], dict[str, Floats]]]] = {
    "pms": _plantower,
    "sps": _sensirion,
    "sds": _nova,
    "opc": _alphasense,
    "slow": _slow_monitor,
}


def _gas(
    rng: np.random.Generator,
    gas: str,
    air: Air,
    at: NDArray[np.int_],
    sampled: Callable[[Floats, float], Floats],
) -> dict[str, Floats]:
    """Return VOC columns; each doubling lowers a MOX signal by 870 ticks (SGP40: 710-1030)."""
    if not gas:
        return {}
    n = air.voc.size
    gain = rng.lognormal(0, 0.25)
    moist = 0.004 * (air.humidity - 45) * rng.normal(0, 1)
    felt = np.maximum(gain * air.voc * (1 + np.clip(moist, -0.4, 0.4)), 0.005)
    tau = rng.uniform(5, 12)
    if gas in {"raw", "index", "raw+index"}:
        least, slope = draw_log(rng, 0.2, 1.0), rng.uniform(710, 1030)
        keep = np.exp(-1 / tau)
        lagged, _ = lfilter([1 - keep], [1.0, -keep], felt, zi=[keep * felt[0]])
        drift = 25 * wander(rng, n // 60 + 2, 1000.0).repeat(60)[:n]
        ticks = rng.uniform(30_000, 33_500) - slope * np.log2((lagged + least) / least) + drift
        raw = np.clip(ticks + rng.normal(0, rng.uniform(2, 7), n), 20_001, 52_767).astype(np.int32)
        out = {"voc_raw": raw[at].astype(float)} if "raw" in gas else {}
        if "index" in gas:
            out["voc_index"] = VocIndex(1).process(raw[None])[0, at].astype(float)
        return out
    ppb = 1000 * sampled(felt, tau)
    if gas == "sgp30":  # adapts its zero over hours
        zero, _ = lfilter([5e-5], [1.0, -(1 - 5e-5)], np.minimum(felt, 1.0), zi=[felt[0]])
        ppb = ppb - 700 * np.asarray(zero)[at]
    noise = 3 + rng.uniform(0.01, 0.04) * np.maximum(ppb, 0)
    if gas == "ugm3":
        return {"tvoc_ugm3": _noisy(rng, 1.88 * ppb, 2 * noise, 1.0)}
    return {"tvoc_ppb": np.minimum(_noisy(rng, ppb, noise, 1.0), 60_000)}


def _climate(
    rng: np.random.Generator, air: Air, sampled: Callable[[Floats, float], Floats], *, holds: bool
) -> dict[str, Floats]:
    """Return RH and temperature in a warm case; if `holds`, repeat values for 300 s (BSEC ULP)."""
    warm = rng.uniform(0, 3)
    temp = sampled(air.temp, rng.uniform(30, 300)) + warm
    water = sampled(air.humidity / 100 * water_full(air.temp), rng.uniform(8, 60))
    humidity = 100 * water / water_full(temp) + rng.normal(0, 2)
    step = float(rng.choice([0.01, 0.1, 1.0], p=[0.4, 0.5, 0.1]))
    noise = rng.uniform(0.01, 0.08)
    humidity = np.clip(_noisy(rng, humidity, noise, step), 0, 100)
    temp = np.round((temp + rng.normal(0, 0.3) + rng.normal(0, 0.02, temp.size)) / 0.01) * 0.01
    if holds:
        held = np.arange(temp.size) // 30 * 30
        humidity, temp = humidity[held], temp[held]
    return {"rh": humidity, "temp": temp}
