"""Create the detector's model file from restroom worlds and real recordings.

Usage: make train ARGS="[--left-out] [--runs 8] [--rooms 64]"

Every world is simulated, and the detector runs over its readings. Each moment that it scores
becomes a training row, labeled with the world's truth. Every second run has varied sensors. The
real recordings, with and without simulated puffs, serve as another world. Boosted trees and a
recurrent network are fitted to all rows, and their log-odds are averaged. Small forests classify
the kind and detect THC. Training uses seeds 1 to 9,999.

With `--left-out`, additional models are trained, each without two of the worlds. Their results in
those two worlds estimate how well the shipped model works in a school.

The same arguments, kind of processor and libraries give the same files, byte for byte. Each stage
caches its results in the `--lessons` folder. Empty that folder after changing a world, the
recordings, the meaning of a feature, or the training.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

# results depend on the number of threads, so each process uses one
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from rich.progress import track

from detection.model import KINDS, Forest, Model, Network, round_to_step
from research.training import examples, forests, lessons, recordings, recurrent
from research.training.air import RECORDED_SESSIONS_A_DAY, RECORDINGS, Source
from research.training.model_file import store_forest, store_network, write_model
from research.worlds import WORLDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from research.training.examples import Sources

VERSION: Final = "plume-8"
LEFT_OUT: Final = (
    ("school", "two_zones"),
    ("plume_grid", "parcels"),
    ("filaments", "mixing_jets"),
    ("zone_network", RECORDINGS),
)
"""Groups of sources; each additional model leaves out one group."""
FOLDER: Final = Path("research/benchmark/without")
"""Folder for the models of `--left-out`; files are named after the sources left out."""
FIRST_SEED: Final = 101
HOURS: Final = 8.0
"""Length of each run; every world begins on a school day."""
AT_ONCE: Final = 2
"""How many runs of a world the detector processes together, which is faster than one by one."""
NETWORK_SHARE: Final = 0.4
"""Weight of the network when log-odds are averaged."""
LEVEL: Final = 0.55
"""Alert threshold for vaping, in mean log-odds; chosen from results in the worlds left out."""


def main() -> int:
    """Train and write the model files."""
    options = _options()
    for stage in ("air", "lessons", "parts"):
        (options.lessons / stage).mkdir(parents=True, exist_ok=True)
    without: dict[Path, tuple[str, ...]] = {options.out: ()}
    if options.left_out:
        without |= {FOLDER / f"{'-'.join(names)}.npz": names for names in LEFT_OUT}
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        tasks = _tasks(options)
        made = track(pool.map(lessons.collect, tasks), "lessons", total=len(tasks))
        sources: dict[str, list[Path]] = {}
        for task, path in zip(tasks, made, strict=True):
            sources.setdefault(task.name, []).append(path)
        # start the longest jobs first
        wanted = [("network", names) for names in without.values()]
        wanted += [("vape", names) for names in without.values()]
        wanted += [("kinds", ()), ("thc", ())]
        waiting = [
            pool.submit(
                fitted,
                part,
                {name: paths for name, paths in sources.items() if name not in names},
                options.lessons / "parts" / f"{'-'.join([part, *names])}.npz",
            )
            for part, names in wanted
        ]
        found = track(waiting, "parts")
        arrays = {key: part.result() for key, part in zip(wanted, found, strict=True)}
    for path, names in without.items():
        parts = [("network", names), ("vape", names), ("kinds", ()), ("thc", ())]
        joined = {name: array for part in parts for name, array in arrays[part].items()}
        body = write_model(model("-without-".join([VERSION, *names]), joined))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        print(f"{path}: {len(body):,} bytes")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=8, help="runs of each world")
    parser.add_argument("--rooms", type=int, default=64, help="rooms of each run")
    parser.add_argument(
        "--left-out",
        action="store_true",
        help=f"also train models without some worlds, in {FOLDER}",
    )
    parser.add_argument(
        "--lessons",
        type=Path,
        default=Path("build/lessons"),
        help="folder for simulated, collected and fitted data",
    )
    parser.add_argument(
        "--recordings", type=Path, default=Path("../shared/data"), help="real recordings"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path("detection/model.npz"))
    options = parser.parse_args()
    if missing := recordings.missing(options.recordings):
        parser.error(f"{options.recordings} lacks {', '.join(missing)}")
    return options


def _tasks(options: argparse.Namespace) -> list[lessons.Task]:
    """Return the tasks: odd runs use the worlds' own sensors, even runs varied ones."""
    seeds = range(FIRST_SEED, FIRST_SEED + options.runs)
    taken = [
        (varied, seeds[at : at + 2 * AT_ONCE : 2])
        for begin in range(0, options.runs, 2 * AT_ONCE)
        for varied, at in ((False, begin), (True, begin + 1))
    ]
    tasks = [
        (tuple(Source(name, seed, options.rooms, HOURS) for seed in some), varied)
        for varied, some in taken
        for name in WORLDS
        if some
    ]
    recorded = tuple(Source(RECORDINGS, seed) for seed in range(len(RECORDED_SESSIONS_A_DAY)))
    tasks += [(recorded, varied) for varied in (False, True)]
    return [lessons.Task(*task, options.lessons, options.recordings) for task in tasks]


def fitted(part: str, sources: Sources, path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a fitted part of a model, from a file if an earlier run fitted it."""
    if not path.exists():
        partial = path.with_suffix(".part.npz")
        np.savez(partial, **_fit(part, sources))  # type: ignore[arg-type] # numpy's stub takes no mapping
        partial.replace(path)
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def _fit(part: str, sources: Sources) -> dict[str, NDArray[Any]]:
    if part == "network":
        pulses = examples.pulses(sources)
        scaled = recurrent.scaling(pulses.features)
        return store_network(recurrent.as_network(recurrent.fit(pulses, scaled), scaled))
    if part == "vape":
        known, growth = examples.pulses(sources, examples.KEPT), forests.VAPE
        labels = [known.label > 0]
    elif part == "thc":
        known, growth = examples.known(sources, "thc"), forests.THC
        labels = [known.label > 0]
    else:
        known, growth = examples.known(sources, "kind"), forests.KIND
        labels = [known.label == code for code in range(len(KINDS))]
    grown = [forests.grow(known.features, label, known.weight, growth) for label in labels]
    return store_forest(forests.as_forest(*grown), part)


def model(version: str, arrays: dict[str, NDArray[Any]]) -> Model:
    """Combine all fitted parts into a model with alert threshold 0."""
    vape, kinds, thc = (Forest.from_arrays(name, arrays) for name in ("vape", "kinds", "thc"))
    network = Network.from_arrays(arrays)
    share = 1.0 - NETWORK_SHARE
    return Model(
        version,
        vape=replace(vape, value=vape.value * share, offset=vape.offset * share - LEVEL),
        network=replace(
            network,
            output=round_to_step(network.output * NETWORK_SHARE),
            offset=network.offset * NETWORK_SHARE,
        ),
        kinds=kinds,
        thc=thc,
    )


if __name__ == "__main__":
    sys.exit(main())
