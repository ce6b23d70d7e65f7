"""Simulate tampering with a sensor: covering it, or blowing into it.

`on_trace` is called with consecutive parts of one device's trace.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from detection.quantities import COLUMN_INDEX, COLUMNS, QUANTITIES
from sensor_sim.streams import make_stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sensor_sim.trace import DeviceTrace

_PARTICLES: Final = tuple(
    i
    for i, key in enumerate(COLUMNS)
    if key.startswith("pm") or (key[0] == "n" and key != "nox_index")
)
_RESOLUTION: Final = np.array([QUANTITIES[k].resolution for k in COLUMNS])
_LOW: Final = np.array([QUANTITIES[k].low for k in COLUMNS])
_HIGH: Final = np.array([QUANTITIES[k].high for k in COLUMNS])


@dataclass(slots=True)
class Covered:
    """A bag, tape or gum over the inlet: levels drift to a residual, and variance vanishes.

    Particles settle and stick inside the case (time constant `settle_s`) until few remain. Gas and
    humidity keep their levels, except that the cover's moisture raises humidity. The remaining
    noise is a third of a display step.
    """

    sensor: str
    start: float
    end: float
    seed: int = 0
    settle_s: float = 90.0
    _first: NDArray[np.float64] | None = field(default=None, repr=False)
    _noise: np.random.Generator | None = field(default=None, repr=False)

    def on_trace(self, trace: DeviceTrace) -> DeviceTrace:
        """Return the trace with the covered part replaced."""
        inside = (trace.sent >= self.start) & (trace.sent < self.end)
        if not inside.any():
            return trace
        values = trace.values.copy()
        if self._first is None or self._noise is None:
            self._first = values[inside][0].copy()
            self._noise = make_stream(self.seed, "covered", self.sensor, int(self.start))
        since = trace.sent[inside, None] - self.start
        rest = self._first.copy()
        rest[list(_PARTICLES)] *= 0.2
        rest[COLUMN_INDEX["rh"]] += 3.0
        level = rest + (self._first - rest) * np.exp(-since / self.settle_s)
        level += self._noise.normal(0.0, 1.0, level.shape) * _RESOLUTION / 3
        level = np.clip(np.round(level / _RESOLUTION) * _RESOLUTION, _LOW, _HIGH)
        values[inside] = np.where(np.isnan(values[inside]), np.nan, level)
        return replace(trace, values=values)


@dataclass(slots=True)
class BlownAt:
    """Someone blows into the inlet: a step up and down, without a plume's decay.

    The air contains dust from the case, mostly coarse, and breath: humid, warm, rich in CO2.
    """

    sensor: str
    start: float
    duration_s: float = 2.0
    dust_ug_m3: float = 250.0
    _last: float = field(default=math.nan, repr=False)

    def on_trace(self, trace: DeviceTrace) -> DeviceTrace:
        """Return the trace with the pulse added, averaged over each reading's interval."""
        if not len(trace.sent):
            return trace
        before = np.concatenate(([_begin(trace, self._last)], trace.sent[:-1]))
        self._last = float(trace.sent[-1])
        end = self.start + self.duration_s
        inside = np.minimum(trace.sent, end) - np.maximum(before, self.start)
        if not (inside > 0).any():
            return trace
        share = np.clip(inside, 0.0, None) / np.maximum(trace.sent - before, 1e-3)
        dust = self.dust_ug_m3
        pulse = {
            "pm1": 0.15 * dust,
            "pm25": 0.4 * dust,
            "pm4": 0.7 * dust,
            "pm10": dust,
            "n03": 0.2 * dust,
            "n05": 0.15 * dust,
            "n10": 0.1 * dust,
            "n25": 0.05 * dust,
            "n50": 0.01 * dust,
            "n100": 0.002 * dust,
            "rh": 25.0,
            "temp": 3.0,
            "co2": 8_000.0,
        }
        values = trace.values.copy()
        for key, rise in pulse.items():
            column = COLUMN_INDEX[key]
            values[:, column] += np.round(share * rise / _RESOLUTION[column]) * _RESOLUTION[column]
        return replace(trace, values=np.clip(values, _LOW, _HIGH))


def _begin(trace: DeviceTrace, last: float) -> float:
    """Return a trace's start: the previous trace's end, or one interval before its first row."""
    if not math.isnan(last):
        return last
    interval = float(np.median(np.diff(trace.sent))) if len(trace.sent) > 1 else 1.0
    return float(trace.sent[0]) - interval
