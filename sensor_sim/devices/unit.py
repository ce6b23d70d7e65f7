"""Simulate one device: its parts, clock, sampling and faults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.signal import lfilter

from detection.quantities import COLUMN_INDEX, COLUMNS
from sensor_sim.devices.climate import ClimateUnit
from sensor_sim.devices.models import MODELS
from sensor_sim.devices.pm import PmUnit
from sensor_sim.devices.voc import VocUnit
from sensor_sim.physics.aerosol import N_BINS
from sensor_sim.physics.background import Slow, count_coarse, count_fine, humidity
from sensor_sim.physics.plume import CO2, GAS, HEAT, PM25_WEIGHT, WATER
from sensor_sim.streams import draw_log, make_stream
from sensor_sim.trace import DeviceTrace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sensor_sim.devices.faults import Fault
    from sensor_sim.devices.models import Device

_FINE_NUMBERS: Final = count_fine(kappa=0.25)
_COARSE_NUMBERS: Final = count_coarse()
_ABOVE_03: Final = np.array([0, 0, *([1.0] * (N_BINS - 2))], np.float32)


@dataclass(frozen=True, slots=True)
class Inlet:
    """Air at a device, second by second; `plume` is None if no session's plume reaches it."""

    time: NDArray[np.float64]
    plume: NDArray[np.float32] | None
    slow: NDArray[np.float32]
    rh: NDArray[np.float32]
    temp: NDArray[np.float32]

    @classmethod
    def mix(
        cls, time: NDArray[np.float64], plume: NDArray[np.float32] | None, slow: NDArray[np.float32]
    ) -> Inlet:
        """Add background and plumes."""
        water, temp = slow[Slow.WATER], slow[Slow.TEMP]
        if plume is not None:
            water = np.maximum(water + plume[WATER], np.float32(0.5))
            temp = temp + plume[HEAT]
        rh = humidity(water.astype(np.float64), temp.astype(np.float64)).astype(np.float32)
        return cls(time, plume, slow, rh, temp)

    def compute_background_pm25(self) -> NDArray[np.float32]:
        """Return the true PM2.5 without sessions, including growth by humidity, µg/m³."""
        table = (PM25_WEIGHT @ _FINE_NUMBERS).astype(np.float32)
        fine = self.slow[Slow.FINE] + self.slow[Slow.AMBIENT_FINE]
        coarse = self.slow[Slow.COARSE] + self.slow[Slow.AMBIENT_COARSE]
        grown = table[_find_rh_rows(self.rh)]
        return np.asarray(fine * grown + coarse * np.float32(PM25_WEIGHT @ _COARSE_NUMBERS))


def _find_rh_rows(rh: NDArray[np.float32]) -> NDArray[np.intp]:
    return np.asarray(np.rint(rh * 2).astype(np.intp))


class _Lag:
    """First-order lag of several rows, which keeps its state between calls."""

    def __init__(self, tau_s: float, n: int) -> None:
        keep = np.exp(-1 / max(tau_s, 0.05))
        self._b = np.array([1 - keep], np.float32)
        self._a = np.array([1, -keep], np.float32)
        self._memory = np.zeros((n, 1), np.float32)
        self._started = False

    def settle(self, value: NDArray[np.float32]) -> None:
        """Initialize to a steady `value`, shape (n,), unless already initialized."""
        if not self._started:
            self._memory[:, 0] = -self._a[1] * value
            self._started = True

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        out, self._memory = lfilter(self._b, self._a, x, axis=1, zi=self._memory)
        return np.asarray(out)

    def is_settled(self) -> bool:
        """Return whether the state has decayed to 1e-3 or less."""
        return not bool((np.abs(self._memory) > 1e-3).any())


class DeviceUnit:
    """State of one device.

    `sense` turns a stretch of air into signals, which are noise-free except for those of gas
    sensors. The caller then computes the VOC Index of all devices, and `report` samples, adds noise
    and faults, and makes readings. Both get only the air and the device's faults, so readings can't
    contain what only the simulation knows.
    """

    def __init__(self, device: Device, seed: int, start: float) -> None:
        rng = make_stream(seed, "unit", device.id)
        model = MODELS[device.model]
        self.device = device
        self._model = model
        self._seed = seed
        self._start = start
        self._pm = PmUnit.draw(rng, model.pm) if model.pm else None
        self._warm_up_s = self._pm.warm_up_s if self._pm else 0.0
        self._voc = VocUnit.draw(rng, model.voc) if model.voc else None
        self._climate = ClimateUnit.draw(rng, model.climate or "sht_open")
        self.has_index = self._voc is not None and "voc_index" in self._voc.part.channels
        self._n_pm = len(self._pm.part.channels) if self._pm else 0
        if self._pm:
            self._pm_lag = _Lag(self._pm.lag_s, self._n_pm + 1)
            self._pm_plume = np.vstack([self._pm.matrix, _ABOVE_03])
            self._pm_fine = (self._pm.matrix @ _FINE_NUMBERS).astype(np.float32)
            self._pm_coarse = (self._pm.matrix @ _COARSE_NUMBERS).astype(np.float32)
        if self._voc:
            self._voc_lag = _Lag(self._voc.lag_s, 1)
            self._nox_lag = _Lag(20.0, 1)
        self._rh_lag = _Lag(self._climate.rh_lag_s, 1)
        self._temp_lag = _Lag(self._climate.temp_lag_s, 1)
        self._co2_lag = _Lag(self._climate.co2_lag_s, 1)
        self._vape_base: float | None = None
        self._last_vendor_event = -np.inf
        # Most clocks are set by network time; some are off by seconds and drift.
        sloppy = rng.random() < 0.15
        self._clock_error = rng.normal(0, 4.0 if sloppy else 0.2)
        self._clock_drift = rng.normal(0, 20e-6 if sloppy else 1e-6)
        self._jitter = rng.uniform(0.005, 0.08)
        over_lorawan = device.model == "gs601"
        self._latency = draw_log(rng, 0.3, 1.5) if over_lorawan else draw_log(rng, 0.02, 0.2)
        self._lost_share = draw_log(rng, 2e-4, 4e-3)
        self._skip = int(rng.integers(0, device.interval_s)) if device.interval_s > 1 else 0
        self._kept: NDArray[np.float32] | None = None
        self._frozen: dict[str, float] = {}
        self._last_sent = -np.inf

    def sense(self, rng: np.random.Generator, air: Inlet) -> NDArray[np.float32]:
        """Return the signals of all parts, once a second.

        - Returns (signals, n): particle channels; RH, temperature, CO2; TVOC; then three that are
          never averaged: VOC index (still zero), raw ticks, NOx index.
        """
        n = air.time.size
        out = np.zeros((self._n_pm + 7, n), np.float32)
        k = self._n_pm
        if self._pm:
            self._sense_particles(air, out[:k])
        humid, warm = self._climate.in_case(air.rh, air.temp)
        for row, lag, x in ((k, self._rh_lag, humid), (k + 1, self._temp_lag, warm)):
            lag.settle(x[:1])
            out[row] = lag(x[None, :])[0]
        if self._model.co2:
            co2 = air.slow[Slow.CO2] if air.plume is None else air.slow[Slow.CO2] + air.plume[CO2]
            self._co2_lag.settle(co2[:1])
            out[k + 2] = self._co2_lag(co2[None, :])[0]
        if self._voc:
            self._sense_gas(rng, air, out[k + 3 :])
        return out

    def _sense_particles(self, air: Inlet, out: NDArray[np.float32]) -> None:
        assert self._pm is not None  # noqa: S101 - for the type checker
        fine = air.slow[Slow.FINE] + air.slow[Slow.AMBIENT_FINE]
        coarse = air.slow[Slow.COARSE] + air.slow[Slow.AMBIENT_COARSE]
        np.take(self._pm_fine, _find_rh_rows(air.rh), axis=1, out=out)
        out *= fine
        out += self._pm_coarse[:, None] * coarse
        above_03: NDArray[np.float32] | float = 0.0
        if air.plume is not None or not self._pm_lag.is_settled():
            plume = np.zeros((N_BINS, out.shape[1]), np.float32)
            if air.plume is not None:
                plume = air.plume[:N_BINS]
            *own, above_03 = self._pm_lag(self._pm_plume @ plume)
            out += np.stack(own)
        self._pm.apply_coincidence(out, above_03)

    def _sense_gas(self, rng: np.random.Generator, air: Inlet, out: NDArray[np.float32]) -> None:
        voc = self._voc
        assert voc is not None  # noqa: S101 - for the type checker
        gas = air.slow[Slow.GLYCOL :]
        if air.plume is not None:
            gas = gas + air.plume[GAS:CO2]
        ppb = voc.response @ gas
        self._voc_lag.settle(ppb[:1])
        ppb = np.maximum(self._voc_lag(ppb[None, :])[0], 0)
        if self.has_index:
            age_days = (float(air.time[0]) - self._start) / 86_400
            out[2] = voc.read_raw(rng, ppb, air.rh, age_days)
            if "nox_index" in voc.part.channels:
                burned = np.zeros_like(ppb) if air.plume is None else air.plume[CO2 - 1]
                smooth = self._nox_lag(burned[None, :])[0]
                out[3] = np.clip(np.rint(1 + smooth / 12), 1, 500)
            return
        tvoc = voc.read_tvoc(rng, ppb[:: voc.hold_s])
        out[0] = np.repeat(tvoc, voc.hold_s)[: ppb.size]

    def report(
        self,
        rng: np.random.Generator,
        time: NDArray[np.float64],
        signals: NDArray[np.float32],
        faults: Sequence[Fault],
    ) -> DeviceTrace:
        """Sample, add noise, and apply faults."""
        sampled, at, averaged, events = self._sample(rng, time, signals)
        values = self._make_values(rng, sampled, averaged)
        return self._send(rng, at, values, faults, events)

    def _sample(
        self, rng: np.random.Generator, time: NDArray[np.float64], signals: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], int, list[tuple[float, str]]]:
        step = self.device.interval_s
        events: list[tuple[float, str]] = []
        if self._model.vape_index:
            signals, events = self._rate_vaping(rng, time, signals)
        if step == 1:
            return signals, time, 1, events
        if self._kept is not None:
            signals = np.concatenate([self._kept, signals], axis=1)
        elif self._skip:
            signals = signals[:, self._skip :]
        whole = signals.shape[1] // step
        self._kept = signals[:, whole * step :].copy()
        ends = time[-1] - self._kept.shape[1] - step * np.arange(whole - 1, -1, -1)
        blocks = signals[:, : whole * step].reshape(signals.shape[0], whole, step)
        sampled = blocks[:, :, -1].copy()
        averaged = 1
        if self._model.averages:
            averaged = step
            meaned = self._n_pm + 4
            sampled[:meaned] = blocks[:meaned].mean(axis=2)
        if events:
            # An event message contains the values at that time.
            offset = signals.shape[1] - time.size
            which = [int(t - time[0]) + offset for t, _ in events]
            frames = signals[:, np.clip(which, 0, signals.shape[1] - 1)]
            ends = np.concatenate([ends, [t for t, _ in events]])
            sampled = np.concatenate([sampled, frames], axis=1)
            order = np.argsort(ends, kind="stable")
            distinct = np.concatenate([[True], np.diff(ends[order]) > 0.5])
            order = order[distinct]
            ends, sampled = ends[order], sampled[:, order]
        return sampled, ends, averaged, events

    def _rate_vaping(
        self, rng: np.random.Generator, time: NDArray[np.float64], signals: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], list[tuple[float, str]]]:
        """Rate vaping from 0 to 100 by this device's own channels, as its firmware would.

        The manufacturer's rule is secret. Here, the rating rises with PM1 above a ten-minute
        baseline, and is lower if gas rises as well, as with sprays. A rating above 5 (the default)
        raises an alarm. A surge of gas is reported as interference.
        """
        pm1 = signals[0]
        if self._vape_base is None:
            self._vape_base = float(pm1[0])
        keep = np.float32(np.exp(-1 / 600))
        baseline = np.minimum(pm1, self._vape_base + 20)
        base, _ = lfilter([1 - keep], [1, -keep], baseline, zi=[keep * self._vape_base])
        self._vape_base = float(base[-1])
        rise = np.maximum(pm1 - base - 8, 0)
        tvoc = signals[self._n_pm + 3]
        score = 100 * (1 - np.exp(-rise / 120)) / (1 + tvoc / 1500)
        score = np.clip(np.rint(score + 0.3 * rng.standard_normal(score.size)), 0, 100)
        events: list[tuple[float, str]] = []
        surge = (tvoc > 1900) & (score <= 5)
        for rows, name in ((score > 5, "vendor_vape"), (surge, "vendor_interference")):
            onsets = np.flatnonzero(rows & ~np.concatenate([[False], rows[:-1]]))
            for i in onsets:
                if time[i] - self._last_vendor_event >= 60:
                    events.append((float(time[i]), name))
                    self._last_vendor_event = float(time[i])
        out = np.concatenate([signals, score[None, :].astype(np.float32)])
        return out, sorted(events)

    def _make_values(
        self, rng: np.random.Generator, sampled: NDArray[np.float32], averaged: int
    ) -> NDArray[np.float64]:
        k = self._n_pm
        read: dict[str, NDArray[np.float32]] = {}
        if self._pm:
            rows = self._pm.read(rng, sampled[:k], averaged)
            read.update(zip(self._pm.part.channels, rows, strict=True))
        if self._model.climate:
            read["rh"], read["temp"] = self._climate.read(rng, sampled[k], sampled[k + 1], averaged)
            read["pressure"] = self._climate.read_pressure(rng, sampled.shape[1])
        if self._model.co2:
            read["co2"] = self._climate.read_co2(rng, sampled[k + 2], averaged)
        read["tvoc_ppb"] = read["tvoc_ugm3"] = np.rint(sampled[k + 3])
        for i, channel in enumerate(("voc_index", "voc_raw", "nox_index")):
            read[channel] = sampled[k + 4 + i]
        if self._model.vape_index:
            read["vape_index"] = sampled[k + 7]
        values = np.full((sampled.shape[1], len(COLUMNS)), np.nan)
        for channel in self._model.channels:
            values[:, COLUMN_INDEX[channel]] = read[channel]
        return values

    def _send(
        self,
        rng: np.random.Generator,
        at: NDArray[np.float64],
        values: NDArray[np.float64],
        faults: Sequence[Fault],
        events: list[tuple[float, str]],
    ) -> DeviceTrace:
        lost = rng.random(at.size) < self._lost_share
        pm_channels = self._pm.part.channels if self._pm else ()
        pm_columns = np.array([COLUMN_INDEX[c] for c in pm_channels], np.intp)
        values[np.ix_(at < self._start + self._warm_up_s, pm_columns)] = np.nan
        for fault in faults:
            during = (at >= fault.start) & (at < fault.end)
            if fault.kind in {"gap", "restart"}:
                lost |= during
                events = [e for e in events if not fault.start <= e[0] < fault.end]
            if fault.kind == "restart":
                warm = (at >= fault.end) & (at < fault.end + self._warm_up_s)
                values[np.ix_(warm, pm_columns)] = np.nan
            elif fault.kind == "dead":
                values[during, COLUMN_INDEX[fault.channel]] = np.nan
            elif fault.kind == "frozen":
                self._freeze(values, during, fault)
        jitter = np.minimum(rng.exponential(self._jitter, at.size), 0.4)
        device_time = at + jitter + self._clock_error + self._clock_drift * (at - self._start)
        sent = at + 0.4 + rng.exponential(self._latency, at.size)
        sent = np.maximum.accumulate(np.concatenate([[self._last_sent], sent]))[1:]
        if sent.size:
            self._last_sent = float(sent[-1])
        keep = ~lost
        rows = device_time[keep], sent[keep], values[keep]
        return DeviceTrace(
            self.device.id, self.device.room, self.device.model, *rows, tuple(events)
        )

    def _freeze(self, values: NDArray[np.float64], during: NDArray[np.bool_], fault: Fault) -> None:
        if not during.any():
            return
        column = values[:, COLUMN_INDEX[fault.channel]]
        key = f"{fault.channel}@{fault.start}"
        if key not in self._frozen:
            self._frozen[key] = float(column[np.argmax(during)])
        column[during] = self._frozen[key]
