"""Test a stream's output, and the blocks of its shuffle."""

from functools import partial

import polars as pl

from scale.history import find_buckets, find_parts
from scale.shard import divide_by_shard, pack, unpack
from scale.sinks import EventRow, write_events
from tests.support.recorded import read_evaluated, recorded


def word(k):
    return EventRow(f"id{k}", "s1", "vape", "alerted", 1e9 + k, "{}")


def test_the_same_trigger_again_replaces_its_file(tmp_path):
    write = partial(write_events, tmp_path / "events")
    write([word(1), word(2)], 0)
    write([word(3)], 1)
    write([word(1), word(2)], 0)
    write([], 2)
    found = pl.concat([pl.read_parquet(p) for p in sorted((tmp_path / "events").iterdir())])
    assert found.columns == list(EventRow._fields)
    assert found["id"].to_list() == ["id1", "id2", "id3"]
    write([], 1)
    assert [p.name for p in (tmp_path / "events").iterdir()] == ["trigger-000000000000.parquet"]


def test_blocks_give_back_what_was_packed_in_the_order_of_the_receipt(history):
    frames = [read_evaluated(p) for parts in find_parts(history).values() for p in parts]
    whole = pl.concat(frames).sort("position")
    divided = dict(divide_by_shard(whole, 3))
    assert sum(part.height for part in divided.values()) == len(recorded())
    for shard, part in divided.items():
        assert set(find_buckets(part, 3)) == {shard}
        again = unpack([pack(part[500:]), pack(part[:500])])
        assert again.equals(part)
    assert unpack([pack(whole)]).equals(whole)
    assert unpack([]).height == 0
