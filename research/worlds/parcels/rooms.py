"""Draw a restroom: its walls, air changes, air flow, and places where people stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from research.worlds.parcels.draws import Floats, draw_log, lagged, log_normal, wander
from research.worlds.parcels.schedule import WARM_UP_S, School, crowd
from research.worlds.parcels.substances import DIAMETER

if TYPE_CHECKING:
    from numpy.random import Generator

AFTERMATH_S: Final = 2600
"""Time simulated after the last reading, so that no cloud is cut off at an array's end."""

_DEPOSITION_DIAMETER: Final = (0.06, 0.12, 0.3, 0.5, 1, 2.5, 5, 10, 20, 40)
_DEPOSITION_H: Final = (0.9, 0.5, 0.28, 0.33, 0.55, 1.4, 3.4, 8, 24, 80)
_PURE_GLYCEROL: Final = 0.42
"""Typical evaporation rate, relative to an isolated droplet of pure glycerol."""


@dataclass(frozen=True, slots=True)
class Room:
    """One room over the whole simulation.

    - `rng`: the room's random generator; the order of all draws is part of the world.
    - `read_s`: seconds until the last reading, including warm-up.
    - `all_s`: seconds until the end of the simulation.
    - `box`, `volume`: length, width and height, m, and their product, m³.
    - `grille`, `sensor`, `door`: positions, m.
    - `eddy_speed`, `eddy_time`: speed and time scale of turbulence, m/s and s.
    - `stall_damping`: factor for motion in a stall.
    - `busy`, `vaping`: by minute, 0-1.
    - `peak_visits`: visits per hour when `busy` is 1.
    - `air_changes`, `exhaust`, `diffusivity`: by second, 1/h, m³/s and m²/s.
    - `cell_x`, `cell_y`, `drift_x`, `drift_y`: overturning and drift speeds by second, m/s.
    - `still_diffusivity`: diffusivity without ventilation or people.
    - `deposition`, `sorption`: hourly losses by bin and by gas.
    - `evaporation`: factor on the evaporation rate.
    """

    rng: Generator
    read_s: int
    all_s: int
    box: Floats
    volume: float
    grille: Floats
    sensor: Floats
    door: Floats
    stalls: int
    stall_damping: float
    eddy_speed: float
    eddy_time: float
    busy: Floats
    vaping: Floats
    peak_visits: float
    air_changes: Floats
    exhaust: Floats
    still_diffusivity: float
    diffusivity: Floats
    cell_x: Floats
    cell_y: Floats
    drift_x: Floats
    drift_y: Floats
    deposition: Floats
    sorption: Floats
    evaporation: float

    @property
    def seconds(self) -> Floats:
        """Time of every step, seconds after the world's start."""
        return np.arange(self.all_s, dtype=float) - WARM_UP_S

    def place(self, where: str) -> Floats:
        """Draw a position at a place such as ``stall`` or ``sink``, or anywhere if unknown."""
        rng = self.rng
        length, width, _ = self.box
        if where in {"stall", "bowl"}:
            x = (rng.integers(self.stalls) + 0.5) / self.stalls * length
            if where == "bowl":
                return np.array([x, width * 0.88, 0.4])
            return np.array([x, width * rng.uniform(0.72, 0.92), rng.uniform(1.05, 1.65)])
        if where == "fan":
            x, y = (
                np.clip(self.grille[axis] + rng.normal(0, 0.3), 0.1, self.box[axis] - 0.1)
                for axis in (0, 1)
            )
            return np.array([x, y, rng.uniform(1.5, 1.9)])
        across, along, height = {
            "sink": ((0.2, 0.9), (0.1, 0.3), (0.9, 1.2)),
            "mirror": ((0.2, 0.9), (0.15, 0.4), (1.25, 1.7)),
            "floor": ((0.1, 0.9), (0.1, 0.9), None),
        }.get(where, ((0.1, 0.9), (0.1, 0.9), (1.2, 1.6)))
        x, y = rng.uniform(*across) * length, width * rng.uniform(*along)
        return np.array([x, y, 0.15 if height is None else rng.uniform(*height)])


def draw_room(school: School, number: int, hours: float) -> Room:
    """Draw a room of the school and its ventilation."""
    rng = np.random.default_rng(np.random.SeedSequence([school.seed, 100 + number]))
    read_s = int(hours * 3600) + WARM_UP_S
    all_s = read_s + AFTERMATH_S
    height = rng.uniform(2.35, 3.4)
    volume = draw_log(rng, 15, 80)
    aspect = rng.uniform(1, 2.6)
    area = volume / height
    length = np.sqrt(area * aspect)
    box = np.array([length, area / length, height])
    grille = _in_ceiling(rng, box, below=0.02)
    if rng.random() < 0.72:
        sensor = _in_ceiling(rng, box, below=0.04)
    else:
        x = rng.uniform(0.1, 0.9) * length
        sensor = np.array([x, 0.04, min(height - 0.15, rng.uniform(1.7, 2.7))])
    door = np.array([0.1 * length, rng.uniform(0.2, 0.8) * box[1], 1.1])
    stalls = int(np.clip(round(area / rng.uniform(3.5, 6)), 1, 8))
    stall_damping = rng.uniform(0.35, 0.9)
    eddy_speed, eddy_time = rng.uniform(0.022, 0.075), rng.uniform(5, 20)
    minutes = school.first_hour * 60 + (np.arange(all_s // 60 + 2) * 60 - WARM_UP_S) / 60
    busy, vaping = crowd(school, np.maximum(minutes, 0))
    is_quiet = rng.random() < 0.25
    peak_visits = draw_log(rng, 5, 14) if is_quiet else draw_log(rng, 22, 60)
    air_changes = _draw_air_changes(rng, school, np.repeat(busy, 60)[:all_s] * peak_visits)
    still_diffusivity = draw_log(rng, 0.003, 0.011)
    speed = draw_log(rng, 0.012, 0.07)
    cell_x = wander(rng, all_s, rng.uniform(200, 900), speed, 5) + rng.normal(0, speed)
    cell_y = wander(rng, all_s, rng.uniform(200, 900), speed * 0.8, 5)
    cell_y += rng.normal(0, speed * 0.7)
    drift = draw_log(rng, 0.008, 0.045)
    to_grille = np.sign(grille[:2] - door[:2])
    drift_x = wander(rng, all_s, rng.uniform(60, 300), drift, 5)
    drift_y = wander(rng, all_s, rng.uniform(60, 300), drift, 5)
    deposition = np.exp(
        np.interp(np.log(DIAMETER), np.log(_DEPOSITION_DIAMETER), np.log(_DEPOSITION_H))
    )
    return Room(
        rng=rng,
        read_s=read_s,
        all_s=all_s,
        box=box,
        volume=volume,
        grille=grille,
        sensor=sensor,
        door=door,
        stalls=stalls,
        stall_damping=stall_damping,
        eddy_speed=eddy_speed,
        eddy_time=eddy_time,
        busy=busy,
        vaping=vaping,
        peak_visits=peak_visits,
        air_changes=air_changes,
        exhaust=air_changes * volume / 3600,
        still_diffusivity=still_diffusivity,
        diffusivity=still_diffusivity * (1 + 0.12 * air_changes),
        cell_x=cell_x,
        cell_y=cell_y,
        drift_x=drift_x + to_grille[0] * 0.006 * air_changes,
        drift_y=drift_y + to_grille[1] * 0.004 * air_changes,
        deposition=deposition * rng.uniform(0.8, 2.6) * np.exp(rng.normal(0, 0.15)),
        sorption=np.array([0.1, rng.uniform(0.4, 4), rng.uniform(0.1, 1), 0.0, 0.2]),
        evaporation=log_normal(rng, _PURE_GLYCEROL, 0.15) * (1.15 - 0.5 * (school.rh / 100) ** 2),
    )


def _in_ceiling(rng: Generator, box: Floats, *, below: float) -> Floats:
    x, y = rng.uniform(0.15, 0.85) * box[0], rng.uniform(0.15, 0.85) * box[1]
    return np.array([x, y, box[2] - below])


def _draw_air_changes(rng: Generator, school: School, visits: Floats) -> Floats:
    """Draw a ventilation schedule; `visits` are per hour, by second."""
    high, low = draw_log(rng, 3, 15), draw_log(rng, 0.5, 2)
    control = str(
        rng.choice(
            ["always", "timed", "presence", "broken", "cycle", "window"],
            p=[0.28, 0.27, 0.15, 0.12, 0.08, 0.1],
        )
    )
    all_s = len(visits)
    second = np.arange(all_s, dtype=float)
    hour = school.hour(second - WARM_UP_S)
    if control == "always":
        is_high = np.ones(all_s, bool)
    elif control == "timed":
        is_high = (hour > school.opens - rng.uniform(0.3, 2)) & (hour < rng.uniform(15, 22))
    elif control == "broken":
        is_high = np.zeros(all_s, bool)
    elif control == "cycle":
        period = rng.uniform(15, 60) * 60
        is_high = (second % period) < period * rng.uniform(0.3, 0.7)
    elif control == "presence":
        demand = 2.5 * np.sqrt(np.clip(visits / 15, 0, 4)) - 1
        is_high = wander(rng, all_s, 400, 1, 20) < demand
    if control == "window":
        leak = low * np.exp(wander(rng, all_s, 2400, 0.7, 60))
        rate = leak + np.where(wander(rng, all_s, 3000, 1, 60) > 0.8, high, 0)
    else:
        rate = np.where(is_high, high, low)
    return np.clip(lagged(rate * np.exp(wander(rng, all_s, 900, 0.12, 30)), 25), 0.4, 18)
