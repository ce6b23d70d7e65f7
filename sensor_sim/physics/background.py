"""Simulate the background air of all rooms, without sessions.

The state has one value per room and variable: fine and coarse particles from outdoors and from
people, gases from people and materials, CO2, water vapor, temperature, and the building-wide
excess. All rooms advance together, a minute at a time; the step is exact for inputs that are
constant within the minute.

Levels: school PM2.5 5.8 +- 2.3, PM10 11.2 +- 2.7 µg/m³, CO2 737 +- 347 ppm, RH 57.6 +- 4.3%,
18.5 +- 2.2 °C (Dosumu 2025, ten school rooms). A person gives off 0.3 L CO2 and 0.8 g
water per minute.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from sensor_sim.physics.aerosol import N_BINS, Aerosol, Mode, growth_factor
from sensor_sim.physics.gas import WALL_LOSS_PER_H, saturation_g_m3

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sensor_sim.physics.room import RoomAir


class Slow(IntEnum):
    """Rows of the background state."""

    FINE = 0  # fine mode, dry, µg/m³
    COARSE = 1  # coarse mode, µg/m³
    AMBIENT_FINE = 2  # building-wide excess of fine particles, µg/m³
    AMBIENT_COARSE = 3  # building-wide excess of coarse particles, µg/m³
    CO2 = 4  # ppm
    WATER = 5  # water vapor, g/m³
    TEMP = 6  # °C
    GLYCOL = 7  # this and all further gases: ppb
    ALCOHOL = 8
    PROPELLANT = 9
    TERPENE = 10
    COMBUSTION = 11


N_SLOW: Final = len(Slow)
_G0: Final = int(Slow.GLYCOL)

RH_TABLE: Final = np.arange(0, 100.25, 0.5)
"""Relative humidities at which particle growth is tabulated, %."""

_FINE_MODES: Final = (Mode(0.20, 1.6, 0.4), Mode(0.40, 1.6, 0.6))
_COARSE_MODE: Final = (Mode(4.5, 1.9),)


def count_fine(kappa: float) -> NDArray[np.float64]:
    """Return the particles per bin in 1 µg/m³ (dry) of background, for each of `RH_TABLE`."""
    out = np.empty((N_BINS, RH_TABLE.size))
    for i, g in enumerate(np.asarray(growth_factor(RH_TABLE, kappa))):
        grown = float(g)
        modes = tuple(Mode(m.mmd_um * grown, m.gsd, m.share * grown**3) for m in _FINE_MODES)
        # 1 µg/m³ = 1e-3 mg/m³ = 1e-9 mg/cm³.
        out[:, i] = Aerosol(modes).numbers_per_mg(np.zeros(1))[:, 0] * 1e-9
    return out


def count_coarse() -> NDArray[np.float64]:
    """Return the particles per bin in 1 µg/m³ of coarse background, /cm³, shape (N_BINS,)."""
    return Aerosol(_COARSE_MODE).numbers_per_mg(np.zeros(1))[:, 0] * 1e-9


class Background:
    """The slow state of all rooms."""

    def __init__(self, rng: np.random.Generator, airs: Sequence[RoomAir]) -> None:
        n = len(airs)
        self._volume = np.array([a.volume_m3 for a in airs])
        self._surface = np.array([a.surface for a in airs])
        self._outdoor_fine = float(rng.lognormal(np.log(8), 0.4))
        self._outdoor_coarse = float(rng.lognormal(np.log(9), 0.4))
        self._set_temp = rng.normal(20.5, 1.5, n)
        self._outdoor_water = rng.uniform(6.0, 9.5)
        self._materials = rng.lognormal(np.log([8, 80, 15, 6, 15]), 0.7, (n, 5))
        self._resuspended = rng.lognormal(np.log(2.0), 0.4, n)
        self._wander = np.zeros(n + 1)
        state = np.zeros((N_SLOW, n))
        state[Slow.FINE] = 0.6 * self._outdoor_fine
        state[Slow.COARSE] = 2.0
        state[Slow.CO2] = 460
        state[Slow.WATER] = self._outdoor_water
        state[Slow.TEMP] = self._set_temp
        state[_G0:] = self._materials.T * 1.5
        self._state = state

    def advance(
        self,
        rng: np.random.Generator,
        ach: NDArray[np.float64],
        people: NDArray[np.float64],
        ambient: NDArray[np.float64],
        hour: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Advance minute by minute.

        - `ach` (minutes, rooms): air changes, 1/h.
        - `ambient` (minutes, 2): building-wide excess outdoors, fine and coarse, µg/m³.
        - `hour` (minutes,): local hour of day.
        - Returns (minutes + 1, N_SLOW, rooms): state at the start and after each minute.
        """
        minutes, n = ach.shape
        out = np.empty((minutes + 1, N_SLOW, n))
        out[0] = self._state
        normal = rng.standard_normal((minutes, n + 1))
        step_h = 1 / 60
        deposition = np.zeros((N_SLOW, n))
        deposition[[Slow.FINE, Slow.AMBIENT_FINE]] = 0.3 * self._surface
        deposition[[Slow.COARSE, Slow.AMBIENT_COARSE]] = 2.5 * self._surface
        deposition[Slow.WATER] = 1.0
        deposition[Slow.TEMP] = 3.0
        deposition[_G0:] = WALL_LOSS_PER_H[:, None]
        source = np.empty((N_SLOW, n))
        person = 1 / self._volume
        for m in range(minutes):
            a, who = ach[m], people[m]
            self._wander = 0.985 * self._wander + 0.172 * normal[m]
            shared = np.exp(0.25 * self._wander[-1])
            own = np.exp(0.12 * self._wander[:-1])
            source[Slow.FINE] = a * 0.7 * self._outdoor_fine * shared * own
            source[Slow.COARSE] = a * 0.3 * self._outdoor_coarse * shared
            source[Slow.COARSE] += who * self._resuspended * 300 * person * own
            source[Slow.AMBIENT_FINE] = a * 0.8 * ambient[m, 0]
            source[Slow.AMBIENT_COARSE] = a * 0.4 * ambient[m, 1]
            source[Slow.CO2] = a * 430 + who * 18_000 * person
            source[Slow.WATER] = a * self._outdoor_water + 1.0 * self._outdoor_water
            source[Slow.WATER] += who * 50 * person
            daily = 1.2 * np.sin((hour[m] - 9) / 24 * 2 * np.pi)
            source[Slow.TEMP] = (a + 3.0) * (self._set_temp + daily + 0.4 * self._wander[:-1])
            source[Slow.TEMP] += who * 25 * person
            source[_G0:] = self._materials.T * (1.5 + 0.5 * own)
            source[Slow.ALCOHOL] += who * 800 * person
            source[Slow.TERPENE] += who * 300 * person
            loss = a + deposition
            keep = np.exp(-loss * step_h)
            self._state = self._state * keep + source / loss * (1 - keep)
            out[m + 1] = self._state
        return out


def humidity(water_g_m3: NDArray[np.float64], temp_c: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the relative humidity, %, at most 100."""
    return np.minimum(100 * water_g_m3 / saturation_g_m3(temp_c), 100.0)
