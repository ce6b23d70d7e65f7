"""Test worlds: readings of unseen sensors and the truth beside them, kept on disk.

Training owns the seeds below 10,000; the benchmark uses 90,000 and up, so that no room, no unit
and no day of it was ever trained on. A seed draws rooms, devices (gain, offset, clock, noise of
each unit), reporting intervals and the day. Families of devices in `HELD_OUT` are also left out of
the training of the learned references, and are reported apart.

A world is kept under ``build/detection-worlds/<hash>/``, the hash taken over every source file of
the simulator and of this module: a change there makes all kept worlds stale by itself.

All times are true time. A device's own clock is seconds out; detectors get the device's time, and
what they say is scored at the moment the deciding reading was published.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

import sensor_sim
from detection.quantities import COLUMN_INDEX, COLUMNS
from sensor_sim.devices.models import MODELS
from sensor_sim.school import random_school
from sensor_sim.simulate import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from sensor_sim.trace import Truth

__all__ = [
    "FAMILIES",
    "FIRST_TEST_SEED",
    "FIRST_TRAINING_END",
    "HELD_OUT",
    "INTERVALS",
    "Series",
    "World",
    "WorldSpec",
    "family_of",
    "load_world",
    "make_worlds",
    "simulator_hash",
]

FIRST_TRAINING_END: Final = 10_000
"""Training seeds are below."""
FIRST_TEST_SEED: Final = 90_000
"""First seed of test worlds; training uses seeds below 10,000."""
INTERVALS: Final = (1, 2, 5, 10, 30, 60)
"""Reporting intervals, s."""
_FAMILY_OF_PART: Final = {
    "sps30": "Sensirion SPS30",
    "sen55": "Sensirion SEN55",
    "pms5003": "Plantower",
    "pms7003": "Plantower",
    "opcn3": "Alphasense OPC",
    "sds011": "Nova SDS011",
    "gs601": "Milesight GS601",
    "merakimt": "Meraki MT",
    "one_size": "consumer monitor",
}
FAMILIES: Final = tuple(dict.fromkeys(_FAMILY_OF_PART.values()))
"""Device families: devices of one family share the particle counter."""
HELD_OUT: Final = ("Alphasense OPC", "Nova SDS011")
"""Families that the learned references never see in training."""
MONDAY: Final = 20_703 * 86_400.0
BUILD: Final = Path("build")


def family_of(model: str) -> str:
    """Family of a device model: the maker of its particle counter.

    Examples
    --------
    >>> family_of("airgradient"), family_of("opcn3+sgp30")
    ('Plantower', 'Alphasense OPC')
    """
    return _FAMILY_OF_PART[MODELS[model].pm]


@dataclass(frozen=True, slots=True)
class Series:
    """Readings of one sensor over a whole world.

    Attributes
    ----------
    sensor, model : str
    interval_s : int
        Configured reporting interval.
    time, sent : ndarray of float64, shape (n,)
        The device's own clock, and the true time of publication, Unix seconds.
    channels : tuple of str
        Quantities that occur.
    data : ndarray of float64, shape (n, len(channels))
        NaN where absent.
    """

    sensor: str
    model: str
    interval_s: int
    time: NDArray[np.float64]
    sent: NDArray[np.float64]
    channels: tuple[str, ...]
    data: NDArray[np.float64]

    @property
    def family(self) -> str:
        """Device family."""
        return family_of(self.model)

    def column(self, key: str) -> NDArray[np.float64] | None:
        """Values of one quantity; None where the sensor has no such channel."""
        return self.data[:, self.channels.index(key)] if key in self.channels else None

    def values(self) -> NDArray[np.float64]:
        """Value matrix in the order of `detection.quantities.COLUMNS`."""
        full = np.full((self.time.size, len(COLUMNS)), np.nan)
        full[:, [COLUMN_INDEX[c] for c in self.channels]] = self.data
        return full

    def true_time(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        """When the readings with these device times (or the last before) were published."""
        row = np.searchsorted(self.time, at + 1e-6, side="right") - 1
        return np.asarray(self.sent[np.clip(row, 0, self.sent.size - 1)])


@dataclass(frozen=True, slots=True)
class WorldSpec:
    """What makes a world, apart from the simulator.

    Attributes
    ----------
    seed : int
    rooms : int
        Restrooms, one sensor each; the first 14 have each model once.
    hours : float
    intervals : tuple of int
        Reporting intervals to draw from, s.
    """

    seed: int
    rooms: int = 28
    hours: float = 24.0
    intervals: tuple[int, ...] = INTERVALS

    @property
    def key(self) -> str:
        """Name of its file."""
        every = "-".join(map(str, self.intervals))
        return f"{self.seed}-{self.rooms}-{self.hours:g}h-{every}"


@dataclass(frozen=True, slots=True)
class World:
    """Readings and truth of one seed.

    Attributes
    ----------
    spec : WorldSpec
    series : tuple of Series
        In the school's order; rooms of one school share its outdoor air.
    truths : tuple of Truth
        Of all happenings, by start.
    """

    spec: WorldSpec
    series: tuple[Series, ...]
    truths: tuple[Truth, ...]

    @property
    def days(self) -> float:
        """Length, days."""
        return self.spec.hours / 24


@functools.cache
def simulator_hash() -> str:
    """Hash of the simulator's sources and of this module, as this process began with them."""
    digest = hashlib.blake2b(digest_size=6)
    root = Path(sensor_sim.__file__).parent
    for path in [*sorted(root.rglob("*.py")), Path(__file__)]:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _simulate(spec: WorldSpec) -> World:
    school = random_school(spec.seed, spec.rooms, intervals=list(spec.intervals))
    parts: list[list[tuple[NDArray[np.float64], ...]]] = [[] for _ in school.devices]
    truths: list[Truth] = []
    for chunk in simulate(
        school,
        seed=spec.seed,
        start=MONDAY,
        duration_s=spec.hours * 3600,
        activity="hard_restroom",
    ):
        for part, trace in zip(parts, chunk.traces, strict=True):
            part.append((trace.time, trace.sent, trace.values))
        truths += chunk.truths
    series = []
    for device, part in zip(school.devices, parts, strict=True):
        time, sent, values = (np.concatenate([p[i] for p in part]) for i in range(3))
        have = np.flatnonzero(~np.isnan(values).all(axis=0))
        series.append(
            Series(
                device.id,
                device.model,
                device.interval_s,
                time,
                sent,
                tuple(COLUMNS[i] for i in have),
                np.ascontiguousarray(values[:, have]),
            )
        )
    return World(spec, tuple(series), tuple(truths))


def _folder(build: Path) -> Path:
    return build / "detection-worlds" / simulator_hash()


def load_world(spec: WorldSpec, build: Path = BUILD) -> World:
    """Read a world from disk, or simulate it and keep it there."""
    path = _folder(build) / f"{spec.key}.pickle"
    if path.is_file():
        with path.open("rb") as file:
            world: World = pickle.load(file)  # noqa: S301 - written by this module
        return world
    world = _simulate(spec)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    with partial.open("wb") as file:
        pickle.dump(world, file, protocol=pickle.HIGHEST_PROTOCOL)
    partial.replace(path)
    return world


def _ensure(spec: WorldSpec, build: Path) -> str:
    if not (_folder(build) / f"{spec.key}.pickle").is_file():
        load_world(spec, build)
    return spec.key


def make_worlds(
    specs: Sequence[WorldSpec],
    *,
    build: Path = BUILD,
    workers: int = 2,
    on_done: Callable[[], None] = lambda: None,
) -> None:
    """Simulate those worlds that are not on disk, in parallel; drop stale ones.

    Parameters
    ----------
    specs : sequence of WorldSpec
    build : Path
        Folder for generated files.
    workers : int
        Processes.
    on_done : callable
        Called once a world.
    """
    # Hashed before any worker starts, so that all agree even if a source changes meanwhile.
    _drop_stale(_folder(build))
    with ProcessPoolExecutor(workers) as pool:
        for job in as_completed([pool.submit(_ensure, spec, build) for spec in specs]):
            job.result()
            on_done()


def _drop_stale(folder: Path) -> None:
    if not folder.parent.is_dir():
        return
    for other in folder.parent.iterdir():
        if other.is_dir() and other != folder:
            _remove(other.glob("*"))
            with contextlib.suppress(OSError):  # another run still writes there
                other.rmdir()


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
