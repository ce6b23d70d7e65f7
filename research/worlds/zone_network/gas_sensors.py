"""Simulate a device's gas, temperature, humidity and CO2 sensors, by second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from research.worlds.zone_network.layout import saturation_g_m3
from research.worlds.zone_network.series import draw_log, fluctuation, lag, pick
from sensor_sim.devices.voc_index import VocIndex

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from research.worlds.zone_network.inlet import Inlet
    from research.worlds.zone_network.particle_counters import Signals

    Floats = NDArray[np.float64]

COMPACT: Final = ("gs601", "mt14")
"""Ceiling devices that report rarely and average over a long time."""
_OPTIONAL_CLIMATE: Final = ("pms5003", "pms7003", "sds011", "opcn3", "sps30")


def add_gas(signals: Signals, family: str, inlet: Inlet, rng: np.random.Generator) -> None:
    """Add the VOC channels of a device, if it has any."""
    sensor = _draw_sensor(family, rng)
    n = inlet.alcohol_ppb.size
    ppm = lag(np.maximum(1, inlet.alcohol_ppb), draw_log(rng, 4, 12)) / 1000
    humidity_effect = rng.normal(0, 0.004) * (inlet.humidity - 50)
    if sensor == "sgp4x":
        _add_sgp4x(signals, family, ppm, inlet.humidity, rng)
    elif sensor == "sgp30":
        # the device's baseline adapts slowly
        baseline = lag(np.minimum(ppm, ppm[0] * 3 + 0.5), 40000) * draw_log(rng, 0.2, 0.9)
        y = (
            (ppm - baseline)
            * 1000
            * draw_log(rng, 0.4, 1.6)
            * np.exp(0.08 * fluctuation(rng, n, 6000))
            + humidity_effect * 300
            + 2 * rng.standard_normal(n)
            + draw_log(rng, 3, 12) * fluctuation(rng, n, 60)
        )
        signals.add("tvoc_ppb", np.minimum(60000, np.rint(np.maximum(0, y))), 0)
    elif sensor == "bme680":
        y = (
            lag(ppm, draw_log(rng, 3, 20))
            * 1000
            * draw_log(rng, 0.3, 1.5)
            * np.exp(0.1 * fluctuation(rng, n, 8000))
            * (1 + 0.02 * fluctuation(rng, n, 100))
        )
        if rng.random() < 0.4:
            hold_s = pick(rng, (3, 30, 300))
            y = y[(np.arange(n) // hold_s) * hold_s]
        signals.add("tvoc_ppb", np.rint(np.clip(y, 0, 50000)), 0)


def _draw_sensor(family: str, rng: np.random.Generator) -> str:
    """Draw a gas sensor for every family, and return the one for `family`."""
    sensors = {
        "sen55": "sgp4x",
        "gs601": pick(rng, ("sgp30", "sgp4x", "bme680")),
        "mt14": pick(rng, ("sgp30", "sgp4x", "none")),
        "sps30": pick(rng, ("sgp30", "sgp4x", "none")),
        "opcn3": pick(rng, ("none", "sgp4x", "bme680")),
    }
    if family in sensors:
        return sensors[family]
    return pick(rng, ("none", "sgp30", "sgp4x", "sgp4x", "bme680"))


def _add_sgp4x(
    signals: Signals, family: str, ppm: Floats, humidity: Floats, rng: np.random.Generator
) -> None:
    n = ppm.size
    clean_ppm, slope = draw_log(rng, 0.1, 0.9), draw_log(rng, 720, 1020)
    ticks = (
        31000
        + rng.normal(0, 900)
        - slope * np.log2((ppm + clean_ppm) / clean_ppm)
        - draw_log(rng, 2, 14) * (humidity - 50) * pick(rng, (1, -0.5))
        + 25 * fluctuation(rng, n, 9000)
        + draw_log(rng, 1.5, 6) * rng.standard_normal(n)
        + 4 * fluctuation(rng, n, 30)
    )
    ticks = np.clip(np.rint(ticks), 15000, 52000)
    # The device was on before the record starts, so the index has settled at the first value.
    before = int(draw_log(rng, 600, 20000))
    settling = np.rint(ticks[0] + 6 * rng.standard_normal(before))
    raw = np.concatenate([settling, ticks]).astype(np.int64)
    index = VocIndex(1).process(raw[None])[0, before:].astype(float)
    reported = rng.random()
    if reported < 0.75 or family in ("sen55", *COMPACT):
        signals.add("voc_index", index, 1 if family == "sen55" else 0)
    if reported > 0.5 and family not in COMPACT:
        signals.add("voc_raw", ticks, 0)


def add_climate(signals: Signals, family: str, inlet: Inlet, rng: np.random.Generator) -> None:
    """Add temperature and humidity in a warm case, and CO2, if the device measures them."""
    n = inlet.co2.size
    if family not in _OPTIONAL_CLIMATE or rng.random() < 0.7:
        warm_c = draw_log(rng, 0.3, 7)
        inside = lag(inlet.temperature, draw_log(rng, 30, 320))
        temperature = inside + warm_c + rng.normal(0, 0.4)
        drier = saturation_g_m3(inside) / saturation_g_m3(inside + warm_c)
        humidity = lag(inlet.humidity, draw_log(rng, 6, 60)) * drier + rng.normal(0, 2.2)
        temperature = temperature + 0.03 * rng.standard_normal(n)
        humidity = np.clip(humidity + 0.08 * rng.standard_normal(n), 1, 99)
        decimals = 1 if family in COMPACT else pick(rng, (2, 1))
        if family in COMPACT and rng.random() < 0.5:
            humidity = np.rint(humidity * 2) / 2
        signals.add("temp", temperature, decimals)
        signals.add("rh", humidity, decimals)
    if rng.random() < {"gs601": 0.2, "mt14": 0.5}.get(family, 0.25):
        co2 = lag(inlet.co2, draw_log(rng, 15, 90)) * draw_log(rng, 0.95, 1.05)
        co2 += 12 * fluctuation(rng, n, 8000)
        co2 += draw_log(rng, 1, 10) * rng.standard_normal(n)
        signals.add("co2", np.rint(np.maximum(350, co2)), 0)
