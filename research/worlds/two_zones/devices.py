"""Simulate how units report: lags, averages, noise, rounding, jitter and lost reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from research.worlds.two_zones.emission import CO2, FAST, GAS, VOC
from research.worlds.two_zones.rooms import MODELS
from research.worlds.world import COLUMNS
from sensor_sim.devices.voc_index import VocIndex

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from research.worlds.two_zones.air import Track
    from research.worlds.two_zones.rooms import Room

    Floats = NDArray[np.float64]

_FOG_UG_M3: Final = np.array([0.0, 0.0, 2.5, 9.0])
"""Fog that optical counters report as particles, µg/m³ per %RH above 93% RH, by bin."""
_OUTDOOR_CO2_PPM: Final = 420.0
_INDOOR_CO2_PPM: Final = 250.0
_CO2_LAG_S: Final = 40.0
_JITTER: Final = 0.05
"""Standard deviation of the time between reports, as a share of the interval."""
_DROPPED: Final = 0.002
"""Share of reports that are lost."""
# signals at the inlet; each has the lag of its sensor
_PM, _OWN_VAPE, _VOC_SIGNAL, _HUMIDITY, _TEMPERATURE, _CO2_SIGNAL = slice(3), 3, 4, 5, 6, 7


class _Lag:
    """First-order lag of signals sampled once a second."""

    def __init__(self, seconds: Floats, state: Floats | None = None) -> None:
        self._seconds = seconds
        self._state = state

    def follow(self, signal: Floats) -> Floats:
        """Return the lagged signal, shape (seconds, ...), starting at the first value."""
        out = np.empty_like(signal)
        state = signal[0] if self._state is None else self._state
        for now, sample in zip(out, signal, strict=True):
            state = state + (sample - state) / self._seconds
            now[:] = state
        self._state = state
        return out


@dataclass(frozen=True, slots=True)
class Reports:
    """A chunk's reports in sampling order; `second` counts from the chunk's start.

    `noise` has standard normal values: one for all channels, three for gain, three for offset, and
    one each for humidity, temperature, VOC and CO2.
    """

    room: NDArray[np.intp]
    second: NDArray[np.intp]
    is_lost: NDArray[np.bool_]
    noise: Floats
    delay_s: Floats


class Clock:
    """Draws report times and all noise, in the order of reports."""

    def __init__(self, rng: np.random.Generator, rooms: Sequence[Room]) -> None:
        self._rng = rng
        self._interval = [r.unit.interval_s for r in rooms]
        self._due = np.array([rng.uniform(0, interval) for interval in self._interval])
        models = [MODELS[r.unit.model] for r in rooms]
        self._draws = [9 + bool(m.voc) + m.co2 for m in models]

    def advance(self, begin: int, seconds: int) -> tuple[Floats, Reports]:
        """Return the turbulence noise by second and room, and the chunk's reports."""
        rng = self._rng
        turbulence = np.empty((seconds, len(self._interval)))
        reports: list[tuple[int, int, bool, float]] = []
        noise: list[Floats] = []
        for second in range(seconds):
            now = begin + second
            turbulence[second] = rng.standard_normal(len(self._interval))
            for room in np.flatnonzero(self._due <= now).tolist():
                interval = self._interval[room]
                self._due[room] = now + interval + rng.normal(0, _JITTER * interval)
                is_lost = rng.random() < _DROPPED
                drawn = np.zeros(11)
                if not is_lost:
                    drawn[: self._draws[room]] = rng.standard_normal(self._draws[room])
                noise.append(drawn)
                delay_s = 0.0 if is_lost else 0.4 * rng.random()
                reports.append((room, second, is_lost, delay_s))
        rows = np.array(reports, dtype=float).reshape(-1, 4)
        return turbulence, Reports(
            rows[:, 0].astype(np.intp),
            rows[:, 1].astype(np.intp),
            rows[:, 2].astype(bool),
            np.reshape(noise, (-1, 11)),
            rows[:, 3],
        )


class Devices:
    """All units: their lags, running means and VOC indexes."""

    def __init__(self, rng: np.random.Generator, rooms: Sequence[Room]) -> None:
        units = [r.unit for r in rooms]
        models = [MODELS[u.model] for u in units]
        self._clean_ticks = rng.uniform(28_000, 32_000, len(rooms))
        self._clean_voc = rng.uniform(200, 1000, len(rooms))
        self._response = np.stack([u.response for u in units])
        self._averages = np.array([u.averages for u in units])
        self._noise, self._floor, self._step = (
            np.array(column)[:, None]
            for column in zip(*((m.noise, m.floor, m.step) for m in models), strict=True)
        )
        self._has_ppb = np.array([m.voc == "tvoc_ppb" for m in models])
        self._has_co2 = np.array([m.co2 for m in models])
        self._indexed = np.flatnonzero([m.voc == "voc_index" for m in models])
        self._index = VocIndex(self._indexed.size)
        self._turbulence = _Lag(np.array(6.0), np.zeros(len(rooms)))
        lags = [
            [u.particle_lag_s] * 4
            + [u.voc_lag_s, u.humidity_lag_s, u.temperature_lag_s, _CO2_LAG_S]
            for u in units
        ]
        self._lag = _Lag(np.array(lags))
        self._sum = np.zeros((len(rooms), 3))
        self._count = np.zeros(len(rooms), np.intp)

    def read(
        self,
        track: Track,
        background: tuple[Floats, Floats],
        turbulence: Floats,
        reports: Reports,
    ) -> tuple[Floats, Floats]:
        """Return each report's values in the order of `COLUMNS`, and its PM2.5 from vaping."""
        signals = self._lag.follow(self._at_inlet(track, background, turbulence))
        means = self._means(signals[:, :, _PM], reports)
        room, noise = reports.room, reports.noise
        now = signals[reports.second, room]
        values = np.full((room.size, len(COLUMNS)), np.nan)

        unit_noise = self._noise[room]
        pm = np.where(self._averages[room][:, None], means, now[:, _PM])
        pm = pm * np.exp(noise[:, :1] * unit_noise + noise[:, 1:4] * unit_noise * 0.4)
        pm += noise[:, 4:7] * self._floor[room]
        step = self._step[room]
        pm = np.maximum.accumulate(np.maximum(np.round(pm / step) * step, 0), axis=1)
        voc = np.round(np.minimum(now[:, _VOC_SIGNAL] * np.exp(noise[:, 9] * 0.02), 60_000))
        co2 = np.round(now[:, _CO2_SIGNAL] + noise[:, 10] * 8)
        humidity = np.clip(now[:, _HUMIDITY] + noise[:, 7] * 0.25, 0, 100)
        by_name = {
            "pm1": pm[:, 0],
            "pm25": pm[:, 1],
            "pm10": pm[:, 2],
            "tvoc_ppb": np.where(self._has_ppb[room], voc, np.nan),
            "rh": np.round(humidity, 1),
            "temp": np.round(now[:, _TEMPERATURE] + noise[:, 8] * 0.05, 2),
            "co2": np.where(self._has_co2[room], co2, np.nan),
        }
        for name, column in by_name.items():
            values[:, COLUMNS.index(name)] = column
        for unit, index in zip(self._indexed, self._indexes(signals), strict=True):
            mine = room == unit
            values[mine, COLUMNS.index("voc_index")] = index[reports.second[mine]]
        return values, now[:, _OWN_VAPE]

    def _at_inlet(
        self, track: Track, background: tuple[Floats, Floats], turbulence: Floats
    ) -> Floats:
        """Return the signals at the inlet by second, room and kind."""
        particles = track.far[:, :, :GAS]
        far = particles.sum(axis=(2, 3))
        unmixed = np.clip((track.near_particles - far) / (far + 3), 0, 1)
        swirl = self._turbulence.follow(6 * 0.25 * turbulence)
        gust = np.exp((0.9 * swirl - 0.2) * unmixed)
        humidity = track.humidity
        background_pm, background_voc = background
        growth = 1 + np.clip((humidity - 70) / 30, 0, 1) ** 2 * 0.8
        vape = particles[:, :, :FAST].sum(axis=2) * gust[:, :, None]
        bins = background_pm * growth[:, :, None] + vape
        bins += particles[:, :, FAST:].sum(axis=2) * gust[:, :, None]
        bins += np.clip(humidity - 93, 0, 10)[:, :, None] * _FOG_UG_M3
        voc = background_voc + np.maximum(track.far[:, :, GAS, VOC], 0) * gust
        signals = np.empty((*humidity.shape, 8))
        signals[:, :, _PM] = np.einsum("sij,tsj->tsi", self._response, bins)
        signals[:, :, _OWN_VAPE] = np.einsum("sj,tsj->ts", self._response[:, 1], vape)
        signals[:, :, _VOC_SIGNAL] = voc * (1 + 0.004 * (humidity - 40))
        signals[:, :, _HUMIDITY] = humidity
        signals[:, :, _TEMPERATURE] = track.temperature
        signals[:, :, _CO2_SIGNAL] = _OUTDOOR_CO2_PPM + _INDOOR_CO2_PPM + track.far[:, :, GAS, CO2]
        return signals

    def _means(self, pm: Floats, reports: Reports) -> Floats:
        """Return each report's mean of its room's `pm` since the previous report."""
        means = np.empty((reports.room.size, 3))
        for room in range(self._count.size):
            mine = reports.room == room
            seconds = reports.second[mine]
            total = self._sum[room] + np.cumsum(pm[:, room], axis=0)
            sums = np.diff(total[seconds], axis=0, prepend=np.zeros((1, 3)))
            counts = np.diff(seconds, prepend=-1 - self._count[room])
            means[mine] = sums / counts[:, None]
            if seconds.size:
                self._sum[room] = total[-1] - total[seconds[-1]]
                self._count[room] = pm.shape[0] - 1 - seconds[-1]
            else:
                self._sum[room] = total[-1]
                self._count[room] += pm.shape[0]
        return means

    def _indexes(self, signals: Floats) -> NDArray[np.int32]:
        """Return the VOC Index by unit and second, for units that report it."""
        clean = self._clean_voc[self._indexed]
        voc = signals[:, self._indexed, _VOC_SIGNAL]
        ticks = self._clean_ticks[self._indexed] - 870 * np.log2((voc + clean) / clean)
        return self._index.process(ticks.T.astype(np.int64))
