"""Simulate a world's rooms, chunk by chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from research.worlds.two_zones.air import CHUNK_S, Air, Background
from research.worlds.two_zones.devices import Clock, Devices
from research.worlds.two_zones.rooms import draw_room
from research.worlds.world import EPOCH, Happening, Readings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from research.worlds.two_zones.emission import Act
    from research.worlds.two_zones.rooms import Room

    Floats = NDArray[np.float64]


def two_zones(
    seed: int, rooms: int, hours: float, vape_rate: float = 0.35, nuisance_rate: float = 1.0
) -> tuple[Readings, list[Happening]]:
    """Simulate rooms of two mixed zones; see `research.worlds.world.World`."""
    rng = np.random.default_rng(seed)
    drawn = [draw_room(rng, hours, vape_rate, nuisance_rate) for _ in range(rooms)]
    noise = np.random.default_rng(seed + 7919)
    background = Background(noise, drawn, hours)
    clock = Clock(noise, drawn)
    devices = Devices(noise, drawn)
    air = Air(drawn)
    total_s = int(hours * 3600)
    chunks = []
    for begin in range(0, total_s, CHUNK_S):
        seconds = min(CHUNK_S, total_s - begin)
        turbulence, reports = clock.advance(begin, seconds)
        values, vape_pm25 = devices.read(
            air.advance(begin, seconds),
            background.at(begin + np.arange(seconds)),
            turbulence,
            reports,
        )
        columns = (reports.room, begin + reports.second, reports.delay_s, vape_pm25, values)
        chunks.append([column[~reports.is_lost] for column in columns])
    room, second, delay_s, vape_pm25, values = (
        np.concatenate(column) for column in zip(*chunks, strict=True)
    )
    names = tuple(f"S{seed}-{number:03d}" for number in range(rooms))
    truth: list[Happening] = []
    for number, name in enumerate(names):
        mine = room == number
        at, own = second[mine], vape_pm25[mine]
        truth += [_happening(name, drawn[number], act, at, own) for act in drawn[number].acts]
    time = second + delay_s
    order = np.argsort(time, kind="stable")
    readings = Readings(names, room[order].astype(np.int32), EPOCH + time[order], values[order])
    return readings, truth


def _happening(
    sensor: str, room: Room, act: Act, second: NDArray[np.intp], vape_pm25: Floats
) -> Happening:
    """Return the truth about one act, given the PM2.5 from vaping at each of the room's reports."""
    seen_pm25, arrival = 0.0, np.nan
    if act.kind == "vape":
        mine = (second >= act.onset) & (second <= act.end + 90) & (vape_pm25 > 2)
        seen_pm25 = float(vape_pm25[mine].max(initial=0))
        arrived = second[mine & (vape_pm25 > 5)]
        arrival = float(arrived[0]) if arrived.size else np.nan
    return Happening(
        sensor,
        act.kind,
        act.style,
        EPOCH + act.onset,
        EPOCH + act.end,
        room.unit.model,
        room.unit.interval_s,
        room.volume,
        room.air_changes_h,
        seen_pm25,
        float(room.background_pm.sum()),
        EPOCH + arrival,
    )
