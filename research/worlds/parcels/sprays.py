"""Simulate cans and pumps: propellant, alcohol, scent, and coarse droplets that dry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from research.worlds.parcels.day import Day, Liquid
from research.worlds.parcels.draws import Floats, draw_log, log_normal
from research.worlds.parcels.substances import ALCOHOL, PROPELLANT, TERPENE, mode

if TYPE_CHECKING:
    from numpy.random import Generator

_CANS: Final = {"deodorant": 60, "hairspray": 90, "freshener": 40}
"""Typical mass that stays airborne, mg."""
_SATURATION: Final = 8000.0


def press(day: Day, start: float, place: Floats, style: str) -> float:
    """Simulate one press of a can, pump or dispenser; return its length in seconds."""
    jet = _draw_jet(day.rng)
    duration = day.rng.uniform(0.5, 5)
    if style in _CANS:
        _can(day, start, place, duration, jet, style)
    elif style == "perfume":
        duration = _perfume(day, start, place, jet)
    elif style == "auto":
        duration = _dispenser(day, start, place, jet)
    else:
        duration = _trigger(day, start, place, jet)
    return duration


def _draw_jet(rng: Generator) -> tuple[float, float, float]:
    heading, up = rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.6)
    speed = rng.uniform(0.6, 2.2)
    return (
        speed * np.cos(heading) * np.cos(up),
        speed * np.sin(heading) * np.cos(up),
        speed * np.sin(up),
    )


def _can(
    day: Day,
    start: float,
    place: Floats,
    duration: float,
    jet: tuple[float, float, float],
    style: str,
) -> None:
    rng = day.rng
    mass = log_normal(rng, _CANS[style], 0.8, 8, 500) * (duration / 2.5) ** 0.6
    diameter, gsd = rng.uniform(4, 14), rng.uniform(1.8, 2.5)
    droplets = mode(mass, diameter, gsd)
    droplets += mode(mass * draw_log(rng, 0.002, 0.04), rng.uniform(0.2, 0.5), 1.7)
    volatile = rng.uniform(0.5, 0.9)
    gas = draw_log(rng, 200, 3000) * (duration / 2.5) ** 0.6
    day.release(
        start,
        place,
        droplets,
        duration=duration,
        parcels=36,
        gases={
            PROPELLANT: gas * 0.6,
            ALCOHOL: gas * 0.35,
            TERPENE: gas * draw_log(rng, 0.005, 0.05),
        },
        liquid=Liquid(volatile, draw_log(rng, 0.6, 40), _SATURATION),
        jet=jet,
        rise=-0.02,
        rise_time=8,
        radius=0.26,
        follow_s=420,
    )


def _perfume(day: Day, start: float, place: Floats, jet: tuple[float, float, float]) -> float:
    rng = day.rng
    mass = draw_log(rng, 3, 60)
    droplets = mode(mass, rng.uniform(4, 12), 2.2) + mode(mass * 0.01, 0.4, 1.7)
    gas = draw_log(rng, 60, 500)
    duration = rng.uniform(0.3, 1.5)
    day.release(
        start,
        place,
        droplets,
        duration=duration,
        gases={ALCOHOL: gas * 0.9, TERPENE: gas * 0.1},
        liquid=Liquid(rng.uniform(0.7, 0.93), draw_log(rng, 2, 60), _SATURATION),
        jet=jet,
        rise=0,
        rise_time=8,
        radius=0.15,
        follow_s=300,
    )
    day.release(
        start + 2,
        place,
        duration=120,
        parcels=20,
        gases={ALCOHOL: gas * 0.5, TERPENE: gas * 0.15},
        is_drying=True,
        radius=0.2,
    )
    return duration


def _dispenser(day: Day, start: float, place: Floats, jet: tuple[float, float, float]) -> float:
    rng = day.rng
    mass = draw_log(rng, 5, 60)
    droplets = mode(mass, rng.uniform(2.5, 7), rng.uniform(1.9, 2.6))
    droplets += mode(mass * draw_log(rng, 0.005, 0.05), 0.35, 1.7)
    gas = draw_log(rng, 60, 500)
    duration = 0.3
    day.release(
        start,
        place,
        droplets,
        duration=duration,
        parcels=30,
        gases={PROPELLANT: gas * 0.5, ALCOHOL: gas * 0.4, TERPENE: gas * 0.1},
        liquid=Liquid(rng.uniform(0.5, 0.9), draw_log(rng, 0.6, 40), _SATURATION),
        jet=jet,
        rise=-0.03,
        rise_time=8,
        radius=0.15,
        follow_s=420,
    )
    return duration


def _trigger(day: Day, start: float, place: Floats, jet: tuple[float, float, float]) -> float:
    rng = day.rng
    mass = draw_log(rng, 1, 40)
    duration = rng.uniform(1, 15)
    droplets = mode(mass * rng.uniform(0.03, 0.25), rng.uniform(2.5, 8), 2.0)
    droplets += mode(mass * draw_log(rng, 0.001, 0.02), 0.4, 1.8)
    gas = draw_log(rng, 20, 900)
    day.release(
        start,
        place,
        droplets,
        duration=duration,
        gases={ALCOHOL: gas * 0.25, TERPENE: gas * 0.03},
        water=draw_log(rng, 300, 4000),
        liquid=Liquid(0.2, 2.0, _SATURATION),
        jet=jet,
        rise=0,
        rise_time=8,
        radius=0.2,
        follow_s=300,
    )
    day.release(
        start + 3,
        place,
        duration=rng.uniform(300, 1200),
        parcels=40,
        gases={ALCOHOL: gas * 0.7, TERPENE: gas * 0.1},
        is_drying=True,
        radius=0.3,
        rise=0.03,
    )
    return duration
