"""Simulate and cache test recordings of every world, from seeds that training never uses.

A sensor takes days to learn its baselines and alert threshold, so results from its first day would
be misleading. Each seed is simulated for a week before the scored days.

Recordings are kept in ``build/detection-worlds/<world>-<hash>/``. The hash covers the world's
source files, so a change to them makes its recordings stale.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sensor_sim
from research import worlds
from research.benchmark.recordings import Recording, split_by_sensor
from research.worlds import WORLDS
from research.worlds.world import EPOCH

FIRST_TEST_SEED: Final = 90_000
"""First seed of test recordings; training uses seeds below 10,000."""
PROGRAMS: Final = {"busy": (0.35, 1.0), "ordinary": (0.08, 0.25)}
"""Vape and nuisance rates, as in `research.worlds.world.World`.

An ordinary room has about 45 nuisances a day and a visible session every other day.
"""
BUILD: Final = Path("build/detection-worlds")
_SIMULATOR: Final = Path(sensor_sim.__file__).parent
_WORLDS: Final = Path(worlds.__file__).parent
_SHARED: Final = (
    _WORLDS / "world.py",
    *(_SIMULATOR / name for name in ("devices/voc_index.py", "streams.py")),
)
"""Settings shared by all worlds."""


@dataclass(frozen=True, slots=True)
class WorldSpec:
    """One seed of a world: `lead_in` days that are not scored, then `days` that are."""

    world: str
    program: str
    seed: int
    rooms: int
    lead_in: float = 7.0
    days: float = 3.0

    @property
    def path(self) -> Path:
        """Path of the file, relative to the folder of generated files."""
        length = f"{self.rooms}x{self.lead_in:g}+{self.days:g}d"
        folder = f"{self.world}-{sources_hash(self.world)}"
        return Path(folder) / f"{self.program}-{self.seed}-{length}.pickle"


def sources_hash(world: str) -> str:
    """Hash a world's source files; for `school`, these include the demo's simulator."""
    files = [*(_WORLDS / world).rglob("*.py"), _WORLDS / f"{world}.py", *_SHARED]
    if world == "school":
        files += [path for path in _SIMULATOR.rglob("*.*") if path.parent.name != "__pycache__"]
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted({p for p in files if p.is_file()}):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def load(spec: WorldSpec, build: Path = BUILD) -> Recording:
    """Read a recording from disk; if it is missing, simulate and store it."""
    path = build / spec.path
    if path.is_file():
        with path.open("rb") as file:
            kept: Recording = pickle.load(file)  # noqa: S301 - written below
        return kept
    hours = 24 * (spec.lead_in + spec.days)
    readings, truth = WORLDS[spec.world](spec.seed, spec.rooms, hours, *PROGRAMS[spec.program])
    scored = (EPOCH + 86_400 * spec.lead_in, EPOCH + 3600 * hours)
    recording = Recording(
        spec.world,
        (scored,),
        split_by_sensor(readings, truth, f"{spec.world} {spec.seed}"),
        tuple(truth),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    with partial.open("wb") as file:
        pickle.dump(recording, file, protocol=pickle.HIGHEST_PROTOCOL)
    partial.replace(path)
    return recording


def drop_stale(build: Path = BUILD) -> None:
    """Remove recordings of worlds whose sources have changed."""
    current = {f"{world}-{sources_hash(world)}" for world in WORLDS}
    for folder in build.iterdir() if build.is_dir() else ():
        if folder.is_dir() and folder.name not in current:
            shutil.rmtree(folder, ignore_errors=True)
