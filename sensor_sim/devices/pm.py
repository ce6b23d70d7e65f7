"""Optical particle sensors.

A part is a matrix from particles in each size bin to its channels, and what it adds: lag, unit
differences, noise against level, quantisation, caps, warm-up. Plantower (and SDS011) resolve one
or two sizes at most and report nearly the same size distribution for dust as for smoke (Kuula
2020, amt-13-2413; Ouimette 2023, doi 10.1080/02786826.2023.2285935), so their matrix smears
every particle over fixed shares and hardly counts coarse ones. Noise against level is that of
public recordings of each sensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import ndtr

from sensor_sim.devices.parts import parts_of
from sensor_sim.physics.aerosol import BIN_MASS_UG, BIN_MID_UM
from sensor_sim.streams import log_uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COUNT_CUTS: Final = {"n03": 0.3, "n05": 0.5, "n10": 1.0, "n25": 2.5, "n50": 5.0, "n100": 10.0}
_MASS_CUTS: Final = {"pm1": 1.0, "pm25": 2.5, "pm4": 4.0, "pm10": 10.0}


@dataclass(frozen=True, slots=True)
class PmPart:
    """A particle sensor.

    - `channels`: quantities it reports.
    - `counted_um`, `counted`: share of particles detected, at these diameters; log-linear between.
    - `smear`: geometric standard deviation of reported against true size.
    - `fixed_share`: for sensors without size resolution: (diameters, PM1/PM2.5, PM2.5/PM10)
      reported for a particle of that size, instead of `smear`.
    - `noise_level`, `noise_sd`: mass noise, 1 s: standard deviation at these levels, µg/m³.
    - `count_noise`: count noise in units of sqrt(count in `count_volume_cm3`).
    - `count_volume_cm3`: air a count covers, cm³.
    - `step`: resolution of mass, µg/m³.
    - `cap`: largest mass reported, µg/m³.
    - `saturates_at`: particles /cm³ above 0.3 µm at which coincidence halves the count.
    - `lag_s`: range of the e-fold lag of the inlet and internal averaging, s.
    - `warm_up_s`: range of the time without a value after power-up, s.
    """

    channels: tuple[str, ...]
    counted_um: tuple[float, ...]
    counted: tuple[float, ...]
    smear: float = 1.15
    fixed_share: tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]] | None = None
    noise_level: tuple[float, ...] = (0.0, 20.0, 165.0, 572.0, 1200.0)
    noise_sd: tuple[float, ...] = (0.2, 0.8, 4.4, 12.0, 24.0)
    count_noise: float = 1.1
    count_volume_cm3: float = 100.0
    step: float = 0.1
    cap: float = 1000.0
    saturates_at: float = 3e4
    lag_s: tuple[float, float] = (2.0, 6.0)
    warm_up_s: tuple[float, float] = (8.0, 30.0)

    def matrix(self) -> NDArray[np.float64]:
        """Channels from particles: shape (len(channels), N_BINS).

        Mass rows are µg/m³ per particle/cm³, number rows are /cm³.
        """
        counted = np.interp(np.log(BIN_MID_UM), np.log(self.counted_um), self.counted)
        mass = counted * BIN_MASS_UG * 1e6
        rows = []
        for channel in self.channels:
            if channel in _COUNT_CUTS:
                rows.append(counted * self._above(_COUNT_CUTS[channel]))
            else:
                rows.append(mass * self._mass_below(channel))
        return np.array(rows)

    def _above(self, cut_um: float) -> NDArray[np.float64]:
        # A blind sensor spreads sizes widely: single scatter events, most miss the beam.
        spread = 1.45 if self.fixed_share else self.smear
        above: NDArray[np.float64] = ndtr(np.log(BIN_MID_UM / cut_um) / np.log(spread))
        return above

    def _mass_below(self, channel: str) -> NDArray[np.float64]:
        if self.fixed_share is None:
            cut = _MASS_CUTS[channel]
            below: NDArray[np.float64] = ndtr(np.log(cut / BIN_MID_UM) / np.log(self.smear))
            return below
        size, pm1_share, pm25_share = self.fixed_share
        where = np.log(BIN_MID_UM)
        if channel == "pm10":
            return np.ones_like(where)
        fine: NDArray[np.float64] = np.interp(where, np.log(size), pm25_share)
        if channel == "pm25":
            return fine
        return np.asarray(fine * np.interp(where, np.log(size), pm1_share))


PM_PARTS: Final = parts_of("pm", PmPart)
"""All particle sensors."""


@dataclass(frozen=True, slots=True)
class PmUnit:
    """One unit of a particle sensor: its own matrix, lag, offset and noise.

    - `matrix` (channels, N_BINS): with this unit's gains.
    - `zero`: offset of mass, µg/m³.
    - `noise`: factor on the part's noise.
    - `spikes_per_day`: one-sample artefacts.
    """

    part: PmPart
    matrix: NDArray[np.float32]
    zero: float
    lag_s: float
    warm_up_s: float
    noise: float
    spikes_per_day: float

    @classmethod
    def draw(cls, rng: np.random.Generator, name: str) -> PmUnit:
        """Draw a unit: gain +-12 %, each channel +-4 %."""
        part = PM_PARTS[name]
        gain = rng.lognormal(0, 0.12) * rng.lognormal(0, 0.04, (len(part.channels), 1))
        if part.fixed_share is None:
            # Cumulative classes of one unit must stay in order: one gain for all.
            gain = np.full_like(gain, gain[0, 0])
        return cls(
            part=part,
            matrix=(part.matrix() * gain).astype(np.float32),
            zero=float(rng.normal(0, 0.4)),
            lag_s=log_uniform(rng, *part.lag_s),
            warm_up_s=float(rng.uniform(*part.warm_up_s)),
            noise=float(rng.lognormal(0, 0.2)),
            spikes_per_day=float(rng.uniform(0, 5)) * (rng.random() < 0.5),
        )

    def saturate(self, signal: NDArray[np.float32], above_03: NDArray[np.float32]) -> None:
        """Lose counts by coincidence where many particles are in the beam, in place."""
        signal /= 1 + above_03 / np.float32(self.part.saturates_at)

    def read(
        self, rng: np.random.Generator, signal: NDArray[np.float32], averaged_s: int
    ) -> NDArray[np.float32]:
        """Noise, spikes, quantisation and caps.

        - `signal` (channels, n): noise-free channel values.
        - `averaged_s`: seconds each value is the mean of.
        - Returns: Non-negative readings.
        """
        part = self.part
        n_mass = sum(c in _MASS_CUTS for c in part.channels)
        n = signal.shape[1]
        quiet = np.float32(self.noise / np.sqrt(averaged_s))
        noise = rng.standard_normal(signal.shape, dtype=np.float32)
        # Channels of one measurement share particles: their noise is mostly common.
        noise[1:n_mass] = 0.4 * noise[1:n_mass] + 0.9 * noise[0]
        mass = signal[:n_mass] + np.float32(self.zero)
        level = np.asarray(part.noise_level, np.float32)
        sd = np.interp(mass[-1], level, part.noise_sd).astype(np.float32) * quiet
        mass += noise[:n_mass] * sd
        if self.spikes_per_day:
            hits = rng.random(int(rng.poisson(self.spikes_per_day * n * averaged_s / 86_400)))
            for where in (hits * n).astype(int):
                mass[:, where] += 10 ** rng.uniform(1, 2)
        np.clip(mass, 0, part.cap, out=mass)
        mass = np.rint(mass / np.float32(part.step)) * np.float32(part.step)
        for i in range(1, n_mass):
            np.maximum(mass[i], mass[i - 1], out=mass[i])
        counts = signal[n_mass:]
        if counts.size:
            volume = np.float32(part.count_volume_cm3)
            inside = counts * volume
            spread = np.sqrt(inside) * np.float32(part.count_noise) * quiet
            inside = np.rint(np.maximum(inside + noise[n_mass:] * spread, 0))
            # Cumulative counts never rise with size.
            for i in range(1, inside.shape[0]):
                np.minimum(inside[i], inside[i - 1], out=inside[i])
            np.minimum(inside, np.float32(65_535), out=inside)
            counts = inside / volume
        return np.concatenate([mass, counts])
