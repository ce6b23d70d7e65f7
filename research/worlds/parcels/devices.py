"""Draw each room's device: its make, clock, case and faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from research.worlds.parcels.draws import Floats, draw_log, lagged, log_normal, wander
from research.worlds.parcels.gas_sensors import sense_gas
from research.worlds.parcels.particle_sensors import Unit, sense_particles
from research.worlds.parcels.schedule import WARM_UP_S
from research.worlds.world import COLUMNS

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from research.worlds.parcels.air import Air
    from research.worlds.parcels.day import Day

_INTERVALS: Final = {
    "PMS5003": ((1, 2, 5, 10, 30), (0.3, 0.2, 0.25, 0.2, 0.05)),
    "PMS7003": ((1, 2, 5, 10, 60), (0.25, 0.2, 0.25, 0.2, 0.1)),
    "SPS30": ((1, 2, 5, 10, 60), (0.4, 0.1, 0.25, 0.2, 0.05)),
    "SEN5x": ((1, 2, 5, 10, 30, 60), (0.25, 0.1, 0.2, 0.2, 0.1, 0.15)),
    "OPC-N3": ((1, 2, 5, 10), (0.2, 0.15, 0.25, 0.4)),
    "SDS011": ((1, 2, 5, 10, 60), (0.25, 0.15, 0.25, 0.2, 0.15)),
    "GS601": ((10, 30, 60), (0.3, 0.3, 0.4)),
    "Meraki": ((30, 60), (0.35, 0.65)),
}
"""Each model's reporting intervals in seconds, and their shares."""
_VOC_SENSORS: Final = ("none", "SGP30", "SGP40", "SGP41raw", "BME680", "ENS160")


class Record(NamedTuple):
    """The readings that one device sent.

    - `device`: model of the device.
    - `interval_s`: nominal interval.
    - `time` (readings,): seconds after the world's start.
    - `values` (readings, COLUMNS): NaN for missing values.
    """

    device: str
    interval_s: int
    time: Floats
    values: Floats


def measure(day: Day, air: Air) -> Record:
    """Draw a device for the room and return the readings that it sends."""
    school, rng = day.school, day.rng
    model = str(rng.choice(list(_INTERVALS), p=school.particle_sensors))
    voc = str(rng.choice(_VOC_SENSORS, p=school.voc_sensors))
    if model == "SEN5x":
        voc = "SEN"
    elif model in {"GS601", "Meraki"}:
        voc = "slow" if model == "Meraki" or rng.random() < 0.5 else "SGP30"
    chosen = {name: rng.choice(seconds, p=p) for name, (seconds, p) in _INTERVALS.items()}
    interval_s = int(chosen[model])
    gain = log_normal(rng, 1, 0.14, 0.65, 1.5)
    drift = np.exp(wander(rng, day.room.read_s, 40000, 0.04, 60))
    time = _draw_times(rng, day.hours, interval_s)
    steps = np.clip((time + WARM_UP_S).astype(int), 0, day.room.read_s - 1)
    is_averaging = interval_s >= 10 and (model in {"Meraki", "GS601"} or rng.random() < 0.5)
    unit = Unit(rng, model, gain, drift[steps], interval_s, steps, is_averaging)
    columns = sense_particles(unit, air.particles)
    columns |= _sense_gas(unit, voc, air)
    columns |= _sense_climate(unit, air)
    is_sent = _break_line(unit, day, time, columns)
    values = np.full((len(time), len(COLUMNS)), np.nan)
    for column, name in enumerate(COLUMNS):
        if name in columns:
            values[:, column] = columns[name] + 0.0
    device = model if voc in {"none", "SEN", "slow"} else f"{model}+{voc}"
    return Record(device, interval_s, time[is_sent], values[is_sent])


def _draw_times(rng: Generator, hours: float, interval_s: int) -> Floats:
    """Draw the device's sampling times, with clock drift and jitter."""
    count = int(hours * 3600 / interval_s) + 2
    nominal = rng.uniform(0, interval_s) + np.arange(count) * interval_s * (1 + rng.normal(0, 4e-5))
    scatter = float(rng.choice([0.01, 0.05, 0.25]))
    jitter = np.abs(rng.normal(0, scatter, count)) * min(1, interval_s)
    time: Floats = np.sort(nominal + jitter)
    return time[(time < hours * 3600 - 0.5) & (np.diff(time, prepend=-1) > 0.05)]


def _sense_gas(unit: Unit, voc: str, air: Air) -> dict[str, Floats]:
    if voc == "none":
        return {}
    rng, columns = unit.rng, {}
    signal = sense_gas(rng, voc, air)
    if signal.ppb is not None:
        columns["tvoc_ppb"] = np.round(unit.sample(signal.ppb))
    if signal.index is not None:
        columns["voc_index"] = signal.index[unit.steps].astype(float)
    if signal.ticks is not None:
        shows_ticks = {"SGP41raw": 1.0, "SGP40": 0.5, "SEN": 0.3}[voc]
        if shows_ticks == 1 or rng.random() < shows_ticks:
            columns["voc_raw"] = signal.ticks[unit.steps].astype(float)
    return columns


def _sense_climate(unit: Unit, air: Air) -> dict[str, Floats]:
    """Return temperature and humidity in the warm case, and CO2."""
    rng, steps, model = unit.rng, unit.steps, unit.model
    columns = {}
    if rng.random() < 0.92 or model in {"SEN5x", "GS601", "Meraki"}:
        warmer = rng.uniform(0.2, 4.5)
        temp = lagged(air.temp, rng.uniform(30, 300)) + warmer
        rh = lagged(air.rh, rng.uniform(8, 60)) * np.exp(-0.058 * warmer) + rng.normal(0, 2.5)
        resolution = rng.choice([0.01, 0.1, 1.0], p=[0.35, 0.45, 0.2]) if model != "GS601" else 0.5
        noisy = rh[steps] + unit.noise() * rng.uniform(0.01, 0.12)
        columns["rh"] = np.clip(np.round(noisy / resolution) * resolution, 0, 100)
        finer = resolution if resolution < 1 else 0.1
        columns["temp"] = np.round((temp[steps] + unit.noise() * 0.02) / finer) * finer
    if rng.random() < 0.3 or (model == "Meraki" and rng.random() < 0.6):
        co2 = lagged(air.co2, rng.uniform(20, 90))[steps] * rng.uniform(0.96, 1.04)
        columns["co2"] = np.round(co2 + unit.noise() * rng.uniform(3, 20))
    return {name: np.round(column, 2) for name, column in columns.items()}


def _break_line(
    unit: Unit, day: Day, time: Floats, columns: dict[str, Floats]
) -> NDArray[np.bool_]:
    """Apply faults to `columns`; return which readings arrive.

    Faults are lost readings, outages, hangs, jumps in single readings, and restarts.
    """
    rng, samples = unit.rng, len(time)
    luck = rng.random(samples)
    is_sent = luck >= float(rng.choice([0, 0.001, 0.01, 0.04], p=[0.35, 0.3, 0.25, 0.1]))
    optical = [name for name in columns if name.startswith(("pm", "n"))]
    a_day = day.school.outages * day.hours / 24 * log_normal(rng, 0.6, 0.8)
    for _ in range(rng.poisson(a_day)):
        start = rng.uniform(0, day.hours * 3600)
        is_sent &= ~((time > start) & (time < start + draw_log(rng, 20, 2400)))
    for _ in range(rng.poisson(0.6 * day.hours / 24)):
        first = rng.integers(samples)
        hung = slice(first, first + int(draw_log(rng, 20, 400) / unit.interval_s) + 1)
        for name in optical:
            columns[name][hung] = columns[name][first]
    if rng.random() < 0.25:
        for sample in rng.integers(0, samples, rng.poisson(draw_log(rng, 1, 12) * day.hours / 24)):
            factor = draw_log(rng, 1.5, 8)
            for name in ("pm1", "pm25", "pm10"):
                if name in columns:
                    columns[name][sample] = np.round(columns[name][sample] * factor + factor)
    for _ in range(rng.poisson(0.25 * day.hours / 24)):
        start = rng.uniform(0, day.hours * 3600)
        is_sent &= ~((time > start) & (time < start + 15))
        for name in optical:
            columns[name][(time > start + 15) & (time < start + 45)] = 0
    return is_sent
