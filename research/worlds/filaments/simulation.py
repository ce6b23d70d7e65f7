"""Simulate rooms: people's activities, the air at each sensor, its readings, and the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.signal import lfilter

from research.worlds.filaments.balance import STEP_S, mix, water_full
from research.worlds.filaments.droplets import deposition, live
from research.worlds.filaments.flow import AGES, follow, move_air
from research.worlds.filaments.instruments import Air, draw_sensor, observe
from research.worlds.filaments.people import plan
from research.worlds.filaments.rooms import (
    CENTERS_UM,
    OUTDOOR_SHARES,
    air_changes,
    corridor,
    draw_room,
    wander,
)
from research.worlds.world import EPOCH, Happening, Readings
from sensor_sim.streams import make_stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from research.worlds.filaments.droplets import Lives
    from research.worlds.filaments.flow import Paths
    from research.worlds.filaments.people import Program, Releases
    from research.worlds.filaments.rooms import Room, School

    Floats = NDArray[np.float64]

ETHANOL_PPM: Final = 0.53
"""Ppm of ethanol in 1 mg/m³."""
_FINE: Final = 4
"""Number of size bins in PM2.5."""
_TOGETHER: Final = 1500
"""Number of releases simulated together."""
_GLYCEROL_S: Final = 40.0
"""E-folding time of volatile droplets in the mixed room, s."""
_ROOMS_OF_CORRIDOR: Final = 4


def filaments(
    seed: int, rooms: int, hours: float, vape_rate: float = 0.35, nuisance_rate: float = 1.0
) -> tuple[Readings, list[Happening]]:
    """Simulate; see `research.worlds.world.World`."""
    span = hours * 3600
    steps = np.arange(0, span, STEP_S, dtype=float)
    schools: dict[int, School] = {}
    names, sensors, times, values = [], [], [], []
    truth: list[Happening] = []
    for number in range(rooms):
        group = number // _ROOMS_OF_CORRIDOR
        if group not in schools:
            schools[group] = corridor(make_stream(seed, "filaments corridor", group), steps)
        name = f"F{seed}-{number:03d}"
        rng = make_stream(seed, "filaments room", number)
        room = draw_room(rng)
        program = plan(rng, room, span, vape_rate, nuisance_rate)
        simulated = _Simulation(rng, room, schools[group], program, steps)
        sensor = draw_sensor(rng)
        time, value = observe(rng, sensor, simulated.air)
        names.append(name)
        times.append(EPOCH + time)
        values.append(value)
        sensors.append(np.full(time.size, number, np.int32))
        known = (name, sensor.model, sensor.interval_s, room.volume)
        truth += simulated.truth(known)
    time = np.concatenate(times)
    order = np.argsort(time, kind="stable")
    readings = Readings(
        tuple(names), np.concatenate(sensors)[order], time[order], np.concatenate(values)[order]
    )
    return readings, sorted(truth, key=lambda h: (h.onset, h.sensor))


class _Simulation:
    """Air at a room's sensor by second, and the part of it that vaping caused."""

    def __init__(
        self,
        rng: np.random.Generator,
        room: Room,
        school: School,
        program: Program,
        steps: Floats,
    ) -> None:
        self._program = program
        self._releases = releases = program.releases()
        self._seconds = n = steps.size * STEP_S
        people = _presence(program, steps.size)
        self._air_changes = air_changes(rng, room, steps, people)
        each_second = np.repeat(self._air_changes, STEP_S)
        stirs = np.array(program.stirs).reshape(-1, 2)
        motion = move_air(rng, room, each_second, (stirs[:, 0], stirs[:, 1]))
        cuts = range(0, releases.time.size, _TOGETHER)
        chunks = [releases.rows(slice(cut, cut + _TOGETHER)) for cut in cuts]
        paths = [follow(rng, room, motion, chunk) for chunk in chunks]

        gases = self._gases(rng, room, school, people)
        near = np.zeros((n + AGES, 3))
        for chunk, path in zip(chunks, paths, strict=True):
            amounts = np.stack([chunk.voc_mg, chunk.water_g, chunk.heat_j / 1200], axis=1)
            # the excess over the mixed room, which has the whole amount from the start
            over = (path.kernel - path.left / room.volume)[:, :, None] * amounts[:, None]
            _add(near, chunk.time, over)
        mixed = np.repeat(gases, STEP_S, axis=0)
        voc, water, temp = (np.maximum(mixed[:, i] + near[:n, i], 0) for i in range(3))
        humidity = np.minimum(100 * water / water_full(temp), 99.5)
        room_humidity = np.minimum(100 * gases[:, 1] / water_full(gases[:, 2]), 99.0)

        bins = np.zeros((n + AGES, CENTERS_UM.size), np.float32)
        source = np.zeros((steps.size, CENTERS_UM.size + 1))
        self._vape: dict[int, list[tuple[int, Floats]]] = {}
        for chunk, path in zip(chunks, paths, strict=True):
            begun = np.minimum(((chunk.time + 10) / STEP_S).astype(int), steps.size - 1)
            lives = live(chunk, path, room_humidity[begun], room.surface, float(room.size[2]))
            _add(bins, chunk.time, path.kernel[:, :, None] * lives.mass)
            self._leave(source, chunk, lives, room.volume)
            self._note_vaping(chunk, path, lives)
        self._background = self._particles(room, school, people, source)
        bins = bins[:n] + np.repeat(self._background, STEP_S, axis=0)
        self.air = Air(bins, ETHANOL_PPM * voc, humidity, temp, mixed[:, 3])

    def _gases(
        self, rng: np.random.Generator, room: Room, school: School, people: Floats
    ) -> Floats:
        """Return the mixed VOC (mg/m³), water (g/m³), temperature (°C) and CO2 (ppm) by step.

        A person gives off 5 mL of CO2, 14 mg of water and 60 J a second.
        """
        releases, steps = self._releases, people.size
        source = np.zeros((steps, 4))
        at = np.minimum((releases.time / STEP_S).astype(int), steps - 1)
        amounts = (releases.voc_mg, releases.water_g, releases.heat_j / 1200)
        for i, amount in enumerate(amounts):
            source[:, i] = np.bincount(at, amount, minlength=steps) / room.volume
        keep = np.exp(-STEP_S / room.walls_s)
        again = lfilter([1 - keep], [1.0, -keep], source[:, 0])
        source[:, 0] = 0.85 * source[:, 0] + 0.15 * np.asarray(again)
        given = STEP_S * people / room.volume
        source += given[:, None] * np.array([0.02, 0.014, 60 / 1200, 5.0])
        outside = np.stack(
            [
                school.voc / ETHANOL_PPM,
                school.water,
                room.temp + 0.4 * wander(rng, steps, 9000.0, STEP_S),
                school.co2,
            ],
            axis=1,
        )
        loss = np.array([0.0, 0.6, 0.0, 0.0]) / 3600  # walls absorb water
        source[:, 1] += outside[:, 1] * loss[1] * STEP_S
        mixed = mix(source, self._air_changes / 3600, loss, outside)
        # Walls stabilize the temperature, like about 8 air changes an hour.
        mixed[:, [2]] = mix(
            source[:, [2]], self._air_changes / 3600 + 8 / 3600, 0.0, outside[:, [2]]
        )
        return mixed

    @staticmethod
    def _leave(source: Floats, chunk: Releases, lives: Lives, volume: float) -> None:
        """Add what remains of each release after `AGES` seconds to the mixed room."""
        at = ((chunk.time + AGES) / STEP_S).astype(int)
        inside = at < len(source)
        lasting = (chunk.substance >= 3) * lives.volatile
        rest = np.column_stack([lives.residue, lives.volatile - lasting])
        rest[:, 2] += lasting
        np.add.at(source, at[inside], rest[inside] / volume)

    def _particles(self, room: Room, school: School, people: Floats, source: Floats) -> Floats:
        """Return the mixed room's particles by step and bin; walking raises coarse dust."""
        raised = np.array([0, 0, 0.0005, 0.004, 0.02, 0.08, 0.08, 0])
        source = source + STEP_S * (people / room.volume)[:, None] * raised * 3.0
        outside = np.zeros_like(source)
        outside[:, :-1] = school.dust[:, None] * OUTDOOR_SHARES
        loss = np.append(deposition(CENTERS_UM, room.surface, float(room.size[2])), 1 / _GLYCEROL_S)
        mixed = mix(source, self._air_changes / 3600, loss, outside)
        mixed[:, 1] += mixed[:, -1]
        return mixed[:, :-1]

    def _note_vaping(self, chunk: Releases, path: Paths, lives: Lives) -> None:
        for i in np.flatnonzero([self._program.acts[a].kind == "vape" for a in chunk.act]):
            excess = path.kernel[i] * lives.mass[i, :, :_FINE].sum(axis=1)
            later = np.exp(-np.arange(1, 700) * (self._air_changes.mean() + 0.5) / 3600)
            whole = np.concatenate([excess, excess[-1] * later])
            self._vape.setdefault(int(chunk.act[i]), []).append((int(chunk.time[i]), whole))

    def truth(self, known: tuple[str, str, float, float]) -> list[Happening]:
        """Return all events; `known` has the name, model, interval and volume."""
        name, model, interval, volume = known
        base = self._background[:, :_FINE].sum(axis=1)
        found = []
        for number, act in enumerate(self._program.acts):
            if act.onset >= self._seconds:
                continue
            step = min(int(act.onset / STEP_S), base.size - 1)
            seen, arrival = 0.0, np.nan
            first = int(act.onset)
            excess = np.zeros(max(min(int(act.end) + 90, self._seconds) - first, 1))
            for start, brought in self._vape.get(number, ()):
                part = brought[: max(excess.size - (start - first), 0)]
                excess[start - first :][: part.size] += part
            seen = float(excess.max())
            if (excess > 5).any():
                arrival = EPOCH + first + int((excess > 5).argmax())
            found.append(
                Happening(
                    sensor=name,
                    kind=act.kind,
                    style=act.style,
                    onset=EPOCH + act.onset,
                    end=EPOCH + act.end,
                    device=model,
                    interval_s=interval,
                    volume_m3=volume,
                    air_changes_h=float(self._air_changes[step]),
                    seen_pm25=seen,
                    base_pm25=float(base[step]),
                    arrival=arrival,
                )
            )
        return found


def _presence(program: Program, steps: int) -> Floats:
    """Return the number of people present by step."""
    change = np.zeros(steps + 1)
    for begin, end in program.visits:
        change[min(max(int(begin / STEP_S), 0), steps)] += 1
        change[min(max(int(end / STEP_S), 0), steps)] -= 1
    return np.cumsum(change)[:-1]


def _add(total: NDArray[np.floating], time: Floats, parts: NDArray[np.floating]) -> None:
    """Add each release's time series of `AGES` seconds, starting at its time."""
    for start, part in zip(time.astype(int), parts, strict=True):
        if start + AGES <= len(total):
            total[start : start + AGES] += part
