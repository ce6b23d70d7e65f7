"""Traces with made-up but possible values, for tests of what consumes traces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from detection.quantities import COLUMN_INDEX, COLUMNS, QUANTITIES
from sensor_sim.trace import DeviceTrace
from sensor_sim.wire.base import hardware_id

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MODELS", "START", "make_trace", "wire_identity"]

START = 1_788_775_500.0
"""2026-09-07 10:05:00 UTC."""

MODELS = {
    "native": "sen55",
    "tasmota": "sen55",
    "esphome": "pms5003+bme680",
    "airgradient": "airgradient",
    "zigbee2mqtt": "zigbee_e2112",
}

_TOP = {
    "pm1": 700.0,
    "pm25": 800.0,
    "pm4": 850.0,
    "pm10": 900.0,
    "n03": 900.0,
    "n05": 500.0,
    "n10": 200.0,
    "n25": 50.0,
    "n50": 10.0,
    "n100": 3.0,
    "tvoc_ppb": 5_000.0,
    "tvoc_ugm3": 1_900.0,
    "voc_raw": 34_000.0,
    "temp": 40.0,
    "co2": 4_000.0,
    "co": 50.0,
    "pressure": 1_050.0,
    "light": 900.0,
    "rssi": -40.0,
}
_BOTTOM = {"temp": -10.0, "pressure": 950.0, "rssi": -90.0, "voc_raw": 20_000.0, "co2": 400.0}


def wire_identity(wire: str, sensor: str) -> str:
    """Name under which messages of a sensor arrive: its own, or that of its hardware."""
    return hardware_id(sensor, 12) if wire == "airgradient" else sensor


def make_trace(
    quantities: Iterable[str],
    *,
    sensor: str = "north-1-girls",
    wire: str = "native",
    model: str | None = None,
    rows: int = 20,
    every_s: float = 10.0,
    seed: int = 1,
    start: float = START,
    events: tuple[tuple[float, str], ...] = (),
) -> DeviceTrace:
    """A trace with uniform random values in `quantities`, its counts falling with size."""
    rng = np.random.default_rng(seed)
    values = np.full((rows, len(COLUMNS)), np.nan)
    shared = rng.uniform(0.05, 1.0, rows)
    for key in quantities:
        low = _BOTTOM.get(key, 0.0)
        high = _TOP.get(key, QUANTITIES[key].high)
        share = shared if key[0] == "n" and key[1].isdigit() else rng.uniform(0.02, 1.0, rows)
        values[:, COLUMN_INDEX[key]] = low + share * (high - low)
    time = start + every_s * np.arange(rows)
    return DeviceTrace(
        sensor=sensor,
        room="secret-room",
        model=MODELS[wire] if model is None else model,
        wire=wire,
        time=time,
        sent=time + 0.125,
        values=values,
        events=events,
    )
