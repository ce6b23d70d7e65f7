"""Run the detectors on Structured Streaming: readings in, events out, each event once.

How a reading travels
---------------------
1. Before the shuffle, `pack_readings` packs readings into one block per shard and task
   (`scale.shard`). Buildings are hashed to shards of about a thousand sensors, because a pass over
   many sensors costs hardly more than a pass over a few. Records from Kafka are divided and packed
   without being decoded.
2. `ShardProcessor` evaluates the blocks of a trigger in receive order, with the service's detectors
   (`scale.shard`). It decodes records with the shard's decoder (`scale.messages`), which keeps open
   join windows, births and duplicates.
3. On the driver, the caller's sink gets the events and the number of a trigger. After a failure,
   the same number may be repeated, with the same events.

State
-----
For each shard, RocksDB has a snapshot (including its decoder), the blocks since the snapshot, and a
token: a hash over all blocks, which identifies the state. A Python worker keeps its shards in
memory. If a shard's token matches the stored one, the worker continues with the shard. Otherwise it
rebuilds the shard from the snapshot and the blocks. So a trigger writes only its own blocks, and a
new snapshot once the blocks are larger than the last snapshot. Any worker, executor or driver can
take over.

Checkpoint
----------
The number of shards is part of the state and cannot change. The number of executors and cores can.
A new model needs a new checkpoint, and warms up on earlier history.
"""

from __future__ import annotations

import hashlib
import operator
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import pandas as pd
import polars as pl
import pyarrow as pa
from pyspark.sql.streaming import StatefulProcessor

from detection.alert_rules import AlertBudgets
from scale.history import SCHEMA
from scale.messages import MAX_BYTES, RECORD_ORDER, RECORDS, log_rejected
from scale.shard import Shard, divide_by_shard, pack, unpack
from scale.sinks import EventRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming import StreamingQuery

    from detection.events import Event
    from scale.messages import MessageDecoder, MessageSource

_ROWS: Final = 500_000
"""Readings that a task packs together."""
_MIN_SIZE: Final = 1 << 16
KEPT_SHARDS: Final = 64
"""Shards that a Python worker keeps in memory."""
_TYPES: Final = {"Int64": "long", "Float64": "double", "String": "string", "Boolean": "boolean"}
COLUMNS: Final = ", ".join(f"`{name}` {_TYPES[str(kind)]}" for name, kind in SCHEMA.items())
PACKED: Final = "shard int, block binary"
_EVENT_ROW: Final = (
    "shard int, id string, sensor string, kind string, phase string, time double, event string"
)


def read_history(spark: SparkSession, folder: str, files: int | None = None) -> DataFrame:
    """Read a growing history as a stream of rows of `SCHEMA`, up to `files` parts per trigger."""
    reader = spark.readStream.schema(COLUMNS).option("recursiveFileLookup", "true")
    if files is not None:
        reader = reader.option("maxFilesPerTrigger", files)
    return reader.parquet(folder)


def pack_readings(readings: DataFrame, shards: int) -> DataFrame:
    """Pack rows of `SCHEMA` into blocks by shard."""

    def pack_all(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        size = operator.attrgetter("num_rows")
        return pack_batches(batches, size, _ROWS, lambda frame: divide_by_shard(frame, shards))

    return readings.mapInArrow(pack_all, PACKED)


def pack_batches(
    batches: Iterator[pa.RecordBatch],
    size: Callable[[pa.RecordBatch], int],
    most: int,
    divide: Callable[[pl.DataFrame], Iterable[tuple[int, pl.DataFrame]]],
) -> Iterator[pa.RecordBatch]:
    """Gather a task's batches until their size reaches `most`, and pack them by shard."""
    gathered: list[pa.RecordBatch] = []
    total = 0
    for batch in batches:
        gathered.append(batch)
        total += size(batch)
        if total >= most:
            yield _pack_blocks(divide(read_batches(gathered)))
            gathered, total = [], 0
    if total:
        yield _pack_blocks(divide(read_batches(gathered)))


def read_batches(batches: Sequence[pa.RecordBatch]) -> pl.DataFrame:
    """Join Arrow batches into one frame."""
    frame = pl.from_arrow(pa.Table.from_batches(batches))
    if not isinstance(frame, pl.DataFrame):
        raise TypeError("the batches are not a table")
    return frame


def _pack_blocks(divided: Iterable[tuple[int, pl.DataFrame]]) -> pa.RecordBatch:
    """Pack one block per shard."""
    packed = [(shard, pack(part)) for shard, part in divided]
    return pa.RecordBatch.from_arrays(
        [
            pa.array([shard for shard, _ in packed], pa.int32()),
            pa.array([block for _, block in packed], pa.binary()),
        ],
        ["shard", "block"],
    )


class _Live(NamedTuple):
    """A shard in a worker's memory; if it has a decoder, its blocks are records from Kafka."""

    shard: Shard
    decoder: MessageDecoder | None


_live: OrderedDict[bytes, _Live] = OrderedDict()
"""This worker's shards, by token."""


class ShardProcessor(StatefulProcessor):  # type: ignore[misc] # the library's types are not read
    """Evaluates a shard's blocks; if there is a `source`, they are records from Kafka."""

    def __init__(self, budgets: AlertBudgets, source: MessageSource | None = None) -> None:
        self._given = (budgets.default, dict(budgets.own), dict(budgets.offsets))
        self._source = source

    def init(self, handle: Any) -> None:
        """Open the state of the shards of a task."""
        self._head = handle.getValueState("head", "token binary, size long, since long")
        self._snapshot = handle.getValueState("snapshot", "body binary")
        self._since = handle.getListState("since", "block binary")
        if self._source is not None:
            self._memory = handle.getValueState("memory", "body binary")
        self._budgets = AlertBudgets(*self._given)

    def handleInputRows(  # noqa: N802 - the library's name
        self, key: Any, rows: Iterator[pd.DataFrame], _timers: Any
    ) -> Iterator[pd.DataFrame]:
        """Evaluate a trigger's blocks, and return the events."""
        number = int(key[0])
        frame = self._unpack(block for part in rows for block in part["block"])
        if not frame.height:
            return
        token, size, since = self._head.get() or (self._make_first_token(number), 0, 0)
        live = _live.pop(bytes(token), None) or self._restore(number)
        readings, frame = self._decode(live, frame)
        events = live.shard.step(live.shard.streams.build(readings)) if readings.height else []
        block = pack(frame)
        token = hashlib.blake2b(bytes(token) + block, digest_size=16).digest()
        since += len(block)
        if since > max(size, _MIN_SIZE):
            size, since = self._save(live), 0
        else:
            self._since.appendValue((block,))
        self._head.update((token, size, since))
        _live[token] = live
        if len(_live) > KEPT_SHARDS:
            _live.popitem(last=False)
        yield _build_event_frame(number, events)

    def close(self) -> None:
        """Release nothing: the store owns the state."""

    def _make_first_token(self, shard: int) -> bytes:
        text = msgspec.msgpack.encode((shard, *self._given))
        return hashlib.blake2b(text, digest_size=16).digest()

    def _unpack(self, packed: Iterable[bytes]) -> pl.DataFrame:
        if self._source is None:
            return unpack(packed)
        return unpack(packed, RECORDS, RECORD_ORDER)

    def _decode(self, live: _Live, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the readings to evaluate, and the blocks without large rejected values."""
        if live.decoder is None or self._source is None:
            return frame, frame
        readings = live.decoder.decode(frame)
        if rejected := live.decoder.rejected:
            log_rejected(self._source.topic, rejected.values())
            refused = pl.int_range(pl.len()).is_in([*rejected])
            large = refused & (pl.col("value").bin.size() > MAX_BYTES)
            frame = frame.with_columns(value=pl.when(~large).then("value"))
        return readings.filter("evaluated"), frame

    def _save(self, live: _Live) -> int:
        """Replace snapshot and blocks with a new snapshot; return its size in bytes."""
        body = live.shard.snapshot()
        self._snapshot.update((body,))
        self._since.clear()
        if live.decoder is None:
            return len(body)
        memory = live.decoder.snapshot()
        self._memory.update((memory,))
        return len(body) + len(memory)

    def _restore(self, number: int) -> _Live:
        body = self._snapshot.get()
        shard = (
            Shard(self._budgets) if body is None else Shard.restore(bytes(body[0]), self._budgets)
        )
        decoder = None
        if self._source is not None:
            memory = self._memory.get()
            decoder = self._source.make_decoder(number, bytes(memory[0]) if memory else b"")
        live = _Live(shard, decoder)
        for (block,) in self._since.get():
            frame = self._unpack([bytes(block)])
            readings = frame if decoder is None else decoder.decode(frame).filter("evaluated")
            shard.step(shard.streams.build(readings))
        return live


def _build_event_frame(shard: int, events: Sequence[Event]) -> pd.DataFrame:
    json = msgspec.json.encode
    rows = [
        (shard, e.id, e.sensor, e.kind.value, e.phase.value, e.time, json(e).decode())
        for e in events
    ]
    return pd.DataFrame(rows, columns=["shard", *EventRow._fields])


def detect(packed: DataFrame, processor: ShardProcessor) -> DataFrame:
    """Evaluate each reading of a stream of blocks once, and return the events."""
    return packed.groupBy("shard").transformWithStateInPandas(
        statefulProcessor=processor,
        outputStructType=_EVENT_ROW,
        outputMode="Update",
        timeMode="None",
    )


def start_events(
    events: DataFrame,
    sink: Callable[[list[EventRow], int], None],
    checkpoint: str,
    trigger: Mapping[str, Any],
) -> StreamingQuery:
    """Start the stream from `detect`; `trigger` is passed to `DataStreamWriter.trigger`.

    `sink` gets a trigger's events, sorted by time, and its number. If the sink or the driver fails
    before the trigger is committed, `sink` gets the events again with the same number.
    """

    def take(batch: DataFrame, number: int) -> None:
        rows = [EventRow(*row) for row in batch.select(*EventRow._fields).collect()]
        sink(sorted(rows, key=lambda row: (row.time, row.id, row.phase)), number)

    writer = events.writeStream.outputMode("update").foreachBatch(take)
    return writer.option("checkpointLocation", checkpoint).trigger(**trigger).start()
