"""The stream as a program: ``python -m scale.spark.run``, or this file under ``spark-submit``.

Sources are a history that grows (`plumewatch segments --every`), or Kafka; sinks are Parquet files
of events, always, and beside them an MQTT broker and an InfluxDB. A trigger is committed when all
sinks have taken it. After a failure the last trigger comes again: files are replaced by the same,
points land on themselves, and the alert engine knows an event by its id.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detection.budgets import AlertBudgets
from detection.decision_levels import BUDGET
from detection.model import Model, ModelError
from scale.errors import ScaleError
from scale.history import SCHEMA, History
from scale.sinks import EventFiles, EventPublisher
from scale.spark.session import session
from scale.spark.stream import Said, detect, started

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyspark.sql import DataFrame, SparkSession

__all__ = ["main", "readings_of"]

_TYPES = {"Int64": "long", "Float64": "double", "String": "string", "Boolean": "boolean"}
_COLUMNS = ", ".join(f"`{name}` {_TYPES[str(kind)]}" for name, kind in SCHEMA.items())


def readings_of(spark: SparkSession, folder: str, files: int | None = None) -> DataFrame:
    """Return a history that grows as a stream of rows of `SCHEMA`, in its order.

    Parameters
    ----------
    spark : SparkSession
    folder : str
        Path or URL.
    files : int, optional
        Parts in one trigger at most, so that a long history does not come at once.
    """
    reader = spark.readStream.schema(_COLUMNS).option("recursiveFileLookup", "true")
    if files is not None:
        reader = reader.option("maxFilesPerTrigger", files)
    return reader.parquet(folder)


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    about = "Detect on Spark: a history that grows, or Kafka, in; events out."
    parser = argparse.ArgumentParser(prog="python -m scale.spark.run", description=about)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--history", help="folder that `plumewatch segments` writes")
    source.add_argument("--kafka", help="bootstrap servers, HOST:PORT,...; needs --sensors")
    parser.add_argument("--topic", default="plumewatch", help="topic of Kafka")
    parser.add_argument("--sensors", type=Path, help="configuration with sensors and rooms")
    parser.add_argument("--checkpoint", required=True, help="folder of state and position")
    parser.add_argument("--events", required=True, type=Path, help="folder for events as Parquet")
    parser.add_argument("--mqtt", default="", help="HOST[:PORT] of the alert engine's broker")
    parser.add_argument("--influx", default="", help="URL of an InfluxDB that gets the readings")
    parser.add_argument("--influx-database", default="plumewatch", help="database or bucket")
    parser.add_argument("--influx-token-file", type=Path, help="secret of the InfluxDB")
    parser.add_argument("--shards", type=int, default=8, help="one a thousand sensors or more")
    parser.add_argument("--budget", type=float, default=BUDGET, help="false alarms a sensor-week")
    parser.add_argument("--levels", type=Path, help="TOML: tables own and moved, by sensor")
    parser.add_argument("--model", type=Path, help="model file instead of the shipped one")
    parser.add_argument("--master", default="", help="of Spark; that of spark-submit if left out")
    parser.add_argument("--seconds", type=float, default=3.0, help="between triggers")
    parser.add_argument("--files", type=int, help="parts in one trigger at most")
    parser.add_argument("--once", action="store_true", help="judge what is there, and end")
    parser.add_argument("--conf", action="append", default=[], help="KEY=VALUE of Spark")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run until SIGTERM, or with ``--once`` until all is judged; 0 done, 1 failed, 2 bad usage."""
    asked = _arguments(words)
    try:
        budgets, model, settings = _checked(asked)
        files = EventFiles(asked.events)
        sinks: list[Callable[[list[Said], int], None]] = [files.take]
        if asked.mqtt:
            sinks.append(EventPublisher(asked.mqtt).take)
    except (ScaleError, ModelError, OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    spark = session(asked.master, "plumewatch", settings)
    spark.sparkContext.setLogLevel("ERROR")
    return _run(spark, asked, budgets, model, sinks)


def _run(
    spark: SparkSession,
    asked: argparse.Namespace,
    budgets: AlertBudgets,
    model: bytes,
    sinks: Sequence[Callable[[list[Said], int], None]],
) -> int:
    def sink(said: list[Said], number: int) -> None:
        for take in sinks:
            take(said, number)

    often = {"processingTime": f"{asked.seconds} seconds"}
    trigger: dict[str, Any] = {"availableNow": True} if asked.once else often
    readings = readings_of(spark, asked.history, asked.files)
    said = detect(readings, asked.shards, budgets, model)
    query = started(said, sink, f"{asked.checkpoint}/detect", trigger)
    signal.signal(signal.SIGTERM, lambda *_: query.stop())
    try:
        query.awaitTermination()
    except Exception as error:  # noqa: BLE001 - whatever Spark raises is said
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        spark.stop()
    return 0


def _checked(asked: argparse.Namespace) -> tuple[AlertBudgets, bytes, dict[str, str]]:
    """Return budgets, model and settings of Spark.

    Raises
    ------
    ScaleError, ModelError, OSError
        If one is not what it should be.
    """
    if asked.shards < 1:
        raise ScaleError(f"--shards {asked.shards}: 1 or more")
    if not 0.05 <= asked.budget <= 50:
        raise ScaleError(f"--budget {asked.budget:g}: 0.05 to 50 false alarms a sensor-week")
    if asked.history and "://" not in asked.history:
        History(Path(asked.history))
    wrong = [word for word in asked.conf if "=" not in word]
    if wrong:
        raise ScaleError(f"--conf {wrong[0]}: KEY=VALUE")
    model = asked.model.read_bytes() if asked.model else b""
    if model:
        Model.from_bytes(model)
    levels = tomllib.loads(asked.levels.read_text(encoding="utf-8")) if asked.levels else {}
    own, moved = levels.pop("own", {}), levels.pop("moved", {})
    if levels:
        raise ScaleError(f"{asked.levels}: {next(iter(levels))}: only tables own and moved")
    settings = {"spark.sql.shuffle.partitions": str(asked.shards)}
    settings |= dict(word.split("=", 1) for word in asked.conf)
    return AlertBudgets(asked.budget, own, moved), model, settings


if __name__ == "__main__":
    sys.exit(main())
