"""The detectors on Structured Streaming: readings in, events out, each event once.

Way of a reading
----------------
1. `pack_readings` turns readings into one block per shard and task (`scale.shard`), before the
   shuffle. A shard is a hash of the building with some thousand sensors, as many sensors in one
   pass cost hardly more than few.
2. `ShardProcessor` judges the blocks of a trigger in the order of their receipt, with the same
   `scale.shard` as a back-test.
3. The caller's sink gets the events of a trigger on the driver, with the number of the trigger;
   after a failure, the same number may come again with the same events.

State
-----
RocksDB has for each shard a snapshot, the blocks since, and a token: a hash over all judged
readings, which identifies the state. A Python worker keeps its shards in memory; one whose token is
that of the store continues, any other is rebuilt from snapshot and blocks. So a trigger writes the
readings it got, and a snapshot only when the blocks since have grown as large; any worker, executor
or driver can continue.

Checkpoint
----------
The number of shards is part of the state and cannot change; executors and cores can. A new model
needs a new checkpoint, which reads earlier history for its warm-up.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import pandas as pd
import polars as pl
import pyarrow as pa
from pyspark.sql.streaming import StatefulProcessor

from detection.alert_thresholds import AlertBudgets
from detection.model import Model
from scale.history import SCHEMA
from scale.shard import Shard, pack, shards_of, unpack
from scale.sinks import write_points

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming import StreamingQuery

    from detection.events import Event
    from storage.timeseries.influx_http import InfluxSettings

_ROWS: Final = 500_000
"""Readings of one task packed together."""
_LEAST: Final = 1 << 16
_KEPT: Final = 64
"""Shards that a Python worker keeps in memory."""
_TYPES: Final = {"Int64": "long", "Float64": "double", "String": "string", "Boolean": "boolean"}
COLUMNS: Final = ", ".join(f"`{name}` {_TYPES[str(kind)]}" for name, kind in SCHEMA.items())
"""`scale.history.SCHEMA` as Spark writes it."""
_PACKED: Final = "shard int, block binary"
_EVENT_ROW: Final = (
    "shard int, id string, sensor string, kind string, phase string, time double, event string"
)


class EventRow(NamedTuple):
    """One state of an event for a sink, with the complete event as JSON."""

    id: str
    sensor: str
    kind: str
    phase: str
    time: float
    event: str


def readings_of_history(spark: SparkSession, folder: str, files: int | None = None) -> DataFrame:
    """Return a growing history (path or URL) as a stream of rows of `SCHEMA`, in order.

    A trigger reads at most `files` parts.
    """
    reader = spark.readStream.schema(COLUMNS).option("recursiveFileLookup", "true")
    if files is not None:
        reader = reader.option("maxFilesPerTrigger", files)
    return reader.parquet(folder)


def pack_readings(readings: DataFrame, shards: int) -> DataFrame:
    """Return rows of `SCHEMA` as blocks by shard."""

    def pack_all(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        buffered: list[pa.RecordBatch] = []
        count = 0
        for batch in batches:
            buffered.append(batch)
            count += batch.num_rows
            if count >= _ROWS:
                yield _blocks(buffered, shards)
                buffered, count = [], 0
        if count:
            yield _blocks(buffered, shards)

    return readings.mapInArrow(pack_all, _PACKED)


def _blocks(batches: Sequence[pa.RecordBatch], shards: int) -> pa.RecordBatch:
    frame = pl.from_arrow(pa.Table.from_batches(batches))
    if not isinstance(frame, pl.DataFrame):
        raise TypeError("readings are not a table")
    divided = [(shard, pack(part)) for shard, part in shards_of(frame, shards)]
    return pa.RecordBatch.from_arrays(
        [
            pa.array([shard for shard, _ in divided], pa.int32()),
            pa.array([block for _, block in divided], pa.binary()),
        ],
        ["shard", "block"],
    )


_live: OrderedDict[bytes, Shard] = OrderedDict()
"""Shards of this worker, by token."""


class ShardProcessor(StatefulProcessor):  # type: ignore[misc] # the library's types are not read
    """Judges the blocks of one shard; an empty `model` is the shipped one."""

    def __init__(self, budgets: AlertBudgets, model: bytes) -> None:
        self._given = (budgets.default, dict(budgets.own), dict(budgets.moved))
        self._model_body = model

    def init(self, handle: Any) -> None:
        """Open the state of the shards of a task."""
        self._head = handle.getValueState("head", "token binary, size long, since long")
        self._snapshot = handle.getValueState("snapshot", "body binary")
        self._since = handle.getListState("since", "block binary")
        self._budgets = AlertBudgets(*self._given)
        self._model = Model.from_bytes(self._model_body) if self._model_body else None

    def handleInputRows(  # noqa: N802 - the library's name
        self, key: Any, rows: Iterator[pd.DataFrame], _timers: Any
    ) -> Iterator[pd.DataFrame]:
        """Judge the blocks of a trigger, and return the events."""
        frame = unpack(block for part in rows for block in part["block"])
        if not frame.height:
            return
        token, size, since = self._head.get() or (self._seed(int(key[0])), 0, 0)
        shard = _live.pop(bytes(token), None) or self._restored()
        events = shard.step(shard.streams.of(frame))
        block = pack(frame)
        token = hashlib.blake2b(bytes(token) + block, digest_size=16).digest()
        since += len(block)
        if since > max(size, _LEAST):
            body = shard.snapshot()
            self._snapshot.update((body,))
            self._since.clear()
            size, since = len(body), 0
        else:
            self._since.appendValue((block,))
        self._head.update((token, size, since))
        _live[token] = shard
        if len(_live) > _KEPT:
            _live.popitem(last=False)
        yield _event_frame(int(key[0]), events)

    def close(self) -> None:
        """Release nothing: the store owns the state."""

    def _seed(self, shard: int) -> bytes:
        text = msgspec.msgpack.encode((shard, *self._given))
        return hashlib.blake2b(text + self._model_body, digest_size=16).digest()

    def _restored(self) -> Shard:
        body = self._snapshot.get()
        shard = (
            Shard(self._budgets, self._model)
            if body is None
            else Shard.restore(bytes(body[0]), self._budgets, self._model)
        )
        for (block,) in self._since.get():
            shard.step(shard.streams.of(unpack([bytes(block)])))
        return shard


def _event_frame(shard: int, events: Sequence[Event]) -> pd.DataFrame:
    json = msgspec.json.encode
    rows = [
        (shard, e.id, e.sensor, e.kind.value, e.phase.value, e.time, json(e).decode())
        for e in events
    ]
    return pd.DataFrame(rows, columns=["shard", *EventRow._fields])


def detect(readings: DataFrame, shards: int, budgets: AlertBudgets, model: bytes) -> DataFrame:
    """Return the events of a stream of rows of `SCHEMA`, each reading once."""
    return (
        pack_readings(readings, shards)
        .groupBy("shard")
        .transformWithStateInPandas(
            statefulProcessor=ShardProcessor(budgets, model),
            outputStructType=_EVENT_ROW,
            outputMode="Update",
            timeMode="None",
        )
    )


def start_events(
    events: DataFrame,
    sink: Callable[[list[EventRow], int], None],
    checkpoint: str,
    trigger: Mapping[str, Any],
) -> StreamingQuery:
    """Start the stream of `detect` with a trigger of `DataStreamWriter.trigger`.

    `sink` gets the events of a trigger in order of time, and its number; again with the same number
    if it or the driver fails before the trigger is committed.
    """

    def take(batch: DataFrame, number: int) -> None:
        rows = [EventRow(*row) for row in batch.select(*EventRow._fields).collect()]
        sink(sorted(rows, key=lambda row: (row.time, row.id, row.phase)), number)

    return _start(events.writeStream.outputMode("update"), take, checkpoint, trigger)


def _start(
    writer: Any, take: Callable[[DataFrame, int], None], checkpoint: str, trigger: Mapping[str, Any]
) -> StreamingQuery:
    writer = writer.foreachBatch(take).option("checkpointLocation", checkpoint)
    return writer.trigger(**trigger).start()


def start_points(
    readings: DataFrame, settings: InfluxSettings, checkpoint: str, trigger: Mapping[str, Any]
) -> StreamingQuery:
    """Start writing a stream of readings to an InfluxDB (`scale.sinks.write_points`).

    It is a separate stream, so that an unreachable database delays no alert. A failed trigger is
    retried; writing it again changes nothing.
    """

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            frame = pl.from_arrow(batch)
            if isinstance(frame, pl.DataFrame) and frame.height:
                count = write_points(settings, frame)
                yield pa.RecordBatch.from_arrays([pa.array([count], pa.int64())], ["written"])

    def take(batch: DataFrame, _number: int) -> None:
        batch.mapInArrow(write, "written long").agg({"written": "sum"}).collect()

    return _start(readings.writeStream, take, checkpoint, trigger)
