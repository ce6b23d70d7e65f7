"""Simulate a school's rooms with one sensor each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from research.worlds.world import COLUMNS, EPOCH, Happening, Readings
from research.worlds.zone_network.airflow import set_airflow
from research.worlds.zone_network.firmware import report
from research.worlds.zone_network.gas_sensors import add_climate, add_gas
from research.worlds.zone_network.inlet import at_inlet
from research.worlds.zone_network.network import Network
from research.worlds.zone_network.particle_counters import Optics
from research.worlds.zone_network.room import Room
from research.worlds.zone_network.school import DEVICES, draw_school
from research.worlds.zone_network.series import draw_log, pick
from research.worlds.zone_network.timetable import fill_room

if TYPE_CHECKING:
    from research.worlds.zone_network.inlet import Inlet

_KEY = 0xD
"""Separates this world's random streams from other uses of the same seed."""


def zone_network(
    seed: int, rooms: int, hours: float, vape_rate: float = 0.35, nuisance_rate: float = 1.0
) -> tuple[Readings, list[Happening]]:
    """Simulate restrooms of one school as networks of zones; see `worlds.world.World`."""
    school_rng, air_rng, *room_rngs = (
        np.random.default_rng(stream)
        for stream in np.random.SeedSequence([seed, _KEY]).spawn(2 + 2 * rooms)
    )
    school = draw_school(school_rng, hours)
    built = []
    for rng in room_rngs[::2]:
        room = Room(school, rng)
        fill_room(room, vape_rate, nuisance_rate)
        set_airflow(room)
        built.append(room)
    air = Network(school, built, draw_log(air_rng, 0.28, 0.7)).run()

    names = tuple(f"d{seed % 1000:03d}-{i:02d}" for i in range(rooms))
    times, sensors, values, happenings = [], [], [], []
    for i, (room, rng) in enumerate(zip(built, room_rngs[1::2], strict=True)):
        inlet = at_inlet(room, air[:, i], rng)
        device = pick(rng, DEVICES, school.device_shares)
        signals = Optics(device, inlet, rng).measure()
        add_gas(signals, device, inlet, rng)
        add_climate(signals, device, inlet, rng)
        reported = report(signals, device, rng)
        times.append(np.round(EPOCH + reported.times, reported.time_decimals))
        sensors.append(np.full(reported.times.size, i, np.int32))
        table = np.full((reported.times.size, len(COLUMNS)), np.nan)
        for column, series in reported.values.items():
            table[:, COLUMNS.index(column)] = series
        values.append(table)
        happenings += _happenings(room, inlet, names[i], device, reported.interval_s)
    time = np.concatenate(times)
    order = np.argsort(time, kind="stable")
    readings = Readings(
        names, np.concatenate(sensors)[order], time[order], np.concatenate(values)[order]
    )
    return readings, sorted(happenings, key=lambda happening: happening.onset)


def _happenings(
    room: Room, inlet: Inlet, sensor: str, device: str, interval_s: float
) -> list[Happening]:
    """Return a room's acts with their contribution at its sensor."""
    n = room.school.seconds
    happenings = []
    for kind, style, onset, end in room.acts:
        if end < 0 or onset >= n:
            continue
        begin = int(np.ceil(max(onset, 0)))
        seen, arrival = 0.0, np.nan
        if kind == "vape":
            left = inlet.vaped[max(0, begin - 1)]
            excess = inlet.vaped[begin : min(n, int(end) + 91)]
            excess = excess - left * np.exp(-np.arange(excess.size) / 600)
            seen = max(0.0, float(excess.max(initial=0.0)))
            arrived = np.flatnonzero(excess >= 5)
            if arrived.size:
                arrival = EPOCH + begin + float(arrived[0])
        happenings.append(
            Happening(
                sensor=sensor,
                kind=kind,
                style=style,
                onset=EPOCH + onset,
                end=EPOCH + min(end, n),
                device=device,
                interval_s=interval_s,
                volume_m3=room.volume,
                air_changes_h=room.air_changes * float(room.fan[int(max(onset, 0))]) + 0.4,
                seen_pm25=seen,
                base_pm25=float(np.median(inlet.not_vaped[max(0, begin - 600) : begin + 1])),
                arrival=arrival,
            )
        )
    return happenings
