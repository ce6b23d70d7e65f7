"""Plan a restroom's day: occupancy, fan, and events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from sensor_sim.physics.emission import Session
from sensor_sim.sources import BUILDING_WIDE, SOURCES
from sensor_sim.streams import draw_log, make_stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sensor_sim.physics.room import RoomAir
    from sensor_sim.school import Bells, Restroom, School

DAY_S: Final = 86_400
MINUTES: Final = 1440

Activity = Literal["ordinary", "hard_restroom", "demo"]
"""How busy the school is.

`ordinary`: a school day. `hard_restroom`: the hard detection benchmark. `demo`: an event a minute.
"""

HARD_NUISANCES_PER_DAY: Final = 200.0
HARD_VAPES_PER_DAY: Final = 14.0
DEMO_EVENTS_PER_MINUTE: Final = 1.2
_VAPES: Final = tuple(name for name, s in SOURCES.items() if s.kind == "vape")
_NUISANCES: Final = tuple(name for name, s in SOURCES.items() if s.hard_weight > 0)
_MASKS: Final = ("deodorant", "air_freshener", "hair_spray", "perfume", "hot_tap", "hand_sanitizer")


@dataclass(frozen=True, slots=True)
class DayPlan:
    """The plan of one room for one local day.

    - `people` (1440,): number of people in the room in each minute.
    - `fan_on` (1440,): whether the exhaust fan is on in each minute.
    - `sessions`: sorted by start.
    """

    people: NDArray[np.float64]
    fan_on: NDArray[np.bool_]
    sessions: tuple[Session, ...]


@dataclass(frozen=True, slots=True)
class Ambient:
    """Outdoor smoke or dust that reaches every room."""

    id: str
    source: str
    start: float
    end: float
    fine_ug_m3: float
    coarse_ug_m3: float
    ramp_s: float

    def get_level(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the level at each time, as a fraction of the plateau."""
        up = (time - self.start) / self.ramp_s
        down = (self.end - time) / self.ramp_s
        return np.clip(np.minimum(up, down), 0, 1)


def _select_hours(hours: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    return ((hours >= low) & (hours < high)).astype(np.float64)


def build_profiles(bells: Bells, weekday: int) -> dict[str, NDArray[np.float64]]:
    """Return relative rates for the minutes of a day; their mean over a school day is one.

    - `weekday`: 0 is Monday.
    - Returns (1440,): ``students``, ``visits``, ``passing``, ``open``, ``custodian``, ``sports``.
      On weekends, all rates are a twentieth, evenly from 9 AM to 5 PM.
    """
    hours = np.arange(MINUTES) / 60
    school = _select_hours(hours, bells.first, bells.last)
    cycle = (hours - bells.first) * 60 % (bells.period_min + bells.passing_min)
    passing = school * (cycle >= bells.period_min)
    lunch = _select_hours(hours, *bells.lunch)
    sports = _select_hours(hours, 17.5, 20.5) * (weekday in bells.sports_days)
    early = _select_hours(hours, bells.first - 0.5, bells.first)
    evening = _select_hours(hours, *bells.custodian)
    raw = {
        "visits": school + 6 * passing + 2 * lunch + early + 0.1 * evening + sports,
        "students": school + 1.5 * passing + 1.5 * lunch + 0.5 * early + 0.4 * sports,
        "passing": passing + 0.2 * lunch,
        "open": _select_hours(hours, 7, 18),
        "custodian": 2 * evening + 0.3 * school,
        "sports": _select_hours(hours, 18.5, 20.5) * (weekday in bells.sports_days) + 0.02 * school,
    }
    if weekday >= 5:
        weekend = _select_hours(hours, 9, 17)
        return {name: 0.05 * weekend * MINUTES / weekend.sum() for name in raw}
    return {name: v * MINUTES / max(v.sum(), 1e-9) for name, v in raw.items()}


def _sample_starts(
    rng: np.random.Generator, mean: float, profile: NDArray[np.float64]
) -> NDArray[np.float64]:
    n = int(rng.poisson(mean * profile.mean()))
    if n == 0:
        return np.empty(0)
    cumulative = np.cumsum(profile)
    minute = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")
    return np.asarray((np.minimum(minute, MINUTES - 1) + rng.random(n)) * 60.0)


def _make_session(
    rng: np.random.Generator, room: str, day: int, number: int, source: str, start: float
) -> Session:
    emissions = tuple(SOURCES[source].draw(rng))
    end = start + max(max(e.times_s) + e.duration_s for e in emissions)
    name, kind = f"{room}/{day}/{number}", SOURCES[source].kind
    return Session(name, room, source, kind, start, end, emissions)


def _sample_ordinary(
    rng: np.random.Generator,
    restroom: Restroom,
    shapes: dict[str, NDArray[np.float64]],
    vape_rate: float,
    nuisance_rate: float,
    habits: dict[str, float],
) -> list[tuple[float, str]]:
    wanted: list[tuple[float, str]] = []
    for name, source in SOURCES.items():
        mean = source.per_day * habits[name]
        mean *= vape_rate if source.kind == "vape" else nuisance_rate
        if restroom.use == "staff" and source.when == "students":
            mean *= 0.1
        if restroom.use == "locker":
            mean = 6.0 * nuisance_rate if name == "shower" else mean
            mean *= 3.0 if name in {"deodorant", "hair_spray"} else 1.0
        wanted += [(float(t), name) for t in _sample_starts(rng, mean, shapes[source.when])]
    return wanted


def _sample_uniform(
    rng: np.random.Generator, vapes_per_day: float, nuisances_per_day: float
) -> list[tuple[float, str]]:
    weight = np.array([SOURCES[n].hard_weight for n in _NUISANCES])
    vape_weight = np.array([SOURCES[n].per_day for n in _VAPES])
    flat = np.ones(MINUTES)
    nuisances = _sample_starts(rng, nuisances_per_day, flat)
    vapes = _sample_starts(rng, vapes_per_day, flat)
    names = [
        *rng.choice(_NUISANCES, size=nuisances.size, p=weight / weight.sum()),
        *rng.choice(_VAPES, size=vapes.size, p=vape_weight / vape_weight.sum()),
    ]
    starts = np.concatenate([nuisances, vapes])
    return [(float(t), str(name)) for t, name in zip(starts, names, strict=True)]


def _add_companions(
    rng: np.random.Generator, wanted: list[tuple[float, str]], mask_chance: float
) -> list[tuple[float, str]]:
    """Add a spray or tap that masks the vaping, or a second person, to some vaping sessions."""
    out = list(wanted)
    for start, name in wanted:
        if SOURCES[name].kind != "vape":
            continue
        draw = rng.random()
        if draw < mask_chance:
            mask = str(rng.choice(_MASKS))
            # A spray usually follows the first puffs; a tap is opened before them.
            shift = rng.uniform(-60, -5) if mask == "hot_tap" else rng.uniform(-10, 60)
            out.append((max(start + float(shift), 0.0), mask))
        elif draw < mask_chance + 0.12:
            friend = str(rng.choice(_VAPES[:4]))
            out.append((start + rng.uniform(2, 60), friend))
    return out


def plan_day(
    school: School,
    restroom: Restroom,
    air: RoomAir,
    day: int,
    *,
    seed: int,
    activity: Activity,
    vape_rate: float,
    nuisance_rate: float,
) -> DayPlan:
    """Plan a room's day; the same arguments always give the same plan."""
    weekday = (day + 3) % 7
    rng = make_stream(seed, "day", restroom.id, day)
    shapes = build_profiles(school.bells, weekday)
    if activity == "ordinary":
        habit = make_stream(seed, "habits", restroom.id)
        habits = {name: float(habit.lognormal(-0.1, 0.45)) for name in SOURCES}
        wanted = _sample_ordinary(rng, restroom, shapes, vape_rate, nuisance_rate, habits)
        mask_chance = 0.15
        intensity = shapes["visits"]
        visits_per_day = 150.0 if restroom.use == "student" else 50.0
    else:
        if activity == "hard_restroom":
            vapes, nuisances = HARD_VAPES_PER_DAY, HARD_NUISANCES_PER_DAY
            mask_chance = 0.35
        else:
            share = DEMO_EVENTS_PER_MINUTE * MINUTES / max(len(school.restrooms), 1)
            vapes, nuisances = 0.35 * share, 0.65 * share
            mask_chance = 0.2
        # A second person or a mask adds a session, so draw fewer other sessions.
        wanted = _sample_uniform(
            rng, vapes * vape_rate / 1.1, (nuisances - mask_chance * vapes) * nuisance_rate
        )
        intensity = np.ones(MINUTES)
        visits_per_day = 400.0
    midnight = float(day * DAY_S - school.utc_offset_s)
    planned = sorted(_add_companions(rng, wanted, mask_chance))
    sessions = tuple(
        _make_session(rng, restroom.id, day, i, name, midnight + start)
        for i, (start, name) in enumerate(planned)
    )
    visits = rng.poisson(visits_per_day * intensity / MINUTES).astype(np.float64)
    people = np.convolve(visits, np.ones(4), mode="full")[:MINUTES]
    return DayPlan(people, _run_fan(air, people), sessions)


def _run_fan(air: RoomAir, people: NDArray[np.float64]) -> NDArray[np.bool_]:
    if air.fan == "always":
        return np.ones(MINUTES, bool)
    if air.fan == "broken":
        return np.zeros(MINUTES, bool)
    if air.fan == "schedule":
        hours = np.arange(MINUTES) / 60
        return np.asarray((hours >= 6) & (hours < 20))
    return np.convolve(people > 0, np.ones(15), mode="full")[:MINUTES] > 0


def plan_ambient(
    school: School, day: int, *, seed: int, nuisance_rate: float, activity: Activity
) -> tuple[Ambient, ...]:
    """Plan a local day's outdoor events: wildfire smoke and mowing."""
    rng = make_stream(seed, "ambient", day)
    midnight = float(day * DAY_S - school.utc_offset_s)
    factor = {"ordinary": 1.0, "hard_restroom": 30.0, "demo": 0.0}[activity]
    out: list[Ambient] = []
    for source, per_day in BUILDING_WIDE.items():
        for i in range(int(rng.poisson(per_day * nuisance_rate * factor))):
            start = midnight + rng.uniform(7, 16) * 3600
            if source == "wildfire":
                length, ramp = draw_log(rng, 7200, 43_200), draw_log(rng, 1200, 7200)
                fine, coarse = draw_log(rng, 20, 150), draw_log(rng, 2, 20)
            else:
                length, ramp = draw_log(rng, 600, 2400), draw_log(rng, 60, 300)
                fine, coarse = draw_log(rng, 5, 40), draw_log(rng, 40, 300)
            name = f"outdoors/{day}/{source}{i}"
            out.append(Ambient(name, source, start, start + length, fine, coarse, ramp))
    return tuple(out)
