"""Test a Kafka shard without Spark: any split and rebuild gives the same events as one service."""

import io
import json
from functools import partial
from operator import attrgetter

import polars as pl
import pytest

from detection.alert_rules import BUDGET, AlertBudgets
from plumewatch.config.ingest_settings import build_intake_config
from plumewatch.config.load import load
from scale.messages import RECORDS, MessageSource
from scale.shard import pack
from tests.support.streamed import (
    CONFIG,
    EDGE,
    ESPHOME,
    alerts_of,
    counted,
    events_of_one_service,
    one_value_a_topic,
)

pytestmark = pytest.mark.needs("pyspark")
SHARDS = 2


@pytest.fixture
def stream():
    from scale.spark import stream

    return stream


class Store:
    """A shard's state, as Spark passes it to a processor."""

    def __init__(self):
        self.tables = {}

    def getValueState(self, name, _schema):  # noqa: N802 - the library's name
        return Value(self.tables.setdefault(name, []))

    def getListState(self, name, _schema):  # noqa: N802 - the library's name
        return Rows(self.tables.setdefault(name, []))


class Value:
    def __init__(self, rows):
        self.rows = rows

    def get(self):
        return self.rows[0] if self.rows else None

    def update(self, row):
        self.rows[:] = [row]


class Rows(Value):
    def get(self):
        return iter(self.rows)

    def clear(self):
        self.rows.clear()

    def appendValue(self, row):  # noqa: N802 - the library's name
        self.rows.append(row)


@pytest.mark.parametrize(("kept", "cut"), [(64, 9), (0, 150)])
def test_any_cut_gives_the_events_of_one_service(kept, cut, tmp_path, monkeypatch, stream):
    import pandas as pd

    monkeypatch.setattr(stream, "KEPT_SHARDS", kept)
    path = tmp_path / "plumewatch.toml"
    path.write_text(CONFIG)
    config = partial(build_intake_config, load(path), dedupe_window=128)
    source = MessageSource("values", config, SHARDS)
    sent = one_value_a_topic()
    poison = (b"b1-3-r1/sensor/pm25/state", b"\x00" * 100_000)
    records = [(*record, 0, k) for k, record in enumerate(sent)]
    stores, found = [Store() for _ in range(SHARDS)], []
    for at in range(0, len(records), cut):
        part = records[at : at + cut]
        table = pl.DataFrame([*part, (*poison, *part[-1][2:])], schema=RECORDS, orient="row")
        for number, divided in source.router.divide(table):
            processor = stream.ShardProcessor(AlertBudgets(BUDGET), source=source)
            processor.init(stores[number])
            blocks = pd.DataFrame({"block": [pack(divided)]})
            for events in processor.handleInputRows((number,), iter([blocks]), None):
                found += map(json.loads, events["event"])
    expected = events_of_one_service(path, sent, SHARDS)
    assert counted(found) == expected
    assert {(EDGE, "tamper"), (ESPHOME[0], "vape")} <= alerts_of(expected)
    sizes = [len(row[0]) for store in stores for row in store.tables["since"]]
    assert max(sizes, default=0) < 100_000, "a rejected value is kept in the state"


def test_batches_of_a_task_are_packed_together_up_to_a_size(stream):
    import pyarrow as pa

    batches = [pa.RecordBatch.from_pydict({"n": [k, k]}) for k in range(5)]
    found = stream.pack_batches(
        iter(batches), attrgetter("num_rows"), 4, lambda frame: [(7, frame)]
    )
    rows = [row for batch in found for row in batch.to_pylist()]
    assert {row["shard"] for row in rows} == {7}
    packed = [pl.read_ipc_stream(io.BytesIO(row["block"]))["n"].to_list() for row in rows]
    assert packed == [[0, 0, 1, 1], [2, 2, 3, 3], [4, 4]]
