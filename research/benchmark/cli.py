"""Command line of the benchmark."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from research.benchmark.run import Result
    from research.benchmark.world_recordings import WorldSpec

FULL: Final = {"seeds": 1, "rooms": 3, "lead_in": 14.0, "days": 3.0}
QUICK: Final = {"seeds": 1, "rooms": 6, "lead_in": 0.5, "days": 1.0}
RESULTS: Final = Path(__file__).with_name("results.md")
_REAL: Final = "gym_pms5003_61s.csv.gz"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m research.benchmark",
        description="Evaluate the detector in all worlds and on recordings.",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="few rooms and half a day of lead-in; does not write the page",
    )
    parser.add_argument("--worlds", help="names, separated by commas; all by default")
    parser.add_argument("--programs", default="busy,ordinary", help="programs of the rooms")
    parser.add_argument("--seeds", type=int, help="seeds of each world")
    parser.add_argument("--rooms", type=int, help="sensors for each seed")
    parser.add_argument("--lead-in", type=float, help="days before the scored days, by default 14")
    parser.add_argument("--days", type=float, help="days that are scored")
    parser.add_argument(
        "--first-seed", type=int, default=90_000, help="training uses the seeds below"
    )
    parser.add_argument("--model", type=Path, help="a model file in place of the shipped one")
    parser.add_argument("--real", type=Path, help="folder of real recordings without vaping")
    parser.add_argument(
        "--recordings",
        type=Path,
        help="evaluate a folder of labeled recordings (NAME.csv, NAME.truth.csv), not worlds",
    )
    parser.add_argument("--cases", type=Path, help="CSV file of all misses and false alarms")
    parser.add_argument("--workers", type=int, default=min(os.cpu_count() or 1, 2))
    parser.add_argument(
        "--out",
        type=Path,
        default=RESULTS,
        help="page to write; with --quick, by default in build/",
    )
    options = parser.parse_args(argv)
    for name, value in (QUICK if options.quick else FULL).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.first_seed < 10_000:
        parser.error("--first-seed: training uses the seeds below 10000")
    if options.real and not (options.real / _REAL).is_file():
        parser.error(f"--real: no recordings in {options.real}")
    return options


def _specs(options: argparse.Namespace) -> list[WorldSpec]:
    from research.benchmark.world_recordings import PROGRAMS, WorldSpec  # noqa: PLC0415 - slow
    from research.worlds import WORLDS  # noqa: PLC0415 - slow to import

    names = options.worlds.split(",") if options.worlds else list(WORLDS)
    programs = options.programs.split(",")
    for given, known in ((names, WORLDS), (programs, PROGRAMS)):
        if unknown := set(given) - set(known):
            sys.exit(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    return [
        WorldSpec(world, program, seed, options.rooms, options.lead_in, options.days)
        for world in names
        for program in programs
        for seed in range(options.first_seed, options.first_seed + options.seeds)
    ]


def _evaluate_worlds(
    specs: Sequence[WorldSpec], method: str, body: bytes, people: Sequence[str]
) -> list[Result]:
    from detection.model import Model  # noqa: PLC0415 - slow to import
    from research.benchmark import run, world_recordings  # noqa: PLC0415 - slow to import

    recordings = [(spec.program, world_recordings.load(spec)) for spec in specs]
    return run.evaluate(recordings, method, Model.from_bytes(body), people)


def _evaluate_files(folder: Path, program: str, body: bytes) -> list[Result]:
    from detection.model import Model  # noqa: PLC0415 - slow to import
    from research.benchmark import recordings, run  # noqa: PLC0415 - slow to import

    load = {
        "labeled": recordings.read_labeled,
        "real": recordings.read_without_vaping,
        "real with puffs": recordings.read_with_puffs,
    }[program]
    model, found = Model.from_bytes(body), []
    for recording in load(folder):
        found += run.evaluate([(program, recording)], run.SHIPPED, model)
    return found


def _run(
    jobs: Iterable[tuple[Callable[..., Any], tuple[Any, ...]]], workers: int, title: str
) -> list[Any]:
    from rich.console import Console  # noqa: PLC0415 - slow to import
    from rich.progress import track  # noqa: PLC0415 - slow to import

    with ProcessPoolExecutor(workers) as pool:
        futures = [pool.submit(work, *arguments) for work, arguments in jobs]
        console = Console(stderr=True)
        for done in track(as_completed(futures), title, len(futures), console=console):
            done.result()
    return [future.result() for future in futures]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    options = _arguments(argv)
    from rich.console import Console  # noqa: PLC0415 - slow to import

    from detection.model import Model  # noqa: PLC0415 - slow to import
    from research.benchmark import report, run, world_recordings  # noqa: PLC0415 - slow to import
    from research.training.model_file import write_model  # noqa: PLC0415 - slow to import

    model = options.model.read_bytes() if options.model else write_model(Model.load_shipped())
    specs = [] if options.recordings else _specs(options)
    world_recordings.drop_stale()
    _run([(_simulate, (spec,)) for spec in specs], options.workers, "simulating")
    by_world = [[s for s in specs if s.world == w] for w in dict.fromkeys(s.world for s in specs)]
    # A detector's run time depends on its longest stream, so all worlds evaluated with the same
    # model share a few detectors.
    shares = [
        list(chain.from_iterable(by_world[k :: options.workers])) for k in range(options.workers)
    ]
    by_model: dict[bytes, list[WorldSpec]] = {}
    for spec in specs:
        if other := run.load_model_without(spec.world):
            by_model.setdefault(write_model(other), []).append(spec)
    jobs: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        (_evaluate_worlds, (mine, run.WITHOUT, other, tuple(run.LEAD_IN_DAYS)))
        for other, mine in by_model.items()
    ]
    jobs += [
        (_evaluate_worlds, (share, run.SHIPPED, model, (run.COLD,))) for share in shares if share
    ]
    if options.recordings:
        jobs.append((_evaluate_files, (options.recordings, "labeled", model)))
    if options.real:
        jobs += [
            (_evaluate_files, (options.real, name, model)) for name in ("real", "real with puffs")
        ]
    results = [result for part in _run(jobs, options.workers, "judging") for result in part]

    shown = shlex.join(sys.argv[1:] if argv is None else argv)
    made = report.Report(
        results,
        specs,
        Model.from_bytes(model).version,
        f"python -m research.benchmark {shown}".strip(),
        sum(os.times()[:4]),
    )
    console = Console(width=None if sys.stdout.isatty() else 180)
    report.show(made, console)
    if options.cases:
        report.write_cases(made, options.cases)
    if specs:
        path = Path("build/detection-quick/results.md") if options.quick else options.out
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(report.render_page(made), encoding="utf-8")
        console.print(f"written: {path}")
    return 0


def _simulate(spec: WorldSpec) -> None:
    from research.benchmark import world_recordings  # noqa: PLC0415 - slow to import

    world_recordings.load(spec)
