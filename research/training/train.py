"""Make the detector's model file from restroom worlds and real recordings.

Usage: make train ARGS="[--leave-one-out] [--without WORLD] [--seeds 12] [--grow-school]"

Every world is simulated, the detector reads it, and the moments at which it judges become lessons,
labeled by the world's truth; the recordings, with and without simulated puffs, are one more world.
Fitted are a small forest of vaping for each of them but `school`, and a recurrent network of all.
`research.training.parts` says how they become one score. Training owns seeds 1 to 9,999.

The forests of `school`, of kinds and of THC were grown earlier, from 144 simulated schools, and
come out of the model file of `--school-from`, bit for bit; `--grow-school` grows similar ones in
hours and roughly 10 GB of memory. Weights and corrections are constants that were fitted by hand on
leave-one-out predictions.

With `--leave-one-out` a model without it is also made for every world: what such a model finds in
that world is what the shipped one may find in a school.

Reproducible: the same arguments and `--school-from` on the same kind of processor with the same
libraries give the same files, byte for byte. The shipped file was made with `--leave-one-out
--seeds 6`, the lessons of `filaments` from a state of that world a few lines older. Each stage
keeps its results in the folder of `--lessons`; empty it after a change of the simulator, the
recordings or of what facts mean.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Final

# Sums over threads depend on how many there are; processes use the cores.
os.environ["OMP_NUM_THREADS"] = "1"

from rich.progress import track

from detection.errors import ModelError
from detection.model import Forest, Model, Network
from research.training import lessons, parts, recordings
from research.training.air import RECORDED_SESSIONS_A_DAY, RECORDINGS, Source
from research.worlds import WORLDS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from research.training.examples import Sources

WITHOUT: Final = Path("research/benchmark/without")
"""Models of `--leave-one-out`, by the world that they do not know."""
FIRST_SEED: Final = 101
SCHOOL: Final = "school"
SCHOOL_ROOMS: Final = 24
SCHOOL_HOURS: Final = 26.0
"""Of each run of `--grow-school`."""
SCHOOL_PARTS: Final = ("school", "kinds", "thc")


def main() -> int:
    """Train and write the model files."""
    options = _options()
    taken_over = None if options.grow_school else _taken_over(options.school_from)
    for stage in ("air", "lessons", "parts"):
        (options.lessons / stage).mkdir(parents=True, exist_ok=True)
    chosen = [name for name in WORLDS if name not in options.without]
    without: dict[Path, set[str]] = {options.out: set(options.without)}
    if options.leave_one_out:
        without |= {WITHOUT / f"{name}.npz": {name, *options.without} for name in chosen}
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        sources = _collected(pool, _lesson_tasks(options, chosen))
        schools = _collected(pool, _school_tasks(options)) if options.grow_school else {}
        # Longest first.
        wanted = {part: (part, schools) for part in SCHOOL_PARTS if schools}
        wanted |= {
            str(path): ("network", _only(sources, set(sources) - names))
            for path, names in without.items()
        }
        wanted |= {
            name: ("world", _only(sources, {name, RECORDINGS})) for name in chosen if name != SCHOOL
        }
        tasks = [parts.Task(*task, options.lessons / "parts") for task in wanted.values()]
        fitted = track(pool.map(parts.fitted, tasks), "parts", total=len(tasks))
        arrays = dict(zip(wanted, fitted, strict=True))
    school = taken_over or parts.school(
        {name: array for part in SCHOOL_PARTS for name, array in arrays[part].items()}
    )
    for path, names in without.items():
        model = parts.model(
            "-without-".join([options.version, *sorted(names)]),
            options.level,
            school,
            [
                Forest.from_arrays("world", arrays[name])
                for name in chosen
                if name not in {SCHOOL, *names}
            ],
            Network.from_arrays(arrays[str(path)]),
            knows_school=SCHOOL not in names,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(model.to_bytes())
        print(f"{path}: {path.stat().st_size:,} bytes")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=12, help="runs of each world")
    parser.add_argument("--rooms", type=int, default=16)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--version", default="plume-7")
    parser.add_argument("--level", type=float, default=0.0, help="log-odds that alert")
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
    parser.add_argument(
        "--school-from",
        type=Path,
        default=Path("detection/model.npz"),
        help="model file whose forests of the world school, of kinds and of THC are taken over",
    )
    parser.add_argument(
        "--grow-school", action="store_true", help="grow these forests anew (hours)"
    )
    parser.add_argument("--school-seeds", type=int, default=144, help="runs for --grow-school")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path("detection/model.npz"))
    options = parser.parse_args()
    left = set(WORLDS) - {SCHOOL, *options.without}
    if len(left) < (2 if options.leave_one_out else 1):
        parser.error("no world but school is left to train on")
    return options


def _taken_over(path: Path) -> Model:
    try:
        model = Model.from_bytes(path.read_bytes())
    except (OSError, ModelError) as error:
        raise SystemExit(f"{path}: {error}. Use --grow-school to grow its forests anew.") from error
    if model.plain is None:
        raise SystemExit(f"{path} does not know the world school. Name another --school-from.")
    return model


def _collected(pool: ProcessPoolExecutor, tasks: Sequence[lessons.Task]) -> Sources:
    sources: dict[str, list[Path]] = {}
    made = track(pool.map(lessons.collect, tasks), "lessons", total=len(tasks))
    for task, paths in zip(tasks, made, strict=True):
        sources.setdefault(task.source.name, []).extend(paths)
    return sources


def _school_tasks(options: argparse.Namespace) -> list[lessons.Task]:
    return [
        lessons.Task(
            Source(SCHOOL, seed, SCHOOL_ROOMS, SCHOOL_HOURS),
            (1,),
            options.lessons,
            options.recordings,
        )
        for seed in range(1, options.school_seeds + 1)
    ]


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


def _only(sources: Sources, names: Collection[str]) -> Sources:
    return {name: paths for name, paths in sources.items() if name in names}


if __name__ == "__main__":
    sys.exit(main())
