"""MQTT messages that a bridge wrote to Kafka, as rows of a history.

A record's key is the topic, its value the payload. The intake of the service decodes it, with the
same formats and the same reasons to reject a message; a rejected message stays in Kafka and is
counted in the log of the executor. Formats with one value a topic are joined within a trigger only.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

import polars as pl

from ingest.message import Message
from scale.history import SCHEMA, frame_of, landed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ingest.intake import Intake
    from storage.reading import Reading
    from storage.registry import Registry

log = logging.getLogger(__name__)


def landed_messages(
    intake: Intake, registry: Registry, records: Iterable[tuple[str, bytes, float, int]]
) -> pl.DataFrame:
    """Return the readings of records as a frame of `scale.history.SCHEMA`.

    A record is topic, payload, time of receipt (Unix seconds) and offset, in the order of Kafka.
    """
    rows: list[Reading] = []
    positions: list[int] = []
    rejected: Counter[str] = Counter()
    last = 0
    for topic, payload, received, last in records:
        outcome = intake.on_message(Message(topic, payload, received))
        if outcome.dead_letter is not None:
            rejected[outcome.dead_letter.reason] += 1
        rows += outcome.readings
        positions += [last] * len(outcome.readings)
    joined = intake.flush()
    rows += joined
    positions += [last] * len(joined)
    if rejected:
        log.warning("rejected: %s", ", ".join(f"{n} {why}" for why, n in sorted(rejected.items())))
    frame = frame_of([landed(reading, registry) for reading in rows])
    numbered = frame.with_columns(position=pl.Series(positions, dtype=pl.Int64()))
    return numbered.select(SCHEMA.names())


def kafka_readings(
    spark: Any, servers: str, topic: str, intake: Callable[[], Intake], registry: Registry
) -> Any:
    """Return a Kafka topic as a stream of rows of `scale.history.SCHEMA`.

    The session needs the package ``spark-sql-kafka-0-10``; `servers` is ``HOST:PORT,...``. Each
    executor makes its own intake.
    """
    from scale.spark.stream import COLUMNS  # noqa: PLC0415 - an extra

    records = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", servers)
        .option("subscribe", topic)
        .option("startingOffsets", "earliest")
        .load()
        .where("key is not null and value is not null")
        .selectExpr(
            "cast(key as string) as topic",
            "value",
            "cast(timestamp as double) as received",
            "offset as position",
        )
    )

    def decode(batches: Iterator[Any]) -> Iterator[Any]:
        own = intake()
        for batch in batches:
            rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
            yield from landed_messages(own, registry, rows).to_arrow().to_batches()

    return records.mapInArrow(decode, COLUMNS)
