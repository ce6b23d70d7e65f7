"""Command line of the benchmark."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.detection_bench import learned, worlds
from benchmarks.detection_bench.real import run_real
from benchmarks.detection_bench.report import Report, print_report, write_document
from benchmarks.detection_bench.run import run_worlds
from benchmarks.detection_bench.worlds import FIRST_TEST_SEED, WorldSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

FIRST_TRAINING_SEED: Final = 9_000
FULL: Final = (10, 8, 3, 28)
QUICK: Final = (2, 4, 2, 14)
"""Test, fitting and tuning seeds, and sensors of each."""


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/bench_detection.py",
        description="Our detector beside every published rule and two learned references.",
    )
    parser.add_argument("--quick", action="store_true", help="2 small worlds; writes no document")
    parser.add_argument("--ours", action="store_true", help="our detector alone, nothing trained")
    parser.add_argument("--worlds", type=int, help="test worlds")
    parser.add_argument("--rooms", type=int, help="sensors of each world")
    parser.add_argument("--first-seed", type=int, default=FIRST_TEST_SEED)
    parser.add_argument("--real", type=Path, help="folder with the real recordings")
    parser.add_argument("--explain", type=int, default=0, help="plot the N worst of each kind")
    parser.add_argument("--workers", type=int, default=min(os.cpu_count() or 1, 2))
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where to write; full mode")
    options = parser.parse_args(argv)
    if options.first_seed < worlds.FIRST_TRAINING_END:
        parser.error(f"--first-seed: seeds below {worlds.FIRST_TRAINING_END} belong to training")
    if options.real and not (options.real / "gym_pms5003_61s.csv.gz").is_file():
        parser.error(f"--real: no recordings in {options.real}")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; of the process by default.

    Returns
    -------
    int
        0.
    """
    begun = time.perf_counter()
    options = _arguments(argv)
    n_test, n_fit, n_tune, rooms = QUICK if options.quick else FULL
    rooms = options.rooms or rooms
    first = options.first_seed
    test = [WorldSpec(s, rooms) for s in range(first, first + (options.worlds or n_test))]
    fit = [WorldSpec(FIRST_TRAINING_SEED + k, rooms) for k in range(n_fit)]
    tune = [WorldSpec(FIRST_TRAINING_SEED + 100 + k, rooms) for k in range(n_tune)]
    learn = [] if options.ours else [*fit, *tune]

    console = Console(width=None if sys.stdout.isatty() else 190)
    progress = Progress(
        TextColumn("{task.description:<40}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    with progress:
        bar = progress.add_task("simulating worlds", total=len(test) + len(learn))
        worlds.make_worlds(
            [*test, *learn], workers=options.workers, on_done=lambda: progress.advance(bar)
        )
        trained = None
        if learn:
            step = progress.add_task("training the references", total=4)

            def told(text: str) -> None:
                progress.update(step, description=f"training: {text}", advance=1)

            trained = learned.train(fit, tune, on_step=told)
            progress.update(step, description="training the references", completed=4)
        bar2 = progress.add_task("running all methods", total=len(test))
        outcome = run_worlds(
            test, trained, workers=options.workers, on_done=lambda: progress.advance(bar2)
        )
        real = {}
        if options.real:
            bar3 = progress.add_task("real recordings", total=1)
            real = run_real(options.real, trained)
            progress.advance(bar3)
        if options.explain:
            from benchmarks.detection_bench.explain import write_plots  # noqa: PLC0415 - slow to import

            bar4 = progress.add_task("plotting the worst", total=2 * options.explain)
            folder = worlds.BUILD / "detection-explain"
            write_plots(
                outcome, test, options.explain, folder, on_done=lambda: progress.advance(bar4)
            )
            console.print(f"plots of the worst: {folder}/")

    shown = " ".join(shlex.quote(a) for a in (sys.argv[1:] if argv is None else argv))
    command = f"python benchmarks/bench_detection.py {shown}".strip()
    took = time.perf_counter() - begun
    print_report(outcome, real, console)
    if trained is not None:
        docs = worlds.BUILD / "detection-quick" if options.quick else options.docs
        docs.mkdir(parents=True, exist_ok=True)
        report = Report(outcome, test, trained, real, command, took)
        write_document(report, docs / "detection-benchmark.md", docs / "img")
        console.print(f"written: {docs / 'detection-benchmark.md'}")
    console.print(f"{outcome.sensors} sensors, {took:.0f} s")
    return 0
