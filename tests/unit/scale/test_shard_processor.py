"""Test a Kafka shard without Spark: any split and rebuild gives the same events as one service."""

import io
from operator import attrgetter

import polars as pl
import pytest

pytestmark = pytest.mark.needs("pyspark")


@pytest.fixture
def stream():
    from scale.spark import stream

    return stream


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
