"""Air at the sensor's inlet by second: clouds, the mixed remainder and the background."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.signal import lfilter

from research.worlds.parcels.day import Act, Day
from research.worlds.parcels.draws import Floats, lagged, log_normal, wander
from research.worlds.parcels.flight import Excess, breathe
from research.worlds.parcels.schedule import WARM_UP_S
from research.worlds.parcels.substances import (
    ALCOHOL,
    BINS,
    DIAMETER,
    GAS_PPB,
    GLYCEROL,
    PM25,
    SUBSTANCES,
    TERPENE,
    WATER,
    mode,
    to_bins,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from research.worlds.parcels.rooms import Room

_STEP_S: Final = 5
"""Time step of the mixed remainder, s."""


@dataclass(frozen=True, slots=True)
class Air:
    """Air at the inlet by second.

    - `particles` (steps, BINS): all particles, µg/m³.
    - `background` (steps, BINS): particles without people's releases, µg/m³.
    - `gases` (steps, 5): gas families, ppb.
    - `tvoc`: background gas, ppb.
    - `rh`, `temp`, `co2`: in %, °C and ppm.
    """

    particles: Floats
    background: Floats
    gases: NDArray[np.float32]
    tvoc: Floats
    rh: Floats
    temp: Floats
    co2: Floats

    def until(self, step: int) -> Air:
        """Return the air before `step`."""
        return Air(*(getattr(self, each.name)[:step] for each in fields(self)))


def mix_air(day: Day) -> tuple[Air, list[Excess]]:
    """Return the air at the inlet, and each vaping session's contribution to it.

    Building-wide events are also added to the day's acts.
    """
    sessions = [
        Excess(
            int(session.start + WARM_UP_S) - 5,
            np.zeros(int(session.end - session.start) + 1700),
        )
        for session in day.sessions
    ]
    breath = breathe(day.stirred_room(), day.releases, sessions)
    inhaled = breath.inhaled
    inhaled += _mixed_remainder(day.room, breath.mixed_in, _site_air(day))
    temp, rh = _climate(day, inhaled[:, WATER])
    background = _background(day, rh)
    particles = inhaled[:, :BINS] * 1000 + background
    particles += _mist(day, rh)
    tvoc = _background_tvoc(day)
    gases = _gases(day, inhaled)
    return Air(particles, background, gases, tvoc, rh, temp, _co2(day)), sessions


def _site_air(day: Day) -> Floats:
    """Return the incoming air at each `_STEP_S`, mg/m³ by substance."""
    rng = day.rng
    penetration, delay = rng.uniform(0.25, 1.0), rng.uniform(0, 600)
    time = np.arange(day.room.all_s // _STEP_S + 1) * _STEP_S - WARM_UP_S
    inflow = np.zeros((len(time), SUBSTANCES))
    filtered = penetration * np.where(DIAMETER > 2.5, 0.35, np.where(DIAMETER > 1, 0.6, 0.85))
    for event in day.school.site_events:
        if rng.random() < 0.12:
            continue
        duration = event.duration
        rising = np.clip((time - event.start - delay) / max(60, duration * 0.15), 0, 1)
        end = event.start + delay + duration
        level = rising * np.clip((end - time) / max(60, duration * 0.2), 0, 1)
        level = level * np.exp(wander(rng, len(time), 60, 0.35) - 0.06)
        inflow[:, :BINS] += level[:, None] * event.particles * filtered * 1e-3
        for gas, amount in event.gases.items():
            inflow[:, gas] += level * amount * penetration
        day.acts.append(Act("site", event.style, event.start + delay, end))
    return inflow


def _mixed_remainder(room: Room, mixed_in: Floats, inflow: Floats) -> NDArray[np.float32]:
    """Return the mixture of old clouds and the building's air, with a fluctuation, mg/m³."""
    rng = room.rng
    loss = np.concatenate([room.deposition, room.sorption, [rng.uniform(0.3, 1.5)]])
    steps = room.all_s // _STEP_S
    changes = _by_step(room.air_changes).mean(1)
    kept = np.exp(-(changes[:, None] + loss) * _STEP_S / 3600)
    joining = _by_step(mixed_in[: room.all_s]).sum(1)
    joining = joining + inflow[:steps] * (changes * room.volume * _STEP_S / 3600)[:, None]
    mass = np.zeros(SUBSTANCES)
    masses = np.empty((steps, SUBSTANCES), np.float32)
    for step in range(steps):
        mass = mass * kept[step] + joining[step]
        masses[step] = mass
    flutter = np.exp(wander(rng, room.all_s, rng.uniform(8, 40), rng.uniform(0.02, 0.09)))
    mixed: NDArray[np.float32] = masses[_step_of_second(room)] / room.volume
    mixed *= flutter[:, None].astype(np.float32)
    return mixed


def _by_step(series: Floats) -> Floats:
    steps = len(series) // _STEP_S
    return series[: steps * _STEP_S].reshape(steps, _STEP_S, *series.shape[1:])


def _step_of_second(room: Room) -> NDArray[np.intp]:
    return np.minimum(np.arange(room.all_s) // _STEP_S, room.all_s // _STEP_S - 1)


def _climate(day: Day, water: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Return temperature, °C, and relative humidity, %."""
    school, rng, steps = day.school, day.rng, day.room.all_s
    hour = school.hour(day.room.seconds)
    temp = (
        school.temp
        + rng.normal(0, 0.8)
        + rng.uniform(0.2, 1.5) * np.sin((hour - 9) / 24 * 2 * np.pi)
        + wander(rng, steps, 5000, 0.35, 60)
        + wander(rng, steps, 120, 0.04, 5)
    )
    heat = np.asarray(lfilter([1.0], [1.0, -np.exp(-1 / 500.0)], day.heat))
    temp = temp + heat + 0.05 * lagged(np.minimum(day.occupancy, 8), 600)
    saturation = 17300 * np.exp(0.06 * (temp - 20))  # mg/m³
    rh = (
        school.rh
        + rng.normal(0, 4)
        + wander(rng, steps, 9000, 3, 60)
        + wander(rng, steps, 240, 0.3, 5)
        + rng.uniform(0, 3) * np.sin((hour - 5) / 24 * 2 * np.pi)
    )
    rh = np.clip(rh, 15, 78) + water / saturation * 100 - 2.2 * (temp - lagged(temp, 3000))
    over = np.maximum(rh - 80, 0)
    rh = np.where(rh > 80, 80 + 19.5 * (1 - np.exp(-over / 19.5)), rh)
    return temp, np.clip(rh, 8, 99.6)


def _background(day: Day, rh: Floats) -> Floats:
    """Return background particles, grown by humidity, µg/m³ by bin."""
    school, rng, steps = day.school, day.rng, day.room.all_s
    usual = min(40.0, max(1.5, school.pm25 * log_normal(rng, 1, 0.3)))
    level = usual * np.exp(
        wander(rng, steps, 7200, rng.uniform(0.1, 0.45), 60)
        + wander(rng, steps, 400, rng.uniform(0.03, 0.12), 5)
        + wander(rng, steps, 25, 0.025)
    )
    hour = school.hour(day.room.seconds)
    level *= 1 + rng.uniform(0, 0.35) * np.sin((hour - rng.uniform(0, 24)) / 24 * 2 * np.pi)
    fine_share = rng.uniform(0.6, 0.93)
    coarse = to_bins(mode(1, rng.uniform(2.8, 6), rng.uniform(1.8, 2.3)))
    fine = to_bins(mode(1, rng.uniform(0.26, 0.5), rng.uniform(1.55, 1.95)))
    fine = fine / fine[:PM25].sum() * fine_share
    coarse = coarse / coarse[:PM25].sum() * (1 - fine_share)
    kappa, activity = school.hygroscopicity, np.clip(rh, 0, 97) / 100
    growth = (1 + kappa * activity / (1 - activity)) / (1 + kappa * 0.35 / 0.65)
    growth = np.maximum(growth, 0.8)
    air: Floats = level[:, None] * (fine[None] * growth[:, None] + coarse[None])
    grown = np.clip((growth - 1) * 0.12, 0, 0.6)[:, None] * air[:, :-4]  # moves to the next bin
    air[:, :-4] -= grown
    air[:, 1:-3] += grown
    return air


def _mist(day: Day, rh: Floats) -> Floats:
    """Return the mist from hot water in air close to saturation, µg/m³ by bin."""
    droplets = to_bins(mode(1.0, day.rng.uniform(2.2, 6), 1.7) + mode(0.06, 0.6, 1.8))
    mist = np.zeros(len(rh))
    for steam in day.steam:
        during = slice(day.index(steam.start), day.index(steam.end))
        wet = np.clip((lagged(rh[during], 15) - steam.threshold) / 14, 0, 1) ** 2
        fading = np.clip(np.arange(len(wet))[::-1] / 500, 0, 1)
        mist[during] = np.maximum(mist[during], steam.mist * 1000 * fading * wet)
    return mist[:, None] * droplets[None]


def _background_tvoc(day: Day) -> Floats:
    """Return background gas, including people's own emissions, ppb."""
    rng, steps, changes = day.rng, day.room.all_s, day.room.air_changes
    usual = min(5000.0, max(20.0, day.school.tvoc * log_normal(rng, 1, 0.4)))
    slow = wander(rng, steps, 9000, rng.uniform(0.1, 0.45), 60)
    level = usual * np.exp(slow + wander(rng, steps, 500, 0.06, 5))
    level = lagged(level * (1 + 1.2 / (1 + changes)) / 1.3, 300)
    from_people: Floats = 12 * lagged(day.occupancy, 300) / (1 + 0.2 * changes.mean())
    return np.add(level, from_people)


def _gases(day: Day, inhaled: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return released gases, ppb by family."""
    rng = day.rng
    gases = np.stack([inhaled[:, gas] * ppb for gas, ppb in GAS_PPB.items()], 1)
    if day.has_reed_diffuser:
        scent = rng.uniform(270, 530) * np.exp(wander(rng, len(gases), 3000, 0.1, 60))
        gases[:, GLYCEROL - BINS] += scent
        gases[:, ALCOHOL - BINS] += rng.uniform(19, 40)
        gases[:, TERPENE - BINS] += rng.uniform(10, 80)
    return gases


def _co2(day: Day) -> Floats:
    room = day.room
    exhaled = _by_step(day.occupancy * 5e-6 / room.volume * 1e6).sum(1)
    kept = np.exp(-_by_step(room.air_changes).mean(1) * _STEP_S / 3600)
    own = np.zeros(len(exhaled))
    level = 0.0
    for step in range(len(exhaled)):
        level = level * kept[step] + exhaled[step]
        own[step] = level
    from_hall = np.repeat(room.busy, 60)[: room.all_s] * room.rng.uniform(100, 700)
    return day.school.co2 + lagged(from_hall, 2500) + own[_step_of_second(room)]
