"""Simulate the rooms one after another, and merge their readings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from research.worlds.parcels.air import mix_air
from research.worlds.parcels.day import Day
from research.worlds.parcels.devices import measure
from research.worlds.parcels.rooms import draw_room
from research.worlds.parcels.rounds import simulate_rounds
from research.worlds.parcels.schedule import WARM_UP_S, draw_school
from research.worlds.parcels.substances import PM25
from research.worlds.parcels.vaping import simulate_vaping
from research.worlds.parcels.visits import draw_fixtures, simulate_visits
from research.worlds.world import EPOCH, Happening, Readings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from research.worlds.parcels.air import Air
    from research.worlds.parcels.devices import Record
    from research.worlds.parcels.flight import Excess
    from research.worlds.parcels.schedule import School


def parcels(
    seed: int, rooms: int, hours: float, vape_rate: float = 0.35, nuisance_rate: float = 1.0
) -> tuple[Readings, list[Happening]]:
    """Simulate the rooms of one school; see `research.worlds.world.World`."""
    school = draw_school(seed, hours)
    names = tuple(f"c{seed}-{number:02d}" for number in range(rooms))
    records: list[Record] = []
    truth: list[Happening] = []
    for number, name in enumerate(names):
        record, happenings = _simulate_room(school, number, name, hours, vape_rate, nuisance_rate)
        records.append(record)
        truth += happenings
    time = EPOCH + np.concatenate([record.time for record in records])
    sensor = np.repeat(np.arange(rooms, dtype=np.int32), [len(record.time) for record in records])
    order = np.argsort(time, kind="stable")
    values = np.concatenate([record.values for record in records])[order]
    return Readings(names, sensor[order], time[order], values), truth


def _simulate_room(
    school: School,
    number: int,
    name: str,
    hours: float,
    vape_rate: float,
    nuisance_rate: float,
) -> tuple[Record, list[Happening]]:
    room = draw_room(school, number, hours)
    day = Day(school, room, hours)
    fixtures = draw_fixtures(school, room)
    simulate_visits(day, fixtures, nuisance_rate)
    simulate_rounds(day, fixtures, nuisance_rate)
    simulate_vaping(day, vape_rate)
    air, excesses = mix_air(day)
    record = measure(day, air.until(room.read_s))
    truth = [
        *_vaping_truth(day, name, air, excesses, record),
        *_other_truth(day, name, air, record),
    ]
    return record, sorted(truth, key=lambda happening: happening.onset)


def _vaping_truth(
    day: Day, name: str, air: Air, excesses: list[Excess], record: Record
) -> Iterator[Happening]:
    pm25 = air.particles[:, :PM25].sum(1)
    for session, excess in zip(day.sessions, excesses, strict=True):
        onset = int(session.start + WARM_UP_S)
        first, last = onset - excess.first, int(session.end + WARM_UP_S + 90) - excess.first
        seen = excess.pm25[first:last]
        arrived = np.flatnonzero(seen > 5)
        yield Happening(
            sensor=name,
            kind="vape",
            style=session.style,
            onset=EPOCH + session.start,
            end=EPOCH + session.end,
            device=record.device,
            interval_s=record.interval_s,
            volume_m3=day.room.volume,
            air_changes_h=float(day.room.air_changes[onset]),
            seen_pm25=float(seen.max()),
            base_pm25=float(np.median(pm25[max(0, onset - 300) : onset])),
            arrival=EPOCH + onset + int(arrived[0]) - WARM_UP_S if len(arrived) else np.nan,
        )


def _other_truth(day: Day, name: str, air: Air, record: Record) -> Iterator[Happening]:
    background = air.background[:, :PM25].sum(1)
    for act in day.acts:
        if 0 <= act.start < day.hours * 3600:
            step = int(act.start) + WARM_UP_S
            yield Happening(
                sensor=name,
                kind=act.kind,
                style=act.style,
                onset=EPOCH + act.start,
                end=EPOCH + act.end,
                device=record.device,
                interval_s=record.interval_s,
                volume_m3=day.room.volume,
                air_changes_h=float(day.room.air_changes[step]),
                seen_pm25=0.0,
                base_pm25=float(background[step]),
                arrival=np.nan,
            )
