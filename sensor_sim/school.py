"""A school as planned: buildings, floors, restrooms, devices, bells.

Physics (volume, exhaust, unit differences of the devices) is drawn by the simulation from its
seed; this is the content of a facilities plan.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sensor_sim.devices.models import MODELS, Device
from sensor_sim.streams import stream

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Restroom:
    """One restroom for ``student``, ``staff`` or ``locker`` use; None draws the volume."""

    id: str
    use: str
    devices: tuple[Device, ...]
    volume_m3: float | None = None


@dataclass(frozen=True, slots=True)
class Floor:
    """One floor."""

    id: str
    restrooms: tuple[Restroom, ...]


@dataclass(frozen=True, slots=True)
class Building:
    """One building."""

    id: str
    floors: tuple[Floor, ...]


@dataclass(frozen=True, slots=True)
class Bells:
    """The day's plan, in hours of local time."""

    first: float = 8.0
    last: float = 15.0
    period_min: float = 50.0
    passing_min: float = 6.0
    lunch: tuple[float, float] = (11.7, 12.4)
    custodian: tuple[float, float] = (16.0, 20.0)
    sports_days: tuple[int, ...] = (1, 3)


@dataclass(frozen=True, slots=True)
class School:
    """Buildings, floors, restrooms and devices, and the bell schedule."""

    name: str
    buildings: tuple[Building, ...]
    bells: Bells = field(default_factory=Bells)
    utc_offset_s: int = 0

    @property
    def restrooms(self) -> tuple[Restroom, ...]:
        """All restrooms in order."""
        return tuple(r for b in self.buildings for f in b.floors for r in f.restrooms)

    @property
    def devices(self) -> tuple[Device, ...]:
        """All devices in order."""
        return tuple(d for r in self.restrooms for d in r.devices)

    @classmethod
    def small(cls) -> School:
        """Three floors in two buildings, 6 restrooms, 8 sensors of mixed models.

        >>> school = School.small()
        >>> len(school.restrooms), len(school.devices)
        (6, 8)
        """
        floors: dict[tuple[str, str], list[Restroom]] = {}
        path = Path(__file__).with_name("small_school.toml")
        for row in tomllib.loads(path.read_text(encoding="utf-8"))["room"]:
            building, floor, name, use = row["at"]
            room = f"{building}-{floor}-{name}"
            made = (Device(f"{room}-{chr(97 + i)}", room, *d) for i, d in enumerate(row["devices"]))
            floors.setdefault((building, floor), []).append(Restroom(room, use, tuple(made)))
        buildings = tuple(
            Building(b, tuple(Floor(f, tuple(r)) for (at, f), r in floors.items() if at == b))
            for b in dict.fromkeys(b for b, _ in floors)
        )
        return cls("Small School", buildings)

    @classmethod
    def district(cls) -> School:
        """Seven schools of 30 restrooms: 210 sensors of every model at their usual intervals.

        >>> len(School.district().devices)
        210
        """
        return _many("District", 210, rooms_per_floor=5, floors=6, seed=7)


def _many(
    name: str,
    n_rooms: int,
    *,
    rooms_per_floor: int,
    floors: int,
    seed: int,
    models: Sequence[str] = (),
    intervals: Sequence[int] = (),
) -> School:
    rng = stream(seed, "school", name)
    pick = list(models) or list(MODELS)
    restrooms: list[Restroom] = []
    for i in range(n_rooms):
        building, rest = divmod(i, rooms_per_floor * floors)
        floor, number = divmod(rest, rooms_per_floor)
        room_id = f"b{building + 1}-{floor + 1}-r{number + 1}"
        model = pick[int(rng.integers(len(pick)))] if models or i >= len(pick) else pick[i]
        spec = MODELS.get(model)
        if intervals:
            interval = int(intervals[int(rng.integers(len(intervals)))])
        else:
            interval = spec.interval_s if spec else 1
        wires = spec.wires if spec else ("native",)
        device = Device(room_id, room_id, model, wires[int(rng.integers(len(wires)))], interval)
        use = str(rng.choice(["student", "staff", "locker"], p=[0.8, 0.1, 0.1]))
        restrooms.append(Restroom(room_id, use, (device,)))
    buildings: list[Building] = []
    per_building = rooms_per_floor * floors
    for b in range(-(-n_rooms // per_building)):
        mine = restrooms[b * per_building : (b + 1) * per_building]
        split = [mine[k : k + rooms_per_floor] for k in range(0, len(mine), rooms_per_floor)]
        buildings.append(
            Building(f"b{b + 1}", tuple(Floor(str(k + 1), tuple(f)) for k, f in enumerate(split)))
        )
    return School(name, tuple(buildings))


def random_school(
    seed: int, n_rooms: int, models: Sequence[str] = (), intervals: Sequence[int] = ()
) -> School:
    """Draw a school with one sensor a room, for training and benchmarks.

    - `models`: device models to draw from; all by default.
    - `intervals`: reporting intervals to draw from, s; each model's usual one by default.

    >>> [d.model for d in random_school(1, 2, models=["sen55"]).devices]
    ['sen55', 'sen55']
    """
    return _many(
        f"School {seed}",
        n_rooms,
        rooms_per_floor=4,
        floors=3,
        seed=seed,
        models=models,
        intervals=intervals,
    )
