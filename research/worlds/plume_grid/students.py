"""Draw students' behavior: visits as a Markov chain, and vaping as a point process.

The bell schedule determines how many students are in the corridors (1 is a break). Visits are a
Poisson process with that intensity. Each visitor goes to the stall, basin, dryer and mirror with
the room's probabilities, and causes flushes, taps and sprays. Vaping sessions are a separate
Poisson process: at the full rate in breaks, and at 0.6 times that rate during lessons, when the
room is empty. One session in eight is masked; one in ten closely follows another act. The bell
times have no source. The number of nuisances (20-60 a day in quiet rooms, 150-250 in busy ones) is
from the README in `research/worlds`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from research.worlds.plume_grid import emissions
from research.worlds.plume_grid.emissions import Act, Place
from research.worlds.plume_grid.grid import BLOCK_S, COLUMNS, DOOR, PLACES, ROWS
from sensor_sim.streams import draw_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

START_OF_DAY_S: Final = 8.22 * 3600
"""Local time at which a world starts: Monday, 8:13 AM."""
VISIT_HOURS: Final = 2.7
"""A school day has about as many visits as this many hours of full intensity."""


@dataclass(frozen=True, slots=True)
class Bells:
    """Intensity of visits and of vaping at each minute of the world."""

    visits: NDArray[np.float64]
    vaping: NDArray[np.float64]


def ring_bells(rng: np.random.Generator, hours: float) -> Bells:
    """Draw a school's schedule, and return the intensities at each minute of the world."""
    begin = 60 * rng.uniform(7.75, 8.5)
    lesson, passing, lunch = rng.uniform(40, 55), rng.uniform(4, 9), rng.uniform(25, 45)
    periods = int(rng.integers(6, 9))
    visits = np.full(1440, 0.002)
    vaping = np.zeros(1440)
    minutes = np.arange(1440)

    def during(start: float, length: float, visit: float, vape: float) -> float:
        now = (minutes >= start) & (minutes < start + length)
        visits[now], vaping[now] = visit, vape
        return start + length

    during(begin - 35, 35, 0.5, 1.0)
    t = begin
    for period in range(periods):
        t = during(t, lesson, 0.18, 0.6)
        if period == periods // 2 - 1:
            t = during(t, lunch, 0.8, 1.0)
        elif period + 1 < periods:
            t = during(t, passing, 1.0, 1.0)
    t = during(t, 20, 0.7, 1.0)
    during(t, rng.uniform(60, 180), 0.08, 0.3)
    of_day = (START_OF_DAY_S / 60 + np.arange(int(np.ceil(hours * 60)))).astype(int)
    school_day = of_day // 1440 % 7 < 5
    return Bells(
        np.where(school_day, visits[of_day % 1440], 0.004),
        np.where(school_day, vaping[of_day % 1440], 0.0),
    )


@dataclass(frozen=True, slots=True)
class Habits:
    """A room's equipment and use."""

    visits_day: float
    has_dryer: bool
    has_sanitizer: bool
    hot_water: float
    sprays: float
    vape_factor: float
    rare: dict[str, float]
    diffuser: bool


def draw_habits(rng: np.random.Generator) -> Habits:
    """Draw a busy or a quiet room."""
    busy = rng.random() < 0.6
    keen = {k: draw_log(rng, low, high) for k, (_, low, high) in emissions.RARE.items()}
    if rng.random() < 0.1:  # next to a gym's showers
        keen["shower"] = rng.uniform(2, 8)
    return Habits(
        visits_day=rng.uniform(50, 85) if busy else draw_log(rng, 6, 20),
        has_dryer=rng.random() < 0.6,
        has_sanitizer=rng.random() < 0.45,
        hot_water=rng.uniform(0, 0.6) if rng.random() < 0.6 else 0.0,
        sprays=draw_log(rng, 0.05, 0.5),
        vape_factor=draw_log(rng, 0.4, 2.2),
        rare=keen,
        diffuser=rng.random() < 0.12,
    )


@dataclass(slots=True)
class Day:
    """All acts in a room, and the people in each column by block, shape (blocks, columns)."""

    acts: list[Act]
    people: NDArray[np.float64]
    passages: NDArray[np.float64] = field(repr=False)


def _poisson(
    rng: np.random.Generator, intensity: NDArray[np.float64], rate_h: float
) -> NDArray[np.float64]:
    """Draw times in seconds of a Poisson process; `rate_h` is its hourly rate at intensity 1."""
    counts = rng.poisson(intensity * rate_h / 60)
    return np.asarray(
        np.sort((np.repeat(np.arange(len(counts)), counts) + rng.random(counts.sum())) * 60.0)
    )


_Stay = tuple[list[Act], float, str]
"""A visitor's acts at a station, when they end, and the next station."""


class RoomLife:
    """Draws the acts in one room."""

    def __init__(
        self, rng: np.random.Generator, habits: Habits, place: Place, bells: Bells, hours: float
    ) -> None:
        self._rng = rng
        self._habits = habits
        self._place = place
        self._bells = bells
        self._end = hours * 3600
        blocks = int(np.ceil(self._end / BLOCK_S))
        self._people = np.zeros((blocks, COLUMNS))
        self._passages = np.zeros(blocks)
        self._stations: dict[str, Callable[[float, Place], _Stay]] = {
            "stall": self._stall,
            "basin": self._basin,
            "dryer": self._dryer,
            "mirror": self._mirror,
            "talk": self._talk,
        }

    def live(self, vape_rate: float, nuisance_rate: float) -> Day:
        """Draw all acts, sorted by onset; some may end after the world does."""
        rng = self._rng
        acts: list[Act] = []
        rate = nuisance_rate * self._habits.visits_day / VISIT_HOURS
        for at in _poisson(rng, self._bells.visits, rate):
            acts.extend(self._visit(float(at)))
        awake = (self._bells.visits > 0.01).astype(float)
        for name, per_day in self._habits.rare.items():
            draw = emissions.RARE[name][0]
            times = _poisson(rng, awake, nuisance_rate * per_day / 9)
            acts.extend(draw(rng, float(at), self._somewhere()) for at in times)
        if self._habits.diffuser:
            acts.append(Act("diffuser", "reed", 0.0, self._end))
        ordinary = [a for a in acts if a.kind not in {"diffuser", "flush", "tap"}]
        for at in _poisson(rng, self._bells.vaping, vape_rate * self._habits.vape_factor):
            acts.extend(self._session(float(at), ordinary))
        acts = [a for a in acts if a.onset < self._end]
        return Day(sorted(acts, key=lambda a: a.onset), self._people, self._passages)

    def _somewhere(self) -> Place:
        return replace(self._place, column=int(self._rng.integers(COLUMNS)))

    def _stand(self, start: float, stop: float, column: int) -> None:
        first, last = int(start // BLOCK_S), int(np.ceil(stop / BLOCK_S))
        self._people[max(first, 0) : max(last, 0), column] += 1

    def _walk_through_door(self, at: float) -> None:
        block = int(at // BLOCK_S)
        if 0 <= block < len(self._passages):
            self._passages[block] += 1

    def _session(self, at: float, others: list[Act]) -> Iterator[Act]:
        rng = self._rng
        if others and rng.random() < 0.1:
            other = others[int(rng.integers(len(others)))]
            at = other.onset + rng.uniform(-20, 120)
        place = self._somewhere()
        # half of the sessions are moved to a stall
        if rng.random() < 0.5:
            place = replace(place, column=int(rng.integers(PLACES)))
        session = emissions.vape(rng, max(at, 0.0), place)
        self._stand(session.onset - 60, session.end + 30, place.column)
        self._walk_through_door(session.onset - 60)
        self._walk_through_door(session.end + 30)
        yield session
        if rng.random() < emissions.MASK_SHARE:
            yield emissions.mask(rng, max(session.onset + rng.uniform(-20, 60), 0.0), place)

    def _visit(self, at: float) -> Iterator[Act]:
        """Move one visitor from station to station until they leave."""
        self._walk_through_door(at)
        state = str(
            self._rng.choice(["stall", "basin", "mirror", "talk"], p=[0.68, 0.17, 0.1, 0.05])
        )
        t = at + 5
        while state != "door":
            row = {"stall": 0, "basin": ROWS - 1, "mirror": ROWS - 1}.get(state)
            column = DOOR if row is None else row * PLACES + int(self._rng.integers(PLACES))
            acts, stop, following = self._stations[state](t, replace(self._place, column=column))
            yield from acts
            self._stand(t, stop, column)
            state, t = following, stop
        self._walk_through_door(t + 5)

    def _stall(self, t: float, place: Place) -> _Stay:
        stop = t + draw_log(self._rng, 30, 300)
        flushes = self._rng.random() < 0.93
        following = "basin" if self._rng.random() < 0.8 else "door"
        return ([emissions.flush(self._rng, stop, place)] if flushes else []), stop, following

    def _basin(self, t: float, place: Place) -> _Stay:
        rng, habits = self._rng, self._habits
        wash = emissions.hot_tap if rng.random() < habits.hot_water else emissions.tap
        acts = [wash(rng, t, place)]
        stop = acts[0].end
        if habits.has_sanitizer and rng.random() < 0.2:
            acts.append(emissions.sanitizer(rng, stop, place))
        draw = rng.random()
        if habits.has_dryer and draw < 0.65:
            return acts, stop, "dryer"
        return acts, stop, "mirror" if draw > 0.88 else "door"

    def _dryer(self, t: float, place: Place) -> _Stay:
        act = emissions.dryer(self._rng, t, place)
        return [act], act.end, "door"

    def _mirror(self, t: float, place: Place) -> _Stay:
        stop = t + draw_log(self._rng, 10, 120)
        sprays = self._rng.random() < self._habits.sprays
        return ([emissions.spray(self._rng, stop, place)] if sprays else []), stop, "door"

    def _talk(self, t: float, _place: Place) -> _Stay:
        return [], t + draw_log(self._rng, 30, 400), "door"
