"""Draw a school: its hours, habits and air, and building-wide events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from research.worlds.parcels.draws import Floats, draw_log, log_normal
from research.worlds.parcels.substances import ALCOHOL, SMOKE, TERPENE, mode, to_bins

if TYPE_CHECKING:
    from numpy.random import Generator

WARM_UP_S: Final = 3600
"""Time simulated before the first reading."""

_DAY_MIN: Final = 1440


@dataclass(frozen=True, slots=True)
class SiteEvent:
    """Polluted air around or inside the whole building.

    - `start`: seconds after the world's start.
    - `particles`, `gases`: in µg/m³ by bin, and in mg/m³ by substance.
    """

    style: str
    start: float
    duration: float
    particles: Floats
    gases: dict[int, float]


@dataclass(frozen=True, slots=True)
class School:
    """Properties that all rooms of one school share.

    - `first_hour`, `weekday`: local hour and day of the week at the world's start.
    - `plan`: kind of schedule.
    - `opens`: local hour at which the school opens.
    - `lesson`, `recess`, `lunch`: lengths in minutes.
    - `lesson_share`, `lesson_vaping`: crowd and vaping during lessons, relative to breaks.
    - `evening`, `weekend`: factors for both at these times.
    - `pm25`, `tvoc`, `co2`: background in µg/m³, ppb and ppm.
    - `hygroscopicity`: kappa of background particles.
    - `sanitizer`, `spray`: probability per visit.
    - `smoking`: cigarettes per day and room.
    - `styles`, `particle_sensors`, `voc_sensors`: shares by kind.
    """

    seed: int
    first_hour: float
    weekday: int
    plan: str
    opens: float
    lesson: float
    recess: float
    lunch: float
    lessons: int
    lunch_after: int
    evening: float
    lesson_share: float
    lesson_vaping: float
    weekend: float
    pm25: float
    hygroscopicity: float
    tvoc: float
    rh: float
    temp: float
    co2: float
    styles: Floats
    spray: float
    sanitizer: float
    has_dryers: bool
    cleaning_hours: list[float]
    smoking: float
    particle_sensors: Floats
    voc_sensors: Floats
    outages: float
    site_events: list[SiteEvent]

    def is_weekend(self, day: int) -> bool:
        """Return whether a day has no lessons; day 0 is the world's first."""
        return (self.weekday + day) % 7 >= 5

    def hour(self, seconds: Floats) -> Floats:
        """Return the local hour of the day."""
        return (self.first_hour + seconds / 3600) % 24


def draw_school(seed: int, hours: float) -> School:
    """Draw a school; the order of draws is part of the world."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 7001]))
    first_hour = rng.uniform(4.5, 9.5)
    weekday = int(rng.integers(0, 5))
    plan = str(rng.choice(["bell", "block", "college", "primary"], p=[0.47, 0.27, 0.18, 0.08]))
    opens = rng.uniform(7.2, 9.0)
    lesson = {
        "bell": rng.uniform(40, 55),
        "block": rng.uniform(75, 95),
        "college": rng.uniform(50, 100),
        "primary": rng.uniform(35, 50),
    }[plan]
    recess = rng.uniform(4, 15)
    lunch = rng.uniform(25, 55)
    has_short_lessons = plan in {"bell", "primary"}
    lessons = int(rng.integers(6, 9)) if has_short_lessons else int(rng.integers(4, 6))
    return School(
        seed=seed,
        first_hour=first_hour,
        weekday=weekday,
        plan=plan,
        opens=opens,
        lesson=lesson,
        recess=recess,
        lunch=lunch,
        lessons=lessons,
        lunch_after=int(np.ceil(lessons / 2)) + int(rng.integers(-1, 1)),
        evening=rng.uniform(0, 0.5) if rng.random() < 0.5 else rng.uniform(0, 0.08),
        lesson_share=draw_log(rng, 0.06, 0.3),
        lesson_vaping=rng.uniform(0.4, 0.95),
        weekend=float(rng.choice([0.01, 0.05, 0.3], p=[0.5, 0.3, 0.2])),
        pm25=log_normal(rng, 7, 0.65, 2, 38),
        hygroscopicity=rng.uniform(0.08, 0.4),
        tvoc=log_normal(rng, 260, 1.1, 30, 3500),
        rh=rng.uniform(25, 68),
        temp=rng.uniform(17, 26),
        co2=rng.uniform(405, 470),
        styles=rng.dirichlet(np.array([2.2, 2.6, 0.8, 1.1, 1.0])),
        spray=draw_log(rng, 0.004, 0.045),
        sanitizer=rng.choice([0, 1], p=[0.35, 0.65]) * draw_log(rng, 0.02, 0.25),
        has_dryers=rng.random() < 0.65,
        cleaning_hours=sorted(
            rng.choice(
                [5.5, 6.5, 10.5, 13.5, 15.5, 17.0, 18.5, 21.0, 22.5],
                int(rng.integers(1, 4)),
                replace=False,
            )
        ),
        smoking=draw_log(rng, 0.02, 0.5),
        particle_sensors=rng.dirichlet(np.full(8, 0.55)) * 0.85 + 0.15 / 8,
        voc_sensors=rng.dirichlet(np.full(6, 0.8)) * 0.85 + 0.15 / 6,
        outages=draw_log(rng, 0.3, 3),
        site_events=_draw_site_events(rng, hours),
    )


def _draw_site_events(rng: Generator, hours: float) -> list[SiteEvent]:
    a_day = draw_log(rng, 0.15, 1.3)
    return [_draw_site_event(rng, hours) for _ in range(rng.poisson(a_day * max(hours, 4) / 24))]


def _draw_site_event(rng: Generator, hours: float) -> SiteEvent:
    style = str(
        rng.choice(
            ["wildfire", "mowing", "hvac", "wax", "burnt", "roadwork"],
            p=[0.15, 0.25, 0.2, 0.12, 0.18, 0.1],
        )
    )
    start = rng.uniform(0, hours * 3600)
    gases: dict[int, float] = {}
    if style == "wildfire":
        duration = rng.uniform(1, 10) * 3600
        particles = mode(draw_log(rng, 15, 150), rng.uniform(0.25, 0.45), 1.7)
        gases = {SMOKE: draw_log(rng, 0.02, 0.3)}
    elif style == "mowing":
        duration = rng.uniform(15, 70) * 60
        particles = mode(draw_log(rng, 10, 120), rng.uniform(4, 9), 2.1)
        particles += mode(draw_log(rng, 1, 15), 0.3, 1.8)
        gases = {TERPENE: draw_log(rng, 0.05, 1), SMOKE: draw_log(rng, 0.02, 0.4)}
    elif style == "hvac":
        duration = rng.uniform(2, 15) * 60
        particles = mode(draw_log(rng, 5, 80), rng.uniform(2.5, 6), 2.1)
        particles += mode(draw_log(rng, 1, 8), 0.5, 1.8)
    elif style == "wax":
        duration = rng.uniform(0.5, 4) * 3600
        particles = mode(draw_log(rng, 0.5, 4), 0.4, 1.8)
        gases = {ALCOHOL: draw_log(rng, 0.5, 15), TERPENE: draw_log(rng, 0.2, 4)}
    elif style == "burnt":
        duration = rng.uniform(5, 40) * 60
        particles = mode(draw_log(rng, 20, 300), rng.uniform(0.2, 0.4), 1.7)
        gases = {SMOKE: draw_log(rng, 0.1, 2)}
    else:
        duration = rng.uniform(0.3, 3) * 3600
        particles = mode(draw_log(rng, 10, 100), rng.uniform(4, 9), 2.2)
        particles += mode(draw_log(rng, 2, 15), 0.35, 1.8)
        gases = {SMOKE: draw_log(rng, 0.02, 0.3)}
    return SiteEvent(style, start, duration, to_bins(particles), gases)


def crowd(school: School, minutes: Floats) -> tuple[Floats, Floats]:
    """Return how busy rooms are, and how much people vape, both 0-1.

    - `minutes`: minutes since local midnight before the world's start.
    """
    day = (minutes // _DAY_MIN).astype(int)
    minute = minutes % _DAY_MIN
    busy, vaping = (_college_day if school.plan == "college" else _bell_day)(school, minute)
    if school.plan == "primary":
        vaping *= 0.8
    is_weekend = ((school.weekday + day) % 7) >= 5
    busy = np.where(is_weekend, busy * school.weekend + 0.0005, busy)
    return busy, np.where(is_weekend, vaping * school.weekend, vaping)


def _college_day(school: School, minute: Floats) -> tuple[Floats, Floats]:
    start, end = school.opens * 60, 21.5 * 60
    is_open = (minute > start) & (minute < end)
    hump = np.sin(np.pi * np.clip((minute - start) / (end - start), 0, 1)) ** 0.7
    into_lecture = (minute - start) % (school.lesson + school.recess)
    from_recess = into_lecture - school.lesson - school.recess / 2
    pulse = np.exp(-((from_recess / (school.recess * 0.6 + 2)) ** 2))
    busy = np.where(is_open, 0.01 + hump * (school.lesson_share * 1.4 + 0.8 * pulse), 0.002)
    vaping = 0.15 + 0.85 * hump * np.maximum(pulse, school.lesson_vaping)
    return busy, np.where(is_open, vaping, 0.01)


def _bell_day(school: School, minute: Floats) -> tuple[Floats, Floats]:
    busy, vaping = np.full(len(minute), 0.002), np.full(len(minute), 0.01)

    def fill(start: float, end: float, busy_share: float, vaping_share: float) -> None:
        now = (minute >= start) & (minute < end)
        busy[now], vaping[now] = busy_share, vaping_share

    t = school.opens * 60
    fill(t - 30, t, 0.35, 0.5)
    for lesson in range(1, school.lessons + 1):
        fill(t, t + school.lesson, school.lesson_share, school.lesson_vaping)
        t += school.lesson
        pause = school.lunch if lesson == school.lunch_after else school.recess
        if lesson < school.lessons:
            fill(t, t + pause, 0.6 if pause > 20 else 1.0, 1.0)
            t += pause
    fill(t, t + 25, 0.5, 0.7)
    fill(t + 25, t + 25 + 240, 0.01 + 0.25 * school.evening, 0.02 + 0.5 * school.evening)
    return busy, vaping
