"""Simulate humidity and temperature sensors in a case, and carbon dioxide sensors.

Lag in a case: RH 8-60 s, temperature 30-300 s. The board's own heat raises temperature and lowers
RH. BME680: RH tau63 8 s at 1 m/s, +-3% RH; SEN55: +-4.5% RH, +-0.45 °C (datasheets).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from sensor_sim.streams import draw_log

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ClimatePart:
    """A built-in humidity and temperature sensor: ranges of lags, heating and errors."""

    channels: tuple[str, ...]
    rh_lag_s: tuple[float, float]
    temp_lag_s: tuple[float, float]
    heating_k: tuple[float, float]
    rh_error: float
    temp_error: float


CLIMATE_PARTS: Final = {
    "sht_open": ClimatePart(
        ("rh", "temp"),
        rh_lag_s=(8, 20),
        temp_lag_s=(30, 90),
        heating_k=(0.0, 1.0),
        rh_error=1.0,
        temp_error=0.15,
    ),
    "sht_case": ClimatePart(
        ("rh", "temp"),
        rh_lag_s=(15, 60),
        temp_lag_s=(60, 300),
        heating_k=(0.5, 3.0),
        rh_error=1.8,
        temp_error=0.25,
    ),
    "bme_case": ClimatePart(
        ("rh", "temp", "pressure"),
        rh_lag_s=(12, 60),
        temp_lag_s=(60, 300),
        heating_k=(1.0, 4.0),
        rh_error=1.5,
        temp_error=0.4,
    ),
}


@dataclass(frozen=True, slots=True)
class ClimateUnit:
    """One unit; `altitude_hpa` offsets pressure, and the CO2 values describe its NDIR cell."""

    rh_lag_s: float
    temp_lag_s: float
    heating_k: float
    rh_offset: float
    temp_offset: float
    altitude_hpa: float
    co2_lag_s: float
    co2_offset: float
    co2_noise: float

    @classmethod
    def draw(cls, rng: np.random.Generator, name: str) -> ClimateUnit:
        """Draw a unit."""
        part = CLIMATE_PARTS[name]
        return cls(
            rh_lag_s=draw_log(rng, *part.rh_lag_s),
            temp_lag_s=draw_log(rng, *part.temp_lag_s),
            heating_k=rng.uniform(*part.heating_k),
            rh_offset=rng.normal(0, part.rh_error),
            temp_offset=rng.normal(0, part.temp_error),
            altitude_hpa=rng.uniform(-15, 5),
            co2_lag_s=draw_log(rng, 20, 60),
            co2_offset=rng.normal(0, 20),
            co2_noise=draw_log(rng, 3, 12),
        )

    def in_case(
        self, rh: NDArray[np.float32], temp: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return humidity and temperature inside the warm case, with the room's vapor content."""
        warm = np.float32(self.heating_k)
        # At room temperature, d ln(saturation)/dT is 0.0585 /K: accurate enough for a few kelvin.
        return rh * np.exp(np.float32(-0.0585) * warm), temp + warm

    def read(
        self,
        rng: np.random.Generator,
        rh: NDArray[np.float32],
        temp: NDArray[np.float32],
        averaged_s: int,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return readings with offset, noise and 0.01 resolution."""
        noise_scale = np.float32(1 / np.sqrt(averaged_s))
        noise = rng.standard_normal((2, rh.size), dtype=np.float32) * noise_scale
        humid = np.clip(rh + np.float32(self.rh_offset) + np.float32(0.03) * noise[0], 0, 100)
        warm = temp + np.float32(self.temp_offset) + np.float32(0.015) * noise[1]
        hundred = np.float32(100)
        return np.rint(humid * hundred) / hundred, np.rint(warm * hundred) / hundred

    def read_pressure(self, rng: np.random.Generator, n: int) -> NDArray[np.float32]:
        """Return `n` pressures on a calm day, hPa."""
        noise = rng.standard_normal(n, dtype=np.float32)
        return np.asarray(np.float32(1013.2 + self.altitude_hpa) + np.float32(0.03) * noise)

    def read_co2(
        self, rng: np.random.Generator, ppm: NDArray[np.float32], averaged_s: int
    ) -> NDArray[np.float32]:
        """Return CO2 readings with offset, noise and 1 ppm resolution."""
        noise = rng.standard_normal(ppm.size, dtype=np.float32)
        noise *= np.float32(self.co2_noise / np.sqrt(averaged_s))
        return np.asarray(np.clip(np.rint(ppm + np.float32(self.co2_offset) + noise), 380, 10_000))
