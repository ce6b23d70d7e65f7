"""`plumewatch segments` and `backtest`: history, and versions of the detector over it."""

from __future__ import annotations

import math
import os
import sqlite3
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ingest.errors import RefusedError
from plumewatch.cli.options import ForceOption, JsonOption, Site, check_output, examples
from plumewatch.cli.printer import Printer, progress
from plumewatch.errors import UsageError
from scale.errors import HistoryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.rows import IncidentRow
    from scale.backtest import Judged, Task, Variant
    from scale.compare import Answer
    from scale.history import HistoryWriter
    from storage.registry import Registry

app = typer.Typer()

_SHIPPED: Final = "shipped"


@app.command(
    rich_help_panel="Simulation and history",
    epilog=examples(
        "plumewatch backtest history --budget 1 --budget 0.3 --out budgets.html",
        "plumewatch backtest history --model shipped --model new.npz --out models.html",
    ),
)
def backtest(
    history: Annotated[list[Path], typer.Argument(help="Folders that `segments` wrote.")],
    *,
    out: Annotated[Path, typer.Option(help="The page, HTML.")],
    model: Annotated[
        list[str] | None, typer.Option(help="Model file, or shipped; may be repeated.")
    ] = None,
    budget: Annotated[
        list[float] | None, typer.Option(help="False alarms a sensor-week; may be repeated.")
    ] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Kind of alert; vape if left out.")] = None,
    alerts: Annotated[Path | None, typer.Option(help="File for all alerts (CSV).")] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Whose budgets, time zone and feedback of staff."),
    ] = None,
    processes: Annotated[
        int | None, typer.Option(help="One per core if left out.", min=1, max=1024)
    ] = None,
    spark: Annotated[str, typer.Option(help="Master of a Spark cluster, such as local[2].")] = "",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run versions of the detector over history, and compare what would have alerted."""
    from zoneinfo import ZoneInfo

    from detection.events import EventKind
    from scale.backtest import tasks_of
    from scale.history import History
    from scale.report import Backtest, backtest_page

    site = Site.load(config) if config else None
    printer = Printer(as_json=as_json)
    kinds, known = kind or ["vape"], [found.value for found in EventKind]
    for name in kinds:
        if name not in known:
            raise UsageError(f"--kind {name}: one of {', '.join(known)}")
    for value in budget or ():
        if not 0.05 <= value <= 50:
            raise UsageError(f"--budget {value:g}: 0.05 to 50 false alarms a sensor-week")
    for path in (out, alerts):
        if path is not None:
            check_output(path, force=force)
    histories = [History(folder) for folder in history]
    variants = _variants(model or [], budget or [], site)
    incidents = None if site is None else _incidents(site)
    workers = processes or os.cpu_count() or 1
    began = time.monotonic()
    results = _judge(tasks_of(histories, variants, kinds), workers, spark)
    took = time.monotonic() - began
    results = [result for result in results if result.readings]
    if not results:
        raise RefusedError("there is no reading in the history that detectors are shown")
    where = f"Spark, {spark}" if spark else f"{workers} processes"
    test = Backtest(
        variants,
        results,
        kinds,
        None if incidents is None else _answers(incidents, results, kinds),
        ZoneInfo("UTC") if site is None else site.config.zone(),
        ", ".join(map(str, history)) if site is None else site.config.site,
        datetime.now(UTC),
        took,
        where,
    )
    out.write_text(backtest_page(test), encoding="utf-8")
    if alerts is not None:
        _write_alerts(alerts, variants, results)
    readings = sum(result.readings for result in results)
    rate = readings * len(variants) / max(took, 1e-9)
    printer.sum_up(
        f"{out}: {readings:,} readings by {len(variants)} versions in {took:.1f} s"
        f" ({rate:,.0f}/s, {where})",
        out=out,
        readings=readings,
        versions=len(variants),
        seconds=took,
    )


def _variants(models: list[str], budgets: list[float], site: Site | None) -> list[Variant]:
    from itertools import product

    from detection.alert_thresholds import AlertBudgets
    from plumewatch.config.settings import alert_budgets
    from scale.backtest import Variant

    of_school = AlertBudgets() if site is None else alert_budgets(site.config)
    models = list(dict.fromkeys(models)) or [_SHIPPED]
    budgets = list(dict.fromkeys(budgets)) or [of_school.default]
    variants = []
    for model, budget in product(models, budgets):
        names = [Path(model).stem if model != _SHIPPED else model] if len(models) > 1 else []
        names += [f"budget {budget:g}"] if len(budgets) > 1 or not names else []
        body = b"" if model == _SHIPPED else read_model(Path(model))
        variants.append(Variant(", ".join(names), budget, body, dict(of_school.own)))
    names = [variant.name for variant in variants]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"two models are named {twice[0]!r}: give the files different names")
    return variants


def read_model(path: Path) -> bytes:
    """Return the bytes of a model file; raises `UsageError` or `RefusedError` if it is none."""
    from detection.errors import ModelError
    from detection.model import Model

    try:
        body = path.read_bytes()
    except OSError as error:
        raise UsageError(f"--model {path}: {error.strerror}; a model file, or shipped") from error
    try:
        Model.from_bytes(body)
    except ModelError as error:
        raise RefusedError(str(error)) from error
    return body


def _judge(tasks: Sequence[Task], processes: int, spark: str) -> list[Judged]:
    from scale.backtest import on_processes

    total = sum(Path(part).stat().st_size for task in tasks for part in task.parts)
    with progress("detecting", total) as update:

        def advance(n: float) -> None:
            update(advance=n)

        if not spark:
            return on_processes(tasks, processes, advance)
        try:
            from scale.spark.batch import on_spark
        except ImportError as error:
            raise UsageError(f"--spark needs the extra plumewatch[scale]: {error}") from error
        return on_spark(tasks, spark, advance)


def _incidents(site: Site) -> list[IncidentRow]:
    """Return all incidents, read before detectors run for hours so that faults show at once."""
    from reports.read import incidents

    with site.read(site.paths.state) as db:
        db.row_factory = sqlite3.Row
        return incidents(db, site.config.registry(), 0.0, math.inf)


def _answers(
    incidents: Sequence[IncidentRow], results: Sequence[Judged], kinds: Sequence[str]
) -> list[Answer]:
    from scale.compare import Answer

    first = min(result.first for result in results)
    last = max(result.last for result in results)
    return [
        Answer(row.room_id, row.kind, row.verdict, row.first_evidence_at, row.closed_at or last)
        for row in incidents
        if first <= row.opened_at < last + 1.0 and row.verdict and row.kind in kinds
    ]


def _write_alerts(path: Path, variants: Sequence[Variant], results: Sequence[Judged]) -> None:
    import polars as pl

    names = (
        *("id", "sensor", "building", "room", "kind", "onset", "alerted", "end", "confidence"),
        "explained_by",
    )
    rows = [
        {"version": variants[alert.variant].name} | {name: getattr(alert, name) for name in names}
        for result in results
        for alert in result.alerts
    ]
    rows.sort(key=lambda row: (row["alerted"], row["sensor"], row["kind"], row["version"]))
    columns = ["version", *names]
    table = pl.DataFrame(rows, infer_schema_length=None) if rows else pl.DataFrame(schema=columns)
    table.write_csv(path)


_SENSORS_A_BUCKET: Final = 1000
"""A detector processes many sensors in one pass at hardly more cost than few."""


@app.command(
    rich_help_panel="Simulation and history",
    epilog=examples(
        "plumewatch segments history --config plumewatch.toml",
        "plumewatch segments history --recording readings.csv.gz",
    ),
)
def segments(
    history: Annotated[Path, typer.Argument(help="Folder; made if it does not exist.")],
    *,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Whose journal and sensor places.")
    ] = None,
    recording: Annotated[
        list[Path] | None, typer.Option(help="A .csv or .csv.gz instead; may be repeated.")
    ] = None,
    buckets: Annotated[
        int | None,
        typer.Option(
            help="Of a new history; one per thousand sensors if left out.", min=1, max=4096
        ),
    ] = None,
    every: Annotated[float, typer.Option(help="Repeat at this interval, s; 0 ends.", min=0)] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Land accepted readings as Parquet, each once: for `backtest`, Spark, any other program."""
    from scale.history import HistoryWriter
    from storage.registry import Registry

    site = Site.load(config) if config else None
    printer = Printer(as_json=as_json)
    if site is None and not recording:
        raise UsageError("--config FILE: whose journal to land; or --recording FILE")
    registry = Registry() if site is None else site.config.registry()
    default_buckets = max(2, -(-len(registry.sensors) // _SENSORS_A_BUCKET))
    try:
        with HistoryWriter(history, buckets, default_buckets) as writer:
            if site is None or recording:
                count = _land_recordings(recording or [], registry, writer)
                _print_landed(count, 0, writer, printer)
                return
            while True:
                count, missed = _land_journal(site.paths.journal, registry, writer)
                if count or missed or not every:
                    _print_landed(count, missed, writer, printer)
                if not every or threading.Event().wait(every):
                    return
    except HistoryError as error:
        raise UsageError(str(error)) from error


def _land_journal(path: Path, registry: Registry, writer: HistoryWriter) -> tuple[int, int]:
    from scale.landing import land_journal
    from storage.journal import JournalReader

    with JournalReader(path) as journal, progress("landing", 1.0) as update:
        return land_journal(journal, registry, writer, lambda n: update(completed=n))


def _land_recordings(paths: Sequence[Path], registry: Registry, writer: HistoryWriter) -> int:
    from ingest.files.recordings import read_recordings
    from scale.landing import land_recordings

    with progress("landing", sum(path.stat().st_size for path in paths)) as update:
        readings = read_recordings(paths, lambda n: update(advance=n))
        return land_recordings(readings, registry, writer)


def _print_landed(count: int, missed: int, writer: HistoryWriter, printer: Printer) -> None:
    text = f"{count} readings landed, {writer.position} in all, in {writer.buckets} buckets"
    if missed:
        text += (
            f"\n{missed} readings had been deleted from the journal before: run this more often, or"
            " let the journal keep more (journal.keep_days)"
        )
    printer.sum_up(text, landed=count, missed=missed, readings=writer.position)
