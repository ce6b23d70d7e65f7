"""Draw rooms, their units, and people's activities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from research.worlds.two_zones.emission import Act, Emission, Source
from research.worlds.two_zones.sources import NUISANCES_AN_HOUR, spray, steam, vape
from sensor_sim.streams import draw_log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Model:
    """A device model: intervals, particle counter, ranges of lags in seconds, and noise."""

    intervals: tuple[int, ...]
    particle_lag: tuple[float, float]
    noise: float
    floor: float
    step: float
    voc: str = ""
    voc_lag: tuple[float, float] = (20.0, 20.0)
    co2: bool = False
    plantower: bool = True


MODELS: Final = {
    "pms_sgp30": _Model((1, 2, 5), (3, 10), 0.06, 0.5, 1.0, "tvoc_ppb", (5, 15)),
    "sen55": _Model((1, 2, 5), (2, 8), 0.03, 0.25, 0.1, "voc_index", (6, 12), plantower=False),
    "sps_ens": _Model(
        (2, 5, 10), (2, 8), 0.03, 0.25, 0.1, "tvoc_ppb", (10, 40), co2=True, plantower=False
    ),
    "gs601": _Model((10, 30, 60), (4, 10), 0.06, 0.7, 1.0, "tvoc_ppb", (10, 40)),
    "airgradient": _Model((5, 10, 60), (4, 10), 0.05, 0.5, 0.1, "voc_index", (6, 15), co2=True),
    "pm_only": _Model((1, 5), (3, 10), 0.06, 0.5, 1.0),
}
_MODEL_SHARES: Final = (0.26, 0.26, 0.16, 0.12, 0.12, 0.08)


@dataclass(frozen=True, slots=True)
class Unit:
    """One device: the `response` of PM1, PM2.5 and PM10 to each bin, and lags in seconds."""

    model: str
    interval_s: float
    response: Floats
    particle_lag_s: float
    voc_lag_s: float
    humidity_lag_s: float
    temperature_lag_s: float
    averages: bool


def _plantower_response(rng: np.random.Generator) -> Floats:
    gain, ratio = np.exp(rng.normal(0, 0.12)), rng.uniform(0.56, 0.74)
    pm25 = gain * np.array([0.85, 1.1, 1.1, 0.10])
    pm1 = pm25 * np.array([ratio, ratio, ratio * 0.9, ratio * 0.6])
    pm10 = pm25 * rng.uniform(1.0, 1.15) + np.array([0, 0, 0.05, 0.08])
    return np.stack([pm1, pm25, pm10])


def _sensirion_response(rng: np.random.Generator) -> Floats:
    gain = np.exp(rng.normal(0, 0.08))
    return np.asarray(gain * np.array([[0.95, 1, 0.35, 0.02], [1, 1, 1, 0.06], [1, 1, 1.12, 0.22]]))


def _draw_unit(rng: np.random.Generator) -> Unit:
    name = str(rng.choice(list(MODELS), p=_MODEL_SHARES))
    model = MODELS[name]
    humidity_lag_s, temperature_lag_s = rng.uniform(8, 45), rng.uniform(30, 200)
    interval_s = float(rng.choice(model.intervals))
    response = (_plantower_response if model.plantower else _sensirion_response)(rng)
    particle_lag_s = rng.uniform(*model.particle_lag)
    voc_lag_s = rng.uniform(*model.voc_lag) if model.voc else 20.0
    averages = name != "gs601" or bool(rng.random() < 0.7)
    return Unit(
        name,
        interval_s,
        response,
        particle_lag_s,
        voc_lag_s,
        humidity_lag_s,
        temperature_lag_s,
        averages,
    )


@dataclass(frozen=True, slots=True)
class Room:
    """A room with its sensor and all activities in it.

    Volumes are in m³, exchange between the zones in m³/s, background PM by bin in µg/m³.
    """

    unit: Unit
    volume: float
    near_volume: float
    exchange: float
    air_changes_h: float
    temperature: float
    humidity: float
    background_pm: Floats
    background_voc: float
    emissions: list[Emission]
    acts: list[Act]


def draw_room(
    rng: np.random.Generator, hours: float, vape_rate: float, nuisance_rate: float
) -> Room:
    """Draw a room, its unit and all activities in it."""
    volume = rng.uniform(15, 80)
    unit = _draw_unit(rng)
    near_volume, exchange = rng.uniform(1, 4), rng.uniform(0.033, 0.25)
    air_changes_h = draw_log(rng, 1, 15)
    temperature, humidity = rng.uniform(18, 25), rng.uniform(25, 62)
    background_pm = draw_log(rng, 1.5, 14) * rng.dirichlet([35, 25, 20, 20])
    background_voc = draw_log(rng, 60, 1500)
    emissions: list[Emission] = []
    acts: list[Act] = []
    for source, act in _draw_acts(rng, hours, vape_rate, nuisance_rate):
        emissions += source
        acts.append(act)
    acts.sort(key=lambda act: act.onset)
    return Room(
        unit,
        volume,
        near_volume,
        exchange,
        air_changes_h,
        temperature,
        humidity,
        background_pm,
        background_voc,
        emissions,
        acts,
    )


def _draw_acts(
    rng: np.random.Generator, hours: float, vape_rate: float, nuisance_rate: float
) -> Iterator[Source]:
    """Yield nuisances, then vaping sessions at least 15 min apart, some of them masked."""
    last = hours * 3600 - 900
    for source, rate in NUISANCES_AN_HOUR:
        count = rng.poisson(rate * nuisance_rate * hours)
        for onset in np.sort(rng.uniform(120, last, count)).tolist():
            yield source(rng, onset)
    count = rng.poisson(vape_rate * hours)
    onsets = np.sort(rng.uniform(400, last, count))
    for onset in onsets[np.diff(onsets, prepend=-np.inf) > 900].tolist():
        yield vape(rng, onset)
        masking = rng.random()
        if masking < 0.18:
            emissions, act = spray(rng, onset + rng.uniform(5, 60))
            yield emissions, Act("mask", act.style, act.onset, act.end)
        elif masking < 0.30:
            yield steam(rng, onset - rng.uniform(0, 40))
