"""Simulate a school (air, sources, devices); yield readings and, separately, the truth.

Time advances in tiles of one hour from `start`. There is a separate random stream for each day of a
room, for each session at a sensor, and for each tile of a device. A longer run therefore begins
exactly like a shorter one, except for the truth of sessions that are still in the air when the
shorter run ends.

Each release is simulated separately: at each inlet, a session produces a second-by-second series
(`physics.plume`), and a device measures the sum of all series. The background of all rooms advances
by the minute (`physics.background`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sensor_sim.devices.faults import Fault, plan_faults
from sensor_sim.devices.unit import DeviceUnit, Inlet
from sensor_sim.devices.voc_index import VocIndex
from sensor_sim.ground_truth import (
    AmbientTrack,
    Seen,
    drop_unknown,
    make_fault_truth,
    observe_session,
)
from sensor_sim.physics.aerosol import N_BINS
from sensor_sim.physics.background import Background, Slow, count_coarse
from sensor_sim.physics.plume import N_ROWS, PM25_WEIGHT, Plume, simulate_plume
from sensor_sim.physics.room import Place, RoomAir, SensorPlace
from sensor_sim.schedule import DAY_S, MINUTES, Activity, Ambient, DayPlan, plan_ambient, plan_day
from sensor_sim.sources import SOURCES
from sensor_sim.streams import make_stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from sensor_sim.physics.emission import Session
    from sensor_sim.school import Restroom, School
    from sensor_sim.trace import DeviceTrace, Truth

TILE_S: Final = 3600
COARSE_PM25: Final = float(PM25_WEIGHT @ count_coarse())
"""PM2.5 contained in 1 µg/m³ of coarse background."""


class Chunk(NamedTuple):
    """Readings and truth of one hour; the last chunk may be shorter.

    `traces` has one trace per device, in the school's order. `truths` has, for each sensor, the
    sessions in its room that ended and peaked by the end of this hour, the building-wide events
    that ended in it, and the faults that began in it. The last chunk also has unfinished sessions.
    """

    traces: tuple[DeviceTrace, ...]
    truths: tuple[Truth, ...]


@dataclass(slots=True)
class _Sensor:
    unit: DeviceUnit
    place: SensorPlace
    plumes: list[Plume] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


@dataclass(slots=True)
class _Room:
    restroom: Restroom
    air: RoomAir
    sensors: list[_Sensor]
    days: dict[int, DayPlan] = field(default_factory=dict)
    queue: list[Session] = field(default_factory=list)


def simulate(
    school: School,
    *,
    seed: int,
    start: float,
    duration_s: float,
    nuisance_rate: float = 1.0,
    vape_rate: float = 1.0,
    activity: Activity = "ordinary",
) -> Iterator[Chunk]:
    """Simulate a school, hour by hour.

    - `start`: Unix seconds; all devices power up then.
    - `duration_s`: rounded up to whole seconds.
    - `nuisance_rate`, `vape_rate`: factors for the mean numbers of nuisances and vaping sessions,
      >= 0.
    - `activity`: `ordinary` simulates school days. `hard_restroom` simulates about 200 nuisances
      and 14 vaping sessions per room-day around the clock, a third of the vaping masked. `demo`
      simulates an event somewhere in the school about every minute.
    """
    engine = _Engine(school, seed, float(start), vape_rate, nuisance_rate, activity)
    left = math.ceil(duration_s)
    finish = engine.start + left
    while left > 0:
        seconds = min(TILE_S, left)
        left -= seconds
        traces, truths = engine.advance(seconds)
        if not left:
            known = [*truths, *engine.list_unfinished()]
            truths = [drop_unknown(t, finish) for t in known if t.start < finish]
        truths.sort(key=lambda t: (t.start, t.session, t.sensor))
        yield Chunk(tuple(traces), tuple(truths))


def draw_air(restroom: Restroom, seed: int) -> RoomAir:
    """Draw a room's fixed properties, the same in every run with this `seed`."""
    return RoomAir.draw(make_stream(seed, "air", restroom.id), restroom.volume_m3)


class _Engine:
    """The state of a run, advanced tile by tile."""

    def __init__(
        self,
        school: School,
        seed: int,
        start: float,
        vape_rate: float,
        nuisance_rate: float,
        activity: Activity,
    ) -> None:
        self.school = school
        self.start = start
        self._seed = seed
        self._activity: Activity = activity
        self._vape_rate = vape_rate
        self._nuisance_rate = nuisance_rate
        self.rooms: list[_Room] = []
        for restroom in school.restrooms:
            air = draw_air(restroom, seed)
            sensors = [
                _Sensor(
                    DeviceUnit(d, seed, start), SensorPlace.draw(make_stream(seed, "place", d.id))
                )
                for d in restroom.devices
            ]
            self.rooms.append(_Room(restroom, air, sensors))
        self._background = Background(make_stream(seed, "background"), [r.air for r in self.rooms])
        self._indexed = [s for r in self.rooms for s in r.sensors if s.unit.has_index]
        self._index = VocIndex(len(self._indexed))
        self._tile = 0
        self._ambient: dict[int, tuple[Ambient, ...]] = {}
        self._outdoors: list[Ambient] = []
        self._watch: dict[str, AmbientTrack] = {}
        self._truths: list[Truth] = []

    def _find_local_time(self, time: float) -> tuple[int, float]:
        day, second = divmod(time + self.school.utc_offset_s, DAY_S)
        return int(day), second / 60

    def _plan(self, room: _Room, day: int) -> DayPlan:
        plan = room.days.get(day)
        if plan is None:
            plan = room.days[day] = plan_day(
                self.school,
                room.restroom,
                room.air,
                day,
                seed=self._seed,
                activity=self._activity,
                vape_rate=self._vape_rate,
                nuisance_rate=self._nuisance_rate,
            )
            room.queue += [s for s in plan.sessions if s.start >= self.start]
            room.queue.sort(key=lambda s: (s.start, s.id))
            for old in [d for d in room.days if d < day - 1]:
                del room.days[old]
        return plan

    def _get_minutes(self, room: _Room, time: float, n: int) -> tuple[NDArray[np.float64], ...]:
        day, minute = self._find_local_time(time)
        first = int(minute)
        fans, people = [], []
        left = n
        while left > 0:
            plan = self._plan(room, day)
            stop = min(first + left, MINUTES)
            fans.append(plan.fan_on[first:stop])
            people.append(plan.people[first:stop])
            left -= stop - first
            day, first = day + 1, 0
        fan = np.concatenate(fans)
        return np.where(fan, room.air.ach_on, room.air.ach_off), np.concatenate(people)

    def advance(self, seconds: int) -> tuple[list[DeviceTrace], list[Truth]]:
        """Simulate the next tile; return the readings and truths of its first `seconds`."""
        tile = self._tile
        begin = self.start + tile * TILE_S
        slow = self._advance_background(begin)
        time = begin + np.arange(TILE_S, dtype=np.float64)
        sensed: list[tuple[_Sensor, np.random.Generator, NDArray[np.float32]]] = []
        for number, room in enumerate(self.rooms):
            fine = _interpolate(slow[:, :, number].astype(np.float32))
            self._begin_sessions(room, begin, slow[:, :, number])
            for sensor in room.sensors:
                air = Inlet.mix(time, _sum_plumes(sensor, tile * TILE_S), fine)
                self._release_truths(sensor, air, begin, seconds)
                rng = make_stream(self._seed, "tile", sensor.unit.device.id, tile)
                sensed.append((sensor, rng, sensor.unit.sense(rng, air)))
        self._run_index(sensed, begin)
        traces = []
        for sensor, rng, signals in sensed:
            report = sensor.unit.report(rng, time[:seconds], signals[:, :seconds], sensor.faults)
            restarts = [
                (f.end, "restart")
                for f in sensor.faults
                if f.kind == "restart" and begin <= f.end < begin + seconds
            ]
            traces.append(replace(report, events=tuple(sorted([*report.events, *restarts]))))
        self._tile += 1
        truths, self._truths = self._truths, []
        return traces, truths

    def _advance_background(self, begin: float) -> NDArray[np.float64]:
        minutes = TILE_S // 60
        both = [self._get_minutes(room, begin, minutes) for room in self.rooms]
        ach = np.stack([b[0] for b in both], axis=1)
        people = np.stack([b[1] for b in both], axis=1)
        at = begin + 60.0 * np.arange(minutes, dtype=np.float64)
        day, _ = self._find_local_time(begin)
        for d in (day, day + 1):
            if d not in self._ambient:
                self._ambient[d] = plan_ambient(
                    self.school,
                    d,
                    seed=self._seed,
                    nuisance_rate=self._nuisance_rate,
                    activity=self._activity,
                )
                self._outdoors += self._ambient[d]
        outside = np.zeros((minutes, 2))
        for event in self._outdoors:
            level = event.get_level(at)
            outside[:, 0] += level * event.fine_ug_m3
            outside[:, 1] += level * event.coarse_ug_m3
        hour = ((at + self.school.utc_offset_s) % DAY_S) / 3600
        rng = make_stream(self._seed, "minutes", self._tile)
        slow = self._background.advance(rng, ach, people, outside, hour)
        self._track_ambient(slow, begin)
        return slow

    def _begin_sessions(self, room: _Room, begin: float, slow: NDArray[np.float64]) -> None:
        while room.queue and room.queue[0].start < begin + TILE_S:
            session = room.queue.pop(0)
            first = int(session.start - self.start)
            minute = int((session.start - begin) // 60)
            now = slow[minute]
            ach, _ = self._get_minutes(room, session.start, 240)
            rh = float(Inlet.mix(np.zeros(1), None, now[:, None].astype(np.float32)).rh[0])
            shared = Place.draw(make_stream(self._seed, "release", session.id))
            source = SOURCES[session.source]
            shared = shared.spread(source.spread, room.air.volume_m3)
            for sensor in room.sensors:
                rng = make_stream(self._seed, "plume", session.id, sensor.unit.device.id)
                place = shared.place_near(rng, source.near_sensor)
                plume = simulate_plume(
                    rng,
                    session,
                    room.air,
                    sensor.place,
                    place,
                    first=first,
                    ach_per_minute=ach,
                    rh=rh,
                    water_g_m3=float(now[Slow.WATER]),
                    temp_c=float(now[Slow.TEMP]),
                )
                if plume is not None:
                    sensor.plumes.append(plume)
                sensor.seen.append(observe_session(session, sensor.unit.device, plume, self.start))

    def _release_truths(self, sensor: _Sensor, air: Inlet, begin: float, seconds: int) -> None:
        """Fill in the baselines that fall into this tile, and release truths that are complete.

        Also plan the tile's device faults and record their truths.
        """
        waiting = []
        for seen in sensor.seen:
            i = int(seen.at - begin)
            if math.isnan(seen.truth.baseline) and 0 <= i < TILE_S:
                total = float(air.compute_background_pm25()[i])
                if air.plume is not None:
                    total += float(PM25_WEIGHT @ air.plume[:N_BINS, i])
                seen.truth = replace(seen.truth, baseline=max(total - seen.own, 0.0))
            if seen.done < begin + TILE_S and not math.isnan(seen.truth.baseline):
                self._truths.append(seen.truth)
            else:
                waiting.append(seen)
        sensor.seen = waiting
        for fault in plan_faults(
            self._seed,
            sensor.unit.device.id,
            sensor.unit.device.channels,
            self._tile,
            begin,
            float(TILE_S),
        ):
            sensor.faults.append(fault)
            if fault.start < begin + seconds:
                self._truths.append(make_fault_truth(sensor.unit.device, fault))
        sensor.faults = [f for f in sensor.faults if f.end + 60 > begin]

    def _track_ambient(self, slow: NDArray[np.float64], begin: float) -> None:
        excess = slow[:, Slow.AMBIENT_FINE] + COARSE_PM25 * slow[:, Slow.AMBIENT_COARSE]
        for event in self._outdoors:
            watch = self._watch.setdefault(event.id, AmbientTrack.create(len(self.rooms)))
            for number in range(len(self.rooms)):
                watch.add(number, begin, excess[:, number], slow[:, Slow.FINE, number])
            if begin <= event.end < begin + TILE_S:
                for number, room in enumerate(self.rooms):
                    for sensor in room.sensors:
                        self._truths.append(watch.make_truth(event, number, sensor.unit.device))
        over = {e.id for e in self._outdoors if e.end < begin + TILE_S}
        self._outdoors = [e for e in self._outdoors if e.id not in over]
        for event_id in over:
            self._watch.pop(event_id, None)

    def _run_index(
        self, sensed: list[tuple[_Sensor, np.random.Generator, NDArray[np.float32]]], begin: float
    ) -> None:
        if not self._indexed:
            return
        mine = {id(s): signals for s, _, signals in sensed}
        for column, sensor in enumerate(self._indexed):
            for fault in sensor.faults:
                if fault.kind == "restart" and begin <= fault.end < begin + TILE_S:
                    self._index.reset(column)
        raw = np.stack([mine[id(s)][-2] for s in self._indexed]).astype(np.int32)
        index = self._index.process(raw)
        for row, sensor in zip(index, self._indexed, strict=True):
            mine[id(sensor)][-3] = row

    def list_unfinished(self) -> list[Truth]:
        """Return what is known about sessions that are still in the air."""
        out = []
        for sensor in (s for r in self.rooms for s in r.sensors):
            for seen in sensor.seen:
                truth = seen.truth
                out.append(replace(truth, baseline=0.0) if math.isnan(truth.baseline) else truth)
            sensor.seen = []
        return out


def _interpolate(nodes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Interpolate minutes of shape (minutes + 1, rows) to seconds of shape (rows, seconds)."""
    low, step = nodes[:-1].T, np.diff(nodes, axis=0).T
    between = np.arange(60, dtype=np.float32) / np.float32(60)
    fine = low[:, :, None] + step[:, :, None] * between
    return fine.reshape(nodes.shape[1], -1)


def _sum_plumes(sensor: _Sensor, second: int) -> NDArray[np.float32] | None:
    total: NDArray[np.float32] | None = None
    for plume in sensor.plumes:
        a = max(plume.first - second, 0)
        b = min(plume.first + plume.rows.shape[1] - second, TILE_S)
        if b <= a:
            continue
        if total is None:
            total = np.zeros((N_ROWS, TILE_S), np.float32)
        offset = second - plume.first
        if plume.active.size == N_ROWS:
            total[:, a:b] += plume.rows[:, a + offset : b + offset]
        else:
            for row in plume.active:
                total[row, a:b] += plume.rows[row, a + offset : b + offset]
    sensor.plumes = [p for p in sensor.plumes if p.first + p.rows.shape[1] > second + TILE_S]
    return total
