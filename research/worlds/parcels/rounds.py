"""Simulate dispensers, cleaning, showers, and rare events: smoke, incense, cooking, fog."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from research.worlds.parcels.day import Act, Day, Liquid
from research.worlds.parcels.draws import draw_log
from research.worlds.parcels.schedule import WARM_UP_S
from research.worlds.parcels.sprays import press
from research.worlds.parcels.substances import ALCOHOL, GLYCEROL, SMOKE, TERPENE, mode
from research.worlds.parcels.visits import run_shower

if TYPE_CHECKING:
    from research.worlds.parcels.draws import Floats
    from research.worlds.parcels.visits import Fixtures


def simulate_rounds(day: Day, fixtures: Fixtures, rate: float) -> None:
    """Simulate all events except visits and vaping; rare ones at `rate` times the usual rate."""
    if day.rng.random() < 0.13:
        _run_dispenser(day, fixtures.dispenser)
    _clean(day)
    if fixtures.has_shower:
        _run_showers(day)
    for _ in range(day.rng.poisson(rate * day.school.smoking * (day.hours / 24))):
        _smoke_cigarette(day)
    _simulate_rare(day, rate)
    day.has_reed_diffuser = day.rng.random() < 0.07
    if day.has_reed_diffuser:
        day.acts.append(Act("reed", "", 0.0, float(day.end)))


def _run_dispenser(day: Day, place: Floats) -> None:
    rng, school = day.rng, day.school
    period = rng.choice([7.5, 10, 15, 20, 30]) * 60
    is_timed = rng.random() < 0.5
    time = rng.uniform(0, period) - WARM_UP_S
    while time < day.end:
        if not is_timed or 7 < (school.first_hour + time / 3600) % 24 < 18:
            press(day, time, place, "auto")
            day.acts.append(Act("spray", "auto", time, time + 1))
        time += period * (1 + rng.normal(0, 0.001))


def _clean(day: Day) -> None:
    rng, school = day.rng, day.school
    first = int(np.floor(school.first_hour / 24))
    last = int((school.first_hour + day.hours) // 24) + 1
    for date in range(first, last + 1):
        for hour in school.cleaning_hours:
            if school.is_weekend(date) and rng.random() < 0.8:
                continue
            start = (date * 24 + hour - school.first_hour + rng.normal(0, 0.25)) * 3600
            is_simulated = -WARM_UP_S + 60 < start < day.end - 60
            if is_simulated and rng.random() >= 0.15:
                _clean_room(day, start)


def _clean_room(day: Day, start: float) -> None:
    rng, room = day.rng, day.room
    duration = rng.uniform(5, 25) * 60
    has_mop = rng.random() < 0.5
    for _ in range(int(rng.integers(1, 9))):
        time = start + rng.uniform(0, 0.8) * duration
        place = room.place(str(rng.choice(["bowl", "mirror", "sink"])))
        press(day, time, place, "trigger" if rng.random() < 0.85 else "freshener")
    if has_mop:
        gas = draw_log(rng, 300, 9000)
        day.release(
            start + 0.4 * duration,
            room.place("floor"),
            duration=rng.uniform(600, 2400),
            parcels=60,
            gases={ALCOHOL: gas * 0.7, TERPENE: gas * 0.12},
            water=draw_log(rng, 2e4, 2.5e5),
            rise=0.02,
            radius=0.5,
            is_drying=True,
            scatter=0.8,
        )
    mass = draw_log(rng, 1, 25)
    day.release(
        start,
        room.place("any"),
        mode(mass, rng.uniform(3.5, 8), 2.0) + mode(mass * draw_log(rng, 0.005, 0.06), 0.5, 1.8),
        duration=duration,
        parcels=60,
        rise=0.04,
        radius=0.35,
        scatter=0.6,
    )
    day.stir(start, start + duration, 1.0)
    day.enter(start, start + duration)
    day.acts.append(Act("cleaning", "mop" if has_mop else "wipe", start, start + duration))


def _run_showers(day: Day) -> None:
    rng, room = day.rng, day.room
    a_day = draw_log(rng, 2, 12)
    for start in rng.uniform(-WARM_UP_S, day.end, rng.poisson(a_day * day.hours / 24)):
        minute = min(len(room.busy) - 1, day.index(start) // 60)
        if room.busy[minute] > 0.01 or rng.random() < 0.1:
            for shower in range(1 + rng.poisson(0.7)):
                duration = run_shower(day, start + shower * rng.uniform(60, 400))
            day.acts.append(Act("steam", "shower", start, start + duration))


def _draw_start(day: Day) -> float:
    """Draw a time; times when vaping is likely are more likely."""
    rng, vaping = day.rng, day.room.vaping
    for _ in range(200):
        start = rng.uniform(0, day.end)
        if rng.random() < vaping[min(len(vaping) - 1, day.index(start) // 60)] + 0.02:
            break
    return start


def _smoke_cigarette(day: Day) -> None:
    rng = day.rng
    start, duration = _draw_start(day), rng.uniform(2, 8) * 60
    mass = rng.uniform(1.5, 3) * duration / 60 * draw_log(rng, 0.2, 1)
    where = str(rng.choice(["stall", "fan", "any"], p=[0.6, 0.2, 0.2]))
    day.release(
        start,
        day.room.place(where),
        mode(mass, rng.uniform(0.2, 0.42), rng.uniform(1.5, 2.0)),
        duration=duration,
        parcels=int(duration / 5),
        gases={SMOKE: draw_log(rng, 5, 40)},
        water=300,
        liquid=Liquid(0.2, draw_log(rng, 1e-4, 6e-4), 50.0),
        rise=0.3,
        rise_time=10,
        radius=0.1,
        follow_s=600,
        in_stall=True,
    )
    day.acts.append(Act("cigarette", "", start, start + duration))


def _simulate_rare(day: Day, rate: float) -> None:
    rng = day.rng
    rare = (
        ("incense", draw_log(rng, 0.01, 0.12), _burn_incense),
        (
            "cooking",
            draw_log(rng, 0.01, 0.12) if rng.random() < 0.8 else draw_log(rng, 0.4, 2),
            _let_cooking_in,
        ),
        ("fog", draw_log(rng, 0.005, 0.05), _make_fog),
        ("nebulizer", draw_log(rng, 0.02, 0.15), _nebulize),
    )
    for kind, a_day, release in rare:
        for _ in range(rng.poisson(rate * a_day * (day.hours / 24))):
            start = _draw_start(day)
            day.acts.append(Act(kind, "", start, start + release(day, start)))


def _burn_incense(day: Day, start: float) -> float:
    rng = day.rng
    duration = rng.uniform(5, 50) * 60
    mass = draw_log(rng, 0.1, 0.8) * duration / 60
    day.release(
        start,
        day.room.place("any"),
        mode(mass, rng.uniform(0.2, 0.45), 1.7),
        duration=duration,
        parcels=int(min(150, duration / 9)),
        gases={
            SMOKE: mass * draw_log(rng, 0.3, 4),
            TERPENE: mass * draw_log(rng, 0.1, 1),
        },
        rise=0.3,
        radius=0.1,
    )
    return duration


def _let_cooking_in(day: Day, start: float) -> float:
    rng = day.rng
    duration = rng.uniform(10, 60) * 60
    mass = draw_log(rng, 0.1, 1.2) * duration / 60
    day.release(
        start,
        day.room.door,
        mode(mass, rng.uniform(0.2, 0.6), 1.9) + mode(mass * 0.2, 3, 2),
        duration=duration,
        parcels=int(min(150, duration / 10)),
        gases={
            ALCOHOL: mass * draw_log(rng, 0.5, 20),
            SMOKE: mass * draw_log(rng, 0.1, 1),
        },
        water=draw_log(rng, 1e3, 3e4),
        rise=0.05,
        radius=0.6,
        scatter=0.3,
    )
    return duration


def _make_fog(day: Day, start: float) -> float:
    rng = day.rng
    duration = rng.uniform(1, 8) * 60
    mass = draw_log(rng, 20, 300)
    day.release(
        start,
        day.room.place("any") * np.array([1, 1, 0.3]),
        mode(mass, rng.uniform(0.8, 2.5), 1.6),
        duration=duration,
        parcels=int(max(30, duration / 6)),
        gases={GLYCEROL: mass * draw_log(rng, 0.5, 3)},
        water=3e4,
        liquid=Liquid(rng.uniform(0.8, 0.97), draw_log(rng, 0.004, 0.02), 0.6),
        jet=(0.8, 0.3, 0.1),
        rise=0.05,
        rise_time=10,
        radius=0.3,
        follow_s=1200,
    )
    return duration


def _nebulize(day: Day, start: float) -> float:
    rng = day.rng
    duration = rng.uniform(3, 30) * 60
    mass = draw_log(rng, 0.02, 0.5) * duration / 60
    day.release(
        start,
        day.room.place("any"),
        mode(mass, rng.uniform(0.15, 0.35), 1.7) + mode(mass * 3, rng.uniform(3, 5), 1.7),
        duration=duration,
        parcels=int(min(120, duration / 7)),
        water=draw_log(rng, 2e3, 5e4),
        liquid=Liquid(0.85, 250.0 * max(0.02, 1 - day.school.rh / 100), 2e4),
        rise=0.05,
        radius=0.15,
        follow_s=300,
    )
    return duration
