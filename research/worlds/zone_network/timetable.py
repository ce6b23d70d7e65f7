"""Draw a room's schedule: visits, vaping, cleaning, and rare and automatic acts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from research.worlds.zone_network.layout import Driver, Mode, Species, Zone
from research.worlds.zone_network.nuisances import (
    clean,
    dry_hands,
    flush,
    make_fog,
    nebulize,
    pull_paper,
    raise_dust,
    run_hot_tap,
    sanitize_hands,
    shower,
    smoke,
    spray,
    wash_hands,
)
from research.worlds.zone_network.series import draw_log
from research.worlds.zone_network.vaping import vape

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from research.worlds.zone_network.room import Room

    Floats = NDArray[np.float64]


def fill_room(room: Room, vape_rate: float, nuisance_rate: float) -> None:
    """Draw all acts in a room; `vape_rate` is in sessions per hour at busy times."""
    school, rng = room.school, room.rng
    cumulative = np.cumsum(school.bells.density)
    for t in _draw_visits(room, cumulative, nuisance_rate):
        _visit(room, float(t) + rng.random())
    for t in _draw_sessions(room, vape_rate):
        vape(room, float(t) + rng.random())
    for day in range(int(np.ceil(school.days)) + 1):
        _draw_cleaning(room, day)
    _draw_rare_acts(room, cumulative, nuisance_rate)
    _draw_automatic_acts(room)


def _draw_visits(room: Room, cumulative: Floats, rate: float) -> NDArray[np.intp]:
    school, rng = room.school, room.rng
    people = school.bells.density.sum()
    a_day = people / max(school.days, 0.25)
    count = rng.poisson(rate * room.visits_a_day * people / max(a_day, 1e-9))
    if school.days < 1:  # drawn again for partial days
        count = rng.poisson(rate * room.visits_a_day * min(1, 1.3 * school.days))
    visits = np.sort(rng.random(count)) * cumulative[-1]
    times: NDArray[np.intp] = np.searchsorted(cumulative, visits)
    return times


def _draw_sessions(room: Room, vape_rate: float) -> NDArray[np.intp]:
    density, rng = room.school.bells.density, room.rng
    liking = draw_log(rng, 0.5, 1.7)
    is_open = density > 0.03
    chance = (
        np.minimum(1, (density / 0.8) ** 0.45) * is_open * vape_rate * liking / 3600
        + ~is_open * vape_rate * 0.01 / 3600
    )
    return np.nonzero(rng.random(room.school.seconds) < chance)[0]


def _draw_cleaning(room: Room, day: int) -> None:
    bells, rng = room.school.bells, room.rng
    for _ in range(int(rng.integers(1, 4))):
        if rng.random() < 0.6:
            hour = bells.closes + rng.uniform(-0.5, 4)
        else:
            hour = rng.uniform(bells.starts, bells.closes)
        at = (hour - bells.first_hour) * 3600 + day * 86400
        if 0 < at < room.school.seconds - 60:
            clean(room, at)


def _draw_rare_acts(room: Room, cumulative: Floats, rate: float) -> None:
    rng, days = room.rng, room.school.days

    def draw(a_day: float, act: Callable[[Room, float], object]) -> None:
        for _ in range(rng.poisson(rate * a_day * days)):
            act(room, float(np.searchsorted(cumulative, rng.random() * cumulative[-1])))

    draw(0.18, partial(smoke, kind="cigarette"))
    draw(draw_log(rng, 0.01, 0.3), partial(smoke, kind="incense"))
    draw(draw_log(rng, 0.02, 0.8), partial(smoke, kind="cooking"))
    draw(0.15, partial(nebulize, kind="nebulizer"))
    draw(0.08, partial(nebulize, kind="humidifier"))
    draw(draw_log(rng, 0.01, 0.3), make_fog)
    draw(draw_log(rng, 0.1, 3), run_hot_tap)
    if room.has_shower:
        draw(draw_log(rng, 1, 12), shower)
    draw(draw_log(rng, 0.3, 5), partial(raise_dust, duration=120, style="play"))


def _draw_automatic_acts(room: Room) -> None:
    school, rng, n = room.school, room.rng, room.school.seconds
    if rng.random() < school.has_dispensers:
        _run_dispenser(room)
    if room.has_urinals and rng.random() < 0.35:
        t, step = rng.uniform(0, 900), draw_log(rng, 600, 3600)
        while t < n:
            flush(room, t, Zone.NOOK, "auto")
            t += step
    if rng.random() < 0.2:
        room.release_gas(Zone.MAIN, Species.GLYCOL, 0, n, n * draw_log(rng, 0.001, 0.02))
        room.release_gas(Zone.MAIN, Species.TERPENE, 0, n, n * draw_log(rng, 0.0003, 0.01))
        room.note("diffuser", "reed", 0, n)
    for style, begin, end in school.site_events:
        room.note("site", style, begin, min(end, n))
    for zone in (Zone.MAIN, Zone.STALL_A):
        furnishings = n * room.voc_source * 1.9e-3 * room.volume * 0.5
        mg = furnishings * (room.air_changes * 0.5 + 0.5) / 3600
        room.release_gas(zone, Species.ALCOHOL, 0, n, mg)


def _run_dispenser(room: Room) -> None:
    """Run a wall dispenser that sprays freshener, all day or during school hours."""
    bells, rng = room.school.bells, room.rng
    step, mg, voc_mg = (
        draw_log(rng, 600, 2400),
        draw_log(rng, 5, 60),
        draw_log(rng, 20, 200),
    )
    t = rng.uniform(0, step)
    all_day = rng.random() < 0.5
    volatile, size, evaporation = (
        rng.uniform(0.6, 0.95),
        rng.uniform(2.5, 7),
        draw_log(rng, 0.3, 4),
    )
    while t < room.school.seconds:
        if all_day or bells.starts - 1 < bells.hour[int(t)] < bells.closes + 2:
            zone = Zone.CEILING if rng.random() < 0.5 else Zone.MAIN
            dose = mg * rng.uniform(0.7, 1.3)
            room.release_aerosol(zone, t, 1, Mode.SPRAY, dose, size, 2.1, volatile, evaporation)
            room.release_gas(zone, Species.ALCOHOL, t, 1, voc_mg)
            room.release_gas(zone, Species.TERPENE, t, 1, voc_mg * 0.05)
            room.note("spray", "dispenser", t, t + 1)
        t += step + rng.uniform(-5, 5)


def _visit(room: Room, at: float) -> None:
    """Draw one visit: a person enters, uses a stall, a urinal or the mirror, washes and leaves."""
    rng = room.rng
    room.open_door(at)
    x = at + rng.uniform(3, 12)
    room.occupy(Zone.MAIN, at, x - at)
    purpose = rng.random()
    if purpose < 0.5:
        x = _use_stall(room, x)
    elif purpose < 0.75 and room.has_urinals:
        duration = rng.uniform(20, 70)
        room.occupy(Zone.MAIN, x, duration)
        x += duration
        if rng.random() < 0.6:
            flush(room, x, Zone.NOOK)
    else:
        duration = draw_log(rng, 10, 300)
        room.occupy(Zone.MAIN, x, duration)
        if rng.random() < room.school.grooms * 4 * (0.6 if room.has_urinals else 1):
            spray(room, x + duration * rng.random(), Zone.MAIN)
        x += duration
    if rng.random() < 0.72:
        x = _wash(room, x)
    if rng.random() < room.school.sanitizes:
        sanitize_hands(room, x)
    if rng.random() < room.school.grooms:
        spray(room, x, Zone.MAIN)
    if rng.random() < 0.05:
        raise_dust(room, at, x - at, "walk")
    room.open_door(x + 3)


def _use_stall(room: Room, at: float) -> float:
    rng = room.rng
    if int(rng.integers(0, 2)) == 0:
        zone, door = Zone.STALL_A, Driver.STALL_A_DOOR
    else:
        zone, door = Zone.STALL_B, Driver.STALL_B_DOOR
    duration = draw_log(rng, 45, 420)
    room.occupy(zone, at, duration)
    room.drive(door, at - 1, 4)
    room.drive(door, at + duration, 4)
    if rng.random() < 0.25:
        pull_paper(room, at + duration * 0.8, zone, 0.5)
    if rng.random() < 0.93:
        flush(room, at + duration - rng.uniform(2, 15), zone)
    return at + duration


def _wash(room: Room, at: float) -> float:
    rng = room.rng
    end = wash_hands(room, at)
    room.occupy(Zone.MAIN, at, end - at + 12)
    at = end + 1
    if room.has_dryer and rng.random() < 0.6:
        end = dry_hands(room, at)
        room.occupy(Zone.MAIN, at, end - at)
        at = end
    elif rng.random() < 0.6:
        pull_paper(room, at, Zone.MAIN)
    return at
