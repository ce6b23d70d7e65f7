"""Simulate how each family of optical particle sensors measures the air, by second."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from research.worlds.zone_network.series import draw_log, fluctuation, lag, pick

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from research.worlds.zone_network.inlet import Inlet

    Floats = NDArray[np.float64]

COUNTS: Final = ("n03", "n05", "n10", "n25", "n50", "n100")


@dataclass(slots=True)
class Signals:
    """A device's signals by column: a value per second, and the number of decimals."""

    series: dict[str, Floats] = field(default_factory=dict)
    decimals: dict[str, int] = field(default_factory=dict)

    def add(self, column: str, series: Floats, decimals: int) -> None:
        """Add a column."""
        self.series[column] = series
        self.decimals[column] = decimals


class Optics:
    """One optical unit, with its gain, drift and lag.

    - `lag_s`: first-order lag of the inlet, seconds.
    - `gain` (n,): factor on all values, by second.
    """

    def __init__(self, family: str, inlet: Inlet, rng: np.random.Generator) -> None:
        self._family, self._inlet, self._rng = family, inlet, rng
        self._n = n = inlet.vaped.size
        is_slow = family in ("gs601", "mt14")
        self._lag_s = draw_log(rng, 5, 25) if is_slow else draw_log(rng, 1.5, 9)
        gain = draw_log(rng, 0.7, 1.4)
        drift = np.exp(0.06 * fluctuation(rng, n // 60 + 2, 400))
        self._gain: Floats = drift[np.arange(n) // 60] * gain
        self._pm1_share, self._dense_slope = rng.uniform(0.58, 0.74), pick(rng, (1.0, 0.75, 0.67))

    def measure(self) -> Signals:
        """Measure PM and counts."""
        families: dict[str, Callable[[], Signals]] = {
            "sps30": self._sensirion,
            "sen55": self._sensirion,
            "opcn3": self._alphasense,
            "sds011": self._nova,
        }
        return families.get(self._family, self._plantower)()

    def _noise(self, scale: float) -> Floats:
        return scale * self._rng.standard_normal(self._n)

    def _wander(self, tau_s: float) -> Floats:
        return fluctuation(self._rng, self._n, tau_s)

    def _plantower(self) -> Signals:
        """Plantower: a nephelometer with steps of 1 µg/m³ that hardly detects coarse dust."""
        inlet, tau = self._inlet, self._lag_s
        x = lag(inlet.nephelometer * 1.25, tau) * self._gain
        corrected = np.where(x > 30, 30 + (x - 30) * self._dense_slope, x)
        sd = np.sqrt(0.12 + 0.012 * x + (0.012 * x) ** 2)
        pm25 = np.maximum(0, corrected + sd * (self._noise(1) * 0.7 + self._wander(4) * 0.7))
        fine = self._pm1_share + 0.12 * (lag(inlet.fine_share, tau + 2) - 0.75)
        pm1 = pm25 * np.clip(fine + 0.03 * self._wander(30), 0.45, 0.9)
        dust = 1 - lag(inlet.masses[1] / (inlet.masses[3] + 1e-6), tau + 3)
        pm10 = pm25 * np.clip(1.02 + 0.14 * dust + 0.05 * np.abs(self._wander(6)), 1, 1.35)
        signals = Signals()
        if self._family == "mt14":
            signals.add("pm25", pm25, 1)
            return signals
        for column, series in (("pm1", pm1), ("pm25", pm25), ("pm10", pm10)):
            signals.add(column, series, 0)
        if self._family.startswith("pms") and self._rng.random() < 0.75:
            self._add_plantower_counts(signals, x)
        return signals

    def _add_plantower_counts(self, signals: Signals, scattered: Floats) -> None:
        """Add counts, which are mostly fixed multiples of the scattered light."""
        inlet, rng, tau = self._inlet, self._rng, self._lag_s
        smallest = lag(inlet.counts[0], tau) * self._gain * rng.uniform(0.6, 1.0) + 0.4 * scattered
        ratios = (
            1.0,
            rng.uniform(0.27, 0.34),
            rng.uniform(0.04, 0.075),
            rng.uniform(0.004, 0.01),
            rng.uniform(0.001, 0.003),
            rng.uniform(0.0003, 0.0015),
        )
        coarse = 0.2 * lag(inlet.counts[3], tau) * self._gain
        tilt = 1 + 0.35 * (0.8 - lag(inlet.fine_share, tau))
        for j, (column, ratio, share) in enumerate(
            zip(COUNTS, ratios, (1, 1, 1, 0.9, 0.35, 0.1), strict=True)
        ):
            count = smallest * ratio * (tilt if j >= 2 else 1) + coarse * share
            count = np.maximum(0, count) * 100
            noise = np.sqrt(count * 1.3) * (self._wander(3) * 0.8 + self._noise(0.5))
            raw = np.rint(np.minimum(65535, count + noise))
            signals.add(column, np.maximum(0, raw) / 100, 2)

    def _sensirion(self) -> Signals:
        """SPS30 and SEN5x: PM2.5 is measured; the size distribution is mostly assumed."""
        inlet, rng, tau = self._inlet, self._rng, self._lag_s
        x = lag(inlet.sps, tau) * self._gain
        typical = rng.uniform(0.85, 0.97)
        sd = np.sqrt(0.04 + (0.02 * x) ** 2 + 0.008 * x)
        fine = np.clip(typical + 0.25 * (lag(inlet.fine_share, tau + 1) - 0.85), 0.25, 0.99)
        coarse = 1 - fine
        pm25 = np.maximum(0, x + sd * (self._noise(0.6) + 0.8 * self._wander(3)))
        pm1 = pm25 * fine
        above = np.clip(1 + 0.55 * coarse + 0.03 * np.abs(self._wander(5)), 1, 1.7)
        signals = Signals()
        decimals = 1 if self._family == "sen55" else 2
        for column, series in (("pm1", pm1), ("pm25", pm25), ("pm10", pm25 * above)):
            signals.add(column, series, decimals)
        if rng.random() < 0.7:
            typical_um = np.clip(0.42 + 0.5 * coarse, 0.35, 2)
            total = pm1 * rng.uniform(6, 8) * (0.5 / typical_um) ** 2
            total *= 1 + 0.015 * coarse * 5
            counts = {
                "n05": total * np.clip(0.12 + 0.5 * (typical_um - 0.42), 0.05, 0.8),
                "n10": total * np.clip(0.01 + 0.1 * coarse, 0.002, 0.3),
                "n25": np.maximum(0, total * coarse * 0.05),
                "n100": total * coarse * 0.002,
                "n03": total,
            }
            for column in ("n03", "n05", "n10", "n25", "n100"):
                noisy = counts[column] * (1 + self._noise(0.02)) + self._noise(0.05)
                counts[column] = np.maximum(0, noisy)
            for column, series in counts.items():
                signals.add(column, series, 2)
        return signals

    def _alphasense(self) -> Signals:
        """OPC-N3: a true counter; in dense plumes, several particles count as one."""
        inlet, rng = self._inlet, self._rng
        factor, tau = rng.uniform(0.5, 1.1), rng.uniform(1, 3)
        x1, x25, x10 = (lag(inlet.masses[i], tau) * self._gain * factor for i in (0, 1, 3))
        # above about 20 µg/m³ of fine particles, PM1 saturates, and larger bins count the excess
        pm1 = 0.97 * x1 / (1 + (x1 / 92) ** 1.2) ** (1 / 1.2)
        lost = np.maximum(0, 0.97 * x1 - pm1)
        pm25 = pm1 + (x25 - x1) + 0.95 * lost * rng.uniform(0.75, 1.0)
        pm10 = pm25 + np.maximum(0, x10 - x25) + 0.05 * lost

        def count(mass: Floats, particle: float) -> Floats:
            sd = np.sqrt(np.maximum(mass, 0) * particle)
            counted: Floats = np.maximum(0, mass + sd * self._noise(1))
            return counted

        pm1 = count(pm1 * (1 + 0.06 * self._wander(40)), 0.01)
        pm25 = np.maximum(pm1, pm1 + count(np.maximum(0, pm25 - pm1), 0.12))
        large = np.minimum(50, np.maximum(0, pm10 - pm25) / 18.0)
        pm10 = pm25 + rng.poisson(large) * rng.gamma(2, 9, self._n)
        signals = Signals()
        for column, series in (("pm1", pm1), ("pm25", pm25), ("pm10", pm10)):
            signals.add(column, series, 2)
        if rng.random() < 0.85:
            lagged = [lag(series, tau) for series in inlet.counts]
            smallest = lagged[0] * 0.45 * factor * self._gain
            smallest = smallest / (1 + smallest / 2200)
            n05 = lagged[1] * self._gain
            pairs = lagged[0] * lagged[0] / (lagged[0] + 2500)
            for column, true in zip(
                COUNTS,
                (smallest + 0.2 * n05, n05 + 0.03 * pairs, lagged[2] + 0.004 * pairs, *lagged[3:]),
                strict=True,
            ):
                hits = np.maximum(0, true * 4.0)
                noisy = np.maximum(0, hits + np.sqrt(hits + 0.02) * self._noise(1.3))
                signals.add(column, np.rint(noisy) / 4.0, 2)
        return signals

    def _nova(self) -> Signals:
        """SDS011: only PM2.5 and PM10."""
        inlet, tau = self._inlet, self._lag_s + 1
        x = lag(inlet.sds, tau) * self._gain * 0.9
        coarse = lag(inlet.masses[3], tau) * self._gain
        pm25 = np.maximum(0.1, x * (1 + 0.04 * self._wander(5)) + self._noise(0.25))
        more = 0.35 * np.maximum(0, coarse - x) + np.abs(self._noise(0.6))
        pm10 = np.maximum(pm25, pm25 + more)
        signals = Signals()
        signals.add("pm25", np.minimum(999.9, pm25), 1)
        signals.add("pm10", np.minimum(1999, pm10), 1)
        return signals
