"""The detectors on Structured Streaming: readings in, events out, each event once.

Way of a reading
----------------
1. `packed` turns readings into one block a shard and task (`scale.blocks`), before the shuffle: a
   shard is a hash of the building, of some thousand sensors, since many sensors in one pass cost
   hardly more than few.
2. `ShardProcessor` judges the blocks of a trigger in the order of their receipt, by the same
   `scale.shard` as a back-test.
3. The caller's sink gets the events of a trigger on the driver, with the trigger's number: after a
   failure the same number may come again with the same events.

State
-----
State of a shard, in RocksDB: a snapshot, the blocks since, and a token. The token is a hash over
all that was judged, so it names the state. A Python worker keeps the shards it judged in memory;
one whose token is that of the store goes on from there, any other is made anew from snapshot and
blocks. So a trigger writes the readings it got, and a snapshot only when the blocks since have
grown as large; nothing depends on which worker, executor or driver goes on.

Checkpoint
----------
The number of shards is part of the state and cannot change; executors and cores can. A new model
needs a new checkpoint, which reads the history before it for its warm-up.
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
from scale.blocks import pack, shards_of, unpack
from scale.history import SCHEMA
from scale.shard import Shard
from scale.sinks import write_points

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming import StreamingQuery

    from detection.events import Event
    from storage.timeseries.influx_http import InfluxSettings

_ROWS: Final = 500_000
"""Readings of one task that are packed together."""
_LEAST: Final = 1 << 16
_KEPT: Final = 64
"""Shards that a Python worker keeps in memory."""
_TYPES: Final = {"Int64": "long", "Float64": "double", "String": "string", "Boolean": "boolean"}
COLUMNS: Final = ", ".join(f"`{name}` {_TYPES[str(kind)]}" for name, kind in SCHEMA.items())
"""`scale.history.SCHEMA` as Spark writes it."""
_PACKED: Final = "shard int, block binary"
_SAID: Final = (
    "shard int, id string, sensor string, kind string, phase string, time double, event string"
)


class Said(NamedTuple):
    """One word on an event, as a sink gets it.

    Attributes
    ----------
    time : float
        Event time at which it was said, Unix seconds.
    event : str
        The whole event as JSON.
    """

    id: str
    sensor: str
    kind: str
    phase: str
    time: float
    event: str


def readings_of_history(spark: SparkSession, folder: str, files: int | None = None) -> DataFrame:
    """Return a history that grows as a stream of rows of `scale.history.SCHEMA`, in its order.

    Parameters
    ----------
    folder : str
        Path or URL.
    files : int, optional
        Parts in one trigger at most, so that a long history does not come at once.
    """
    reader = spark.readStream.schema(COLUMNS).option("recursiveFileLookup", "true")
    if files is not None:
        reader = reader.option("maxFilesPerTrigger", files)
    return reader.parquet(folder)


def packed(readings: DataFrame, shards: int) -> DataFrame:
    """Return readings, rows of `scale.history.SCHEMA`, as blocks by shard."""

    def pack_all(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        held: list[pa.RecordBatch] = []
        count = 0
        for batch in batches:
            held.append(batch)
            count += batch.num_rows
            if count >= _ROWS:
                yield _blocks(held, shards)
                held, count = [], 0
        if count:
            yield _blocks(held, shards)

    return readings.mapInArrow(pack_all, _PACKED)


def _blocks(batches: Sequence[pa.RecordBatch], shards: int) -> pa.RecordBatch:
    frame = pl.from_arrow(pa.Table.from_batches(batches))
    if not isinstance(frame, pl.DataFrame):
        raise TypeError("readings are no table")
    divided = [(shard, pack(part)) for shard, part in shards_of(frame, shards)]
    return pa.RecordBatch.from_arrays(
        [
            pa.array([shard for shard, _ in divided], pa.int32()),
            pa.array([block for _, block in divided], pa.binary()),
        ],
        ["shard", "block"],
    )


_live: OrderedDict[bytes, Shard] = OrderedDict()
"""Shards that this worker judged, by token."""


class ShardProcessor(StatefulProcessor):  # type: ignore[misc] # the library's types are not read
    """Judges the blocks of one shard.

    Parameters
    ----------
    model : bytes
        Model file; empty for the one shipped.
    """

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
        """Judge the blocks of a trigger, and return what is said."""
        frame = unpack(block for part in rows for block in part["block"])
        if not frame.height:
            return
        token, size, since = self._head.get() or (self._seed(int(key[0])), 0, 0)
        shard = _live.pop(bytes(token), None) or self._restored()
        said = shard.step(shard.streams.of(frame))
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
        yield _said_frame(int(key[0]), said)

    def close(self) -> None:
        """Nothing is held."""

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


def _said_frame(shard: int, events: Sequence[Event]) -> pd.DataFrame:
    rows = [(shard, e.id, e.sensor, e.kind.value, e.phase.value, e.time, _json(e)) for e in events]
    return pd.DataFrame(rows, columns=["shard", *Said._fields])


def _json(event: Event) -> str:
    return msgspec.json.encode(event).decode()


def detect(readings: DataFrame, shards: int, budgets: AlertBudgets, model: bytes) -> DataFrame:
    """Return what is said of a stream of readings.

    Parameters
    ----------
    readings : DataFrame
        A stream of rows of `scale.history.SCHEMA`; each reading once.
    model : bytes
        Model file; empty for the one shipped.
    """
    return (
        packed(readings, shards)
        .groupBy("shard")
        .transformWithStateInPandas(
            statefulProcessor=ShardProcessor(budgets, model),
            outputStructType=_SAID,
            outputMode="Update",
            timeMode="None",
        )
    )


def started(
    said: DataFrame,
    sink: Callable[[list[Said], int], None],
    checkpoint: str,
    trigger: Mapping[str, Any],
) -> StreamingQuery:
    """Start the stream.

    Parameters
    ----------
    said : DataFrame
        From `detect`.
    sink : callable
        Told the events of a trigger, in order of time, and its number. It is called again with the
        same number if it or the driver fails before the trigger is committed.
    checkpoint : str
        Where state and position are kept.
    trigger : mapping
        As of `DataStreamWriter.trigger`, such as ``{"processingTime": "3 seconds"}``.
    """

    def take(batch: DataFrame, number: int) -> None:
        rows = batch.select(*Said._fields).collect()
        sink(sorted((Said(*row) for row in rows), key=lambda s: (s.time, s.id, s.phase)), number)

    return (
        said.writeStream.foreachBatch(take)
        .outputMode("update")
        .option("checkpointLocation", checkpoint)
        .trigger(**trigger)
        .start()
    )


def points_started(
    readings: DataFrame, settings: InfluxSettings, checkpoint: str, trigger: Mapping[str, Any]
) -> StreamingQuery:
    """Start writing a stream of readings to an InfluxDB; see `scale.sinks.write_points`.

    It is a stream of its own, so that a database that is away holds up no alert. A trigger that
    fails is tried again, and lands on itself.
    """

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            frame = pl.from_arrow(batch)
            if isinstance(frame, pl.DataFrame) and frame.height:
                count = write_points(settings, frame)
                yield pa.RecordBatch.from_arrays([pa.array([count], pa.int64())], ["written"])

    def take(batch: DataFrame, _number: int) -> None:
        batch.mapInArrow(write, "written long").agg({"written": "sum"}).collect()

    return (
        readings.writeStream.foreachBatch(take)
        .option("checkpointLocation", checkpoint)
        .trigger(**trigger)
        .start()
    )
