"""Simulate vaping sessions of one or more people, open or hidden, masked or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from research.worlds.parcels.day import Act, Day, Liquid, Session
from research.worlds.parcels.draws import Floats, draw_log, log_normal
from research.worlds.parcels.schedule import WARM_UP_S
from research.worlds.parcels.sprays import press
from research.worlds.parcels.substances import GLYCEROL, TERPENE, mode
from research.worlds.parcels.visits import run_hot_tap, splash

if TYPE_CHECKING:
    from numpy.random import Generator

_GLYCEROL_SHRINKING: Final = 0.0263
"""Decrease of the squared diameter of an isolated droplet of pure glycerol, µm²/s."""
_HIDDEN_AT: Final = {"sleeve": "stall", "bowl": "stall", "fan": "fan", "hold": "stall"}
_ESCAPING: Final = {"sleeve": (0.04, 0.3), "bowl": (0.15, 0.6), "hold": (0.05, 0.25)}
"""Share of a hidden puff that reaches the room."""


@dataclass(frozen=True, slots=True)
class _Vaper:
    """One person in a session; `hiding` is empty if they vape openly."""

    style: str
    hiding: str
    strength: float
    in_stall: bool
    place: Floats
    residue: float
    shrinking: float
    rise: float


@dataclass(frozen=True, slots=True)
class _Puff:
    """One puff's aerosol: mass in mg; median in µm and geometric deviation of its main mode."""

    mass: float
    diameter: float
    gsd: float
    gases: dict[int, float]
    liquid: Liquid
    duration: float
    follow_s: int = 480


def simulate_vaping(day: Day, vape_rate: float) -> None:
    """Simulate all sessions; `vape_rate` is the number per hour in a typical room at busy times."""
    rng, room = day.rng, day.room
    preference = log_normal(rng, 1, 0.5, 0.2, 2.6)
    for minute, count in enumerate(rng.poisson(vape_rate * preference * room.vaping / 60)):
        for _ in range(count):
            start = minute * 60 - WARM_UP_S + rng.random() * 60
            if 5 < start < day.end - 40:
                _hold_session(day, start)


def _hold_session(day: Day, start: float) -> None:
    rng, school = day.rng, day.school
    style = str(rng.choice(["pod", "disposable", "mod", "thc", "stealth"], p=school.styles))
    people = min(1 + (rng.poisson(0.35) if style != "stealth" else 0), 5)
    rise = rng.uniform(0.02, 0.3)
    residue, shrinking = draw_log(rng, 0.012, 0.13), log_normal(rng, 1, 0.4)
    ends = [_vape(day, start, n, style, rise, residue, shrinking) for n in range(people)]
    end = max(start, *ends)
    day.sessions.append(Session(style, start, end))
    day.enter(start - 20, end + rng.uniform(5, 90), float(people))
    if rng.random() < 0.1:
        _mask(day, start, end)


def _vape(
    day: Day,
    start: float,
    person: int,
    style: str,
    rise: float,
    residue: float,
    shrinking: float,
) -> float:
    """Simulate all of one person's puffs; return when the last one ends."""
    rng = day.rng
    puffs = 1 + min(int(rng.geometric(0.38)) - 1, 12)
    gap = draw_log(rng, 5, 60)
    strength = log_normal(rng, 1, 0.45)
    where, hiding = str(rng.choice(["stall", "mirror", "any"], p=[0.6, 0.2, 0.2])), ""
    if style == "stealth":
        hiding = str(rng.choice(["sleeve", "bowl", "fan", "hold"]))
        where = _HIDDEN_AT[hiding]
    place = day.room.place(where)
    if hiding == "bowl":
        place[2] = 0.5
    vaper = _Vaper(style, hiding, strength, where == "stall", place, residue, shrinking, rise)
    heading = rng.uniform(0, 2 * np.pi)
    end = start
    time = start + (0 if person == 0 else rng.uniform(1, 40))
    for _ in range(puffs):
        if time > day.end - 30:
            break
        puff = _draw_puff(rng, vaper, day.room.evaporation)
        heading = _exhale(day, vaper, puff, time, heading)
        end = time + puff.duration
        time += gap * log_normal(rng, 1, 0.4) + puff.duration
    return end


def _draw_puff(rng: Generator, vaper: _Vaper, evaporation: float) -> _Puff:
    volatile = 1 - vaper.residue * rng.uniform(0.8, 1.25)
    shrinking = _GLYCEROL_SHRINKING * evaporation * vaper.shrinking * log_normal(rng, 1, 0.15)
    saturation = rng.uniform(0.45, 1.2)
    duration = rng.uniform(1, 4)
    if vaper.style == "thc":
        mass = rng.uniform(1, 6.0)
        gases = {GLYCEROL: draw_log(rng, 0.02, 0.3), TERPENE: draw_log(rng, 0.2, 2)}
        volatile = rng.uniform(0.1, 0.5)
        shrinking = _GLYCEROL_SHRINKING * draw_log(rng, 0.02, 0.3)
        liquid = Liquid(volatile, shrinking, saturation)
        return _Puff(mass, 0.4, 1.6, gases, liquid, rng.uniform(2, 6), follow_s=1500)
    liquid = Liquid(volatile, shrinking, saturation)
    if vaper.style == "disposable":
        mass = log_normal(rng, 0.7, 0.7, 0.15, 4)
        diameter, gsd = rng.uniform(0.42, 0.65), rng.uniform(1.4, 1.8)
        gases = {GLYCEROL: draw_log(rng, 0.3, 4), TERPENE: draw_log(rng, 0.03, 0.5)}
    elif vaper.style == "mod":
        mass = log_normal(rng, 5, 0.6, 2, 20)
        diameter, gsd = rng.uniform(0.5, 1.0), rng.uniform(1.6, 2.0)
        gases = {GLYCEROL: draw_log(rng, 2, 20), TERPENE: draw_log(rng, 0.05, 1)}
        duration = rng.uniform(2, 5)
    else:
        mass = log_normal(rng, 0.45, 0.75, 0.1, 3)
        diameter, gsd = rng.uniform(0.4, 0.62), rng.uniform(1.4, 1.75)
        glycerol = draw_log(rng, 0.1, 3) * min(2, vaper.strength) * 0.6
        gases = {GLYCEROL: glycerol, TERPENE: draw_log(rng, 0.01, 0.25)}
    return _Puff(mass, diameter, gsd, gases, liquid, duration)


def _exhale(day: Day, vaper: _Vaper, puff: _Puff, time: float, heading: float) -> float:
    """Release one puff; return the direction that the person then faces."""
    rng, hiding = day.rng, vaper.hiding
    mass = puff.mass * vaper.strength
    diameter = puff.diameter * (0.78 if mass < 0.25 else 1)
    if hiding in _ESCAPING:
        mass *= draw_log(rng, *_ESCAPING[hiding])
    if vaper.style == "thc":
        droplets = mode(mass * 0.6, rng.uniform(0.36, 0.44), 1.5)
        droplets += mode(mass * 0.4, rng.uniform(0.75, 0.88), 1.5)
    else:
        droplets = mode(mass, diameter, puff.gsd)
    if vaper.style in {"mod", "disposable"} and rng.random() < 0.3:
        droplets += mode(mass * rng.uniform(0.05, 0.3), rng.uniform(1.2, 2.2), 1.5)
    speed = rng.uniform(0.05, 0.5) if hiding else rng.uniform(0.3, 1.6)
    up = -1.2 if hiding == "bowl" else rng.uniform(-0.7, 0.6)
    heading += rng.normal(0, 0.4)
    day.release(
        time,
        vaper.place + rng.normal(0, 0.08, 3),
        droplets,
        duration=puff.duration,
        parcels=26,
        gases=puff.gases,
        water=draw_log(rng, 20, 90),
        liquid=puff.liquid,
        jet=(
            speed * np.cos(heading) * np.cos(up),
            speed * np.sin(heading) * np.cos(up),
            speed * np.sin(up),
        ),
        rise=vaper.rise * rng.uniform(0.7, 1.3) * (0.2 if hiding == "bowl" else 1),
        rise_time=rng.uniform(8, 20),
        radius=rng.uniform(0.1, 0.25) if hiding else rng.uniform(0.1, 0.2),
        follow_s=puff.follow_s,
        session=len(day.sessions),
        in_stall=vaper.in_stall,
    )
    return heading


def _mask(day: Day, session_start: float, session_end: float) -> None:
    """Cover a session with a spray, steam or a flush."""
    rng = day.rng
    style = str(
        rng.choice(
            ["deodorant", "freshener", "perfume", "hot tap", "flush"],
            p=[0.35, 0.25, 0.1, 0.15, 0.15],
        )
    )
    start = rng.uniform(session_start, session_end + 15)
    duration = 0.0
    if style == "hot tap":
        duration = run_hot_tap(day, start)
    elif style == "flush":
        place = day.room.place("bowl")
        splash(day, start, place, mode(0.05, 3, 1.9), duration=5, gases=None, water=800)
        duration = 6
    else:
        for _ in range(1 + rng.poisson(0.7)):
            duration += press(day, start + duration, day.room.place("stall"), style) + 1
    day.acts.append(Act("mask", style, start, start + duration))
