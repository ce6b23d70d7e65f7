"""`plumewatch segments`, `backtest` and `stream`: the detector over history, and on Spark.

A stream reads from a history that grows (`plumewatch segments --every`) or from Kafka. Events go to
Parquet files, always, and with ``--publish`` to the broker, for the alert engine of the service
that receives them; readings with ``--series`` to the configured InfluxDB. A trigger is committed
when files and broker have its events. After a failure the last trigger comes again: its file is
replaced by the same, and the alert engine knows an event by its id.
"""

from __future__ import annotations

import math
import os
import sqlite3
import threading
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer import Argument, Option

from ingest.errors import RefusedError
from plumewatch.cli.options import ForceOption, JsonOption, check_output, command, config_option
from plumewatch.cli.printer import Printer, progress
from plumewatch.cli.site import Site
from plumewatch.errors import UsageError
from scale.errors import HistoryError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ingest.intake import Intake
    from plumewatch.config.model import PlumewatchConfig
    from reports.rows import IncidentRow
    from scale.backtest import Judged, Task, Variant
    from scale.compare import Answer
    from scale.history import HistoryWriter
    from storage.registry import Registry
    from storage.timeseries.influx_http import InfluxSettings

app = typer.Typer()

_SENSORS_A_BUCKET: Final = 1000
"""A detector processes many sensors in one pass at hardly more cost than few."""
_SHIPPED: Final = "shipped"
_DEDUPE_WINDOW: Final = 512
_LOOK_S: Final = 1
"""How often a running stream looks whether it shall end."""
_SENTENCES: Final = {
    "Failed to find data source: kafka": "Spark has no connector for Kafka: pass its jars as"
    " --conf spark.jars=A,B,C,D (docs/scale.md)",
    "unresolved dependency": "the connector for Kafka could not be downloaded: pass its jars as"
    " --conf spark.jars=A,B,C,D (docs/scale.md)",
    "data may have been lost": "Kafka has deleted records that this checkpoint had not read yet;"
    " --kafka-option failOnDataLoss=false goes on without them",
    "Java gateway process exited": "Spark did not start; what Java said is above",
}
"""What people are told, by a phrase of Spark's error."""


@command(
    app,
    "segments",
    "plumewatch segments history --config plumewatch.toml",
    "plumewatch segments history --recording readings.csv.gz",
)
def segments(
    history: Annotated[Path, Argument(help="Folder; made if it does not exist.")],
    config: Annotated[Path | None, config_option("Whose journal and sensor places.")] = None,
    recording: Annotated[
        list[Path] | None, Option(help="A .csv or .csv.gz instead; may be repeated.")
    ] = None,
    buckets: Annotated[
        int | None,
        Option(min=1, max=4096, help="Of a new history; one per thousand sensors if left out."),
    ] = None,
    every: Annotated[float, Option(min=0, help="Repeat at this interval, s; 0 ends.")] = 0.0,
    *,
    as_json: JsonOption = False,
) -> None:
    """Land accepted readings as Parquet, each once: for `backtest`, Spark, any other program."""
    from scale.history import HistoryWriter
    from storage.registry import Registry

    site = None if config is None else Site.load(config)
    if site is None and not recording:
        raise UsageError("--config FILE: whose journal to land; or --recording FILE")
    registry = Registry() if site is None else site.config.registry()
    default_buckets = max(2, -(-len(registry.sensors) // _SENSORS_A_BUCKET))
    printer = Printer(as_json=as_json)
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


@command(
    app,
    "backtest",
    "plumewatch backtest history --budget 1 --budget 0.3 --out budgets.html",
    "plumewatch backtest history --model shipped --model new.npz --out models.html",
)
def backtest(
    history: Annotated[list[Path], Argument(help="Folders that `segments` wrote.")],
    out: Annotated[Path, Option(help="The page, HTML.")],
    model: Annotated[
        list[str] | None, Option(help="Model file, or shipped; may be repeated.")
    ] = None,
    budget: Annotated[
        list[float] | None, Option(help="False alarms a sensor-week; may be repeated.")
    ] = None,
    kind: Annotated[list[str] | None, Option(help="Kind of alert; vape if left out.")] = None,
    alerts: Annotated[Path | None, Option(help="File for all alerts (CSV).")] = None,
    config: Annotated[
        Path | None, config_option("Whose budgets, time zone and feedback of staff.")
    ] = None,
    processes: Annotated[
        int | None, Option(min=1, max=1024, help="One per core if left out.")
    ] = None,
    spark: Annotated[str, Option(help="Master of a Spark cluster, such as local[2].")] = "",
    *,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run versions of the detector over history, and compare what would have alerted."""
    from zoneinfo import ZoneInfo

    from detection.events import EventKind
    from scale.backtest import tasks_of
    from scale.history import History
    from scale.report import Backtest, backtest_page

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
    site = None if config is None else Site.load(config)
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
    Printer(as_json=as_json).sum_up(
        f"{out}: {readings:,} readings by {len(variants)} versions in {took:.1f} s"
        f" ({rate:,.0f}/s, {where})",
        out=out,
        readings=readings,
        versions=len(variants),
        seconds=took,
    )


def _variants(models: list[str], budgets: list[float], site: Site | None) -> list[Variant]:
    """Return every model with every budget."""
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
        body = b"" if model == _SHIPPED else _model(Path(model))
        variants.append(Variant(", ".join(names), budget, body, dict(of_school.own)))
    names = [variant.name for variant in variants]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"two models are named {twice[0]!r}: give the files different names")
    return variants


def _model(path: Path) -> bytes:
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
    """Return the feedback of staff on the incidents in the time of the history."""
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
        *("withdrawn", "explained_by"),
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


@command(
    app,
    "stream",
    "plumewatch stream history --checkpoint state --events events --master 'local[2]' --once",
    "plumewatch stream --kafka k1:9092 --config plumewatch.toml --checkpoint s --events e",
)
def stream(
    history: Annotated[str, Argument(help="Folder or URL that `segments` fills.")] = "",
    kafka: Annotated[str, Option(help="Servers instead, HOST:PORT,...; needs --config.")] = "",
    topic: Annotated[str, Option(help="Topic of Kafka.")] = "plumewatch",
    kafka_option: Annotated[
        list[str] | None,
        Option(help="KEY=VALUE of Spark's Kafka source or of the client; @FILE reads the value."),
    ] = None,
    dead_letters: Annotated[
        Path, Option(help="Folder for records that cannot be read; every executor writes to it.")
    ] = Path("dead-letters"),
    config: Annotated[
        Path | None, config_option("Whose budgets, sensors, broker and InfluxDB.")
    ] = None,
    checkpoint: Annotated[str, Option(help="Folder or URL of state and position.")] = "checkpoint",
    events: Annotated[Path, Option(help="Folder for the events, as Parquet.")] = Path("events"),
    shards: Annotated[int, Option(min=1, max=100000, help="One per thousand sensors or more.")] = 8,
    model: Annotated[Path | None, Option(help="Model file instead of the shipped one.")] = None,
    master: Annotated[str, Option(help="Of Spark; that of spark-submit if left out.")] = "",
    seconds: Annotated[float, Option(min=0, help="Between triggers.")] = 3.0,
    files: Annotated[int | None, Option(min=1, help="Parts in one trigger at most.")] = None,
    conf: Annotated[list[str] | None, Option(help="KEY=VALUE of Spark; may be repeated.")] = None,
    *,
    publish: Annotated[
        bool, Option("--publish", help="Events to the configured broker too.")
    ] = False,
    series: Annotated[
        bool, Option("--series", help="Readings to the configured InfluxDB too.")
    ] = False,
    once: Annotated[bool, Option("--once", help="Process what is there, and end.")] = False,
) -> None:
    """Detect on Spark: readings in, events out, each once; needs plumewatch[scale] and Java."""
    import asyncio

    from ingest.event_messages import publish_events
    from plumewatch.config.settings import broker_settings
    from plumewatch.config.timeseries_settings import influx_settings
    from scale.sinks import EventFiles

    options = _check_sources(history, kafka, kafka_option)
    if config is None and (kafka or publish or series):
        raise UsageError("--kafka, --publish and --series need --config")
    if kafka:
        _check_kafka(kafka, topic, options)
    settings = {"spark.sql.shuffle.partitions": str(shards), **_pairs("--conf", conf)}
    body = _model(model) if model else b""
    site = None if config is None else Site.load(config)
    influx = influx_settings(site.config) if site and series else None
    if series and influx is None:
        raise UsageError("--series: the configuration names no InfluxDB (timeseries.url)")
    sinks: list[Callable[[Sequence[Any], int], None]] = [EventFiles(events).write]
    if site and publish:
        broker = broker_settings(site.config)
        sinks.append(lambda found, _number: asyncio.run(publish_events(broker, found)))
    budgets = _current_budgets(site)
    spark = _session(master, settings, needs_kafka=bool(kafka))
    from scale.spark.stream import detect, readings_of_history

    interval = {"processingTime": f"{seconds} seconds"}
    trigger: dict[str, Any] = {"availableNow": True} if once else interval
    if kafka and site:
        from scale.kafka import kafka_readings

        readings = kafka_readings(
            spark,
            kafka,
            topic,
            options,
            partial(_intake, site.config),
            site.config.registry(),
            dead_letters.absolute(),
        )
    else:
        readings = readings_of_history(spark, history, files)
    found = detect(readings, shards, budgets, body)
    _run_queries(spark, found, readings, sinks, influx, checkpoint, trigger)


def _check_sources(history: str, kafka: str, kafka_option: Sequence[str] | None) -> dict[str, str]:
    """Refuse what cannot run before Spark starts; return the options for Kafka."""
    from scale.history import History

    if bool(history) == bool(kafka):
        raise UsageError("either HISTORY or --kafka SERVERS")
    pairs = _pairs("--kafka-option", kafka_option)
    options = {key: _value_of(value) for key, value in pairs.items()}
    if options and not kafka:
        raise UsageError("--kafka-option needs --kafka")
    if history and "://" not in history:
        History(Path(history))
    return options


def _check_kafka(kafka: str, topic: str, options: dict[str, str]) -> None:
    """Ask Kafka for the topic, as Spark takes minutes to say that nobody answers."""
    if any(key.startswith("security.") for key in options):
        return
    try:
        from scale.kafka import check

        check(kafka, topic)
    except ImportError as error:
        raise UsageError(f"this needs the extra plumewatch[scale]: {error}") from error


def _session(master: str, settings: dict[str, str], *, needs_kafka: bool) -> Any:
    """Start Spark, with its connector for Kafka where that is needed."""
    from scale.kafka import CONNECTOR

    try:
        from scale.spark.session import session
    except ImportError as error:
        raise UsageError(f"this needs the extra plumewatch[scale]: {error}") from error
    if needs_kafka and not settings.keys() & {"spark.jars", "spark.jars.packages"}:
        settings["spark.jars.packages"] = CONNECTOR
    try:
        spark = session(master, "plumewatch", settings)
    except Exception as error:
        raise RefusedError(_sentence(str(error))) from error
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def _current_budgets(site: Site | None) -> Any:
    """Return the budgets with current threshold adjustments, if a service runs on this folder."""
    from dataclasses import replace

    from alerts.incidents.threshold_adjustments import placed_after
    from detection.alert_thresholds import AlertBudgets
    from plumewatch.config.settings import alert_budgets

    if site is None:
        return AlertBudgets()
    moved = {}
    if site.paths.state.exists():
        with site.read(site.paths.state) as db:
            db.row_factory = sqlite3.Row
            moved = {move.sensor: move.after for move in placed_after(db, 0)}
    return replace(alert_budgets(site.config), moved=moved)


def _intake(config: PlumewatchConfig) -> Intake:
    """Make the intake of one executor."""
    from ingest.intake import Intake
    from plumewatch.config.ingest_settings import intake_config

    return Intake(intake_config(config, dedupe_window=_DEDUPE_WINDOW))


def _run_queries(
    spark: Any,
    found: Any,
    readings: Any,
    sinks: Sequence[Callable[[Sequence[Any], int], None]],
    influx: InfluxSettings | None,
    checkpoint: str,
    trigger: dict[str, Any],
) -> None:
    """Run until SIGTERM or SIGINT, or until all is processed."""
    import signal
    import threading

    from scale.spark.stream import start_events, start_points

    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())

    def sink(events: Sequence[Any], number: int) -> None:
        for write in sinks:
            write(events, number)

    try:
        queries = [start_events(found, sink, f"{checkpoint}/detect", trigger)]
        if influx is not None:
            queries.append(start_points(readings, influx, f"{checkpoint}/points", trigger))
        running = queries
        while running and not stopped.is_set():
            running = [query for query in running if not query.awaitTermination(_LOOK_S)]
        for query in running:
            query.stop()
    except Exception as error:
        raise RefusedError(_sentence(str(error))) from error
    finally:
        spark.stop()


def _sentence(error: str) -> str:
    """Return what a person needs of an error of Spark, which may have hundreds of lines."""
    for phrase, sentence in _SENTENCES.items():
        if phrase in error:
            return sentence
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return lines[0] if lines else "the stream failed without saying why"


def _pairs(option: str, words: Sequence[str] | None) -> dict[str, str]:
    wrong = [word for word in words or () if "=" not in word]
    if wrong:
        raise UsageError(f"{option} {wrong[0]}: KEY=VALUE")
    return dict(word.split("=", 1) for word in words or ())


def _value_of(value: str) -> str:
    """Return an option's value, or what the file holds that it names."""
    if not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--kafka-option {value}: {error}") from error
