"""``plumewatch stream``: the detectors on Spark, from readings to events.

Readings come from a history that grows (`plumewatch segments --every`) or from Kafka. Events go to
Parquet files, always, and with ``--publish`` to the broker, for the alert engine of the service
that takes them in; readings with ``--series`` to the configured InfluxDB. A trigger is committed
when files and broker have its events. After a failure the last trigger comes again: its file is
replaced by the same, and the alert engine knows an event by its id.
"""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alerts.consumer import threshold_adjustments
from detection.alert_thresholds import AlertBudgets
from detection.errors import ModelError
from detection.model import Model
from ingest.broker import connected, new_client
from ingest.event_messages import EVENT_TOPIC
from ingest.intake import Intake
from plumewatch.cli.exit_codes import DONE, REFUSED, USAGE, UsageError, told
from plumewatch.config.ingest_settings import intake_config
from plumewatch.config.paths import DataPaths
from plumewatch.config.settings import alert_budgets, broker_settings
from plumewatch.config.sharding import load_shard
from plumewatch.config.timeseries_settings import influx_settings
from scale.errors import ScaleError
from scale.history import History
from scale.kafka import kafka_readings
from scale.sinks import EventFiles
from storage.sqlite import connect, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ingest.broker import BrokerSettings
    from plumewatch.config.model import PlumewatchConfig
    from storage.timeseries.influx_http import InfluxSettings

_PUBLISH_S: Final = 30.0
_DEDUPE_WINDOW: Final = 512


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What was asked for.

    Attributes
    ----------
    history, kafka : str
        Where readings come from: a folder, or servers; one of them is empty.
    topic : str
        Of Kafka.
    config_path : Path or None
        Whose budgets, moved levels, sensors, broker and InfluxDB.
    checkpoint : str
        Folder of state and position.
    events : Path
        Folder of files.
    publish, series : bool
        Events to the broker; readings to the InfluxDB.
    master : str
        Of Spark; that of `spark-submit` if empty.
    seconds : float
        Between triggers.
    files : int or None
        Parts in one trigger at most.
    once : bool
        End when all that is there is judged.
    conf : sequence of str
        Settings of Spark, ``KEY=VALUE``.
    """

    history: str
    kafka: str
    topic: str
    config_path: Path | None
    checkpoint: str
    events: Path
    publish: bool
    series: bool
    shards: int
    model: Path | None
    master: str
    seconds: float
    files: int | None
    once: bool
    conf: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Checked:
    config: PlumewatchConfig | None
    budgets: AlertBudgets
    model: bytes
    broker: BrokerSettings | None
    influx: InfluxSettings | None
    settings: dict[str, str]


@told(usage=(OSError,), refused=(ScaleError, ModelError))
def run_stream(asked: StreamOptions) -> int:
    """Run ``plumewatch stream`` until SIGTERM, or with ``once`` until all is judged.

    Returns
    -------
    int
        0 done, 1 a model or the history cannot be read, or the stream failed, 2 bad usage or
        configuration, 3 the state of the alert engine cannot be read.
    """
    checked = _checked(asked)
    files = EventFiles(asked.events)
    sinks: list[Callable[[Sequence[Any], int], None]] = [files.write]
    if checked.broker is not None:
        broker = checked.broker
        sinks.append(lambda said, _number: asyncio.run(_publish(broker, said)))
    try:
        return _run(asked, checked, sinks)
    except ImportError as error:
        sys.stderr.write(f"this needs the extra plumewatch[scale]: {error}\n")
        return USAGE


def _checked(asked: StreamOptions) -> _Checked:
    """Return what the stream is given.

    Raises
    ------
    UsageError, ConfigError, ScaleError, ModelError, StorageError, OSError
        If something is not what it should be.
    """
    if bool(asked.history) == bool(asked.kafka):
        raise UsageError("either HISTORY or --kafka SERVERS")
    wrong = [word for word in asked.conf if "=" not in word]
    if wrong:
        raise UsageError(f"--conf {wrong[0]}: KEY=VALUE")
    path = asked.config_path
    if path is None and (asked.kafka or asked.publish or asked.series):
        raise UsageError("--kafka, --publish and --series need --config")
    if asked.history and "://" not in asked.history:
        History(Path(asked.history))
    model = asked.model.read_bytes() if asked.model else b""
    if model:
        Model.from_bytes(model)
    settings = {"spark.sql.shuffle.partitions": str(asked.shards)}
    settings |= dict(word.split("=", 1) for word in asked.conf)
    if path is None:
        return _Checked(None, AlertBudgets(), model, None, None, settings)
    config = load_shard(path)
    influx = influx_settings(config) if asked.series else None
    if asked.series and influx is None:
        raise UsageError("--series: the configuration names no InfluxDB (timeseries.url)")
    of_school = alert_budgets(config)
    budgets = AlertBudgets(of_school.default, dict(of_school.own), _moved(config))
    broker = broker_settings(config) if asked.publish else None
    return _Checked(config, budgets, model, broker, influx, settings)


def _moved(config: PlumewatchConfig) -> dict[str, float]:
    """Return how far feedback has moved each level, if the alert engine runs on this folder."""
    path = DataPaths(config.data_dir).state
    if not path.exists():
        return {}
    with closing(connect(path, read_only=True)) as db:
        db.row_factory = sqlite3.Row
        try:
            return {move.sensor: move.after for move in threshold_adjustments.placed_after(db, 0)}
        except sqlite3.Error as error:
            raise translated(error, path) from error


def _intake(config: PlumewatchConfig) -> Intake:
    """Make the intake of one executor."""
    return Intake(intake_config(config, dedupe_window=_DEDUPE_WINDOW))


def _run(
    asked: StreamOptions,
    checked: _Checked,
    sinks: Sequence[Callable[[Sequence[Any], int], None]],
) -> int:
    from scale.spark.session import session  # noqa: PLC0415 - an extra
    from scale.spark.stream import (  # noqa: PLC0415
        detect,
        readings_of_history,
        start_events,
        start_points,
    )

    def sink(said: Sequence[Any], number: int) -> None:
        for take in sinks:
            take(said, number)

    spark = session(asked.master, "plumewatch", checked.settings)
    spark.sparkContext.setLogLevel("ERROR")
    often = {"processingTime": f"{asked.seconds} seconds"}
    trigger: dict[str, Any] = {"availableNow": True} if asked.once else often
    if asked.kafka and checked.config is not None:
        readings = kafka_readings(
            spark,
            asked.kafka,
            asked.topic,
            partial(_intake, checked.config),
            checked.config.registry(),
        )
    else:
        readings = readings_of_history(spark, asked.history, asked.files)
    said = detect(readings, asked.shards, checked.budgets, checked.model)
    try:
        queries = [start_events(said, sink, f"{asked.checkpoint}/detect", trigger)]
        if checked.influx is not None:
            where = f"{asked.checkpoint}/points"
            queries.append(start_points(readings, checked.influx, where, trigger))

        def stop(*_: object) -> None:
            for query in queries:
                query.stop()

        signal.signal(signal.SIGTERM, stop)
        for query in queries:
            query.awaitTermination()
    except Exception as error:  # noqa: BLE001 - whatever Spark raises is said
        sys.stderr.write(f"{error}\n")
        return REFUSED
    finally:
        spark.stop()
    return DONE


async def _publish(settings: BrokerSettings, said: Sequence[Any]) -> None:
    """Publish words on events at QoS 1, in order, and wait until the broker has them."""
    if not said:
        return
    client = new_client(settings, f"{settings.client_id}-stream", clean=True)
    async with connected(client, settings):
        for word in said:
            topic = EVENT_TOPIC + word.sensor
            await client.publish(topic, word.event, qos=1, timeout=_PUBLISH_S)
