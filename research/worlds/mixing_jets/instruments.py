"""Simulate how devices measure the air at their inlet.

A particle engine has linear channels (responses by diameter), and its firmware turns their lagged
signals into columns. A model combines an engine with gas and climate sensors, intervals and
firmware properties. A unit is one device of a model, with its own gains, lags, noise and faults.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.signal import lfilter

from research.worlds.mixing_jets.air import FAMILIES, correlated, draw_log
from research.worlds.mixing_jets.droplets import (
    DIAMETERS_UM,
    Aerosol,
    above,
    ideal_mass,
    scatter,
    sphere_mass,
)
from sensor_sim.devices.voc_index import VocIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Columns = dict[str, Floats]

AMBIENT: Final = Aerosol(0.5, 2.0, density=1.5)
"""Background aerosol for which sensors are calibrated."""


@dataclass(frozen=True, slots=True)
class Air:
    """Air at an inlet, one value a second.

    Attributes
    ----------
    particles : ndarray, shape (channels, seconds)
        Signals of the engine's channels; the first is ideal PM2.5.
    mox : ndarray
        Response of a MOX sensor, in ppm of ethanol.
    humidity, temperature, co2 : ndarray
        In %RH, °C and ppm.
    """

    particles: Floats
    mox: Floats
    humidity: Floats
    temperature: Floats
    co2: Floats


def saturation_g_m3(temperature_c: Floats) -> Floats:
    """Return the water vapor of saturated air (Magnus formula)."""
    hectopascal = 6.112 * np.exp(17.62 * temperature_c / (243.12 + temperature_c))
    return 216.7 * hectopascal / (273.15 + temperature_c)


def _lagged(series: Floats, seconds: float) -> Floats:
    a = np.exp(-1 / max(seconds, 0.3))
    out, _ = lfilter([1 - a], [1, -a], series, axis=-1, zi=series[..., :1] * a)
    return np.asarray(out)


class Engine:
    """Optical particle sensor with its lag and gain."""

    noise: tuple[float, float] = (0.3, 0.015)
    """Noise of PM2.5: absolute in µg/m³, and relative."""
    flow_cm3_s = 1.0
    """Volume of air in which particles are counted."""
    lag_s = (2.0, 10.0)
    start_s = (8, 30)

    def __init__(self, rng: np.random.Generator) -> None:
        self.gain = rng.lognormal(0, 0.2)
        self.lag = draw_log(rng, *self.lag_s)
        self.rows = np.vstack([ideal_mass(2.5), self.channels(rng)])
        ambient = AMBIENT.response(self.rows, 1.0)[:, 0]
        self.scale = self.gain * ambient[0] / ambient[1]
        self.tune(rng)

    def channels(self, rng: np.random.Generator) -> Floats:
        """Return each channel's responses by diameter; calibration uses the first channel."""
        raise NotImplementedError

    def tune(self, rng: np.random.Generator) -> None:
        """Draw the firmware's constants at random."""

    def firmware(self, signal: Floats) -> Columns:
        """Compute columns from lagged channels, without noise."""
        raise NotImplementedError

    def measure(self, particles: Floats) -> Columns:
        """Return columns for each second, without noise."""
        return self.firmware(_lagged(particles[1:], self.lag))


class Plantower(Engine):
    """PMS5003/7003: a photometer whose firmware assumes a fixed size distribution.

    It sees single particles, but most miss the beam. The response to large particles grows only
    with d², so dust hardly registers. It distinguishes at most two size classes.
    """

    flow_cm3_s = 10.0

    def channels(self, rng: np.random.Generator) -> Floats:  # noqa: D102
        light = scatter(0.66, rng.uniform(0.35, 0.5), rng.uniform(1.6, 2.3))
        light *= np.exp(-DIAMETERS_UM / rng.uniform(4, 9))
        return np.vstack([light, light * above(1.3, 4.0)])

    def tune(self, rng: np.random.Generator) -> None:  # noqa: D102
        self.fine_ratio = rng.uniform(0.58, 0.74)
        self.coarse_ratio = rng.uniform(0.9, 0.99)
        self.is_atmospheric = rng.random() < 0.6
        self.per_microgram = rng.uniform(0.8, 1.6)
        self.full = draw_log(rng, 1500, 10_000)

    def firmware(self, signal: Floats) -> Columns:  # noqa: D102
        pm25 = self.scale * signal[0]
        pm25 /= 1 + np.maximum(pm25, 0) / self.full
        large = np.clip(4 * signal[1] / np.maximum(signal[0], 1e-9) - 0.36, 0, 1)
        pm1 = pm25 * (self.fine_ratio - 0.38 * large - 0.04 * np.tanh(pm25 / 150))
        pm10 = pm25 / (self.coarse_ratio - 0.36 * large)
        n03 = self.per_microgram * pm25
        shape = 1 + large
        columns = {
            "n03": n03,
            "n05": n03 * 0.29 * shape**0.3,
            "n10": n03 * 0.06 * shape,
            "n25": n03 * 0.007 * shape**2,
            "n50": n03 * 0.0018 * shape**2,
            "n100": n03 * 0.0007 * shape**2,
        }
        for name, value in (("pm1", pm1), ("pm25", pm25), ("pm10", pm10)):
            # the "atmospheric" values: 1:1 in clean air, two thirds in dense air
            columns[name] = (
                value * (1 - np.clip((value - 30) / 50, 0, 1) / 3) if self.is_atmospheric else value
            )
        return columns


class Sensirion(Engine):
    """SPS30 and SEN5x: count particles up to about 3 µm and extrapolate larger ones."""

    noise = (0.25, 0.025)
    flow_cm3_s = 5.0
    lag_s = (1.5, 8.0)

    def channels(self, rng: np.random.Generator) -> Floats:  # noqa: D102
        size = rng.uniform(0.9, 1.05)
        detected = above(0.3 / size, 10)
        seen_large = np.exp(-((DIAMETERS_UM / rng.uniform(2.2, 4)) ** 2))
        mass = 1.3 * sphere_mass(size) * detected * seen_large
        return np.vstack(
            [
                mass,
                mass * above(1.1 / size, 6),
                detected,
                above(0.5 / size, 8),
                above(1.0 / size, 6) * seen_large,
                above(2.5 / size, 6) * seen_large,
            ]
        )

    def tune(self, rng: np.random.Generator) -> None:  # noqa: D102
        self.extrapolated = rng.uniform(0.15, 0.6)
        self.count_gain = self.gain * rng.lognormal(0, 0.1)
        self.full_cm3 = draw_log(rng, 4000, 40_000)

    def firmware(self, signal: Floats) -> Columns:  # noqa: D102
        # pulses overlap in dense plumes
        pass_through = 1 / (1 + signal[2] / self.full_cm3)
        mass, middle = self.scale * pass_through * signal[:2]
        pm1 = np.maximum(mass - middle, 0) * 0.97 + 0.2 * middle
        pm25 = pm1 + 0.03 * mass + 0.7 * middle
        n03, n05, n10, n25 = self.count_gain * pass_through * signal[2:6]
        return {
            "pm1": pm1,
            "pm25": pm25,
            "pm10": pm25 + (0.02 + self.extrapolated) * middle,
            "n03": n03,
            "n05": np.minimum(n05, n03),
            "n10": n10,
            "n25": 0.3 * n25 + 0.02 * n10,
        }


class OpcN3(Engine):
    """Alphasense OPC-N3: true bins from 0.35 µm; dense plumes cause coincidence errors."""

    noise = (0.05, 0.02)
    flow_cm3_s = 4.6
    lag_s = (0.5, 3.0)

    def channels(self, rng: np.random.Generator) -> Floats:  # noqa: D102
        size = rng.uniform(0.8, 1.0)
        lower = above(0.37 / size, 14)
        mass = 1.65 * sphere_mass(size) * lower
        pm25 = mass * (1 - above(2.5 / size, 8))
        counts = [above(cut / size, 12) for cut in (0.5, 1.0, 2.5, 5.0, 10.0)]
        pm1 = mass * (1 - above(1.0 / size, 8))
        pm10 = mass * (1 - above(10 / size, 8))
        return np.vstack([pm25, pm1, pm10, lower, *counts])

    def tune(self, rng: np.random.Generator) -> None:  # noqa: D102
        # not calibrated in ambient air, where most particles are too small for it
        self.scale = self.gain * rng.uniform(0.5, 1.2)
        self.full = rng.uniform(70, 110)
        self.oversized = rng.uniform(0.8, 1.8)
        self.dead_cm3 = draw_log(rng, 400, 2000)

    def firmware(self, signal: Floats) -> Columns:  # noqa: D102
        pm25, pm1, pm10 = self.scale * np.maximum(signal[:3], 0)
        single = self.full * -np.expm1(-pm1 / self.full)
        merged = (pm1 - single) * self.oversized
        counts = self.gain * signal[3:]
        total = self.dead_cm3 * -np.expm1(-counts[0] / self.dead_cm3)
        lost = counts[0] - total
        pm25 = single + merged + np.maximum(pm25 - pm1, 0)
        return {
            "pm1": single,
            "pm25": pm25,
            "pm10": pm25 + np.maximum(pm10 - self.scale * signal[0], 0) + 0.1 * merged,
            "n03": total,
            "n05": np.minimum(counts[1] + 0.3 * lost, total),
            "n10": np.minimum(counts[2] + 0.05 * lost, total),
            "n25": counts[3],
            "n50": counts[4],
            "n100": counts[5],
        }


class Sds011(Engine):
    """Nova SDS011: a photometer with two columns; PM10 is mostly a multiple of PM2.5."""

    noise = (0.3, 0.03)
    flow_cm3_s = 10.0

    def channels(self, rng: np.random.Generator) -> Floats:  # noqa: D102
        light = scatter(0.65, 0.45, rng.uniform(1.8, 2.6))
        light *= np.exp(-DIAMETERS_UM / rng.uniform(5, 12))
        return np.vstack([light, light * above(1.5, 3.0)])

    def tune(self, rng: np.random.Generator) -> None:  # noqa: D102
        self.coarse = rng.uniform(0.5, 2.5)
        self.ordinary = rng.uniform(1.05, 1.8)

    def firmware(self, signal: Floats) -> Columns:  # noqa: D102
        pm25 = self.scale * signal[0]
        return {"pm25": pm25, "pm10": self.ordinary * pm25 + self.coarse * self.scale * signal[1]}


@dataclass(frozen=True, slots=True)
class Model:
    """A device model: its engine, intervals and possible gas sensors.

    Attributes
    ----------
    gas : tuple of str
        Possible gas sensors; each unit has one of them.
    columns : frozenset of str
        Particle columns that it reports; empty for all columns of the engine.
    steps : tuple of float
        Resolution of PM and counts.
    averaged : float
        Probability that a unit reports means over its interval, not the last second.
    climate, co2 : float
        Probability that a unit has an RH and temperature sensor, or a CO2 sensor.
    artifacts : tuple of float
        Range of single-sample jumps per day.
    limits : tuple of float
        Highest PM value and count that it reports.
    """

    name: str
    engine: Callable[[np.random.Generator], Engine]
    intervals: tuple[int, ...]
    gas: tuple[str, ...]
    columns: frozenset[str] = frozenset()
    steps: tuple[float, float] = (1.0, 0.01)
    averaged: float = 0.3
    climate: float = 0.6
    co2: float = 0.1
    artifacts: tuple[float, float] = (0.0, 1.0)
    limits: tuple[float, float] = (1000.0, 10_000.0)


_ANY: Final = (1, 2, 5, 10, 30, 60)
_GAS: Final = ("", "sgp30", "sgp4x", "bme680")
_PM: Final = frozenset({"pm1", "pm25", "pm10"})
MODELS: Final = (
    Model("pms5003", Plantower, _ANY, _GAS, limits=(5000, 655.35)),
    Model("pms7003", Plantower, _ANY, _GAS, limits=(5000, 655.35)),
    Model(
        "sps30",
        Sensirion,
        _ANY,
        ("", "sgp4x", "bme680"),
        steps=(0.01, 0.01),
        limits=(10_000, 30_000),
    ),
    Model(
        "sen5x", Sensirion, _ANY, ("sgp4x",), steps=(0.1, 0.1), climate=1.0, limits=(6553.4, 6553.4)
    ),
    Model("opcn3", OpcN3, _ANY, _GAS, steps=(0.01, 0.001), limits=(20_000, 10_000)),
    Model("sds011", Sds011, _ANY, ("", "sgp30", "bme680"), steps=(0.1, 1.0), limits=(999.9, 0)),
    Model(
        "gs601",
        Plantower,
        (30, 60),
        ("sgp30",),
        _PM,
        averaged=0.8,
        climate=1.0,
        artifacts=(0.0, 8.0),
    ),
    Model(
        "meraki",
        Sensirion,
        (60,),
        ("bme680", "sgp30"),
        frozenset({"pm25"}),
        averaged=1.0,
        climate=1.0,
        co2=0.5,
        artifacts=(0.0, 8.0),
    ),
)
_WEIGHTS: Final = np.array([2, 1, 2, 2, 1, 1, 1, 1]) / 11


class Unit:
    """One device on a wall.

    Parameters
    ----------
    rng : numpy.random.Generator
        The room's generator.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.model = MODELS[rng.choice(len(MODELS), p=_WEIGHTS)]
        self.interval = int(rng.choice(self.model.intervals))
        self.engine = self.model.engine(rng)
        self.gas = str(rng.choice(self.model.gas))
        self.mox = {
            name: draw_log(rng, *family.response) * rng.lognormal(0, 0.1)
            for name, family in FAMILIES.items()
        }
        self._has_climate = rng.random() < self.model.climate
        self._has_co2 = rng.random() < self.model.co2
        self._is_averaged = rng.random() < self.model.averaged
        # to spare the laser, some units start the fan only before each reading
        self._wakes_s = rng.uniform(8, 30) if self.interval == 60 and rng.random() < 0.2 else 0.0
        self._warmth = rng.uniform(0.3, 5.0)
        self._humidity_lag, self._heat_lag = draw_log(rng, 8, 60), draw_log(rng, 30, 300)

    def case_humidity(self, air_humidity: Floats, temperature: Floats) -> Floats:
        """Return the relative humidity in the warm case, %."""
        ratio = saturation_g_m3(temperature) / saturation_g_m3(temperature + self._warmth)
        return air_humidity * ratio

    def report(self, air: Air, skip: int) -> tuple[Floats, Columns]:
        """Sample the air, process the signals in firmware, and return the readings that arrive.

        Returns
        -------
        time : ndarray
            Seconds since the world's start, without the first `skip` seconds.
        columns : dict
        """
        rng, seconds = self._rng, air.mox.size
        boots, outages = self._outages(seconds)
        columns = self._digest(self.engine.measure(air.particles), boots)
        columns |= self._gases(air, boots)
        if self._has_climate:
            columns |= self._climate(air)
        if self._has_co2:
            co2 = _lagged(air.co2, rng.uniform(10, 90)) * rng.lognormal(0, 0.03)
            columns["co2"] = np.round(co2 + 3 * rng.standard_normal(co2.size))

        drift = 1 + rng.normal(0, 2e-5)
        time = np.arange(skip + rng.uniform(0, self.interval), seconds - 1, self.interval * drift)
        jitter = rng.choice([0.0, 0.02, 0.3]) * min(1.0, self.interval / 2)
        time = np.clip(time + jitter * rng.standard_normal(time.size), skip, seconds - 1)
        kept = rng.random(time.size) >= draw_log(rng, 1e-4, 0.03)
        for start, end in outages:
            kept &= (time < start) | (time >= end)
        time = np.sort(time[kept])
        sampled = {name: self._sampled(value, name, time) for name, value in columns.items()}
        return time, self._noisy(sampled)

    def _outages(self, seconds: int) -> tuple[list[int], list[tuple[float, float]]]:
        """Draw power outages, which restart the firmware, and network outages."""
        rng, days = self._rng, seconds / 86_400
        outages = []
        boots = [0]
        for _ in range(rng.poisson(draw_log(rng, 0.05, 2) * days)):
            start = rng.uniform(3600, seconds)
            end = start + draw_log(rng, 20, 3600)
            outages.append((start, end))
            if rng.random() < 0.5 and end < seconds - 200:
                boots.append(int(end))
        return sorted(boots), outages

    def _digest(self, columns: Columns, boots: list[int]) -> Columns:
        """Select the columns that the model reports, and apply start-up effects."""
        chosen = self.model.columns
        out = {name: value for name, value in columns.items() if not chosen or name in chosen}
        ramp_s = self._rng.uniform(*self.engine.start_s)
        for boot in boots[1:]:
            ramp = np.clip(np.arange(int(2 * ramp_s)) / ramp_s - 0.3, 0, 1)
            for value in out.values():
                stop = min(boot + ramp.size, value.size)
                value[boot:stop] *= ramp[: stop - boot]
        return out

    def _sampled(self, value: Floats, name: str, time: Floats) -> Floats:
        second = time.astype(np.intp)
        if not self._is_averaged or self.interval == 1 or name in {"voc_index", "voc_raw"}:
            return value[second]
        window = self.interval if not self._wakes_s else int(self._wakes_s)
        if name in {"rh", "temp", "co2"}:
            return value[second]
        total = np.concatenate([[0.0], np.cumsum(value)])
        low = np.maximum(second + 1 - window, 0)
        mean: Floats = (total[second + 1] - total[low]) / (second + 1 - low)
        return mean

    def _noisy(self, sampled: Columns) -> Columns:
        rng, engine, n = self._rng, self.engine, next(iter(sampled.values())).size
        step, count_step = self.model.steps
        most, most_count = self.model.limits
        averaged = self.interval if self._is_averaged else min(engine.lag, 5.0)
        common = correlated(rng, n, engine.lag / self.interval)
        offset = rng.normal(0, 0.4)
        slow = np.interp(np.arange(n), np.linspace(0, n, 12), rng.normal(1, 0.03, 12))
        jumps = rng.random(n) < rng.uniform(*self.model.artifacts) * self.interval / 86_400
        jump = np.where(jumps, rng.exponential(40, n), 0.0)
        floor, relative = engine.noise
        quiet = 1 / np.sqrt(max(1.0, averaged / 10))
        volume = engine.flow_cm3_s * averaged
        coarse = self._coarse_hits(sampled, volume)
        for name, value in sampled.items():
            if name.startswith("pm"):
                own = 0.7 * common + 0.7 * correlated(rng, n, engine.lag / self.interval)
                noise = (floor + relative * value) * quiet * own
                reading = value * slow + offset * (value > 0) + noise + jump
                if name == "pm10":
                    reading += coarse
                sampled[name] = np.clip(np.round(reading / step) * step, 0, most)
            elif name.startswith("n"):
                spread = np.sqrt(np.maximum(value, 0) / volume) * 1.3 + 0.01 * value
                reading = value * slow + spread * rng.standard_normal(n)
                sampled[name] = np.clip(np.round(reading / count_step) * count_step, 0, most_count)
            elif name == "tvoc_ppb":
                sampled[name] = np.minimum(value, 60_000.0).round()
        for small, large in (("pm1", "pm25"), ("pm25", "pm10"), *_larger(sampled)):
            if small in sampled and large in sampled:
                sampled[large] = np.maximum(sampled[small], sampled[large])
        return sampled

    def _coarse_hits(self, sampled: Columns, volume: float) -> Floats:
        """Return the error in a counter's PM10 that results from counting few coarse particles."""
        value = sampled.get("pm10", np.zeros(1))
        if "n50" not in sampled or not isinstance(self.engine, OpcN3):
            return np.zeros(value.size)
        expected = np.maximum(sampled["n50"] * volume, 1e-6)
        hits = self._rng.poisson(expected)
        surplus: Floats = np.clip(hits / expected - 1, -1, 50)
        return surplus * (value - sampled["pm25"])

    def _climate(self, air: Air) -> Columns:
        rng = self._rng
        fine = rng.random() < 0.6
        humidity = _lagged(self.case_humidity(air.humidity, air.temperature), self._humidity_lag)
        temperature = _lagged(air.temperature + self._warmth, self._heat_lag)
        humidity += rng.normal(0, 2) + 0.05 * rng.standard_normal(humidity.size)
        temperature += rng.normal(0, 0.3) + 0.02 * rng.standard_normal(temperature.size)
        steps = (0.01, 0.01) if fine else (rng.choice([0.1, 0.5, 1.0]), 0.1)
        return {
            "rh": np.clip(np.round(humidity / steps[0]) * steps[0], 0, 100),
            "temp": np.round(temperature / steps[1]) * steps[1],
        }

    def _gases(self, air: Air, boots: list[int]) -> Columns:
        rng = self._rng
        felt = _lagged(air.mox, draw_log(rng, 5, 12))
        if self.gas == "sgp4x":
            return self._sensirion_gas(air, felt, boots)
        if self.gas == "sgp30":
            # measured relative to the cleanest air so far
            hourly = _lagged(felt, 600)
            clean = np.minimum.accumulate(hourly * (1 + 1e-6 * np.arange(felt.size)))
            ppb = 1000 * rng.lognormal(0, 0.3) * np.maximum(felt - rng.uniform(0.6, 1) * clean, 0)
            ppb *= 1 + 0.03 * correlated(rng, felt.size, 20)
            ppb += rng.uniform(0, 8) * np.abs(correlated(rng, felt.size, 60))
            return {"tvoc_ppb": ppb}
        if self.gas == "bme680":
            power = rng.uniform(0.6, 1.0)
            wet = np.exp(0.004 * rng.normal(0, 1) * (air.humidity - 45))
            ppb = 1000 * rng.lognormal(0, 0.4) * 0.5 * (felt / 0.5) ** power * wet
            ppb *= 1 + 0.02 * correlated(rng, felt.size, 30)
            hold = 300 if rng.random() < 0.25 else 3
            return {"tvoc_ppb": np.repeat(ppb[::hold], hold)[: felt.size]}
        return {}

    def _sensirion_gas(self, air: Air, felt: Floats, boots: list[int]) -> Columns:
        rng = self._rng
        knee = rng.uniform(0.2, 1.0)
        ticks = rng.uniform(29_500, 33_000) - rng.uniform(710, 1030) * np.log2((felt + knee) / knee)
        ticks -= rng.normal(0, 6) * (air.humidity - 45)
        ticks += rng.uniform(2, 8) * rng.standard_normal(felt.size)
        ticks += rng.uniform(5, 30) * correlated(rng, felt.size, 1800)
        raw = np.clip(np.round(ticks), 20_001, 52_000)
        index = np.empty(raw.size)
        for start, stop in zip(boots, [*boots[1:], raw.size], strict=True):
            part = raw[None, start:stop].astype(np.int64)
            index[start:stop] = VocIndex(1).process(part)[0]
        columns = {"voc_index": index}
        if rng.random() < 0.5:
            columns["voc_raw"] = raw
        return columns


def _larger(sampled: Mapping[str, Floats]) -> list[tuple[str, str]]:
    """Return pairs of count columns in which the first count must be the larger one."""
    names = [name for name in ("n100", "n50", "n25", "n10", "n05", "n03") if name in sampled]
    return list(pairwise(names))
