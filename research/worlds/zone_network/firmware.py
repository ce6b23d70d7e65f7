"""Simulate firmware: when a device samples, what it averages, and which readings are lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from research.worlds.zone_network.gas_sensors import COMPACT
from research.worlds.zone_network.series import draw_log, lag, pick

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from research.worlds.zone_network.particle_counters import Signals

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Report:
    """Readings of one device.

    - `times`: seconds of the simulation, rounded to `time_decimals`.
    - `values`: by column; NaN if missing.
    """

    interval_s: int
    times: Floats
    time_decimals: int
    values: dict[str, Floats]


def report(signals: Signals, family: str, rng: np.random.Generator) -> Report:
    """Draw a device's firmware, and return its report."""
    n = signals.series["pm25"].size
    if family in COMPACT:
        interval = pick(rng, (10, 30, 60), (0.2, 0.4, 0.4))
    else:
        interval = pick(rng, (1, 2, 5, 10, 30, 60), (0.22, 0.16, 0.2, 0.22, 0.12, 0.08))
    averages = interval > 1 and rng.random() < 0.55
    averaging = "mean" if averages else pick(rng, ("point", "last3", "ema"))
    if family in COMPACT and rng.random() < 0.5:
        averaging = "duty"
    times = _draw_times(signals.series["pm25"], interval, rng)
    second = times.astype(int)
    fan_on_s, cycle_s = int(rng.uniform(15, 35)), pick(rng, (60, 60, 90, 120))
    values = {}
    for column, series in signals.series.items():
        is_particles = column.startswith(("pm", "n"))
        if averaging == "mean" and column != "voc_index":
            value = _mean(series, np.maximum(0, second - interval + 1), second)
        elif averaging == "last3":
            value = _mean(series, np.maximum(0, second - 2), second)
        elif averaging == "ema" and is_particles:
            value = lag(series, max(2, interval * 0.6))[second]
        elif averaging == "duty" and is_particles:
            # the fan runs for part of each cycle; in between, the last mean is repeated
            half = fan_on_s // 2
            last = np.minimum((second - half) // cycle_s * cycle_s + fan_on_s, second)
            value = _mean(series, np.maximum(0, last - half), last)
        else:
            value = series[second]
        values[column] = value
    is_kept = _draw_losses(times, n, rng)
    _add_artifacts(values, n, rng)
    decimals = pick(rng, (0, 1, 3)) if interval > 1 else 3
    if decimals < 3:
        is_kept &= np.r_[True, np.diff(np.round(times, decimals)) > 0]
    rounded = {
        column: np.round(value[is_kept], signals.decimals[column]) + 0.0
        for column, value in values.items()
    }
    return Report(interval, times[is_kept], decimals, rounded)


def _mean(series: Floats, first: NDArray[np.intp], last: NDArray[np.intp]) -> Floats:
    """Return means from `first` through `last`."""
    total = np.r_[0, np.cumsum(series)]
    mean: Floats = (total[last + 1] - total[first]) / (last + 1 - first)
    return mean


def _draw_times(pm25: Floats, interval: int, rng: np.random.Generator) -> Floats:
    """Draw sampling times with a clock error and jitter; jumps can cause extra reports."""
    n = pm25.size
    times = np.arange(rng.uniform(0, interval), n - 1, interval) + 0.0
    times += np.cumsum(np.full(times.size, rng.normal(0, 20) * 1e-6 * interval))
    times += rng.normal(0, 0.01 + 0.01 * interval * rng.random(), times.size)
    times = np.clip(np.sort(times), 0, n - 1.001)
    if interval >= 10 and rng.random() < 0.3:
        level = lag(pm25, 2)
        jumps = np.nonzero((level[10:] - level[:-10]) > rng.uniform(6, 25))[0] + 10
        pause_s, last, extra = rng.uniform(5, interval), -99, []
        for jump in jumps.tolist():
            if jump - last > pause_s:
                extra.append(jump + rng.random())
                last = jump
        times = np.sort(np.clip(np.r_[times, extra], 0, n - 1.001))
    times = np.unique(np.round(times, 3))
    return times[np.r_[True, np.diff(times) > 0.02]]


def _draw_losses(times: Floats, n: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw lost rows, lost batches and outages; return which rows are kept."""
    is_kept: NDArray[np.bool_] = rng.random(times.size) > draw_log(rng, 1e-4, 1.5e-2)
    if rng.random() < 0.3:
        batch = np.arange(times.size) // int(rng.integers(4, 16))
        is_lost = rng.random(batch.max() + 1) < draw_log(rng, 0.001, 0.02)
        is_kept &= ~is_lost[batch]
    for _ in range(rng.poisson(0.7 * n / 86400)):
        begin = rng.uniform(0, n)
        is_kept &= ~((times > begin) & (times < begin + draw_log(rng, 30, 3600)))
    return is_kept


def _add_artifacts(values: dict[str, Floats], n: int, rng: np.random.Generator) -> None:
    """Add single-sample spikes and missing values, in place."""
    size = values["pm25"].size
    if rng.random() < 0.25:
        is_spike = rng.random(size) < 10 / 86400 * (n / size)
        height = np.exp(rng.uniform(np.log(10), np.log(80), is_spike.sum()))
        for column, factor in (("pm1", 0.6), ("pm25", 1), ("pm10", 1.1)):
            if column in values:
                values[column][is_spike] += height * factor
    if rng.random() < 0.2:
        for value in values.values():
            if rng.random() < 0.3:
                value[rng.random(size) < 0.003] = np.nan
