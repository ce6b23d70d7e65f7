"""``plumewatch backtest``: versions of the detector over history, and a page that compares them."""

from __future__ import annotations

import sqlite3
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import polars as pl

from detection.alert_thresholds import BUDGET
from detection.errors import ModelError
from detection.events import EventKind
from detection.model import Model
from plumewatch.cli.exit_codes import DONE, REFUSED, USAGE, UsageError, told
from plumewatch.cli.progress import progress
from plumewatch.config.paths import DataPaths
from plumewatch.config.settings import alert_budgets
from plumewatch.config.sharding import load_shard
from reports.read import incidents
from scale.backtest import Variant, on_processes, tasks_of
from scale.compare import Answer
from scale.errors import ScaleError
from scale.history import History
from scale.report import Backtest, backtest_page
from storage.sqlite import connect, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plumewatch.cli.printer import Printer
    from plumewatch.config.model import PlumewatchConfig
    from scale.backtest import Judged, Task

SHIPPED: Final = "shipped"
_ALERT_COLUMNS: Final = (
    *("version", "id", "sensor", "building", "room", "kind", "onset", "alerted", "end"),
    *("confidence", "withdrawn", "explained_by"),
)


@dataclass(frozen=True, slots=True)
class BacktestOptions:
    """What was asked for.

    Attributes
    ----------
    models : sequence of str
        Model files, or ``"shipped"``; the shipped one if empty.
    budgets : sequence of float
        Of sensors that have none of their own; that of the configuration if empty.
    kinds : sequence of str
        Kinds of alert to compare.
    out : Path
        The page.
    alerts : Path or None
        All alerts as CSV.
    spark : str
        Master of a cluster, to be used instead of processes; empty for none.
    force : bool
        Write over files that are there.
    """

    models: Sequence[str]
    budgets: Sequence[float]
    kinds: Sequence[str]
    out: Path
    alerts: Path | None
    processes: int
    spark: str
    force: bool


@told(refused=(ScaleError, ModelError))
def run_backtest(
    folders: Sequence[Path], config_path: Path | None, asked: BacktestOptions, printer: Printer
) -> int:
    """Run ``plumewatch backtest``.

    Returns
    -------
    int
        0 done, 1 the history or a model cannot be read, 2 bad usage or configuration, 3 answers of
        staff or the cluster cannot be reached.
    """
    _check(asked)
    config = None if config_path is None else load_shard(config_path)
    histories = [History(folder) for folder in folders]
    variants = _variants(asked, config)
    began = time.monotonic()
    results = _judged(tasks_of(histories, variants, asked.kinds), asked)
    took = time.monotonic() - began
    if not any(result.readings for result in results):
        sys.stderr.write("there is no reading in the history that detectors are shown\n")
        return REFUSED
    answers = None if config is None else _answers(config, results, asked.kinds)
    where = f"Spark, {asked.spark}" if asked.spark else f"{asked.processes} processes"
    test = Backtest(
        variants,
        [result for result in results if result.readings],
        asked.kinds,
        answers,
        ZoneInfo("UTC") if config is None else config.zone(),
        ", ".join(str(folder) for folder in folders) if config is None else config.site,
        datetime.now(UTC),
        took,
        where,
    )
    try:
        asked.out.write_text(backtest_page(test), encoding="utf-8")
        if asked.alerts is not None:
            _write_alerts(asked.alerts, test)
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
        return USAGE
    readings = sum(result.readings for result in results)
    rate = readings * len(variants) / max(took, 1e-9)
    printer.sum_up(
        f"{asked.out}: {readings:,} readings by {len(variants)} versions in {took:.1f} s"
        f" ({rate:,.0f}/s, {where})",
        out=asked.out,
        readings=readings,
        versions=len(variants),
        seconds=took,
    )
    return DONE


def _check(asked: BacktestOptions) -> None:
    known = [kind.value for kind in EventKind]
    for kind in asked.kinds:
        if kind not in known:
            raise UsageError(f"--kind {kind}: one of {', '.join(known)}")
    for budget in asked.budgets:
        if not 0.05 <= budget <= 50:
            raise UsageError(f"--budget {budget:g}: 0.05 to 50 false alarms a sensor-week")
    for path in (asked.out, asked.alerts):
        if path is not None and not path.parent.is_dir():
            raise UsageError(f"{path.parent}: no such folder to write into")
        if path is not None and path.exists() and not asked.force:
            raise UsageError(f"{path}: exists already; --force writes over it")


def _variants(asked: BacktestOptions, config: PlumewatchConfig | None) -> list[Variant]:
    """Return every model with every budget."""
    of_school = alert_budgets(config) if config is not None else None
    default = BUDGET if of_school is None else of_school.default
    own = {} if of_school is None else dict(of_school.own)
    models = list(dict.fromkeys(asked.models)) or [SHIPPED]
    budgets = list(dict.fromkeys(asked.budgets)) or [default]
    variants = []
    for model, budget in product(models, budgets):
        names = [Path(model).stem if model != SHIPPED else model] if len(models) > 1 else []
        names += [f"budget {budget:g}"] if len(budgets) > 1 or not names else []
        variants.append(Variant(", ".join(names), budget, _model(model), own))
    twice = [v.name for v in variants if sum(w.name == v.name for w in variants) > 1]
    if twice:
        raise UsageError(f"two models are named {twice[0]!r}: give the files names of their own")
    return variants


def _model(name: str) -> bytes:
    if name == SHIPPED:
        return b""
    try:
        body = Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"--model {name}: {error.strerror}; a model file, or shipped") from error
    Model.from_bytes(body)
    return body


def _judged(tasks: Sequence[Task], asked: BacktestOptions) -> list[Judged]:
    total = sum(Path(part).stat().st_size for task in tasks for part in task.parts)
    with progress() as bar:
        shown = bar.add_task("judging", total=total)

        def advance(size: int) -> None:
            bar.advance(shown, size)

        if asked.spark:
            return _on_spark(tasks, asked.spark, advance)
        return on_processes(tasks, asked.processes, advance)


def _on_spark(tasks: Sequence[Task], master: str, advance: Callable[[int], None]) -> list[Judged]:
    try:
        from scale.spark.batch import on_spark  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UsageError(f"--spark needs the extra plumewatch[scale]: {error}") from error
    return on_spark(tasks, master, advance)


def _answers(
    config: PlumewatchConfig, results: Sequence[Judged], kinds: Sequence[str]
) -> list[Answer]:
    """Return what staff said of the incidents of the span; the state database is only read."""
    path = DataPaths(config.data_dir).state
    first = min(result.first for result in results)
    last = max(result.last for result in results)
    with closing(connect(path, read_only=True)) as db:
        db.row_factory = sqlite3.Row
        try:
            rows = incidents(db, config.registry(), first, last + 1.0)
        except sqlite3.Error as error:
            raise translated(error, path) from error
    return [
        Answer(row.room_id, row.kind, row.verdict, row.first_evidence_at, row.closed_at or last)
        for row in rows
        if row.verdict and row.kind in kinds
    ]


def _write_alerts(path: Path, test: Backtest) -> None:
    rows = sorted(
        (
            (
                test.variants[a.variant].name,
                *(a.id, a.sensor, a.building, a.room, a.kind, a.onset, a.alerted, a.end),
                *(a.confidence, a.withdrawn, a.explained_by),
            )
            for result in test.results
            for a in result.alerts
        ),
        key=lambda row: (row[7], row[2], row[5], row[0]),
    )
    pl.DataFrame(
        rows, schema=list(_ALERT_COLUMNS), orient="row", infer_schema_length=None
    ).write_csv(path)
