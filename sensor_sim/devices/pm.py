"""Simulate optical particle sensors.

A part is a matrix from the particles in each size bin to its channels, plus lag, differences
between units, coincidence, level-dependent noise, quantization, caps and warm-up. Plantower sensors
and the SDS011 resolve at most two sizes and report nearly the same size distribution for dust as
for smoke (Kuula 2020, amt-13-2413; Ouimette 2023, doi 10.1080/02786826.2023.2285935). So their
matrix spreads every particle over fixed shares and hardly counts coarse ones. Units resolve sizes
to different degrees, and their response to an aerosol differs by up to a factor of two in either
direction (optical monitors on the same vapor differ more: Sousan 2022, doi
10.1080/02786826.2022.2047152). The noise at each level comes from public recordings of each sensor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import ndtr

from sensor_sim.physics.aerosol import BIN_MASS_UG, BIN_MID_UM
from sensor_sim.streams import draw_log

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COUNT_CUTS: Final = {"n03": 0.3, "n05": 0.5, "n10": 1.0, "n25": 2.5, "n50": 5.0, "n100": 10.0}
_MASS_CUTS: Final = {"pm1": 1.0, "pm25": 2.5, "pm4": 4.0, "pm10": 10.0}


@dataclass(frozen=True, slots=True)
class Coincidence:
    """How a single-particle counter merges particles that cross its beam together.

    Each value is a range over units. The counter takes such particles for one larger particle. A
    share ``f + (1 - f) / (1 + (PM2.5 / S)^a)`` of the mass below 1 µm stays there; the rest appears
    between 1 and 2.5 µm. Fitted to a public recording of an OPC-N3 next to pod vaping, whose PM1
    stops near 90 µg/m³.

    - `scale_ug_m3`: S.
    - `floor`: f.
    - `power`: a.
    """

    scale_ug_m3: tuple[float, float]
    floor: tuple[float, float]
    power: tuple[float, float]


@dataclass(frozen=True, slots=True)
class PmPart:
    """A particle sensor.

    - `counted_um`, `counted`: share of particles detected at these diameters; interpolated over the
      log diameter.
    - `smear`: geometric standard deviation of reported size relative to true size.
    - `fixed_share`: for sensors without size resolution: (diameters, PM1/PM2.5, PM2.5/PM10)
      reported for a particle of that size, instead of `smear`.
    - `noise_level`, `noise_sd`: standard deviation of 1 s mass values at these levels, µg/m³.
    - `count_noise`: count noise in units of sqrt(count in `count_volume_cm3`).
    - `count_volume_cm3`: volume of air that a count covers, cm³.
    - `step`: resolution of mass, µg/m³.
    - `cap`: largest mass reported, µg/m³.
    - `saturates_at`: particles /cm³ above 0.3 µm at which dead time halves the count.
    - `coincidence`: merging of particles, for sensors that measure each particle's size. Their
      coarse mass comes from a few individual particles.
    - `rigid`: range, over units, of the share of mass that is reported in fixed proportions
      regardless of size; with 0, only `smear` or `fixed_share` applies.
    - `fine_share`: range of PM2.5/PM10 in those proportions.
    - `spikes_per_day`: range of the number of one-sample artifacts; half of the units have none.
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
    coincidence: Coincidence | None = None
    rigid: tuple[float, float] = (0.0, 0.0)
    fine_share: tuple[float, float] = (0.8, 1.0)
    spikes_per_day: tuple[float, float] = (0.0, 5.0)
    lag_s: tuple[float, float] = (2.0, 6.0)
    warm_up_s: tuple[float, float] = (8.0, 30.0)

    def build_matrix(self) -> NDArray[np.float64]:
        """Return the matrix from particles to channels, shape (len(channels), N_BINS).

        Mass rows are µg/m³ per particle/cm³; number rows are /cm³.
        """
        counted = np.interp(np.log(BIN_MID_UM), np.log(self.counted_um), self.counted)
        mass = counted * BIN_MASS_UG * 1e6
        rows = []
        for channel in self.channels:
            if channel in _COUNT_CUTS:
                rows.append(counted * self._compute_share_above(_COUNT_CUTS[channel]))
            else:
                rows.append(mass * self._compute_share_below(channel))
        return np.array(rows)

    def _compute_share_above(self, cut_um: float) -> NDArray[np.float64]:
        # A sensor without size resolution spreads sizes widely, because it sees single scatter
        # events and most particles miss the beam.
        spread = 1.45 if self.fixed_share else self.smear
        above: NDArray[np.float64] = ndtr(np.log(BIN_MID_UM / cut_um) / np.log(spread))
        return above

    def _compute_share_below(self, channel: str) -> NDArray[np.float64]:
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


_LASER: Final = (
    (0.2, 0.3, 0.4, 1.0, 2.5, 4.0, 10.0, 25.0),
    (0.1, 0.7, 1.0, 1.0, 0.6, 0.25, 0.06, 0.01),
)
"""Sizes and detected shares of sensors by Sensirion and similar ones."""
_PMS5003: Final = PmPart(
    ("pm1", "pm25", "pm10", "n03", "n05", "n10", "n25", "n50", "n100"),
    (0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0),
    (0.05, 0.5, 0.98, 1.0, 0.45, 0.12, 0.04, 0.01),
    fixed_share=(
        (0.3, 0.5, 1.0, 2.5, 10.0),
        (0.8, 0.7, 0.42, 0.32, 0.3),
        (0.99, 0.97, 0.75, 0.6, 0.58),
    ),
    noise_level=(0.0, 1.0, 225.0, 607.0, 1195.0),
    noise_sd=(0.25, 0.3, 3.0, 5.4, 6.0),
    step=1.0,
    cap=5000.0,
    saturates_at=20000.0,
    rigid=(0.0, 0.4),
)
"""Plantower: counts 50% at 0.3 µm and 98% at 0.5 µm (datasheet); coarse dust is lost at the inlet
and the beam. A PMS5003 reported PM1/PM2.5 of 0.56-0.72 and PM2.5/PM10 of 0.93-0.99 in smoke, and
0.36-0.42 and 0.64-0.66 in salt fog (recordings)."""
PM_PARTS: Final = {
    "pms5003": _PMS5003,
    "pms7003": replace(
        _PMS5003,
        noise_level=(0.0, 15.0, 225.0, 607.0, 1195.0),
        noise_sd=(0.6, 1.0, 3.5, 6.0, 8.0),
        lag_s=(2.0, 8.0),
    ),
    "sps30": PmPart(
        ("pm1", "pm25", "pm4", "pm10", "n05", "n10", "n25"),
        *_LASER,
        smear=1.25,
        noise_level=(0.0, 19.0, 165.0, 572.0, 1200.0),
        count_volume_cm3=30.0,
        step=0.01,
        cap=65000.0,
        rigid=(0.0, 0.4),
    ),
    "sen55": PmPart(
        ("pm1", "pm25", "pm4", "pm10"),
        *_LASER,
        smear=1.3,
        noise_level=(0.0, 19.0, 165.0, 572.0, 1200.0),
        noise_sd=(0.25, 0.9, 5.0, 14.0, 28.0),
        cap=6553.4,
        rigid=(0.0, 0.6),
    ),
    "sds011": PmPart(
        ("pm25", "pm10"),
        (0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0),
        (0.1, 0.5, 0.9, 1.0, 0.6, 0.3, 0.15, 0.05),
        fixed_share=(
            (0.3, 0.5, 1.0, 2.5, 10.0),
            (1.0, 1.0, 1.0, 1.0, 1.0),
            (0.85, 0.85, 0.75, 0.5, 0.3),
        ),
        noise_sd=(0.2, 0.6, 3.0, 8.0, 16.0),
        cap=999.9,
        lag_s=(3.0, 10.0),
        rigid=(0.0, 0.4),
    ),
    "opcn3": PmPart(
        ("pm1", "pm25", "pm10", "n05", "n10", "n25", "n50", "n100"),
        (0.34, 0.36, 0.42, 0.5, 1.0, 10.0, 25.0),
        (0.0, 0.3, 0.6, 0.9, 1.0, 1.0, 0.5),
        smear=1.1,
        noise_sd=(0.15, 0.8, 4.0, 12.0, 24.0),
        count_noise=1.3,
        count_volume_cm3=4.7,
        step=0.01,
        cap=100000.0,
        saturates_at=8000.0,
        lag_s=(2.0, 5.0),
        coincidence=Coincidence(scale_ug_m3=(40.0, 300.0), floor=(0.2, 0.45), power=(1.0, 2.5)),
    ),
    "gs601": PmPart(
        ("pm1", "pm25", "pm10"),
        *_LASER,
        smear=1.35,
        noise_sd=(0.5, 1.0, 5.0, 14.0, 28.0),
        step=1.0,
        lag_s=(3.0, 10.0),
        rigid=(0.2, 0.9),
    ),
    "merakimt": PmPart(("pm25",), *_LASER, smear=1.35, step=1.0, lag_s=(3.0, 10.0)),
    # One signal in fixed proportions: PM2.5/PM10 was 0.72 ± 0.01 in two kitchens, and PM10 was
    # PM2.5 + 1 in a gym (recordings). 5-15 one-sample jumps per day (uHoo homes).
    "one_size": PmPart(
        ("pm1", "pm25", "pm10"),
        *_LASER,
        noise_sd=(0.4, 1.0, 5.0, 14.0, 28.0),
        step=1.0,
        lag_s=(3.0, 10.0),
        rigid=(1.0, 1.0),
        fine_share=(0.7, 1.0),
        spikes_per_day=(5.0, 15.0),
    ),
}

_MERGED_UG_M3: Final = np.float32(np.pi / 6 * 1.6**3)
"""Mass concentration of one merged particle of 1.6 µm per cm³, µg/m³."""

_HIT_SHAPE: Final = 0.06
"""Shape of the gamma distribution of coarse particle masses: in clean air, an OPC-N3's PM10 has a
median of 1.6 and a 99th percentile of 113 µg/m³ (recording in a laboratory)."""

_RESPONSE: Final = (0.5, 2.0)


def _draw_matrix(rng: np.random.Generator, part: PmPart) -> NDArray[np.float64]:
    """Draw the matrix of one unit, with its own size resolution and gain."""
    matrix = part.build_matrix()
    rigid = rng.uniform(*part.rigid)
    fine, submicron = rng.uniform(*part.fine_share), rng.uniform(0.65, 0.95)
    share = {"pm10": 1.0, "pm4": (1 + fine) / 2, "pm25": fine, "pm1": fine * submicron}
    if "pm10" in part.channels:
        everything = matrix[part.channels.index("pm10")].copy()
        for row, channel in enumerate(part.channels):
            if channel in share:
                matrix[row] += rigid * (share[channel] * everything - matrix[row])
    gain = float(np.clip(rng.lognormal(0, 0.35), *_RESPONSE))
    # A part that resolves sizes has one gain for all classes, so that they stay in order.
    of_channel = rng.lognormal(0, 0.04, (len(part.channels), 1))
    return np.asarray(matrix * gain * (of_channel if part.fixed_share else 1.0))


@dataclass(frozen=True, slots=True)
class PmUnit:
    """One unit of a particle sensor: its own matrix, lag, offset and noise."""

    part: PmPart
    matrix: NDArray[np.float32]
    merging: tuple[float, float, float] | None
    zero: float
    lag_s: float
    warm_up_s: float
    noise: float
    spikes_per_day: float

    @classmethod
    def draw(cls, rng: np.random.Generator, name: str) -> PmUnit:
        """Draw a unit."""
        part = PM_PARTS[name]
        merge = part.coincidence
        return cls(
            part=part,
            matrix=_draw_matrix(rng, part).astype(np.float32),
            merging=None
            if merge is None
            else (
                rng.uniform(*merge.scale_ug_m3),
                rng.uniform(*merge.floor),
                rng.uniform(*merge.power),
            ),
            zero=rng.normal(0, 0.4),
            lag_s=draw_log(rng, *part.lag_s),
            warm_up_s=rng.uniform(*part.warm_up_s),
            noise=rng.lognormal(0, 0.2),
            spikes_per_day=rng.uniform(*part.spikes_per_day) * (rng.random() < 0.5),
        )

    def apply_coincidence(
        self, signal: NDArray[np.float32], above_03: NDArray[np.float32] | float
    ) -> None:
        """Apply the coincidence of particles in the beam to single-particle values, in place."""
        signal /= 1 + above_03 / np.float32(self.part.saturates_at)
        if self.merging is None:
            return
        scale, floor, power = self.merging
        pm1, pm25, n05, n10 = map(self.part.channels.index, ("pm1", "pm25", "n05", "n10"))
        fine = np.maximum(signal[pm25], 0) / np.float32(scale)
        lost = np.float32(1 - floor) * (1 - 1 / (1 + fine ** np.float32(power)))
        # PM2.5 and PM10 are cumulative: they include the mass that leaves PM1.
        moved = lost * signal[pm1]
        small = signal[n05] - signal[n10]
        signal[pm1] -= moved
        signal[n10] += moved / _MERGED_UG_M3
        signal[n05] = signal[n10] + (1 - lost) * small

    def _count_coarse(
        self,
        rng: np.random.Generator,
        mass: NDArray[np.float32],
        signal: NDArray[np.float32],
        averaged_s: int,
    ) -> None:
        """Make the coarse mass a sum of whole particles: a few hits carry all of it."""
        pm25, pm10, n25 = map(self.part.channels.index, ("pm25", "pm10", "n25"))
        expected = np.maximum(signal[n25], 0) * (self.part.count_volume_cm3 * averaged_s)
        hits = rng.poisson(expected)
        weight = rng.standard_gamma(_HIT_SHAPE * hits) / _HIT_SHAPE
        coarse = np.maximum(mass[pm10] - mass[pm25], 0)
        mass[pm10] = mass[pm25] + coarse * weight / np.maximum(expected, 1e-6)

    def read(
        self, rng: np.random.Generator, signal: NDArray[np.float32], averaged_s: int
    ) -> NDArray[np.float32]:
        """Apply noise, spikes, rounding and caps to noise-free values of shape (channels, n)."""
        part = self.part
        n_mass = sum(c in _MASS_CUTS for c in part.channels)
        n = signal.shape[1]
        noise_scale = np.float32(self.noise / np.sqrt(averaged_s))
        noise = rng.standard_normal(signal.shape, dtype=np.float32)
        # Channels of one measurement share particles, so they share most of their noise.
        noise[1:n_mass] = 0.4 * noise[1:n_mass] + 0.9 * noise[0]
        mass = signal[:n_mass] + np.float32(self.zero)
        level = np.asarray(part.noise_level, np.float32)
        sd = np.interp(mass[-1], level, part.noise_sd).astype(np.float32) * noise_scale
        if self.merging is not None:
            self._count_coarse(rng, mass, signal, averaged_s)
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
            spread = np.sqrt(inside) * np.float32(part.count_noise) * noise_scale
            inside = np.rint(np.maximum(inside + noise[n_mass:] * spread, 0))
            # Cumulative counts never rise with size.
            for i in range(1, inside.shape[0]):
                np.minimum(inside[i], inside[i - 1], out=inside[i])
            np.minimum(inside, np.float32(65_535), out=inside)
            counts = inside / volume
        return np.concatenate([mass, counts])
