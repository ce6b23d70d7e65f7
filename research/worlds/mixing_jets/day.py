"""Draw a school's day: people's activities by bell schedule, fans and weather by clock.

Visitors cause all acts except rare ones. They arrive in groups when the bells allow, and flush,
wash, dry their hands or spray with the room's probabilities. Custodians come after school.
Building-wide events affect each room according to its leakage.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from research.worlds.mixing_jets import acts
from research.worlds.mixing_jets.acts import Act
from research.worlds.mixing_jets.air import Room, correlated, draw_log

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DAY_S: Final = 86_400

_RARE_PER_DAY: Final[Mapping[str, tuple[float, float]]] = {
    "cigarette": (0.02, 0.5),
    "steam": (0.05, 3.0),
    "incense": (0.01, 0.1),
    "cooking": (0.02, 0.6),
    "fog": (0.01, 0.1),
    "nebulizer": (0.01, 0.2),
    "humidifier": (0.01, 0.2),
    "cleaning": (0.3, 2.0),
}
"""Mean number per room and school day."""


@dataclass(frozen=True, slots=True)
class BuildingEvent:
    """Smoke or dust from outside that rises and falls in all rooms over `hours`."""

    style: str
    start: float
    end: float
    pm25: float
    coarse: float
    ppm: float


@dataclass(frozen=True, slots=True)
class School:
    """Properties that all rooms of a world share.

    Attributes
    ----------
    activity : ndarray, shape (seconds,)
        How many people move around, relative to a break.
    days : float
        Number of school days in the world, weighted by activity.
    in_use : ndarray of bool, shape (seconds,)
        Whether the building's fans run.
    vape_styles : ndarray
        Shares of `acts.VAPE_STYLES`.
    humidity, temperature : float
        Seasonal means, %RH and °C.
    outdoor : ndarray, shape (seconds,)
        Relative PM2.5 from outside over time.
    """

    activity: Floats
    days: float
    in_use: NDArray[np.bool_]
    vape_styles: Floats
    humidity: float
    temperature: float
    outdoor: Floats
    events: tuple[BuildingEvent, ...]

    @classmethod
    def draw(cls, rng: np.random.Generator, seconds: int) -> School:
        """Draw a school; the world begins in the morning of a school day."""
        clock = (rng.uniform(6.7, 8.5) * 3600 + np.arange(seconds)) / 3600
        weekday = (clock // 24) % 7 < 5
        hour = clock % 24
        profile = _bells(rng, np.arange(DAY_S) / 3600)
        activity = profile[(hour * 3600).astype(np.intp) % DAY_S]
        activity[~weekday] *= 0.03
        # season: dry heated winters, humid late summers
        season = rng.uniform(-1, 1)
        events = tuple(_building_event(rng, seconds) for _ in range(rng.poisson(seconds / 2.0e5)))
        outdoor = np.exp(np.interp(np.arange(seconds), *_slow(rng, seconds, 5400, 0.3)))
        return cls(
            activity=activity,
            days=activity.sum() / profile.sum(),
            in_use=weekday & (hour > rng.uniform(5, 7.5)) & (hour < rng.uniform(16, 21)),
            vape_styles=rng.dirichlet(np.array([3.0, 4.0, 0.7, 1.2, 1.5])),
            humidity=47 + 14 * season + rng.normal(0, 4),
            temperature=20.5 + 2 * season + rng.normal(0, 1),
            outdoor=outdoor,
            events=events,
        )


def _bells(rng: np.random.Generator, hour: Floats) -> Floats:
    """Return the activity at each hour of the day."""
    activity = np.full(hour.size, 0.003)
    begin, lesson = rng.uniform(7.4, 9.0), rng.uniform(40, 90) / 60
    passing, lunch = rng.uniform(4, 12) / 60, rng.uniform(25, 50) / 60
    lessons = int(rng.uniform(6.2, 7.2) / (lesson + passing))
    activity[(hour > begin - 0.6) & (hour < begin)] = 0.7
    at = begin
    quiet = rng.uniform(0.12, 0.4)
    for number in range(lessons):
        activity[(hour >= at) & (hour < at + lesson)] = quiet
        at += lesson
        pause = lunch if number == lessons // 2 else passing
        activity[(hour >= at) & (hour < at + pause)] = 1.0
        at += pause
    activity[(hour >= at) & (hour < at + rng.uniform(1, 2.5))] = rng.uniform(0.1, 0.3)
    activity[(hour >= at + 2.5) & (hour < 22)] = rng.uniform(0.003, 0.04)
    return activity


def _slow(rng: np.random.Generator, seconds: int, step: int, sigma: float) -> tuple[Floats, Floats]:
    """Return the knots of a slow fluctuation around 0."""
    knots = np.arange(0, seconds + 2 * step, step, dtype=float)
    return knots, sigma * correlated(rng, knots.size, 4)


def _building_event(rng: np.random.Generator, seconds: int) -> BuildingEvent:
    style = str(rng.choice(["smoke", "mowing", "floor wax", "kitchen"]))
    start = rng.uniform(0, seconds)
    hours = draw_log(rng, 0.3, 8)
    particles = draw_log(rng, 10, 250)
    return BuildingEvent(
        style,
        start,
        min(start + 3600 * hours, seconds - 1),
        pm25=particles * {"smoke": 1, "mowing": 0.2, "floor wax": 0.02, "kitchen": 0.6}[style],
        coarse=particles * {"smoke": 0.1, "mowing": 2.0, "floor wax": 0.05, "kitchen": 0.1}[style],
        ppm=draw_log(rng, 0.05, 1)
        * {"smoke": 1, "mowing": 0.3, "floor wax": 8, "kitchen": 1}[style],
    )


@dataclass(frozen=True, slots=True)
class Habits:
    """What people do in one room.

    Attributes
    ----------
    visitors : float
        Visitors per school day.
    after : mapping of str to float
        Probability that a visitor performs each act.
    rare : mapping of str to float
        Mean number of rare acts per school day.
    vape_factor : float
        Frequency of vaping, relative to other rooms.
    masked : float
        Share of vaping sessions that people try to mask.
    dispenser_s : float
        Interval of an automatic freshener; 0 for none.
    """

    visitors: float
    after: Mapping[str, float]
    rare: Mapping[str, float]
    vape_factor: float
    masked: float
    dispenser_s: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Habits:
        """Draw a busy or a quiet room; two of five are quiet."""
        busy = rng.random() < 0.6
        after = {
            "flush": rng.uniform(0.6, 0.9),
            "tap": rng.uniform(0.4, 0.85),
            "dryer": rng.uniform(0.2, 0.6) * (rng.random() < 0.6),
            "sanitizer": draw_log(rng, 0.01, 0.12) * (rng.random() < 0.6),
            "spray": draw_log(rng, 0.003, 0.08),
            "dust": draw_log(rng, 0.01, 0.15),
        }
        acts_a_day = rng.uniform(150, 250) if busy else rng.uniform(20, 60)
        dispenser_s = rng.uniform(900, 3600) if busy and rng.random() < 0.15 else 0.0
        return cls(
            visitors=max(4.0, acts_a_day - (36_000 / dispenser_s if dispenser_s else 0))
            / sum(after.values()),
            after=after,
            rare={kind: draw_log(rng, *ends) for kind, ends in _RARE_PER_DAY.items()},
            vape_factor=rng.lognormal(-0.18, 0.6),
            masked=rng.uniform(0, 0.3),
            dispenser_s=dispenser_s,
        )


def times(rng: np.random.Generator, rate: Floats, mean: float) -> Floats:
    """Draw times of a Poisson process with relative rate `rate` and expected total `mean`."""
    total = np.cumsum(rate)
    return np.sort(
        np.searchsorted(total, rng.uniform(0, total[-1], rng.poisson(mean))).astype(float)
    )


def happenings(
    rng: np.random.Generator,
    school: School,
    room: Room,
    habits: Habits,
    rates: tuple[float, float],
) -> Iterator[Act]:
    """Draw the events in a room, given the rates of vaping and nuisances.

    Acts of kind "" only make a person present; the truth omits them.
    """
    vape_rate, nuisance_rate = rates
    activity = school.activity
    for onset in times(rng, activity, nuisance_rate * habits.visitors * school.days / 1.48):
        for _ in range(min(int(rng.geometric(0.67)), 4)):
            yield from _visit(rng, room, habits, onset + rng.uniform(0, 40))
    for kind, mean in habits.rare.items():
        course = activity
        if kind == "cleaning":
            course = np.where((activity > 0.003) & (activity < 0.45), 1.0, 0.0)
        for onset in times(rng, course, nuisance_rate * mean * school.days):
            yield acts.SIMPLE_ACTS[kind](rng, room, onset)
    if habits.dispenser_s:
        for onset in np.arange(rng.uniform(0, 900), activity.size, habits.dispenser_s):
            if school.in_use[int(onset)]:
                yield acts.spray(rng, room, float(onset), "dispenser")
    vaping = np.where(activity > 0.05, np.maximum(activity, 0.5), activity)
    mean = vape_rate * habits.vape_factor * vaping.sum() / 3600
    for onset in times(rng, vaping, mean):
        yield from _session(rng, school, room, habits, float(onset))


def _visit(rng: np.random.Generator, room: Room, habits: Habits, onset: float) -> Iterator[Act]:
    length = draw_log(rng, 60, 400)
    stay = acts.stay(rng, room, onset, length)
    yield Act("", "", onset, onset + length, (stay,))
    order = {"flush": 0.6, "spray": 0.7, "tap": 0.75, "dryer": 0.85, "sanitizer": 0.95, "dust": 0.5}
    for kind, chance in habits.after.items():
        if rng.random() < chance:
            at = onset + length * min(1.0, order[kind] + rng.normal(0, 0.05))
            yield acts.SIMPLE_ACTS[kind](rng, room, at)


def _session(
    rng: np.random.Generator, school: School, room: Room, habits: Habits, onset: float
) -> Iterator[Act]:
    style = str(rng.choice(list(acts.VAPE_STYLES), p=school.vape_styles))
    session = acts.vape(rng, room, onset, style)
    yield session
    length = session.end - onset + rng.uniform(30, 120)
    people = acts.stay(rng, room, max(0.0, onset - 30), length)
    yield Act("", "", onset, onset + length, (people,))
    if rng.random() < habits.masked:
        cover = "spray" if rng.random() < 0.7 else "steam"
        act = acts.SIMPLE_ACTS[cover](rng, room, session.end + rng.uniform(-20, 40))
        yield replace(act, kind="mask", style=cover)
    elif rng.random() < 0.06:  # after another act in the same air
        before = str(rng.choice(["spray", "steam", "dust"]))
        yield acts.SIMPLE_ACTS[before](rng, room, max(0.0, onset - rng.uniform(10, 240)))


def site_release(event: BuildingEvent, seconds: int) -> Floats:
    """Return a building-wide event's strength over time, at most 1."""
    now = np.arange(seconds)
    middle, width = (event.start + event.end) / 2, max(event.end - event.start, 600) / 5
    return np.asarray(np.exp(-0.5 * ((now - middle) / width) ** 2))


def air_changes(rng: np.random.Generator, school: School, fan_h: float, leak_h: float) -> Floats:
    """Return air changes per hour, from the fan (scheduled, by motion or always on) and doors."""
    habit = rng.choice(["schedule", "always", "off", "motion"], p=[0.45, 0.3, 0.1, 0.15])
    fan = np.zeros(school.activity.size)
    if habit == "schedule":
        fan[school.in_use] = 1.0
    elif habit == "always":
        fan += 1.0
    elif habit == "motion":
        fan = np.clip(school.activity * 3, 0.1, 1.0)
    return np.clip(leak_h + fan_h * fan + 1.5 * np.minimum(school.activity, 1.0), 0.3, 16.0)
