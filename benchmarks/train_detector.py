"""Make the detector's model file from restroom worlds and real recordings.

Usage: make train ARGS="[--leave-one-out] [--without WORLD] [--seeds 8] [--level 1.2]"

Every world of `sensor_sim.worlds.WORLDS` is simulated, the detector reads it, and the moments at
which it judges become lessons, labeled by the world's truth. Simulated puffs on real recordings,
and the recordings as they are, join them as one more world. All weigh the same. Four parts are
fitted: trees and a recurrent network that tell vaping from the rest, forests of the other kinds,
and one of THC. Training owns seeds 1 to 9,999; benchmarks use others.

With `--leave-one-out` a model without it is also made for every world: what such a model finds in
that world is what the shipped one may find in a school.

The same arguments on the same kind of processor and with the same libraries give the same files,
byte for byte: simulations and fits have fixed seeds, and every process uses one thread. On another
processor sums of torch and scikit-learn may round differently, and the fits then differ slightly.

Each stage keeps its results in the folder of `--lessons`, and a run that was cut short goes on from
there. Lessons of other facts are made anew. After a change of the simulator, the recordings or of
what facts mean, empty the folder.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# Sums over threads depend on how many there are; processes use the cores.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from rich.progress import track

from benchmarks.training import lessons, parts, recordings
from benchmarks.training.air import RECORDED_SESSIONS_A_DAY, RECORDINGS, Source
from sensor_sim.worlds import WORLDS

if TYPE_CHECKING:
    from collections.abc import Collection

    from benchmarks.training.examples import Sources

WITHOUT: Final = Path("benchmarks/detection_bench/without")
"""Models of `--leave-one-out`, by the world that they do not know."""
FIRST_SEED: Final = 101
BY_INTERVAL: Final[tuple[tuple[float, float, float, float], ...]] = ()
"""What is added to the log-odds of vaping at a reporting interval, s: with PM1, without, and to
either until a pulse has been seen to fall. See `detection.model.Model.by_interval`."""


def main() -> int:
    """Train and write the model files."""
    options = _options()
    for stage in ("air", "lessons", "parts"):
        (options.lessons / stage).mkdir(parents=True, exist_ok=True)
    chosen = [name for name in WORLDS if name not in options.without]
    tasks = _lesson_tasks(options, chosen)
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        made = track(pool.map(lessons.collect, tasks), "lessons", total=len(tasks))
        sources: dict[str, list[Path]] = {}
        for task, paths in zip(tasks, made, strict=True):
            sources.setdefault(task.source.name, []).extend(paths)
        without: dict[Path, set[str]] = {options.out: set(options.without)}
        if options.leave_one_out:
            without |= {WITHOUT / f"{name}.npz": {name, *options.without} for name in chosen}
        wanted = [
            parts.Task(part, _except(sources, names), options.lessons / "parts")
            for names in without.values()
            for part in parts.PARTS
        ]
        arrays = list(track(pool.map(parts.fitted, wanted), "parts", total=len(wanted)))
    n = len(parts.PARTS)
    for k, (path, names) in enumerate(without.items()):
        together = {name: a for part in arrays[k * n : (k + 1) * n] for name, a in part.items()}
        model = parts.model(
            together,
            "-without-".join([options.version, *sorted(names)]),
            options.level,
            options.withdraw,
            options.plain,
            np.array(BY_INTERVAL).reshape(-1, 4),
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(model.to_bytes())
        print(f"{path}: {path.stat().st_size:,} bytes")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=8, help="runs of each world")
    parser.add_argument("--rooms", type=int, default=16)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--version", default="plume-6")
    parser.add_argument("--level", type=float, default=1.2, help="log-odds that alert")
    parser.add_argument("--withdraw", type=float, default=-4.0, help="log-odds that withdraw")
    parser.add_argument(
        "--plain",
        type=float,
        default=-4.0,
        help="log-odds of the network below which the trees are not asked",
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=list(WORLDS),
        help="world to leave out of all; may be repeated",
    )
    parser.add_argument(
        "--leave-one-out",
        action="store_true",
        help=f"also make a model without it for each world, into {WITHOUT}",
    )
    parser.add_argument(
        "--lessons",
        type=Path,
        default=Path("build/lessons"),
        help="folder of what was simulated, collected and fitted",
    )
    parser.add_argument(
        "--recordings", type=Path, default=Path("../shared/data"), help="real recordings"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path("detection/model.npz"))
    return parser.parse_args()


def _lesson_tasks(options: argparse.Namespace, worlds: Collection[str]) -> list[lessons.Task]:
    """Return what is to be simulated: seed by seed, so that a run that is cut short has all worlds.

    Every seed is read once, as it is or with varied sensors, and each third one both ways.
    """
    tasks = []
    for seed in range(FIRST_SEED, FIRST_SEED + options.seeds):
        variants = (0, 1) if seed % 3 == 0 else (seed % 2,)
        for name in worlds:
            source = Source(name, seed, options.rooms, options.hours)
            tasks.append(lessons.Task(source, variants, options.lessons, options.recordings))
    missing = recordings.missing(options.recordings)
    if missing:
        print(
            f"{options.recordings} lacks {', '.join(missing)}: training on worlds alone. "
            "The shipped model is made with these recordings; pass their folder as --recordings."
        )
        return tasks
    for number in range(len(RECORDED_SESSIONS_A_DAY)):
        source = Source(RECORDINGS, number)
        tasks.append(lessons.Task(source, (0, 1), options.lessons, options.recordings))
    return tasks


def _except(sources: Sources, names: Collection[str]) -> Sources:
    return {name: tuple(paths) for name, paths in sources.items() if name not in names}


if __name__ == "__main__":
    sys.exit(main())
