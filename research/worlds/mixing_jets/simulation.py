"""Simulate each room in turn: its events, the air at the inlet, and the device's readings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from research.worlds.mixing_jets.acts import Act
from research.worlds.mixing_jets.air import Inlet, Room, correlated, draw_log
from research.worlds.mixing_jets.day import (
    Habits,
    School,
    air_changes,
    happenings,
    site_release,
)
from research.worlds.mixing_jets.droplets import Aerosol
from research.worlds.mixing_jets.instruments import AMBIENT, Air, Unit, saturation_g_m3
from research.worlds.world import COLUMNS, EPOCH, Happening, Readings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_LEARNING_S: Final = 3600
"""Time before the start during which gas algorithms settle, s."""
_TO_UNIX: Final = EPOCH - _LEARNING_S


def mixing_jets(
    seed: int, rooms: int, hours: float, vape_rate: float = 0.35, nuisance_rate: float = 1.0
) -> tuple[Readings, list[Happening]]:
    """Simulate rooms with one sensor each; see the package for the physics."""
    seconds = _LEARNING_S + round(hours * 3600)
    school = School.draw(np.random.default_rng([seed, 0]), seconds)
    names = tuple(f"jet-{room:03d}" for room in range(rooms))
    sensor, time, values, truth = [], [], [], []
    for number, name in enumerate(names):
        rng = np.random.default_rng([seed, 100 + number])
        when, columns, found = _simulate_room(rng, name, school, (vape_rate, nuisance_rate))
        table = np.full((when.size, len(COLUMNS)), np.nan)
        for column, value in columns.items():
            table[:, COLUMNS.index(column)] = value
        sensor.append(np.full(when.size, number, np.int32))
        time.append(when + _TO_UNIX)
        values.append(table)
        truth += found
    all_time = np.concatenate(time)
    order = np.argsort(all_time, kind="stable")
    readings = Readings(
        names, np.concatenate(sensor)[order], all_time[order], np.concatenate(values)[order]
    )
    return readings, sorted(truth, key=lambda happening: happening.onset)


def draw_room(rng: np.random.Generator) -> Room:
    """Draw a restroom of 15-80 m³ with a sensor on the ceiling or high on a wall."""
    volume, height = draw_log(rng, 15, 80), rng.uniform(2.4, 3.2)
    shape = rng.uniform(1.0, 2.2)
    wide = np.sqrt(volume / height / shape)
    size = (wide * shape, wide, height)
    sensor = (
        rng.uniform(0.2, 0.8) * size[0],
        rng.uniform(0.3, 0.8) * size[1],
        height - rng.uniform(0.03, 0.1),
    )
    if rng.random() < 0.2:
        sensor = (rng.uniform(0.1, 0.9) * size[0], 0.1, rng.uniform(1.9, height - 0.1))
    return Room(
        size=size,
        sensor=sensor,
        mixing_s=draw_log(rng, 60, 300),
        draft_m_s=draw_log(rng, 0.05, 0.35),
        eddy_s=draw_log(rng, 3, 15),
        drift_m_s=draw_log(rng, 0.03, 0.2),
        gamma_shape=draw_log(rng, 0.5, 5),
        deposition=rng.uniform(1.0, 2.6),
    )


def _simulate_room(
    rng: np.random.Generator, name: str, school: School, rates: tuple[float, float]
) -> tuple[Floats, dict[str, Floats], list[Happening]]:
    room, unit, habits = draw_room(rng), Unit(rng), Habits.draw(rng)
    changes = air_changes(rng, school, draw_log(rng, 1.5, 14), draw_log(rng, 0.5, 2))
    base = np.clip(rng.lognormal(np.log(7), 0.65), 2, 40) * school.outdoor
    inlet = Inlet(room, unit.engine.rows, unit.mox, changes, rng)
    done: list[tuple[Act, Floats]] = []
    for act in happenings(rng, school, room, habits, rates):
        seen = np.zeros(inlet.seconds if act.kind == "vape" else 0)
        for release in act.releases:
            if release.start < inlet.seconds:
                start, pm25 = inlet.add(release)
                if act.kind == "vape":
                    seen[start : start + pm25.size] += pm25
        if act.kind and _LEARNING_S <= act.onset < inlet.seconds:
            done.append((act, seen[int(act.onset) : int(act.end) + 91]))
    air, more = _background(rng, school, unit, inlet, base)
    done += [(act, np.zeros(0)) for act in more]
    truth = []
    for act, window in done:
        second = int(act.onset)
        passed = np.flatnonzero(window > 5)
        truth.append(
            Happening(
                sensor=name,
                kind=act.kind,
                style=act.style,
                onset=act.onset + _TO_UNIX,
                end=act.end + _TO_UNIX,
                device=unit.model.name,
                interval_s=float(unit.interval),
                volume_m3=room.volume_m3,
                air_changes_h=float(changes[second]),
                seen_pm25=float(window.max(initial=0.0)),
                base_pm25=float(base[second]),
                arrival=float(second + passed[0]) + _TO_UNIX if passed.size else np.nan,
            )
        )
    time, columns = unit.report(air, _LEARNING_S)
    return time, columns, truth


def _background(
    rng: np.random.Generator,
    school: School,
    unit: Unit,
    inlet: Inlet,
    base: Floats,
) -> tuple[Air, list[Act]]:
    """Add the background: outdoor air, building-wide events, fog near saturation."""
    rows, n = unit.engine.rows, inlet.seconds
    particles = inlet.values[: len(rows)]
    mox, water, heat, co2 = inlet.values[len(rows) :]
    more: list[Act] = []

    wander = np.exp(0.05 * correlated(rng, n, 120))
    fine = base * wander
    coarse = 0.3 * base.mean() * (0.4 + np.minimum(school.activity, 1))
    smell = np.clip(rng.lognormal(np.log(0.25), 1.1), 0.03, 5)
    mox_base = smell * np.exp(np.interp(np.arange(n), *_knots(rng, n)))
    for event in school.events:
        leak = draw_log(rng, 0.05, 1.0)
        course = leak * site_release(event, n)
        fine += event.pm25 * course
        coarse += event.coarse * course
        mox_base += event.ppm * course
        if event.end > _LEARNING_S:
            more.append(Act("site", event.style, max(event.start, _LEARNING_S), event.end, ()))
    if rng.random() < 0.1:  # a reed diffuser releases glycol and scent all day
        mox_base += rng.uniform(0.27, 0.53) * unit.mox["glycol"] + 0.03 * unit.mox["alcohol"]
        more.append(Act("diffuser", "", float(_LEARNING_S), float(n - 1), ()))

    temperature = school.temperature + 0.6 * np.interp(np.arange(n), *_knots(rng, n))
    dry_g_m3 = np.clip(school.humidity + rng.normal(0, 4), 25, 70) / 100
    vapor = dry_g_m3 * saturation_g_m3(temperature)
    vapor *= np.exp(0.3 * np.interp(np.arange(n), *_knots(rng, n)))
    temperature += heat
    humidity = 100 * (vapor + water) / saturation_g_m3(temperature)
    # vapor above this humidity condenses
    humidity = np.where(
        humidity > 93, 99.5 - 6.5 * np.exp(-np.maximum(humidity - 93, 0) / 6.5), humidity
    )

    case = np.clip(unit.case_humidity(humidity, temperature), 0, 97) / 100
    hygroscopic = rng.uniform(0.1, 0.4)
    growth = (1 + hygroscopic * case / (1 - case)) / (1 + hygroscopic)
    particles += AMBIENT.response(rows, 1.0)[:, :1] * (fine * growth)
    dust = Aerosol(rng.uniform(4, 8), 2.0, density=1.8)
    particles += dust.response(rows, 1.0)[:, :1] * coarse
    near = rng.uniform(80, 92)
    fog = draw_log(rng, 50, 2000) * np.clip((humidity - near) / (100 - near), 0, 1) ** 1.5
    fog *= (water > 0.4) * np.exp(0.4 * correlated(rng, n, 6))
    droplets = Aerosol(rng.uniform(2, 6), 1.8)
    particles += droplets.response(rows, 1.0)[:, :1] * fog
    outdoor_co2 = 420 + rng.uniform(20, 300) * np.minimum(1, 0.3 + school.activity)
    air = Air(particles, mox + mox_base, humidity, temperature, outdoor_co2 + co2)
    return air, more


def _knots(rng: np.random.Generator, seconds: int) -> tuple[Floats, Floats]:
    """Return a fluctuation around 0 that changes over hours."""
    knots = np.arange(0, seconds + 5400, 2700, dtype=float)
    return knots, 0.3 * correlated(rng, knots.size, 3)
