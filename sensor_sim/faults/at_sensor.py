"""Faults and attacks at the sensor: what it measures, or whether it runs, changes.

`on_trace` is called with the stretches of one device in order of time. Each leaves a row of truth,
since a perfect detector would notice it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from detection.quantities import COLUMN_INDEX, COLUMNS, QUANTITIES
from sensor_sim.streams import stream
from sensor_sim.trace import DeviceTrace, Truth

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_PARTICLES: Final = tuple(
    i
    for i, key in enumerate(COLUMNS)
    if key.startswith("pm") or (key[0] == "n" and key != "nox_index")
)
_RESOLUTION: Final = np.array([QUANTITIES[k].resolution for k in COLUMNS])
_LOW: Final = np.array([QUANTITIES[k].low for k in COLUMNS])
_HIGH: Final = np.array([QUANTITIES[k].high for k in COLUMNS])
_KEEPALIVE_S: Final = 45.0


class TraceAttack(Protocol):
    """A fault at one sensor."""

    @property
    def sensor(self) -> str:
        """Id of the sensor."""

    def on_trace(self, trace: DeviceTrace) -> DeviceTrace:
        """Return the stretch as the attacked device would have it."""

    def truth(self, room: str) -> Truth:
        """Return what happened, as a perfect detector would report it."""


def apply_to_trace(trace: DeviceTrace, attacks: Iterable[TraceAttack]) -> DeviceTrace:
    """`trace` after all those of `attacks` that are on its sensor, in their order."""
    for attack in attacks:
        if attack.sensor == trace.sensor:
            trace = attack.on_trace(trace)
    return trace


def _truth(name: str, kind: str, sensor: str, room: str, start: float, end: float) -> Truth:
    return Truth(
        session=f"{name}-{sensor}-{start:.0f}",
        sensor=sensor,
        room=room,
        source=name,
        kind=kind,
        start=start,
        end=end,
        arrival=start,
        peak_time=start,
    )


@dataclass(slots=True)
class Covered:
    """A bag, tape or gum over the inlet: levels drift to a residual, variance vanishes.

    Particles settle and stick inside the case (time constant `settle_s`) to a small rest; gas and
    humidity stay where they were, humidity rising by the cover's own moisture. The remaining
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
        """Return the stretch with the covered part replaced."""
        inside = (trace.sent >= self.start) & (trace.sent < self.end)
        if not inside.any():
            return trace
        values = trace.values.copy()
        if self._first is None or self._noise is None:
            self._first = values[inside][0].copy()
            self._noise = stream(self.seed, "covered", self.sensor, int(self.start))
        since = trace.sent[inside, None] - self.start
        rest = self._first.copy()
        rest[list(_PARTICLES)] *= 0.2
        rest[COLUMN_INDEX["rh"]] += 3.0
        level = rest + (self._first - rest) * np.exp(-since / self.settle_s)
        level += self._noise.normal(0.0, 1.0, level.shape) * _RESOLUTION / 3
        level = np.clip(np.round(level / _RESOLUTION) * _RESOLUTION, _LOW, _HIGH)
        values[inside] = np.where(np.isnan(values[inside]), np.nan, level)
        return replace(trace, values=values)

    def truth(self, room: str) -> Truth:
        """Return tampering over the whole time."""
        return _truth("covered", "tamper", self.sensor, room, self.start, self.end)


@dataclass(slots=True)
class BlownAt:
    """Somebody blows into the inlet: a step up and down again, without the decay of a plume.

    Dust of the case, coarse before fine, and breath: humid, warm, rich in CO2.
    """

    sensor: str
    start: float
    duration_s: float = 2.0
    dust_ug_m3: float = 250.0
    _last: float = field(default=math.nan, repr=False)

    def on_trace(self, trace: DeviceTrace) -> DeviceTrace:
        """Return the stretch with the pulse, averaged over each reading's own interval."""
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

    def truth(self, room: str) -> Truth:
        """Return tampering at the moment of the breath."""
        end = self.start + self.duration_s
        return _truth("blown_at", "tamper", self.sensor, room, self.start, end)


@dataclass(slots=True)
class Unplugged:
    """The plug is pulled; the broker reports it after the keep-alive; later the device boots."""

    sensor: str
    start: float
    end: float = math.inf
    _last: float = field(default=math.nan, repr=False)

    def on_trace(self, trace: DeviceTrace) -> DeviceTrace:
        """Return the stretch without the dark part, with `offline` and `restart`."""
        if not len(trace.sent):
            return trace
        begin, self._last = _begin(trace, self._last), float(trace.sent[-1])
        return _dark(trace, begin, self.start, self.end)

    def truth(self, room: str) -> Truth:
        """Return a fault of the sensor from the pulled plug on."""
        return _truth("unplugged", "sensor_fault", self.sensor, room, self.start, self.end)


@dataclass(slots=True)
class RippedOff:
    """Torn off the ceiling: tamper contact, a jolt of dust, and silence after `alive_s`."""

    sensor: str
    start: float
    alive_s: float = 8.0
    _jolt: BlownAt = field(init=False, repr=False)
    _last: float = field(default=math.nan, repr=False)

    def __post_init__(self) -> None:
        """Prepare the jolt."""
        self._jolt = BlownAt(self.sensor, self.start, self.alive_s, dust_ug_m3=120.0)

    def on_trace(self, trace: DeviceTrace) -> DeviceTrace:
        """Return the stretch with the tamper event, the jolt and then nothing."""
        if not len(trace.sent):
            return trace
        begin, self._last = _begin(trace, self._last), float(trace.sent[-1])
        trace = self._jolt.on_trace(trace)
        trace = _with_events(trace, begin, self._last, ((self.start, "tamper"),))
        return _dark(trace, begin, self.start + self.alive_s, math.inf)

    def truth(self, room: str) -> Truth:
        """Return tampering from the pull on."""
        return _truth("ripped_off", "tamper", self.sensor, room, self.start, math.inf)


@dataclass(frozen=True, slots=True)
class ClockJump:
    """The device's clock is wrong by `offset_s` for a while; it sends at the right time."""

    sensor: str
    start: float
    end: float
    offset_s: float = 3600.0

    def on_trace(self, trace: DeviceTrace) -> DeviceTrace:
        """Return the stretch with the wrong device times."""
        inside = (trace.sent >= self.start) & (trace.sent < self.end)
        return replace(trace, time=trace.time + np.where(inside, self.offset_s, 0.0))

    def truth(self, room: str) -> Truth:
        """Return a fault of the sensor while its clock is wrong."""
        return _truth("clock_jump", "sensor_fault", self.sensor, room, self.start, self.end)


def _begin(trace: DeviceTrace, last: float) -> float:
    """Where the stretch begins: at the end of the one before, or one interval before its rows."""
    if not math.isnan(last):
        return last
    interval = float(np.median(np.diff(trace.sent))) if len(trace.sent) > 1 else 1.0
    return float(trace.sent[0]) - interval


def _with_events(
    trace: DeviceTrace, begin: float, end: float, more: tuple[tuple[float, str], ...]
) -> DeviceTrace:
    fitting = tuple(e for e in more if begin < e[0] <= end)
    return replace(trace, events=tuple(sorted((*trace.events, *fitting)))) if fitting else trace


def _dark(trace: DeviceTrace, begin: float, start: float, end: float) -> DeviceTrace:
    """Without readings and events from `start` to `end`, with the will and the boot."""
    last = float(trace.sent[-1])
    trace = replace(trace, events=tuple(e for e in trace.events if not start <= e[0] < end))
    will = ((start + _KEEPALIVE_S, "offline"),) if start + _KEEPALIVE_S < end else ()
    trace = _with_events(trace, begin, last, (*will, (end, "restart")))
    keep = (trace.sent < start) | (trace.sent >= end)
    return replace(trace, time=trace.time[keep], sent=trace.sent[keep], values=trace.values[keep])
