"""Draw rooms, their ventilation, the corridor's air, and how busy a school is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.signal import lfilter

from research.worlds.world import EPOCH
from sensor_sim.streams import draw_log

if TYPE_CHECKING:
    from numpy.typing import NDArray

DAY_S: Final = 86_400
_LOCAL_S: Final = EPOCH - 5 * 3600
"""The school's local time is UTC-5."""
_BELLS: Final = (8.0, 8.95, 9.9, 10.85, 11.6, 12.3, 13.25, 14.2)
"""When lessons and lunch start, local hours."""
_FANS: Final = ("always", "hours", "presence", "cycle", "broken")
CUTS_UM: Final = (0.1, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0)
"""Edges of the size bins, like an optical counter's."""
CENTERS_UM: Final = np.sqrt(np.array(CUTS_UM[:-1]) * np.array(CUTS_UM[1:]))
OUTDOOR_SHARES: Final = np.array([0.22, 0.18, 0.11, 0.08, 0.13, 0.16, 0.12])
"""Each bin's share of PM10 in a school's air; half is PM2.5 (Dosumu 2025: 5.8 of 11.2 µg/m³)."""


@dataclass(frozen=True, slots=True)
class Room:
    """One restroom with one sensor; lengths in m, rates in 1/h."""

    size: NDArray[np.float64]
    sensor: NDArray[np.float64]
    exhaust: NDArray[np.float64]
    door: NDArray[np.float64]
    sink: NDArray[np.float64]
    stalls: NDArray[np.float64]
    fan: str
    fan_on: float
    fan_off: float
    surface: float
    """Surface for deposition, relative to an empty room."""
    swirl: float
    """Speed of the rolls in undisturbed air, m/s."""
    temp: float
    freshener_s: float
    """Interval of an automatic air freshener, s; 0 if there is none."""
    has_shower: bool
    walls_s: float
    """Time in which walls release the solvent that they absorbed, s."""

    @property
    def volume(self) -> float:
        """Volume, m³."""
        return float(np.prod(self.size))


def draw_room(rng: np.random.Generator) -> Room:
    """Draw a restroom of 18-80 m³; ASHRAE 62.1 gives 6-15 air changes an hour with the fan on."""
    height = rng.uniform(2.4, 3.0)
    floor = draw_log(rng, 18.0, 80.0) / height
    length = np.sqrt(floor * rng.uniform(1.1, 2.4))
    size = np.array([length, floor / length, height])
    count = int(np.clip(length / 1.1, 1, 6))
    stalls = np.array(
        [[(i + 0.5) * length / count, size[1] - 0.6, rng.uniform(1.05, 1.3)] for i in range(count)]
    )
    on_ceiling = rng.random() < 0.75
    sensor = size * np.array([rng.uniform(0.15, 0.85), rng.uniform(0.2, 0.85), 1.0])
    sensor[2] = height - 0.05 if on_ceiling else rng.uniform(2.0, 2.3)
    sensor[1] = sensor[1] if on_ceiling else size[1] - 0.06
    return Room(
        size=size,
        sensor=sensor,
        exhaust=size * np.array([rng.uniform(0.2, 0.9), rng.uniform(0.4, 0.9), 0.98]),
        door=np.array([0.1, rng.uniform(0.2, 0.8) * size[1], 1.2]),
        sink=np.array([rng.uniform(0.3, 0.8) * length, 0.4, 1.0]),
        stalls=stalls,
        fan=str(rng.choice(_FANS, p=[0.35, 0.25, 0.15, 0.15, 0.1])),
        fan_on=draw_log(rng, 3.0, 15.0),
        fan_off=draw_log(rng, 0.5, 2.0),
        surface=draw_log(rng, 1.0, 2.6),
        swirl=draw_log(rng, 0.008, 0.03),
        temp=rng.uniform(18.5, 24.0),
        freshener_s=float(rng.choice([0.0, 900.0, 1800.0], p=[0.9, 0.05, 0.05])),
        has_shower=bool(rng.random() < 0.08),
        walls_s=draw_log(rng, 1200.0, 5400.0),
    )


def local(seconds: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Convert seconds since `EPOCH` to the local hour of the day and the weekday (Monday is 0)."""
    at = _LOCAL_S + seconds
    return at % DAY_S / 3600, (at // DAY_S + 3) % 7


def crowd(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how busy a restroom is; 1 is the average over a school day's lessons and breaks."""
    hour, weekday = local(seconds)
    after_bell = (hour - np.array(_BELLS)[:, None]) % 24
    is_break = ((after_bell > 23.88) | (after_bell < 0.03)).any(axis=0)
    is_lunch = (hour > 11.6) & (hour < 12.3)
    level = np.where(is_break, 2.4, np.where(is_lunch, 1.6, 0.68))
    level = np.where((hour < 8) | (hour >= 15), 0.35, level)
    level = np.where((hour < 7) | (hour >= 17), 0.08, level)
    level = np.where((hour < 6) | (hour >= 22), 0.004, level)
    return np.where(weekday >= 5, 0.06 * level, level)


def wander(rng: np.random.Generator, n: int, tau: float, step: float = 1.0) -> NDArray[np.float64]:
    """Return an Ornstein-Uhlenbeck path of unit variance with `n` steps of `step` seconds."""
    keep = np.exp(-step / tau)
    noise = rng.standard_normal(n) * np.sqrt(1 - keep**2)
    path, _ = lfilter([1.0], [1.0, -keep], noise, zi=[keep * rng.standard_normal()])
    return np.asarray(path)


def air_changes(
    rng: np.random.Generator, room: Room, seconds: NDArray[np.float64], people: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the air changes per hour over time; `people` is the number of people present."""
    hour, weekday = local(seconds)
    step = float(seconds[1] - seconds[0])
    if room.fan == "hours":
        is_on = (hour > 6.5) & (hour < 18) & (weekday < 5)
    elif room.fan == "presence":  # keeps running for ten minutes
        recent = lfilter([1.0], [1.0, -np.exp(-step / 260)], (people > 0).astype(float))
        is_on = np.asarray(recent) * (1 - np.exp(-step / 260)) > 0.1
    elif room.fan == "cycle":
        is_on = (seconds + rng.uniform(0, 1800)) % 1800 < 700
    else:
        is_on = np.full(seconds.size, room.fan == "always")
    wind = np.exp(0.3 * wander(rng, seconds.size, 3600.0, step))
    door = 0.4 * np.minimum(people, 4)
    rate = np.where(is_on, room.fan_on, 0.0) + room.fan_off * wind + door
    return np.asarray(lfilter([1 - np.exp(-step / 15)], [1.0, -np.exp(-step / 15)], rate)) + 0.1


@dataclass(frozen=True, slots=True)
class School:
    """Corridor air over time: particles (µg/m³ PM10), VOC (ppm), water (g/m³), CO2 (ppm)."""

    dust: NDArray[np.float64]
    voc: NDArray[np.float64]
    water: NDArray[np.float64]
    co2: NDArray[np.float64]


def corridor(rng: np.random.Generator, seconds: NDArray[np.float64]) -> School:
    """Draw corridor air: PM2.5 mostly 3-12 µg/m³, CO2 737 +- 347 ppm, skewed TVOC (Dosumu 2025)."""
    step, n = float(seconds[1] - seconds[0]), seconds.size
    busy = np.asarray(lfilter([step / 1800], [1.0, -np.exp(-step / 1800)], crowd(seconds)))
    level = draw_log(rng, 4.0, 16.0) * (3.0 if rng.random() < 0.06 else 1.0)
    return School(
        dust=level * np.exp(0.35 * wander(rng, n, 20_000.0, step)) * (1 + 0.2 * busy),
        voc=draw_log(rng, 0.08, 0.6) * np.exp(0.3 * wander(rng, n, 9000.0, step)),
        water=rng.uniform(6.5, 12.0) * np.exp(0.06 * wander(rng, n, 30_000.0, step)),
        co2=440 + 260 * busy * rng.uniform(0.7, 1.5) + 15 * wander(rng, n, 2000.0, step),
    )
