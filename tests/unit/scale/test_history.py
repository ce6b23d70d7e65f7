"""Test the history on disk: complete, in order, each reading once."""

import struct

import polars as pl
import pytest

from scale.errors import HistoryError
from scale.history import SCHEMA, HistoryWriter, PlacedReading, build_frame, find_parts
from storage.reading import Reading
from storage.registry import find_shard
from tests.support.recorded import read_evaluated, recorded


def landed(count, building="North", start=1e9, step=1.0, first=0):
    return [
        PlacedReading(
            Reading(f"{building}-1", start + step * k, start + step * k, {"pm25": k + 0.1}),
            ("School", building, "", "r1", ""),
            evaluated=True,
        )
        for k in range(first, first + count)
    ]


def positions(folder):
    return {
        bucket: [p for part in parts for p in read_evaluated(part)["position"]]
        for bucket, parts in find_parts(folder).items()
    }


def test_every_reading_is_there_to_the_last_bit(history):
    frames = [
        pl.read_parquet(part, hive_partitioning=False)
        for parts in find_parts(history).values()
        for part in parts
    ]
    stored = pl.concat(frames).sort("position")
    assert stored["position"].to_list() == list(range(1, len(recorded()) + 1))
    for row, reading in zip(stored.iter_rows(named=True), recorded(), strict=True):
        assert row["sensor"] == reading.sensor
        assert struct.pack("d", row["time"]) == struct.pack("d", reading.time)
        assert {k: row[k] for k in reading.values} == reading.values
        assert (row["events"] or "").split() == list(reading.events)
        assert (row["faults"] or "").split() == list(reading.faults)


def test_a_building_is_in_one_bucket_in_order(history):
    for bucket, parts in find_parts(history).items():
        frame = pl.concat([read_evaluated(part) for part in parts])
        assert frame["position"].is_sorted()
        names = frame["building"].unique()
        assert {find_shard(f"Lincoln High/{name}", 2) for name in names} == {bucket}


def test_days_follow_the_receipt_and_never_go_back(tmp_path):
    with HistoryWriter(tmp_path, 1) as writer:
        writer.commit(build_frame(landed(3, start=86_400.0 * 5 - 1.5)), b"")
        writer.commit(build_frame(landed(2, start=86_400.0 * 4)), b"")  # the clock was set back
    days = [path.parent.name for path in find_parts(tmp_path)[0]]
    assert days == ["day=1970-01-05", "day=1970-01-06", "day=1970-01-06"]
    assert positions(tmp_path) == {0: [1, 2, 3, 4, 5]}


class DiedError(Exception):
    """Simulates the end of the process at this point."""


@pytest.mark.parametrize("at", ["before", "between", "after"])
def test_a_death_anywhere_leaves_each_reading_once(tmp_path, monkeypatch, at):
    writer = HistoryWriter(tmp_path, 2)
    writer.commit(build_frame(landed(4)), b"4")

    def die(*_):
        raise DiedError

    if at == "before":
        monkeypatch.setattr(HistoryWriter, "_save", die)
    else:
        place = HistoryWriter._move_parts
        some = (lambda self, pending: (place(self, pending[:1]), die())) if at == "after" else die
        monkeypatch.setattr(HistoryWriter, "_move_parts", some)
    both = landed(3, first=4) + landed(3, "South", first=4)
    with pytest.raises(DiedError):
        writer.commit(build_frame(both), b"10")
    writer.close()
    monkeypatch.undo()
    with HistoryWriter(tmp_path) as again:
        assert again.cursor == (b"4" if at == "before" else b"10")
        assert again.buckets == 2
        if at == "before":
            again.commit(build_frame(both), b"10")
    assert sorted(p for bucket in positions(tmp_path).values() for p in bucket) == [*range(1, 11)]
    assert not list((tmp_path / "_staging").iterdir())


def test_one_writer_a_folder(tmp_path):
    with HistoryWriter(tmp_path), pytest.raises(HistoryError, match="another process is writing"):
        HistoryWriter(tmp_path)
    HistoryWriter(tmp_path).close()


@pytest.mark.parametrize(
    ("name", "message"), [("notes.txt", "choose an empty folder"), ("bucket=1", "to continue from")]
)
def test_a_folder_of_something_else_is_left_alone(tmp_path, name, message):
    (tmp_path / name).mkdir()
    with pytest.raises(HistoryError, match=message):
        HistoryWriter(tmp_path)
    assert (tmp_path / name).is_dir()
    assert not (tmp_path / "_writer.json").exists()


def test_what_is_no_history_is_refused_in_words(tmp_path):
    with pytest.raises(HistoryError, match="no such folder"):
        find_parts(tmp_path / "nothing")
    with pytest.raises(HistoryError, match="not a history; expected bucket=B"):
        find_parts(tmp_path)


def test_no_reading_is_no_part(tmp_path):
    with HistoryWriter(tmp_path) as writer:
        assert writer.commit(build_frame([]), b"seen") == []
    with HistoryWriter(tmp_path) as writer:
        assert (writer.position, writer.cursor) == (0, b"seen")
    assert set(build_frame([]).columns) == set(SCHEMA) - {"position"}
