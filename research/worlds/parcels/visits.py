"""Simulate visitors: dust, flushes, taps, dryers, sanitizer, sprays, steam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from research.worlds.parcels.day import Act, Day, Draft, Liquid, Steam
from research.worlds.parcels.draws import Floats, draw_log, log_normal
from research.worlds.parcels.schedule import WARM_UP_S
from research.worlds.parcels.sprays import press
from research.worlds.parcels.substances import ALCOHOL, TERPENE, mode

if TYPE_CHECKING:
    from research.worlds.parcels.rooms import Room
    from research.worlds.parcels.schedule import School


@dataclass(frozen=True, slots=True)
class Fixtures:
    """A room's fixtures and how often visitors use them (probability per visit).

    - `has_brush_dryer`: whether the dryer's brushes are worn and shed dust.
    - `rim_scent`: terpenes per flush, mg; None if there is no rim block.
    - `dispenser`: position of an automatic freshener.
    - `spray_shares`: share of each kind of can.
    """

    dryer: float
    has_brush_dryer: bool
    flush: float
    tap: float
    sanitizer: float
    spray: float
    dust: float
    rim_scent: float | None
    has_shower: bool
    dispenser: Floats
    spray_shares: Floats


def draw_fixtures(school: School, room: Room) -> Fixtures:
    """Draw the fixtures of a room."""
    rng = room.rng
    has_dryer = school.has_dryers and rng.random() < 0.85
    dryer = rng.uniform(0.25, 0.7) if has_dryer else 0.0
    has_brush_dryer = rng.random() < 0.35
    flush, tap = rng.uniform(0.6, 0.9), rng.uniform(0.45, 0.85)
    sanitizer = school.sanitizer * rng.uniform(0.4, 1.6)
    spray = min(0.12, school.spray * log_normal(rng, 1, 0.5))
    dust = draw_log(rng, 0.05, 0.25)
    has_rim_scent = rng.random() < 0.3
    rim_scent = draw_log(rng, 0.5, 15)
    has_shower = rng.random() < 0.13
    length, _, height = room.box
    dispenser = np.array(
        [rng.uniform(0.1, 0.9) * length, 0.15, min(height - 0.3, rng.uniform(1.7, 2.3))]
    )
    shares = np.array([0.45, 0.15, 0.2, 0.2]) * rng.gamma(1.5, 1, 4)
    return Fixtures(
        dryer=dryer,
        has_brush_dryer=has_brush_dryer,
        flush=flush,
        tap=tap,
        sanitizer=sanitizer,
        spray=spray,
        dust=dust,
        rim_scent=rim_scent if has_rim_scent else None,
        has_shower=has_shower,
        dispenser=dispenser,
        spray_shares=shares / shares.sum(),
    )


def simulate_visits(day: Day, fixtures: Fixtures, rate: float) -> None:
    """Simulate all visits to the room, at `rate` times the usual number."""
    rng, room = day.rng, day.room
    counts = rng.poisson(rate * room.busy * room.peak_visits / 60)
    starts = [
        (minute * 60 - WARM_UP_S) + np.sort(rng.random(count)) * 60
        for minute, count in enumerate(counts)
        if count
    ]
    for start in np.concatenate([np.zeros(0), *starts]):
        if start <= day.end + 60:
            _visit(day, fixtures, start)


def _visit(day: Day, fixtures: Fixtures, start: float) -> None:
    rng = day.rng
    duration = log_normal(rng, 120, 0.6, 20, 1200)
    day.enter(start, start + duration)
    for time in (start, start + duration):
        day.drafts.append(Draft(time, rng.normal(0, 0.12), rng.uniform(3, 10)))
    mass = draw_log(rng, 0.03, 0.6)
    day.release(
        start + rng.uniform(0, duration),
        day.room.place("floor"),
        mode(mass, rng.uniform(4, 9), 2.0) + mode(mass * 0.01, 0.6, 1.8),
        duration=10,
        parcels=8,
        water=draw_log(rng, 200, 1500) * duration / 120,
        rise=0.06,
        rise_time=30,
        radius=0.3,
        scatter=0.4,
    )
    if rng.random() < fixtures.dust:
        _raise_dust(day, start, duration)
    time = start + duration * rng.uniform(0.45, 0.7)
    if rng.random() < fixtures.flush:
        _flush(day, fixtures, time)
    time = start + duration * rng.uniform(0.72, 0.85)
    if rng.random() < fixtures.tap:
        _run_tap(day, time)
    time = start + duration * rng.uniform(0.86, 0.93)
    if rng.random() < fixtures.dryer:
        _dry_hands(day, fixtures, time)
    time = start + duration * rng.uniform(0.9, 1.0)
    if rng.random() < fixtures.sanitizer:
        _sanitize(day, time)
    if rng.random() < fixtures.spray:
        style = str(
            rng.choice(["deodorant", "hairspray", "freshener", "perfume"], p=fixtures.spray_shares)
        )
        _spray(day, start + duration * rng.uniform(0.3, 0.95), style)


def _raise_dust(day: Day, visit_start: float, visit_duration: float) -> None:
    rng = day.rng
    style = str(rng.choice(["walk", "paper", "clothes"]))
    duration = rng.uniform(8, 90)
    mass = draw_log(rng, 0.3, 6)
    start = visit_start + rng.uniform(0.1, 0.8) * visit_duration
    day.release(
        start,
        day.room.place("any"),
        mode(mass, rng.uniform(4, 10), 2.0) + mode(mass * draw_log(rng, 0.003, 0.05), 0.7, 1.9),
        duration=duration,
        rise=0.05,
        rise_time=20,
        radius=0.3,
        scatter=0.3,
    )
    day.acts.append(Act("dust", style, start, start + duration))


def _flush(day: Day, fixtures: Fixtures, start: float) -> None:
    rng = day.rng
    mass = draw_log(rng, 0.005, 0.12)
    place = day.room.place("bowl")
    droplets = mode(mass * 0.3, rng.uniform(0.3, 1), 1.8)
    droplets += mode(mass, rng.uniform(2, 6), 1.9)
    duration = rng.uniform(3, 7)
    scent = fixtures.rim_scent
    splash(
        day,
        start,
        place,
        droplets,
        duration=duration,
        gases=None if scent is None else {TERPENE: scent * rng.uniform(0.3, 1.5)},
        water=draw_log(rng, 200, 1500),
    )
    day.acts.append(Act("flush", "", start, start + 6))


def splash(
    day: Day,
    start: float,
    place: Floats,
    droplets: Floats,
    *,
    duration: float,
    gases: dict[int, float] | None,
    water: float,
) -> None:
    """Release the droplets of a flush."""
    day.release(
        start,
        place,
        droplets,
        duration=duration,
        parcels=14,
        gases=gases,
        water=water,
        liquid=Liquid(0.7, 300.0, 1e9),
        jet=(0, 0, 0.4),
        rise=0.12,
        rise_time=8,
        radius=0.2,
        follow_s=150,
    )


def _run_tap(day: Day, start: float) -> None:
    rng = day.rng
    is_warm = rng.random() < 0.3
    duration = rng.uniform(4, 30)
    day.release(
        start,
        day.room.place("sink"),
        mode(draw_log(rng, 0.001, 0.02), 0.5, 1.9),
        duration=duration,
        parcels=12,
        gases={TERPENE: draw_log(rng, 0.05, 6)} if rng.random() < 0.5 else None,
        water=draw_log(rng, 200, 2500) * (2 if is_warm else 1),
        rise=0.15 if is_warm else 0.05,
        radius=0.2,
    )
    end = start + duration
    day.acts.append(Act("tap", "warm" if is_warm else "", start, end))
    if rng.random() < 0.012:
        day.acts.append(Act("steam", "hot tap", end, end + run_hot_tap(day, end)))


def run_hot_tap(day: Day, start: float) -> float:
    """Release the steam of a hot tap; return its length in seconds."""
    rng = day.rng
    duration = rng.uniform(20, 150)
    water = draw_log(rng, 1.5, 15) * 1000 * duration / 60
    salt = draw_log(rng, 0.02, 0.6) * (duration / 600)
    _steam(day, start, day.room.place("sink"), duration, int(max(16, duration / 5)), salt, water)
    day.warm(start, draw_log(rng, 0.3, 2.5) * 0.3)
    _condense(day, start, duration)
    return duration


def run_shower(day: Day, start: float) -> float:
    """Release the steam of a shower; return its length in seconds."""
    rng = day.rng
    duration = rng.uniform(3, 15) * 60
    water = draw_log(rng, 8, 45) * 1000 * duration / 60
    salt = draw_log(rng, 0.02, 0.6) * (duration / 300)
    _steam(day, start, day.room.place("stall"), duration, int(duration / 9), salt, water)
    day.warm(start, draw_log(rng, 0.3, 2.5))
    _condense(day, start, duration)
    return duration


def _steam(
    day: Day,
    start: float,
    place: Floats,
    duration: float,
    parcels: int,
    salt: float,
    water: float,
) -> None:
    rng = day.rng
    day.release(
        start,
        place,
        mode(salt, rng.uniform(0.25, 0.7), 1.8),
        duration=duration,
        parcels=min(parcels, 90),
        gases={TERPENE: draw_log(rng, 0.1, 30)} if rng.random() < 0.4 else None,
        water=water,
        rise=rng.uniform(0.15, 0.4),
        rise_time=15,
        radius=0.25,
        scatter=0.15,
    )


def _condense(day: Day, start: float, duration: float) -> None:
    mist, threshold = draw_log(day.rng, 0.05, 3), day.rng.uniform(78, 93)
    day.steam.append(Steam(start, start + duration + 600, mist, threshold))


def _dry_hands(day: Day, fixtures: Fixtures, start: float) -> None:
    rng = day.rng
    duration = rng.uniform(9, 40)
    fine = draw_log(rng, 0.003, 0.08) * (3 if fixtures.has_brush_dryer else 1)
    coarse = draw_log(rng, 0.03, 0.8)
    day.release(
        start,
        day.room.place("sink") + np.array([0, 0, 0.2]),
        mode(fine, rng.uniform(0.3, 0.8), 1.8) + mode(coarse, rng.uniform(3, 8), 2.0),
        duration=duration,
        parcels=20,
        water=draw_log(rng, 500, 4000),
        jet=(0, 0.5, -0.6),
        rise=0.2,
        rise_time=8,
        radius=0.3,
        scatter=0.2,
    )
    day.stir(start, start + duration + 8, rng.uniform(1, 4))
    day.warm(start, rng.uniform(0.02, 0.4))
    day.acts.append(Act("dryer", "", start, start + duration))


def _sanitize(day: Day, start: float) -> None:
    rng = day.rng
    alcohol = draw_log(rng, 150, 1600)
    duration = rng.uniform(20, 60)
    day.release(
        start,
        day.room.place(str(rng.choice(["sink", "any"]))) + np.array([0, 0, 0.1]),
        duration=duration,
        parcels=20,
        gases={ALCOHOL: alcohol},
        water=draw_log(rng, 100, 800),
        rise=0.1,
        radius=0.15,
        is_drying=True,
        scatter=0.15,
    )
    day.acts.append(Act("sanitizer", "", start, start + duration))


def _spray(day: Day, start: float, style: str) -> None:
    rng = day.rng
    where = "any" if style == "freshener" else "mirror"
    end = start
    for _ in range(1 + rng.poisson(0.8)):
        end += press(day, end, day.room.place(where), style) + rng.uniform(0.5, 4)
    day.acts.append(Act("spray", style, start, end))
