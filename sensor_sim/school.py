"""The plan of a school: restrooms, devices, bells.

A school contains what a facilities plan would show. The simulation draws physical properties
(volume, exhaust, differences between units) from its seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sensor_sim.devices.models import MODELS, Device
from sensor_sim.streams import make_stream

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Restroom:
    """One restroom for ``student``, ``staff`` or ``locker`` use; a volume of None is drawn."""

    id: str
    use: str
    devices: tuple[Device, ...]
    volume_m3: float | None = None


@dataclass(frozen=True, slots=True)
class Bells:
    """The bell schedule of a day; times of day are hours of local time."""

    first: float = 8.0
    last: float = 15.0
    period_min: float = 50.0
    passing_min: float = 6.0
    lunch: tuple[float, float] = (11.7, 12.4)
    custodian: tuple[float, float] = (16.0, 20.0)
    sports_days: tuple[int, ...] = (1, 3)


@dataclass(frozen=True, slots=True)
class School:
    """Restrooms with their devices, and the bell schedule."""

    name: str
    restrooms: tuple[Restroom, ...]
    bells: Bells = field(default_factory=Bells)
    utc_offset_s: int = 0

    @property
    def devices(self) -> tuple[Device, ...]:
        """All devices in order."""
        return tuple(d for r in self.restrooms for d in r.devices)

    @classmethod
    def make_small(cls) -> School:
        """Return six restrooms with eight sensors of mixed models.

        >>> school = School.make_small()
        >>> len(school.restrooms), len(school.devices)
        (6, 8)
        """
        return cls(
            "Small School",
            tuple(
                Restroom(
                    room,
                    use,
                    tuple(Device(f"{room}-{'ab'[i]}", room, *d) for i, d in enumerate(devices)),
                )
                for room, (use, *devices) in _SMALL.items()
            ),
        )


_SMALL: Final[dict[str, Any]] = {
    "main-1-boys": ("student", ("sen55", 1)),
    "main-1-girls": ("student", ("sps30+sgp40", 10)),
    "main-2-boys": ("student", ("pms5003+bme680", 2), ("gs601", 600)),
    "main-2-girls": ("student", ("airgradient", 10)),
    "gym-1-locker": ("locker", ("opcn3+sgp30", 5), ("pms5003", 1)),
    "gym-1-staff": ("staff", ("zigbee_e2112", 30)),
}
"""Rooms with their use, and the model and interval, s, of each device."""


def draw_school(
    seed: int, n_rooms: int, models: Sequence[str] = (), intervals: Sequence[int] = ()
) -> School:
    """Draw a school with one sensor per room, for training and benchmarks.

    - `models`: device models to draw from; all by default.
    - `intervals`: reporting intervals to draw from, s; by default, each model's usual interval.

    >>> [d.model for d in draw_school(1, 2, models=["sen55"]).devices]
    ['sen55', 'sen55']
    """
    name = f"School {seed}"
    rng = make_stream(seed, "school", name)
    pick = list(models) or list(MODELS)
    restrooms: list[Restroom] = []
    for i in range(n_rooms):
        building, rest = divmod(i, 12)
        floor, number = divmod(rest, 4)
        room_id = f"b{building + 1}-{floor + 1}-r{number + 1}"
        model = pick[int(rng.integers(len(pick)))] if models or i >= len(pick) else pick[i]
        spec = MODELS[model]
        interval = (
            int(intervals[int(rng.integers(len(intervals)))]) if intervals else spec.interval_s
        )
        rng.integers(spec.firmwares)  # unused, but keeps later draws the same
        device = Device(room_id, room_id, model, interval)
        use = str(rng.choice(["student", "staff", "locker"], p=[0.8, 0.1, 0.1]))
        restrooms.append(Restroom(room_id, use, (device,)))
    return School(name, tuple(restrooms))
