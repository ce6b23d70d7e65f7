"""MQTT messages that a bridge wrote to Kafka, as rows of a history.

A record's key is the topic, its value the payload. The intake of the service decodes it, with the
same formats and the same reasons to reject a message. No record ends a stream: keys and values are
bytes, what cannot be read is counted and kept as a dead letter with its partition and offset.
Formats with one value a topic are joined over what a partition has in a trigger.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl

from ingest.message import Message
from scale.errors import KafkaError
from scale.history import SCHEMA, frame_of, landed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ingest.intake import Intake
    from storage.reading import Reading
    from storage.registry import Registry

log = logging.getLogger(__name__)

CONNECTOR: Final = "org.apache.spark:spark-sql-kafka-0-10_2.13:4.2.0"
"""Spark's connector: the newest that is published runs on pyspark 4.3 too."""
_ANSWER_S: Final = 10.0
_KEPT_BYTES: Final = 65_536
"""Of the value of a dead letter; the whole record stays in Kafka."""
_DEAD: Final = pl.Schema(
    {
        "topic": pl.String,
        "partition": pl.Int64,
        "offset": pl.Int64,
        "received": pl.Float64,
        "reason": pl.String,
        "key": pl.Binary,
        "value": pl.Binary,
    }
)


class Record(NamedTuple):
    """A record of Kafka; `received` in Unix seconds."""

    key: bytes | None
    value: bytes | None
    received: float
    partition: int
    offset: int


class Landing:
    """Turns records of one partition into readings, and keeps those that are none."""

    def __init__(self, intake: Intake, registry: Registry) -> None:
        self._intake = intake
        self._registry = registry
        self._last = 0
        self._dead: list[tuple[Record, str]] = []

    def readings(self, records: Iterable[Record]) -> pl.DataFrame:
        """Return what is known of records, in the order of Kafka, as a frame of `SCHEMA`."""
        rows: list[Reading] = []
        positions: list[int] = []
        for record in records:
            self._last = record.offset
            reason, found = self._read(record)
            if reason:
                self._dead.append((record, reason))
            rows += found
            positions += [self._last] * len(found)
        return self._frame(rows, positions)

    def rest(self) -> pl.DataFrame:
        """Return the readings that waited for further values of their sensor."""
        rows = self._intake.flush()
        return self._frame(rows, [self._last] * len(rows))

    def write_dead_letters(self, topic: str, folder: Path) -> None:
        """Keep what was rejected; the same records again give the same file."""
        if not self._dead:
            return
        reasons = Counter(reason for _, reason in self._dead)
        log.warning("rejected: %s", ", ".join(f"{n} {why}" for why, n in sorted(reasons.items())))
        first = self._dead[0][0]
        rows = [
            (topic, r.partition, r.offset, r.received, why, r.key, (r.value or b"")[:_KEPT_BYTES])
            for r, why in self._dead
        ]
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{topic}-{first.partition}-{first.offset}-{self._last}.parquet"
        part = path.with_suffix(".part")
        pl.DataFrame(rows, schema=_DEAD, orient="row").write_parquet(part)
        part.replace(path)

    def _read(self, record: Record) -> tuple[str, Sequence[Reading]]:
        if record.key is None or record.value is None:
            return f"no {'topic' if record.key is None else 'payload'}", []
        try:
            topic = record.key.decode()
        except UnicodeDecodeError:
            return "topic is not UTF-8", []
        outcome = self._intake.on_message(Message(topic, record.value, record.received))
        reason = "" if outcome.dead_letter is None else str(outcome.dead_letter.reason)
        return reason, outcome.readings

    def _frame(self, rows: Sequence[Reading], positions: list[int]) -> pl.DataFrame:
        frame = frame_of([landed(reading, self._registry) for reading in rows])
        numbered = frame.with_columns(position=pl.Series(positions, dtype=pl.Int64()))
        return numbered.select(SCHEMA.names())


def check(servers: str, topic: str) -> None:
    """Ask Kafka for a topic.

    Raises `KafkaError` if no server answers or there is no such topic, within seconds: Spark says
    so after minutes, in pages.
    """
    from confluent_kafka import KafkaException  # noqa: PLC0415 - an extra
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415 - an extra

    client = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    try:
        known = client.list_topics(timeout=_ANSWER_S).topics
    except KafkaException as error:
        raise KafkaError(f"no Kafka answers at {servers} ({error.args[0].str()})") from error
    if topic not in known:
        names = ", ".join(sorted(name for name in known if not name.startswith("__"))) or "none"
        raise KafkaError(f"Kafka at {servers} has no topic {topic}; it has: {names}")


def kafka_readings(
    spark: Any,
    servers: str,
    topic: str,
    options: Mapping[str, str],
    intake: Callable[[], Intake],
    registry: Registry,
    dead_letters: Path,
) -> Any:
    """Return a Kafka topic as a stream of rows of `scale.history.SCHEMA`.

    `options` are those of Spark's source, and settings of the Kafka client under the names that it
    has: those with a dot. Each executor makes its own intake, and writes to `dead_letters`.
    """
    from scale.spark.stream import COLUMNS  # noqa: PLC0415 - an extra

    given = {"startingOffsets": "earliest"}
    given |= {f"kafka.{key}" if "." in key else key: value for key, value in options.items()}
    given |= {"kafka.bootstrap.servers": servers, "subscribe": topic}
    records = (
        spark.readStream.format("kafka")
        .options(**given)
        .load()
        .selectExpr("key", "value", "cast(timestamp as double)", "partition", "offset")
    )

    def decode(batches: Iterator[Any]) -> Iterator[Any]:
        landing = Landing(intake(), registry)
        for batch in batches:
            columns = (column.to_pylist() for column in batch.columns)
            frame = landing.readings(map(Record._make, zip(*columns, strict=True)))
            yield from frame.to_arrow().to_batches()
        yield from landing.rest().to_arrow().to_batches()
        landing.write_dead_letters(topic, dead_letters)

    return records.mapInArrow(decode, COLUMNS)
