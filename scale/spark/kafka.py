"""Read a stream from Kafka: divide its records by shard, and explain its faults."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Final

from py4j.java_gateway import JavaPackage

from scale.errors import KafkaError
from scale.spark.stream import PACKED, pack_batches

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from scale.messages import MessageSource

CONNECTOR: Final = "org.apache.spark:spark-sql-kafka-0-10_2.13:4.2.0"
"""Spark's connector; this is the newest published version, and it also runs on pyspark 4.3."""
_ANSWER_S: Final = 30.0
"""Longest wait for an answer. The client may be the first code that a new JVM runs, which is slow
on a busy machine."""
_BYTES: Final = 16 << 20
"""Total size of the records that a task packs together."""


def check_topic(spark: SparkSession, servers: str, topic: str, options: Mapping[str, str]) -> None:
    """Raise `KafkaError` if no server answers or it lacks the topic; Spark would take minutes."""
    jvm: Any = spark.sparkContext._jvm  # noqa: SLF001 - no other way to the client
    admin = jvm.org.apache.kafka.clients.admin.Admin
    if isinstance(admin, JavaPackage):
        return  # without a connector; the stream reports this
    answer_ms = str(int(_ANSWER_S * 1000))
    properties = jvm.java.util.HashMap()
    for key, value in {
        **{key: value for key, value in options.items() if "." in key},
        "bootstrap.servers": servers,
        "request.timeout.ms": answer_ms,
        "default.api.timeout.ms": answer_ms,
    }.items():
        properties[key] = value
    client = None
    try:
        client = admin.create(properties)
        known = set(client.listTopics().names().get())
    except Exception as error:
        raise KafkaError(f"no Kafka answers at {servers} ({_find_cause(error)})") from error
    finally:
        if client is not None:
            client.close()
    if topic not in known:
        names = ", ".join(sorted(name for name in known if not name.startswith("__"))) or "none"
        raise KafkaError(f"Kafka at {servers} has no topic {topic}; it has: {names}")


def _find_cause(error: Exception) -> str:
    """Return the message of an error's first cause, which comes from the client."""
    java: Any = getattr(error, "java_exception", None)
    while java is not None and java.getCause() is not None:
        java = java.getCause()
    return str(error if java is None else java.getMessage())


def pack_records(
    spark: SparkSession,
    servers: str,
    source: MessageSource,
    options: Mapping[str, str],
) -> DataFrame:
    """Pack the records of a Kafka topic into blocks of `RECORDS` by shard.

    `options` are options of Spark's source or, if their names contain a dot, of the Kafka client.
    """
    given = {"startingOffsets": "earliest"}
    given |= {f"kafka.{key}" if "." in key else key: value for key, value in options.items()}
    given |= {"kafka.bootstrap.servers": servers, "subscribe": source.topic}
    records = (
        spark.readStream.format("kafka")
        .options(**given)
        .load()
        .selectExpr("key", "value", "cast(timestamp as double) received", "partition", "offset")
    )

    def pack_all(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        size = operator.attrgetter("nbytes")
        return pack_batches(batches, size, _BYTES, source.router.divide)

    return records.mapInArrow(pack_all, PACKED)
