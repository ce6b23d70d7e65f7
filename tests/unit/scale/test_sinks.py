"""What a stream leaves behind: files by trigger, points as the service writes them."""

import polars as pl

from scale.history import bucket_keys, parts_of, readings_of
from scale.shard import pack, shards_of, unpack
from scale.sinks import EVENT_COLUMNS, EventFiles, write_points
from storage.timeseries.influx_http import InfluxHttp, InfluxSettings
from storage.timeseries.line_protocol import LineEncoder
from tests.support.recorded import judged, recorded, registry


def word(k):
    return (f"id{k}", "s1", "vape", "alerted", 1e9 + k, "{}")


def test_the_same_trigger_again_replaces_its_file(tmp_path):
    files = EventFiles(tmp_path / "events")
    files.write([word(1), word(2)], 0)
    files.write([word(3)], 1)
    files.write([word(1), word(2)], 0)
    files.write([], 2)
    found = pl.concat([pl.read_parquet(p) for p in sorted((tmp_path / "events").iterdir())])
    assert found.columns == list(EVENT_COLUMNS)
    assert found["id"].to_list() == ["id1", "id2", "id3"]
    files.write([], 1)
    assert [p.name for p in (tmp_path / "events").iterdir()] == ["trigger-000000000000.parquet"]


def test_points_are_those_of_the_service(history, monkeypatch):
    lines = []
    monkeypatch.setattr(InfluxHttp, "write", lambda _, body, *__: lines.extend(body.split(b"\n")))
    frames = [judged(p) for parts in parts_of(history).values() for p in parts]
    settings = InfluxSettings("http://127.0.0.1:1")
    assert sum(write_points(settings, frame) for frame in frames) == len(recorded())
    assert sorted(lines) == sorted(LineEncoder(registry()).encode(recorded()).split(b"\n"))


def test_blocks_give_back_what_was_packed_in_the_order_of_the_receipt(history):
    frames = [judged(p) for parts in parts_of(history).values() for p in parts]
    whole = pl.concat(frames).sort("position")
    divided = dict(shards_of(whole, 3))
    assert sum(part.height for part in divided.values()) == len(recorded())
    for shard, part in divided.items():
        assert set(bucket_keys(part, 3)) == {shard}
        again = unpack([pack(part[500:]), pack(part[:500])])
        assert again.equals(part)
    assert readings_of(unpack([pack(whole)])) == list(recorded())
    assert unpack([]).height == 0
