"""Simulate all rooms in one array, second by second.

Only the excess over a room's background is simulated, so clean air enters through the door; the
background drifts separately. An inlet measures the ceiling cell around its sensor. A cell of
0.6-3.3 m³ is not a point, so its excess over the room's mean fluctuates lognormally. Air in a
cell mixes at once here, but a real plume needs time to cross it. So everything arrives 2-20 s late.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.signal import lfilter

from research.worlds.plume_grid import aerosol, emissions, grid, students
from research.worlds.plume_grid.aerosol import BINS, WIDTH
from research.worlds.plume_grid.grid import BLOCK_S, CELLS, COLUMNS
from research.worlds.plume_grid.sensors import Device, Inlet
from research.worlds.world import EPOCH, Happening, Readings
from sensor_sim.streams import draw_log, make_stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from research.worlds.plume_grid.emissions import Act
    from research.worlds.plume_grid.grid import Airflow
    from research.worlds.plume_grid.students import Bells, Day

_CHUNK_S: Final = 1800
_ROOM_HOURS: Final = 24 * 24
"""Number of room-hours simulated together, limited by memory."""
_WATCH_S: Final = 90.0
"""Time after a session's end during which its excess still counts, s."""
_ARRIVED_UG_M3: Final = 5.0
_NOTHING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class _Background:
    """A room's air without acts; each value is a constant or a series by minute."""

    fine_ug_m3: NDArray[np.float64]
    shape: NDArray[np.float64]
    uptake: float
    voc_ppm: NDArray[np.float64]
    vapor_g_m3: NDArray[np.float64]
    temperature: NDArray[np.float64]
    co2_ppm: float


@dataclass(frozen=True, slots=True)
class _Room:
    """One restroom with its sensor and all its acts."""

    airflow: Airflow
    day: Day
    background: _Background
    device: Device
    circulation: NDArray[np.float64]
    supply_m3_s: NDArray[np.float64]
    stirring: NDArray[np.float64]
    losses_h: NDArray[np.float64]
    dust_ug_s: float
    sorption_h: tuple[float, float]
    glycerol_ug_m3: float
    sensor_cell: int
    flutter: NDArray[np.float32]
    transit_s: int


def _wander(
    rng: np.random.Generator, minutes: int, memory_min: float, size: float
) -> NDArray[np.float64]:
    keep = float(np.exp(-1 / memory_min))
    kicks = rng.standard_normal(minutes) * size * np.sqrt(1 - keep**2)
    kicks[:1] = rng.standard_normal(1) * size
    return np.asarray(lfilter([1.0], [1.0, -keep], kicks))


def _draw_background(
    rng: np.random.Generator, bells: Bells, school: float, *, diffuser: bool
) -> _Background:
    minutes = len(bells.visits)
    of_day = 2 * np.pi * (np.arange(minutes) / 1440 + students.START_OF_DAY_S / 86_400 - 0.6)
    fine = float(np.clip(7 * school * np.exp(0.5 * rng.standard_normal()), 2, 40))
    small = aerosol.size_shares(rng.uniform(0.3, 0.6), rng.uniform(1.7, 2.3))
    coarse = aerosol.size_shares(rng.uniform(4, 8), 2.0)
    shape = small / small[aerosol.FINE].sum() + coarse * rng.uniform(0.2, 1.4)
    shape /= shape[aerosol.FINE].sum()
    voc = 0.35 * np.exp(1.1 * rng.standard_normal()) + (rng.uniform(0.1, 0.3) if diffuser else 0)
    temperature = rng.normal(20, 2) + _wander(rng, minutes, 240, 0.4) + 0.8 * np.cos(of_day)
    humidity = rng.uniform(25, 70) + _wander(rng, minutes, 300, 2)
    vapor = 0.01 * humidity * float(aerosol.saturation_g_m3(np.array(temperature.mean())))
    return _Background(
        fine * np.exp(_wander(rng, minutes, 120, draw_log(rng, 0.05, 0.3))),
        shape,
        rng.uniform(0.1, 0.4),
        np.clip(voc, 0.03, 5) * np.exp(_wander(rng, minutes, 180, rng.uniform(0.05, 0.4))),
        vapor,
        temperature,
        rng.uniform(420, 600),
    )


@dataclass(frozen=True, slots=True)
class _Fan:
    """Air changes per hour with and without the fan, and when the fan runs."""

    off_h: float
    on_h: float
    runs: str
    hours: tuple[float, float]
    runs_on_s: float

    @property
    def typical_h(self) -> float:
        """Air changes per hour at busy times."""
        if self.runs == "presence":
            return float(np.sqrt(self.off_h * self.on_h))
        return self.off_h if self.runs == "never" else self.on_h

    def schedule(self, people: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return whether the fan runs in each block, given the `people` in the room."""
        hour = (students.START_OF_DAY_S + np.arange(len(people)) * BLOCK_S) / 3600 % 24
        if self.runs == "hours":
            return np.asarray((hour > self.hours[0]) & (hour < self.hours[1]))
        if self.runs == "presence":
            after = np.ones(int(self.runs_on_s / BLOCK_S))
            return np.asarray(np.convolve(people, after)[: len(people)] > 0.5)
        return np.full(len(people), self.runs == "always")


def _draw_fan(rng: np.random.Generator) -> _Fan:
    return _Fan(
        off_h=draw_log(rng, 0.5, 2),
        on_h=draw_log(rng, 3, 15),
        runs=str(rng.choice(["always", "hours", "presence", "never"], p=[0.25, 0.4, 0.2, 0.15])),
        hours=(rng.uniform(5, 7.5), rng.uniform(16, 21)),
        runs_on_s=rng.uniform(120, 900),
    )


def _draw_room(
    seed: int,
    number: int,
    bells: Bells,
    sites: list[tuple[float, float, str]],
    school: float,
    hours: float,
    vape_rate: float,
    nuisance_rate: float,
) -> _Room:
    rng = make_stream(seed, "plume_grid", number)
    airflow = grid.draw_airflow(rng)
    habits = students.draw_habits(rng)
    fan = _draw_fan(rng)
    place = emissions.Place(airflow.volume_m3, fan.typical_h, airflow.fan, 0)
    day = students.RoomLife(rng, habits, place, bells, hours).live(vape_rate, nuisance_rate)
    blocks = len(day.passages)
    runs = fan.schedule(day.people.sum(axis=1))
    supply = np.where(runs, fan.on_h, fan.off_h) * airflow.volume_m3 / 3600
    for at, duration, style in sites:
        during = slice(int(at // BLOCK_S), int((at + duration) // BLOCK_S) + 1)
        changes = float(supply[during].mean()) * 3600 / airflow.volume_m3
        there = replace(place, air_changes_h=changes)
        day.acts.append(emissions.site(rng, at, duration, style, there))
    stirring = np.where(runs, 1.0, draw_log(rng, 0.4, 1.0))
    stirring *= 1 + np.minimum(0.15 * day.people.sum(axis=1), 0.9)
    for act in day.acts:
        if act.stirring > 1:
            first, last = int(act.onset // BLOCK_S), int(act.end // BLOCK_S) + 1
            stirring[first:last] *= act.stirring
    losses = np.zeros(WIDTH)
    losses[aerosol.AEROSOL] = np.tile(aerosol.DEPOSITION_H * draw_log(rng, 1, 2.6), 6)
    losses[aerosol.AEROSOL] += rng.uniform(1, 4) if rng.random() < 0.1 else 0.0
    losses[aerosol.GLYCEROL] = draw_log(rng, 5, 40)
    losses[aerosol.HEAT] = draw_log(rng, 4, 15)
    losses[aerosol.VAPOUR] = draw_log(rng, 0.2, 2)
    calm = float(np.exp(-1 / rng.uniform(2, 5)))
    seconds = blocks * BLOCK_S
    noise = lfilter([np.sqrt(1 - calm**2)], [1.0, -calm], rng.standard_normal(seconds))
    spread = rng.uniform(0.15, 0.6)
    return _Room(
        airflow=airflow,
        day=day,
        background=_draw_background(rng, bells, school, diffuser=habits.diffuser),
        device=Device(rng),
        circulation=airflow.circulations(rng, blocks),
        supply_m3_s=supply,
        stirring=np.minimum(stirring, 4.0),
        losses_h=losses,
        dust_ug_s=draw_log(rng, 0.1, 6),
        sorption_h=(draw_log(rng, 0.3, 6), draw_log(rng, 0.05, 1)),
        glycerol_ug_m3=rng.uniform(400, 750),
        sensor_cell=COLUMNS + int(rng.integers(COLUMNS)),
        transit_s=round(draw_log(rng, 2, 20)),
        flutter=np.exp(spread * np.asarray(noise) - spread**2 / 2).astype(np.float32),
    )


@dataclass(frozen=True, slots=True)
class _Pulses:
    """Amounts released into the air, sorted by second."""

    first: NDArray[np.intp]
    where: NDArray[np.intp]
    release: NDArray[np.intp]
    share: NDArray[np.float64]
    amounts: NDArray[np.float64]


def _pulses(rooms: list[_Room], seconds: int) -> _Pulses:
    amounts: list[NDArray[np.float64]] = [np.zeros(WIDTH)]
    parts: list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]]
    empty = np.zeros(0, np.intp)
    parts = [(empty, empty, empty, np.zeros(0))]
    for number, room in enumerate(rooms):
        for act in room.day.acts:
            for release in act.releases:
                length = release.duration_s
                stride = 1 if length <= 120 else BLOCK_S if length <= 3600 else 6 * BLOCK_S
                count = max(round(length / stride), 1)
                steps = int(release.start) + stride * np.arange(count)
                cells = np.flatnonzero(release.cells)
                when = np.repeat(steps, len(cells))
                where = np.tile(number * CELLS + cells, count)
                share = np.tile(release.cells[cells] / count / room.airflow.cell_m3, count)
                inside = (when >= 0) & (when < seconds)
                which = np.full(int(inside.sum()), len(amounts))
                parts.append((when[inside], where[inside], which, share[inside]))
                amounts.append(release.amounts)
    when, where, which, share = (np.concatenate(x) for x in zip(*parts, strict=True))
    order = np.argsort(when, kind="stable")
    first = np.searchsorted(when[order], np.arange(seconds + 1))
    return _Pulses(first, where[order], which[order], share[order], np.array(amounts))


@dataclass(frozen=True, slots=True)
class _Records:
    """Excess over the background at each inlet by second, shape (rooms, seconds, ...)."""

    dry: NDArray[np.float32]
    liquid: NDArray[np.float32]
    vaped: NDArray[np.float32]
    voc_ppm: NDArray[np.float32]
    vapor: NDArray[np.float32]
    heat: NDArray[np.float32]
    co2_ppm: NDArray[np.float32]


class _Simulation:
    """Steps the air of all rooms through time."""

    def __init__(self, rooms: list[_Room]) -> None:
        self._rooms = rooms
        self._blocks = len(rooms[0].stirring)
        self._seconds = self._blocks * BLOCK_S
        self._pulses = _pulses(rooms, self._seconds)
        self._air = np.zeros((len(rooms), CELLS, WIDTH))
        self._walls = np.zeros(len(rooms))
        self._keep = np.exp(-np.array([r.losses_h for r in rooms]) / 3600)[:, None, :]
        self._cell_m3 = np.array([r.airflow.cell_m3 for r in rooms])
        self._speed = self._draw_speeds()

    def _draw_speeds(self) -> NDArray[np.float64]:
        """Return the decrease of d² in the liquid groups, µm²/s, (blocks, rooms, LIQUIDS).

        For vaping, it depends on the liquid of the most recent session.
        """
        out = np.ones((self._blocks, len(self._rooms), aerosol.LIQUIDS))
        out[..., 0] = 0.3 * aerosol.GLYCEROL_UM2_S
        out[..., 1] = 0.2 * aerosol.GLYCEROL_UM2_S
        out[..., 2] = aerosol.SOLVENT_UM2_S
        out[..., 3] = aerosol.WATER_UM2_S
        for number, room in enumerate(self._rooms):
            for act in room.day.acts:
                if act.kind == "vape":
                    speed = act.speed * aerosol.GLYCEROL_UM2_S
                    out[int(act.onset // BLOCK_S) :, number, 0] = speed
        return out

    def run(self) -> _Records:
        """Simulate the whole world; the inlets' air is delayed by the room's transit time."""
        rooms, seconds = len(self._rooms), self._seconds
        wide = (rooms, seconds, BINS)
        records = _Records(
            np.zeros(wide, np.float32),
            np.zeros(wide, np.float32),
            *(np.zeros((rooms, seconds), np.float32) for _ in range(5)),
        )
        step = _CHUNK_S // BLOCK_S
        for start in range(0, self._blocks, step):
            stop = min(start + step, self._blocks)
            inlet = self._run_chunk(start, stop)
            self._record(records, slice(start * BLOCK_S, stop * BLOCK_S), inlet)
        for series in (getattr(records, f.name) for f in fields(records)):
            for number, room in enumerate(self._rooms):
                late = room.transit_s
                series[number, late:] = series[number, :-late].copy()
                series[number, :late] = 0
        return records

    def _run_chunk(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return the inlets' air between two blocks, shape (seconds, rooms, WIDTH)."""
        rooms = self._rooms
        people = np.stack([r.day.people[start:stop] for r in rooms], axis=1)
        passages = np.stack([r.day.passages[start:stop] for r in rooms], axis=1)
        moves = grid.transport(
            [r.airflow for r in rooms],
            np.stack([r.circulation[start:stop] for r in rooms], axis=1),
            np.stack([r.supply_m3_s[start:stop] for r in rooms], axis=1),
            people,
            np.stack([r.stirring[start:stop] for r in rooms], axis=1),
            passages * 1.0 / BLOCK_S + 0.003,
        )
        inlet = np.empty(((stop - start) * BLOCK_S, len(rooms), WIDTH))
        sensors = np.array([r.sensor_cell for r in rooms])
        every = np.arange(len(rooms))
        flutter = np.stack([r.flutter[start * BLOCK_S : stop * BLOCK_S] for r in rooms], axis=1)
        droplets = slice(0, aerosol.LIQUIDS * BINS)
        pulses = self._pulses
        for block in range(start, stop):
            self._exhale(people[block - start])
            self._sorb()
            minute = block * BLOCK_S // 60
            vapor = np.array([r.background.vapor_g_m3[minute] for r in rooms])[:, None]
            warmth = np.array([r.background.temperature[minute] for r in rooms])[:, None]
            glycerol = np.array([r.glycerol_ug_m3 for r in rooms])
            second = block * BLOCK_S
            busy = pulses.first[second] < pulses.first[second + BLOCK_S]
            wet = busy or bool(self._air[:, :, droplets].any())
            saturated = aerosol.saturation_g_m3(warmth + self._air[:, :, aerosol.HEAT])
            for second in range(block * BLOCK_S, (block + 1) * BLOCK_S):
                air = np.matmul(moves[block - start], self._air)
                air *= self._keep
                if busy:
                    self._release(air, second)
                if wet:
                    humidity = (vapor + air[:, :, aerosol.VAPOUR]) / saturated
                    aerosol.evaporate(air, self._speed[block], glycerol, humidity)
                    if humidity.max() > 1:
                        aerosol.condense(air, np.maximum(humidity - 1, 0) * saturated)
                mean = air.mean(axis=1)
                now = second - start * BLOCK_S
                above = air[every, sensors] - mean
                inlet[now] = mean + above * flutter[now][:, None]
                self._air = air
            self._air[:, :, aerosol.AEROSOL] *= self._air[:, :, aerosol.AEROSOL] > _NOTHING
        return inlet

    def _exhale(self, people: NDArray[np.float64]) -> None:
        """Add people's emissions in a block: breath in the upper layer, dust in the lower one."""
        per_cell = people / self._cell_m3[:, None] * BLOCK_S
        air = self._air
        air[:, COLUMNS:, aerosol.CO2] += 5.0 * per_cell
        air[:, COLUMNS:, aerosol.VAPOUR] += 0.014 * per_cell
        air[:, COLUMNS:, aerosol.HEAT] += 0.04 * per_cell
        dust = np.array([r.dust_ug_s for r in self._rooms])[:, None, None]
        coarse = slice(aerosol.INERT.stop - 4, aerosol.INERT.stop)
        spread = np.array([0.1, 0.3, 0.4, 0.2])
        air[:, :COLUMNS, coarse] += (per_cell[..., None] * dust) * spread

    def _sorb(self) -> None:
        """Exchange sticky gases with the walls for a block."""
        to_wall = np.array([r.sorption_h[0] for r in self._rooms]) * BLOCK_S / 3600
        from_wall = np.array([r.sorption_h[1] for r in self._rooms]) * BLOCK_S / 3600
        gas = self._air[:, :, aerosol.STICKY]
        taken = gas * to_wall[:, None]
        given = self._walls * from_wall
        self._air[:, :, aerosol.STICKY] += given[:, None] - taken
        self._walls += taken.mean(axis=1) - given

    def _release(self, air: NDArray[np.float64], second: int) -> None:
        pulses = self._pulses
        now = slice(pulses.first[second], pulses.first[second + 1])
        if now.start == now.stop:
            return
        cells = air.reshape(-1, WIDTH)
        added = pulses.amounts[pulses.release[now]] * pulses.share[now, None]
        np.add.at(cells, pulses.where[now], added)

    @staticmethod
    def _record(records: _Records, now: slice, inlet: NDArray[np.float64]) -> None:
        air = inlet.swapaxes(0, 1)
        np.maximum(air[..., aerosol.AEROSOL], 0, out=air[..., aerosol.AEROSOL])
        vape, residue = air[..., aerosol.VAPE], air[..., aerosol.VAPE_RESIDUE]
        records.liquid[:, now] = vape + air[..., aerosol.FOG] + air[..., aerosol.WATER]
        records.dry[:, now] = residue + air[..., aerosol.INERT] + air[..., aerosol.SOLVENT]
        records.vaped[:, now] = (vape + residue)[..., aerosol.FINE].sum(axis=-1)
        gases = air[..., aerosol.LIGHT] + air[..., aerosol.STICKY]
        records.voc_ppm[:, now] = gases + 0.25e-3 * air[..., aerosol.GLYCEROL]
        records.vapor[:, now] = air[..., aerosol.VAPOUR]
        records.heat[:, now] = air[..., aerosol.HEAT]
        records.co2_ppm[:, now] = air[..., aerosol.CO2]


def _inlet(room: _Room, records: _Records, number: int, seconds: int) -> Inlet:
    """Return the air at a room's inlet: its background plus the contribution of its acts."""
    at = np.arange(seconds)
    minutes = 60.0 * np.arange(len(room.background.fine_ug_m3))
    b = room.background
    fine = np.interp(at, minutes, b.fine_ug_m3)
    temperature = np.interp(at, minutes, b.temperature) + records.heat[number, :seconds]
    vapor = np.interp(at, minutes, b.vapor_g_m3) + records.vapor[number, :seconds]
    humidity = 100 * vapor / aerosol.saturation_g_m3(temperature)
    return Inlet(
        dry=records.dry[number, :seconds] + fine[:, None] * b.shape,
        liquid=records.liquid[number, :seconds],
        uptake=b.uptake,
        voc_ppm=np.maximum(
            np.interp(at, minutes, b.voc_ppm) + records.voc_ppm[number, :seconds], 0.01
        ),
        humidity=humidity.clip(1, 100),
        temperature=temperature,
        co2_ppm=b.co2_ppm + records.co2_ppm[number, :seconds],
    )


def _happening(act: Act, room: _Room, name: str, vaped: NDArray[np.float32]) -> Happening:
    """Return the truth about one act, with the contribution of its vaping at the inlet."""
    seen, arrival = 0.0, float("nan")
    if act.kind == "vape":
        first = int(act.onset)
        during = vaped[first : int(act.end + _WATCH_S) + 1]
        seen = float(during.max(initial=0.0))
        passed = np.flatnonzero(during > _ARRIVED_UG_M3)
        arrival = EPOCH + max(first + float(passed[0]), act.onset) if len(passed) else arrival
    block = min(int(act.onset // BLOCK_S), len(room.supply_m3_s) - 1)
    minute = min(int(act.onset // 60), len(room.background.fine_ug_m3) - 1)
    return Happening(
        sensor=name,
        kind=act.kind,
        style=act.style,
        onset=EPOCH + act.onset,
        end=EPOCH + act.end,
        device=room.device.family,
        interval_s=float(room.device.interval_s),
        volume_m3=room.airflow.volume_m3,
        air_changes_h=float(room.supply_m3_s[block] * 3600 / room.airflow.volume_m3),
        seen_pm25=seen,
        base_pm25=float(room.background.fine_ug_m3[minute]),
        arrival=arrival,
    )


def _draw_sites(rng: np.random.Generator, hours: float) -> list[tuple[float, float, str]]:
    """Draw building-wide events: onset, duration, style."""
    sites = []
    for _ in range(rng.poisson(0.25 * hours / 24)):
        duration = draw_log(rng, 900, 6 * 3600)
        style = str(rng.choice(emissions.SITE_STYLES))
        sites.append((rng.uniform(0, hours * 3600), duration, style))
    return sites


def plume_grid(
    seed: int, rooms: int, hours: float, vape_rate: float = 0.35, nuisance_rate: float = 1.0
) -> tuple[Readings, list[Happening]]:
    """Simulate rooms as grids of cells; see `research.worlds.world.World`."""
    school = make_stream(seed, "plume_grid")
    bells = students.ring_bells(school, hours)
    outdoors = draw_log(school, 0.4, 2.5)
    sites = _draw_sites(school, hours)
    names = tuple(f"pg{number:04d}" for number in range(rooms))
    seconds = int(hours * 3600)
    side_by_side = max(int(_ROOM_HOURS / max(hours, 1)), 1)
    sensor, time, values = [], [], []
    happenings: list[Happening] = []
    for first in range(0, rooms, side_by_side):
        numbers = range(first, min(first + side_by_side, rooms))
        drawn = [
            _draw_room(seed, n, bells, sites, outdoors, hours, vape_rate, nuisance_rate)
            for n in numbers
        ]
        records = _Simulation(drawn).run()
        for row, (number, room) in enumerate(zip(numbers, drawn, strict=True)):
            times, read = room.device.sample(_inlet(room, records, row, seconds))
            sensor.append(np.full(len(times), number, np.int32))
            time.append(EPOCH + times)
            values.append(read)
            happenings.extend(
                _happening(act, room, names[number], records.vaped[row, :seconds])
                for act in room.day.acts
            )
    at = np.concatenate(time)
    order = np.argsort(at, kind="stable")
    readings = Readings(
        names, np.concatenate(sensor)[order], at[order], np.concatenate(values)[order]
    )
    return readings, sorted(happenings, key=lambda h: (h.onset, h.sensor))
