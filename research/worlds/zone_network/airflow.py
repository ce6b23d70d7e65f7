"""Draw the flow between zones, in closed loops that conserve mass, and its drivers by second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from research.worlds.zone_network.layout import NODES, Driver, Zone
from research.worlds.zone_network.room import PLACES
from research.worlds.zone_network.series import draw_log, fluctuation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from research.worlds.zone_network.room import Room

    Floats = NDArray[np.float64]

_MAIN, _STALL_A, _STALL_B, _ENTRY, _CEILING, _EXHAUST, _CORRIDOR, _NOOK, _OUTSIDE = Zone
_STALLS: Final = (
    (_STALL_A, Driver.STALL_A_DOOR, Driver.HEAT_STALL_A),
    (_STALL_B, Driver.STALL_B_DOOR, Driver.HEAT_STALL_B),
)


def set_airflow(room: Room) -> None:
    """Draw the room's drivers, given the people in it, and the loops that they drive."""
    _set_drivers(room)
    _set_flows(room)


def _set_drivers(room: Room) -> None:
    school, rng, n = room.school, room.rng, room.school.seconds
    bells, drivers, people = school.bells, room.drivers, room.people
    corridor = bells.density * rng.uniform(2, 25) * np.exp(0.4 * fluctuation(rng, n, 300))
    people[:, PLACES.index(_CORRIDOR)] = np.clip(corridor, 0, 60)
    room.fan = _draw_fan(room)
    drivers[:, Driver.FAN] = room.fan
    is_school_day = (bells.hour > bells.starts - 1.5) & (bells.hour < bells.closes + 2)
    drivers[:, Driver.SUPPLY] = np.where(is_school_day, 1, rng.uniform(0, 0.6))
    door = drivers[:, Driver.DOOR]
    np.clip(door, 0, 1, out=door)
    if rng.random() < 0.15:  # the door is propped open
        door[:] = np.maximum(door, rng.uniform(0.1, 0.5) * (bells.density > 0.05))
    window = (rng.random() < 0.5) * draw_log(rng, 0.02, 1)
    window_s = window * (np.abs(fluctuation(rng, n, 5400)) < rng.uniform(0.3, 1.5)) + 0.02
    wind = fluctuation(rng, n, 900) + 0.6 * fluctuation(rng, n, 20) + rng.normal(0, 0.5)
    wind *= window_s
    drivers[:, Driver.WIND_IN] = np.maximum(wind, 0)
    drivers[:, Driver.WIND_OUT] = np.maximum(-wind, 0)
    for driver in (Driver.TURBULENCE_1, Driver.TURBULENCE_2):
        tau_s = draw_log(rng, 6, 40)
        drivers[:, driver] = np.exp(0.45 * fluctuation(rng, n, tau_s) - 0.1)
    drivers[:, Driver.PEOPLE_MAIN] = np.clip(people[:, 0], 0, 5) ** 0.7
    drivers[:, Driver.HEAT_STALL_A] = np.clip(people[:, 1], 0, 4) ** 0.5
    drivers[:, Driver.HEAT_STALL_B] = np.clip(people[:, 2], 0, 4) ** 0.5
    drivers[:, Driver.BELL] = np.clip(bells.density, 0, 1)


def _draw_fan(room: Room) -> Floats:
    """Draw the fan's mode: always on, scheduled, by motion, in cycles, or (nearly) off."""
    bells, rng, n = room.school.bells, room.rng, room.school.seconds
    if room.fan_mode == 0:
        return np.ones(n)
    if room.fan_mode == 1:
        is_after = bells.hour > bells.starts - rng.uniform(0.3, 2)
        return (is_after & (bells.hour < bells.closes + rng.uniform(0.5, 5))).astype(float)
    if room.fan_mode == 2:
        hold_s = int(rng.uniform(120, 1500))
        has_people = room.people[:, :3].sum(axis=1) > 0
        seen = np.cumsum(np.r_[0, has_people])
        i = np.arange(n)
        return (seen[i + 1] > seen[np.maximum(0, i - hold_s)]).astype(float)
    if room.fan_mode == 3:
        on, off = draw_log(rng, 200, 1800), draw_log(rng, 200, 3600)
        return ((np.arange(n) + rng.uniform(0, 4000)) % (on + off) < on).astype(float)
    return np.full(n, rng.uniform(0, 0.15))


def _loop(room: Room, zones: Sequence[Zone]) -> Floats:
    """Return the exchange matrix (NODES, NODES) for a unit flow around a closed loop of zones."""
    exchange = np.zeros((NODES, NODES))
    nodes = [zone if zone == _OUTSIDE else room.zone_of[zone] for zone in zones]
    nodes = [node for i, node in enumerate(nodes) if node != nodes[i - 1]]
    if len(nodes) > 1:
        for i, into in enumerate(nodes):
            source = nodes[i - 1]
            exchange[into, source] += 1
            exchange[source, source] -= 1
    return exchange


def _set_flows(room: Room) -> None:
    rng, volume = room.rng, room.volume

    def add(driver: Driver, flow_m3_s: float, *zones: Zone) -> None:
        room.flows[driver] += flow_m3_s * _loop(room, zones)

    fan = volume * room.air_changes / 3600
    supply = rng.uniform(0, 0.6) if rng.random() < 0.6 else 0.0
    by_stalls = rng.uniform(0, 0.6)
    from_entry = (_OUTSIDE, _CORRIDOR, _ENTRY, _MAIN)
    add(Driver.FAN, fan * (1 - supply) * (1 - by_stalls), *from_entry, _EXHAUST)
    for stall in (_STALL_A, _STALL_B):
        add(Driver.FAN, fan * (1 - supply) * by_stalls / 2, *from_entry, stall, _EXHAUST)
    add(Driver.FAN, fan * supply, _OUTSIDE, _CEILING, _MAIN, _EXHAUST)
    leak = volume * draw_log(rng, 0.2, 1.0) / 3600
    add(Driver.ALWAYS, leak, *from_entry, _CEILING, _EXHAUST)
    add(Driver.ALWAYS, leak * 0.3, _OUTSIDE, _NOOK, _MAIN)
    outdoor = volume * draw_log(rng, 0.05, 1.5) / 3600
    add(Driver.SUPPLY, outdoor, _OUTSIDE, _CEILING, _MAIN, _ENTRY, _CORRIDOR)

    size = (volume / 35) ** 0.4
    mixing = draw_log(rng, 0.025, 0.11) * size
    for stall, door, heat in _STALLS:
        add(Driver.TURBULENCE_1, mixing * rng.uniform(0.4, 0.9), _MAIN, stall)
        add(door, rng.uniform(0.08, 0.25), _MAIN, stall)
        add(heat, draw_log(rng, 0.01, 0.05), stall, _CEILING, _MAIN)
        add(Driver.PEOPLE_MAIN, 0.01, _MAIN, stall)
        add(Driver.FAN, fan * 0.3, _MAIN, stall)
    add(Driver.TURBULENCE_2, mixing * 0.4, _STALL_A, _STALL_B)
    add(Driver.TURBULENCE_2, mixing * rng.uniform(0.4, 1.5), _MAIN, _ENTRY)
    add(Driver.DOOR, rng.uniform(0.05, 0.2), _MAIN, _ENTRY)
    add(Driver.DOOR, draw_log(rng, 0.12, 0.6), _ENTRY, _CORRIDOR)
    add(Driver.ALWAYS, 0.004, _ENTRY, _CORRIDOR)
    add(Driver.TURBULENCE_2, mixing * rng.uniform(0.5, 1.5), _MAIN, _NOOK)
    add(Driver.TURBULENCE_1, draw_log(rng, 0.02, 0.09), _MAIN, _EXHAUST)
    add(Driver.FAN, fan * rng.uniform(0.5, 1.5), _CEILING, _EXHAUST)
    add(Driver.PEOPLE_MAIN, draw_log(rng, 0.01, 0.06), _MAIN, _CEILING)
    add(Driver.FAN, fan * rng.uniform(0.3, 1.2), _MAIN, _CEILING)
    add(Driver.HAND_DRYER, draw_log(rng, 0.05, 0.25), _MAIN, _CEILING, _NOOK)
    add(Driver.HAND_DRYER, 0.05, _MAIN, _STALL_A)
    wind = volume / 3600 * 6
    add(Driver.WIND_IN, wind, _OUTSIDE, _NOOK, _MAIN, _ENTRY, _CORRIDOR)
    add(Driver.WIND_OUT, wind, _OUTSIDE, _CORRIDOR, _ENTRY, _MAIN, _NOOK)
    corridor = room.volumes[_CORRIDOR]
    add(Driver.ALWAYS, corridor * draw_log(rng, 0.8, 5) / 3600, _OUTSIDE, _CORRIDOR)
    add(Driver.BELL, corridor * 0.002, _OUTSIDE, _CORRIDOR)
    strength = draw_log(rng, 0.05, 0.22) * size
    room.overturning = _loop(room, (_MAIN, _CEILING)) * strength
    room.stratification = draw_log(rng, 0.3, 3)
