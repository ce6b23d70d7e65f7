"""Simulate how each device measures the air at its inlet.

Each family has a matrix from nine size bins to its outputs. Plantower derives all sizes from one
scattering signal (section 6: more than 99% of coarse particles miss the beam), Sensirion from two.
The OPC has true bins, with coincidence and with Poisson noise for the sampled air. Each unit has a
factor for liquid droplets, because they evaporate in a warm inlet and differ in refractive index;
it is low for the OPC. Then come the unit's lag, averaging, gain, drift, noise, rounding and gaps.

These come from SCIENCE.md, section 6: each family's PM1/PM2.5 and PM2.5/PM10 ratios, noise, 870
(710-1030) ticks per doubling above C0 of 0.2-1 ppm, time constants of VOC, RH and temperature, and
values repeated for 300 s. These have no source: the families' shares, intervals, outages, and
humidity cross-sensitivity.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.signal import lfilter

from research.worlds.plume_grid.aerosol import BINS, COUNT_PER_UG, grow, saturation_g_m3
from research.worlds.world import COLUMNS
from sensor_sim.devices.voc_index import VocIndex
from sensor_sim.streams import draw_log

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_AT: Final = {name: i for i, name in enumerate(COLUMNS)}
_PARTICLES: Final = 9
"""Number of particle columns, the first ones of a reading: three masses and six counts."""
_LITERS_S: Final = 4.7
"""Air flow through an OPC, cm³/s."""


@dataclass(frozen=True, slots=True)
class Inlet:
    """Air at the inlet, at every second of a world.

    Attributes
    ----------
    dry, liquid : ndarray, shape (n, BINS)
        Aerosol that does not evaporate, and glycol droplets, µg/m³.
    uptake : float
        Hygroscopicity of the dry aerosol.
    voc_ppm : ndarray, shape (n,)
        VOC as ethanol.
    humidity, temperature, co2_ppm : ndarray, shape (n,)
        In %, °C and ppm.
    """

    dry: NDArray[np.floating]
    liquid: NDArray[np.floating]
    uptake: float
    voc_ppm: NDArray[np.floating]
    humidity: NDArray[np.floating]
    temperature: NDArray[np.floating]
    co2_ppm: NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Family:
    """Parameter ranges of a device family, with weights for its intervals and VOC sensors."""

    weight: float
    intervals_s: Mapping[int, float]
    voc: Mapping[str, float]
    averaging_s: tuple[float, float]
    liquid: tuple[float, float]
    noise_ug_m3: tuple[float, float]
    noise_share: tuple[float, float]
    step_ug_m3: float
    top_ug_m3: float
    masses: tuple[str, ...] = ("pm1", "pm25", "pm10")
    counts: bool = False
    co2: float = 0.0
    climate: float = 0.9
    spikes_day: float = 0.0


FAMILIES: Final[Mapping[str, Family]] = {
    name: Family(**{**row, "intervals_s": {int(k): n for k, n in row["intervals_s"].items()}})
    for name, row in tomllib.loads(
        Path(__file__).with_name("families.toml").read_text(encoding="utf-8")
    ).items()
}

_COUNT_EDGES: Final = np.array([1, 2, 4, 6, 7, 8])
"""Index of the first bin above 0.3, 0.5, 1.0, 2.5, 5 and 10 µm."""
_ABOVE: Final = (np.arange(BINS) >= _COUNT_EDGES[:, None]) * COUNT_PER_UG


def _pick(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    shares = np.array(list(weights.values()))
    return str(rng.choice(list(weights), p=shares / shares.sum()))


def _responses(rng: np.random.Generator, family: str) -> NDArray[np.float64]:
    """Draw the matrix from bins to PM1, PM2.5, PM10 and six counts, shape (9, BINS)."""
    blur = np.exp(0.1 * rng.standard_normal(BINS))
    out = np.zeros((_PARTICLES, BINS))
    if family == "plantower":
        signal = np.array([0.25, 1, 1.1, 0.95, 0.7, 0.45, 0.15, 0.06, 0.02]) * blur
        coarser = np.array([0.15, 0.4, 0.8, 1.2, 1.6, 1.4, 0.5, 0.2, 0.05])
        mixed = 0.75 * signal + 0.25 * coarser
        out[0] = rng.uniform(0.56, 0.82) * (1.1 * signal - 0.1 * coarser).clip(0)
        out[1] = signal
        out[2] = rng.uniform(1.02, 1.12) * signal + rng.uniform(0, 0.12) * coarser
        shape = np.array([2.0, 0.58, 0.11, 0.009, 0.003, 0.001])
        shape *= np.exp(0.25 * rng.standard_normal(6))
        out[3:5] = shape[:2, None] * signal
        out[5:] = shape[2:, None] * mixed
    elif family == "opc_n3":
        seen = np.array([0, rng.uniform(0.3, 0.6), 1, 1, 1, 1, 1, 1, 0.6]) * blur
        limits = ((4,), (6,), (8,))
        for row, (limit,) in enumerate(limits):
            out[row, :limit] = seen[:limit]
        out[3:] = _ABOVE * seen
    else:
        fine = np.array([0.3, 1, 1, 0.95, 0.15, 0.02, 0, 0, 0]) * blur
        middle = np.array([0, 0, 0, 0.05, 0.75, 0.7, 0.3, 0.12, 0.04]) * blur
        out[0] = fine
        out[1] = fine + middle
        out[2] = fine + rng.uniform(1.1, 1.7) * middle
        if family == "sds011":
            out[1] = 0.9 * fine + 0.7 * middle
            out[2] = rng.uniform(1.02, 1.3) * out[1] + rng.uniform(0.3, 1.2) * middle
        out[3:] = _ABOVE * np.array([0, 0.9, 1, 1, 0.6, 0.3, 0.1, 0.05, 0.02])
    return out


def _lagged(x: NDArray[np.floating], tau_s: float) -> NDArray[np.float64]:
    """Return the first-order lagged series, settled at the first value."""
    keep = float(np.exp(-1 / tau_s))
    start = keep * np.asarray(x[:1], dtype=float)
    return np.asarray(lfilter([1 - keep], [1.0, -keep], x, axis=0, zi=start)[0])


def _averaged(x: NDArray[np.float64], at: NDArray[np.intp], window: int) -> NDArray[np.float64]:
    """Return means over the `window` seconds before each time in `at`."""
    total = np.concatenate([np.zeros((1, *x.shape[1:])), np.cumsum(x, axis=0)])
    first = np.maximum(at + 1 - window, 0)
    length = (at + 1 - first).reshape(-1, *[1] * (x.ndim - 1))
    return np.asarray((total[at + 1] - total[first]) / length)


class Device:
    """One unit: its family, and its individual parameters."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.family = _pick(rng, {name: f.weight for name, f in FAMILIES.items()})
        self._ranges = FAMILIES[self.family]
        self.interval_s = int(_pick(rng, {str(k): w for k, w in self._ranges.intervals_s.items()}))
        self.voc = _pick(rng, self._ranges.voc)
        self.averages = self.interval_s >= 10 and rng.random() < 0.6

    def sample(self, air: Inlet) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return times since the start (m,) and values (m, len(COLUMNS))."""
        times = self._times(len(air.voc_ppm))
        at = np.minimum(times.astype(np.intp), len(air.voc_ppm) - 1)
        values = np.full((len(times), len(COLUMNS)), np.nan)
        self._read_particles(air, at, times, values)
        self._read_voc(air, at, values)
        self._read_climate(air, at, values)
        kept = self._received(times)
        return times[kept], values[kept]

    def _times(self, seconds: int) -> NDArray[np.float64]:
        rng = self._rng
        period = self.interval_s * (1 + rng.uniform(-1, 1) * 1e-3)
        times = rng.uniform(0, period) + period * np.arange(int(seconds / period) + 1)
        jitter = min(draw_log(rng, 0.002, 0.5), 0.2 * period)
        times += np.clip(rng.normal(0, jitter, len(times)), -0.45 * period, 0.45 * period)
        return np.asarray(np.round(times[(times >= 0) & (times < seconds)], 3))

    def _received(self, times: NDArray[np.float64]) -> NDArray[np.bool_]:
        rng = self._rng
        kept = rng.random(len(times)) >= draw_log(rng, 1e-5, 2e-2)
        days = times[-1] / 86_400 if len(times) else 0
        for _ in range(rng.poisson(draw_log(rng, 0.05, 2) * days)):
            start = rng.uniform(0, times[-1])
            kept &= ~((times >= start) & (times < start + draw_log(rng, 20, 3600)))
        return kept

    def _read_particles(
        self,
        air: Inlet,
        at: NDArray[np.intp],
        times: NDArray[np.float64],
        values: NDArray[np.float64],
    ) -> None:
        rng, ranges = self._rng, self._ranges
        dry_air = rng.uniform(0.65, 1.0)  # a warm case dries the air that it draws in
        bins = grow(air.dry.astype(float), air.humidity * 0.01 * dry_air, air.uptake)
        bins += rng.uniform(*ranges.liquid) * air.liquid
        bins = _lagged(bins, draw_log(rng, 1, 6))
        window = self.interval_s if self.averages else round(rng.uniform(*ranges.averaging_s))
        bins = _averaged(bins, at, max(window, 1))
        responses = _responses(rng, self.family)
        if self.family == "opc_n3":
            out = self._count_singly(bins, responses, max(window, 1))
        else:
            out = bins @ responses.T
        gain = np.exp(0.12 * rng.standard_normal() + rng.normal(0, 0.02) * times / 86_400)
        out *= gain[:, None]
        mass, number = out[:, :3], out[:, 3:]
        base, share = (draw_log(rng, *r) for r in (ranges.noise_ug_m3, ranges.noise_share))
        common = rng.standard_normal(len(at))
        for i in range(3):
            own = 0.8 * common + 0.6 * rng.standard_normal(len(at))
            mass[:, i] += own * np.hypot(base, share * mass[:, i])
        mass += max(rng.normal(-0.3, 1.0), 0)
        spikes = rng.poisson(ranges.spikes_day * draw_log(rng, 0.1, 3) * times[-1] / 86_400)
        mass[rng.integers(len(at), size=spikes)] += rng.uniform(5, 60, (spikes, 1))
        masses = np.round(mass.clip(0, ranges.top_ug_m3) / ranges.step_ug_m3) * ranges.step_ug_m3
        for i, name in enumerate(("pm1", "pm25", "pm10")):
            if name in ranges.masses:
                values[:, _AT[name]] = np.round(masses[:, i], 2)
        if ranges.counts:
            volume = 100.0 if self.family == "plantower" else 300.0
            top = 655.35 if self.family == "plantower" else 3000.0
            spread = np.sqrt(number.clip(0) / volume) * rng.uniform(0.6, 1.6)
            noisy = number + spread * rng.standard_normal(number.shape)
            values[:, 3:_PARTICLES] = np.round(noisy.clip(0, top), 2)
            if self.family == "sps30":
                values[:, _AT["n100"]] = np.nan

    def _count_singly(
        self, bins: NDArray[np.float64], responses: NDArray[np.float64], window: int
    ) -> NDArray[np.float64]:
        """Return an OPC's outputs: whole particles, and coincidence in dense air."""
        rng = self._rng
        drawn = window * _LITERS_S
        hits = rng.poisson((bins * COUNT_PER_UG).clip(0) * drawn) / drawn
        counted = np.where(COUNT_PER_UG > 0.03, bins, hits / COUNT_PER_UG)
        out = counted @ responses.T
        top = draw_log(rng, 75, 105)
        fine = top * -np.expm1(-out[:, 0] / top)
        lost = out[:, 0] - fine
        out[:, 0] = fine
        out[:, 1:3] -= 0.15 * lost[:, None]
        small = out[:, 0] / np.maximum(fine + lost, 1e-9)
        out[:, 3:5] *= small[:, None]
        out[:, 5] += 0.3 * lost
        return np.asarray(out)

    def _read_voc(self, air: Inlet, at: NDArray[np.intp], values: NDArray[np.float64]) -> None:
        rng = self._rng
        if self.voc == "none":
            return
        gas = _lagged(air.voc_ppm, draw_log(rng, 4, 12))
        wet = air.humidity - 50.0
        if self.voc == "index":
            zero, slope = draw_log(rng, 0.2, 1.0), rng.uniform(710, 1030)
            ticks = rng.normal(31_000, 1200) - slope * np.log2((gas + zero) / zero)
            ticks -= rng.uniform(-2, 8) * wet
            slow = lfilter([1.0], [1.0, -0.999], rng.standard_normal(len(gas)))
            ticks += draw_log(rng, 1, 6) * rng.standard_normal(len(gas))
            ticks += draw_log(rng, 0.02, 0.5) * np.asarray(slow)
            raw = ticks.clip(1, 64_999).astype(np.int64)
            shows = rng.random()
            if shows < 0.8:
                values[:, _AT["voc_index"]] = VocIndex(1).process(raw[None])[0][at]
            if shows > 0.5:
                values[:, _AT["voc_raw"]] = raw[at]
            return
        if self.voc == "bme680":
            hold = int(rng.choice([3, 300], p=[0.7, 0.3]))
            at = at // hold * hold
            power, floor = rng.uniform(0.7, 1.1), rng.uniform(0.2, 0.6)
            noise = draw_log(rng, 0.01, 0.05)
        else:
            power, floor = rng.uniform(0.8, 1.1), rng.uniform(0, 0.1)
            noise = draw_log(rng, 0.005, 0.04)
        gas = (gas[at] ** power + floor) * np.exp(rng.uniform(-0.002, 0.012) * wet[at])
        gas *= np.exp(0.3 * rng.standard_normal() + noise * rng.standard_normal(len(at)))
        gas -= min(rng.uniform(0, 0.9) * float(np.quantile(gas, 0.05)), 0.4)  # automatic baseline
        step = float(rng.choice([1.0, 1.0, 10.0]))
        values[:, _AT["tvoc_ppb"]] = np.round((1000 * gas).clip(0, 60_000) / step) * step

    def _read_climate(self, air: Inlet, at: NDArray[np.intp], values: NDArray[np.float64]) -> None:
        rng, ranges = self._rng, self._ranges
        if rng.random() < ranges.climate:
            warm = rng.uniform(0.5, 6)
            inside = _lagged(air.temperature + warm, draw_log(rng, 30, 300))
            at_sensor = air.humidity * saturation_g_m3(air.temperature) / saturation_g_m3(inside)
            humid = _lagged(at_sensor, draw_log(rng, 8, 60))
            if rng.random() < 0.6:  # the firmware corrects most of the case's warming
                error = rng.normal(0, 0.4)
                outside = inside - warm + error
                humid *= saturation_g_m3(inside) / saturation_g_m3(outside)
                inside = outside
            humid = (
                humid[at]
                + rng.normal(0, 2)
                + draw_log(rng, 0.01, 0.2) * (rng.standard_normal(len(at)))
            )
            step = float(rng.choice([0.01, 0.1, 0.5, 1.0], p=[0.4, 0.4, 0.1, 0.1]))
            values[:, _AT["rh"]] = np.round(np.round(humid.clip(0, 100) / step) * step, 2)
            warmth = inside[at] + draw_log(rng, 0.005, 0.05) * rng.standard_normal(len(at))
            values[:, _AT["temp"]] = np.round(warmth, 1 if step > 0.05 else 2)
        if rng.random() < ranges.co2:
            co2 = _lagged(air.co2_ppm, draw_log(rng, 20, 60))[at] + rng.normal(0, 30)
            co2 += draw_log(rng, 2, 15) * rng.standard_normal(len(at))
            values[:, _AT["co2"]] = np.round(co2.clip(350, 5000))
