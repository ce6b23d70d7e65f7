"""`plumewatch stream`: the detector on Spark, fed by a growing history or by Kafka.

A trigger is committed once its events are in the files and at the broker. After a failure, the last
trigger is repeated: its file is replaced by an identical one, and the alert engine recognizes
events by id.
"""

from __future__ import annotations

import sqlite3
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ingest.errors import RefusedError
from plumewatch.cli.options import OptionalConfig, Site, list_examples
from plumewatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


app = typer.Typer()

_DEDUPE_WINDOW: Final = 128
_CHECK_EVERY_S: Final = 1
"""How often a running stream checks whether it should end."""
_SENTENCES: Final = {
    "Failed to find data source: kafka": "Spark has no connector for Kafka: pass its jars as"
    " --conf spark.jars=A,B,C,D (docs/scale.md)",
    "unresolved dependency": "the connector for Kafka could not be downloaded: pass its jars as"
    " --conf spark.jars=A,B,C,D (docs/scale.md)",
    "data may have been lost": "Kafka has deleted records that this checkpoint had not read yet;"
    " --kafka-option failOnDataLoss=false continues without them",
    "Java gateway process exited": "Spark did not start; Java's output is above",
}
"""Messages shown instead of Spark's errors, by a phrase in the error."""


@app.command(
    rich_help_panel="Simulation and history",
    epilog=list_examples(
        "plumewatch stream history --checkpoint state --events events --master 'local[2]' --once",
        "plumewatch stream --kafka k1:9092 --config plumewatch.toml --checkpoint s --events e",
    ),
)
def stream(
    history: Annotated[str, typer.Argument(help="Folder or URL that `segments` fills.")] = "",
    *,
    kafka: Annotated[
        str, typer.Option(help="Kafka servers to read from instead, HOST:PORT,...; needs --config.")
    ] = "",
    topic: Annotated[str, typer.Option(help="Kafka topic.")] = "plumewatch",
    kafka_option: Annotated[
        list[str] | None,
        typer.Option(
            help="KEY=VALUE for Spark's Kafka source or client; KEY=@FILE reads it from a file."
        ),
    ] = None,
    config: OptionalConfig = None,
    checkpoint: Annotated[
        str, typer.Option(help="Folder or URL for state and offsets.")
    ] = "checkpoint",
    events: Annotated[Path, typer.Option(help="Folder for the events, as Parquet.")] = Path(
        "events"
    ),
    shards: Annotated[
        int,
        typer.Option(help="Number of shards, one per thousand sensors or more.", min=1, max=100000),
    ] = 8,
    master: Annotated[
        str, typer.Option(help="Spark master; the one from spark-submit if left out.")
    ] = "",
    seconds: Annotated[float, typer.Option(help="Seconds between triggers.", min=0)] = 3.0,
    files: Annotated[
        int | None, typer.Option(help="Maximum number of parts per trigger.", min=1)
    ] = None,
    conf: Annotated[
        list[str] | None, typer.Option(help="Spark setting KEY=VALUE; may be repeated.")
    ] = None,
    publish: Annotated[
        bool, typer.Option("--publish", help="Also publish events to the configured broker.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Stop after the existing readings.")] = False,
) -> None:
    """Run detection on Spark, each event exactly once; needs plumewatch[scale] and Java."""
    import asyncio

    from ingest.event_messages import publish_events
    from plumewatch.config.settings import read_broker_settings
    from scale.sinks import write_events

    site = Site.load(config) if config else None
    options = _check_sources(history, kafka, kafka_option)
    if site is None and (kafka or publish):
        raise UsageError("--kafka and --publish need --config")
    settings = {"spark.sql.shuffle.partitions": str(shards), **_parse_pairs("--conf", conf)}
    sinks: list[Callable[[Sequence[Any], int], None]] = [partial(write_events, events)]
    if site and publish:
        broker = read_broker_settings(site.config)
        sinks.append(lambda found, _number: asyncio.run(publish_events(broker, found)))
    budgets = _read_budgets(site)
    spark = _start_session(master, settings, needs_kafka=bool(kafka))
    interval = {"processingTime": f"{seconds} seconds"}
    trigger: dict[str, Any] = {"availableNow": True} if once else interval

    def write_to_sinks(found: Sequence[Any], number: int) -> None:
        for write in sinks:
            write(found, number)

    def start() -> Any:
        from scale.spark import stream as parts

        source = None
        if kafka and site:
            from plumewatch.config.ingest_settings import build_intake_config
            from scale.messages import MessageSource
            from scale.spark.kafka import check_topic, pack_records

            check_topic(spark, kafka, topic, options)
            intake = partial(build_intake_config, site.config, dedupe_window=_DEDUPE_WINDOW)
            source = MessageSource(topic, intake, shards)
            packed = pack_records(spark, kafka, source, options)
        else:
            packed = parts.pack_readings(parts.read_history(spark, history, files), shards)
        found = parts.detect(packed, parts.ShardProcessor(budgets, source))
        return parts.start_events(found, write_to_sinks, f"{checkpoint}/detect", trigger)

    _run(spark, start)


def _check_sources(history: str, kafka: str, kafka_option: Sequence[str] | None) -> dict[str, str]:
    from scale.history import find_parts

    if bool(history) == bool(kafka):
        raise UsageError("give either HISTORY or --kafka SERVERS")
    pairs = _parse_pairs("--kafka-option", kafka_option)
    options = {key: _read_value(value) for key, value in pairs.items()}
    if options and not kafka:
        raise UsageError("--kafka-option needs --kafka")
    if history and "://" not in history:
        find_parts(Path(history))
    return options


def _start_session(master: str, settings: dict[str, str], *, needs_kafka: bool) -> Any:
    try:
        from scale.spark.kafka import CONNECTOR
        from scale.spark.session import open_session
    except ImportError as error:
        raise UsageError(f"this needs the extra plumewatch[scale]: {error}") from error
    if needs_kafka and not settings.keys() & {"spark.jars", "spark.jars.packages"}:
        settings["spark.jars.packages"] = CONNECTOR
    try:
        spark = open_session(master, "plumewatch", settings)
    except Exception as error:
        raise RefusedError(_explain(str(error))) from error
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def _read_budgets(site: Site | None) -> Any:
    """Return the budgets, with current threshold adjustments if there is a state database."""
    from dataclasses import replace

    from alerts.incidents.threshold_adjustments import load_placed_after
    from detection.alert_rules import AlertBudgets
    from plumewatch.config.settings import build_alert_budgets

    if site is None:
        return AlertBudgets()
    moved = {}
    if site.paths.state.exists():
        with site.read(site.paths.state) as db:
            db.row_factory = sqlite3.Row
            moved = {move.sensor: move.after for move in load_placed_after(db, 0)}
    return replace(build_alert_budgets(site.config), offsets=moved)


def _run(spark: Any, start: Callable[[], Any]) -> None:
    import signal

    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        query = start()
        while not (query.awaitTermination(_CHECK_EVERY_S) or stopped.is_set()):
            pass
        query.stop()
    except RefusedError:
        raise
    except Exception as error:
        raise RefusedError(_explain(str(error))) from error
    finally:
        spark.stop()


def _explain(error: str) -> str:
    for phrase, sentence in _SENTENCES.items():
        if phrase in error:
            return sentence
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return lines[0] if lines else "the stream failed without an error message"


def _parse_pairs(option: str, words: Sequence[str] | None) -> dict[str, str]:
    wrong = [word for word in words or () if "=" not in word]
    if wrong:
        raise UsageError(f"{option} {wrong[0]}: must be KEY=VALUE")
    return dict(word.split("=", 1) for word in words or ())


def _read_value(value: str) -> str:
    if not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--kafka-option {value}: {error}") from error
