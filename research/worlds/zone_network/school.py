"""A school: its bell schedule, people's habits, and the air around its restrooms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.ndimage import uniform_filter1d

from research.worlds.zone_network.series import draw_log, fluctuation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

VAPING_STYLES: Final = ("pod", "disposable", "mod", "thc", "stealth")
DEVICES: Final = ("pms5003", "pms7003", "sps30", "sen55", "opcn3", "sds011", "gs601", "mt14")


@dataclass(frozen=True, slots=True)
class BellSchedule:
    """When people use restrooms.

    - `hour`, `density`: hour of the day and density of people (0-1, 1 in a break) at every second.
    - `starts`, `closes`: first and last bell, hours of the day.
    """

    first_hour: float
    starts: float
    closes: float
    hour: Floats
    density: Floats


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Corridor and outdoor air by minute: µg/m³, ppb, °C, %, CO2 in ppm above outdoor air."""

    particles: Floats
    dust: Floats
    smoke: Floats
    voc_ppb: Floats
    temperature: Floats
    humidity: Floats
    co2: Floats


@dataclass(frozen=True, slots=True)
class School:
    """Properties that all rooms of a world share.

    - `sanitizes`, `hot_water`, `grooms`, `has_dispensers`: shares of people, taps, rooms.
    - `fan_modes`, `vaping_styles`, `device_shares`: share of each; each sums to 1.
    - `site_events`: smoke and mowing around the building: style, start and end, s.
    """

    seconds: int
    bells: BellSchedule
    surroundings: Surroundings
    sanitizes: float
    hot_water: float
    grooms: float
    has_dispensers: float
    fan_modes: list[float]
    vaping_styles: list[float]
    device_shares: list[float]
    site_events: list[tuple[str, float, float]]

    @property
    def days(self) -> float:
        """Simulated days."""
        return self.seconds / 86400


def draw_school(rng: np.random.Generator, hours: float) -> School:
    """Draw a school and its air for `hours`."""
    seconds = round(hours * 3600)
    bells = _draw_bells(rng, hours, seconds)
    background = draw_log(rng, 1.5, 14) if rng.random() < 0.75 else draw_log(rng, 14, 42)
    humidity, set_point, night_drop = (
        rng.uniform(22, 72),
        rng.uniform(19, 25.5),
        rng.uniform(0, 3.5),
    )
    voc = draw_log(rng, 30, 1200)
    habits = {
        "sanitizes": rng.uniform(0.03, 0.6),
        "hot_water": rng.uniform(0.1, 0.8),
        "grooms": draw_log(rng, 0.015, 0.13),
    }
    # in each school, a few kinds of fan, vaping and device dominate
    fan_modes = rng.dirichlet([1.2, 1.5, 1.2, 0.7, 0.7]).tolist()
    styles = rng.dirichlet([2.2, 2.2, 1.0, 0.8, 1.0]).tolist()
    has_dispensers = rng.uniform(0, 0.5)
    devices = rng.dirichlet([0.8, 0.5, 0.7, 0.8, 0.6, 0.35, 0.7, 0.5]).tolist()

    minutes = seconds // 60 + 2
    hour = (bells.first_hour + np.arange(minutes) / 60) % 24
    particles = (
        background
        * np.exp(0.35 * fluctuation(rng, minutes, 90) + 0.1 * fluctuation(rng, minutes, 8))
        * np.exp(-0.06)
    )
    dust = background * draw_log(rng, 0.2, 1.5) * np.exp(0.5 * fluctuation(rng, minutes, 40))
    voc_ppb = voc * 0.3 * np.exp(0.3 * fluctuation(rng, minutes, 120))
    is_night = (hour < bells.starts - 1.5) | (hour > bells.closes + 3)
    temperature = (
        set_point
        - night_drop * is_night
        + rng.uniform(0, 1.2) * np.sin((hour - 9) / 24 * 2 * np.pi)
    )
    humidity_series = np.clip(humidity + 4 * fluctuation(rng, minutes, 240), 15, 85)
    crowd = np.interp(np.arange(minutes) * 60, np.arange(seconds), np.clip(bells.density * 3, 0, 1))
    co2 = uniform_filter1d(crowd, 60) * draw_log(rng, 60, 900) + rng.uniform(0, 60)
    surroundings = Surroundings(
        particles=particles,
        dust=dust,
        smoke=np.zeros(minutes),
        voc_ppb=voc_ppb,
        temperature=uniform_filter1d(temperature, 90),
        humidity=humidity_series,
        co2=co2,
    )
    return School(
        seconds=seconds,
        bells=bells,
        surroundings=surroundings,
        has_dispensers=has_dispensers,
        fan_modes=fan_modes,
        vaping_styles=styles,
        device_shares=devices,
        site_events=_draw_site_events(rng, hours, surroundings),
        **habits,
    )


def _draw_bells(rng: np.random.Generator, hours: float, seconds: int) -> BellSchedule:
    t = np.arange(seconds)
    first_hour = rng.uniform(0, 24) if hours >= 24 else rng.uniform(7.4, 9.5)
    first_weekday = int(rng.integers(0, 5)) if hours <= 30 else int(rng.integers(0, 7))
    hour = (first_hour + t / 3600) % 24
    day = ((first_hour + t / 3600) // 24).astype(int)
    starts, lesson, pause = (
        rng.uniform(7.3, 9.0),
        rng.uniform(38, 92) / 60,
        rng.uniform(4, 22) / 60,
    )
    lessons = int(np.clip(round(rng.uniform(5.2, 7.2) / (lesson + pause)), 3, 9))
    lunch, lunch_after = rng.uniform(25, 60) / 60, int(np.ceil(lessons / 2))
    in_lessons = rng.uniform(0.10, 0.45)
    density = np.full(seconds, rng.uniform(0.001, 0.008))
    density[(hour > starts - 0.5) & (hour < starts)] = rng.uniform(0.4, 0.9)
    x = starts
    for i in range(1, lessons + 1):
        density[(hour >= x) & (hour < x + lesson)] = in_lessons * rng.uniform(0.6, 1.4)
        x += lesson
        length = lunch if i == lunch_after else pause
        crowd = rng.uniform(0.7, 1.0) if i == lunch_after else 1.0
        density[(hour >= x) & (hour < x + length)] = crowd
        x += length
    evening = rng.uniform(1, 5)
    density[(hour >= x) & (hour < x + evening)] = np.maximum(0.04, rng.uniform(0.02, 0.35))
    weekend = (first_weekday + day) % 7 >= 5
    density[weekend] = np.minimum(density[weekend], 0.02)
    return BellSchedule(first_hour=first_hour, starts=starts, closes=x, hour=hour, density=density)


def _draw_site_events(
    rng: np.random.Generator, hours: float, air: Surroundings
) -> list[tuple[str, float, float]]:
    """Draw smoke and mowing around the building, and add them to `air`."""
    events = []
    minutes = air.smoke.size
    for _ in range(rng.poisson(0.45 * hours / 24)):
        begin = int(rng.integers(0, max(1, minutes - 10)))
        end = min(minutes, begin + int(draw_log(rng, 15, 240)))
        n = end - begin
        if rng.random() < 0.55:
            level = draw_log(rng, 15, 220)
            lumps = np.exp(0.5 * fluctuation(rng, n, 5))
            ramp = np.minimum(1, np.arange(n) / rng.uniform(2, 15))
            air.smoke[begin:end] += level * lumps * ramp
            air.voc_ppb[begin:end] *= 1 + level / 250
            style = "smoke"
        else:
            air.dust[begin:end] += draw_log(rng, 15, 150) * np.exp(0.7 * fluctuation(rng, n, 2))
            air.voc_ppb[begin:end] += draw_log(rng, 20, 250)
            style = "mowing"
        events.append((style, begin * 60.0, end * 60.0))
    return events
