"""Messages of MQTT that a bridge put into Kafka, as rows of a history.

A record's key is the topic of the message, its value the payload as it was. It is decoded by the
service's own intake, so every format is read that the service reads, and refused for the same
reasons; what is refused stays in Kafka and is counted in the executors' log. Formats of one value a
topic are joined within a trigger alone.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from ingest.intake import Intake
from ingest.message import Message
from plumewatch.cli.segments_command import landed
from plumewatch.config.intake_settings import intake_config
from scale.history import SCHEMA, frame_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from plumewatch.config.model import PlumewatchConfig
    from storage.registry import Registry

log = logging.getLogger(__name__)

_WINDOW: Final = 512


def landed_messages(
    intake: Intake, registry: Registry, records: Iterable[tuple[str, bytes, float, int]]
) -> pl.DataFrame:
    """Return the readings of messages as a frame of `scale.history.SCHEMA`.

    Parameters
    ----------
    registry : Registry
        Where sensors are.
    records : iterable of (topic, payload, received, position)
        In the order of Kafka; received in Unix seconds, position is the record's offset.
    """
    rows, positions = [], []
    refused: Counter[str] = Counter()
    last = 0
    for topic, payload, received, position in records:
        outcome = intake.on_message(Message(topic, payload, received))
        if outcome.dead_letter is not None:
            refused[outcome.dead_letter.reason] += 1
        rows += [landed(reading, registry) for reading in outcome.readings]
        positions += [position] * len(outcome.readings)
        last = position
    joined = [landed(reading, registry) for reading in intake.flush()]
    rows += joined
    positions += [last] * len(joined)
    if refused:
        log.warning("refused: %s", ", ".join(f"{n} {why}" for why, n in sorted(refused.items())))
    numbered = frame_of(rows).with_columns(position=pl.Series(positions, dtype=pl.Int64()))
    return numbered.select(SCHEMA.names())


def kafka_readings(spark: Any, servers: str, topic: str, config: PlumewatchConfig) -> Any:
    """Return a topic of Kafka as a stream of rows of `scale.history.SCHEMA`.

    Parameters
    ----------
    spark : SparkSession
        With the package ``spark-sql-kafka-0-10``.
    servers : str
        ``HOST:PORT,...``.
    config : PlumewatchConfig
        Whose sensors, aliases, routes and mappings count.
    """
    from scale.spark.stream import COLUMNS  # noqa: PLC0415 - an extra

    records = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", servers)
        .option("subscribe", topic)
        .option("startingOffsets", "earliest")
        .load()
        .selectExpr(
            "cast(key as string) as topic",
            "value",
            "cast(timestamp as double) as received",
            "offset as position",
        )
    )

    def decode(batches: Iterator[Any]) -> Iterator[Any]:
        intake, registry = Intake(intake_config(config, dedupe_window=_WINDOW)), config.registry()
        for batch in batches:
            frame = pl.from_arrow(batch)
            if isinstance(frame, pl.DataFrame):
                named = frame.filter(
                    pl.col("topic").is_not_null() & pl.col("value").is_not_null()
                ).select("topic", "value", "received", "position")
                yield from (
                    landed_messages(intake, registry, named.iter_rows()).to_arrow().to_batches()
                )

    return records.mapInArrow(decode, COLUMNS)
