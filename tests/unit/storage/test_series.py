"""Test the embedded time series beyond the contract of all stores (`tests/contract`)."""

import contextlib
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import StorageUnavailableError
from storage.reading import Reading
from storage.timeseries.sqlite import SqliteSeries

T = 1_790_000_000.0


def test_rows_and_position_are_one_transaction(tmp_path, make_readings):
    path = tmp_path / "series.db"
    series = SqliteSeries(path)
    series.open()
    series.write(make_readings(2), 2)
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        other.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON consumer"
            " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
    later = make_readings(3, sensor="new", first=2)
    with pytest.raises(StorageUnavailableError, match="disk is full"):
        series.write(later, 5)
    assert series.get_cursor() == 2
    assert len(series.read_between(0, 4e9)) == 2
    assert "new" not in series.read_latest()
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        other.execute("DROP TRIGGER full")
    series.write(later, 5)
    assert (series.get_cursor(), len(series.read_between(0, 4e9))) == (5, 5)
    assert series.read_latest()["new"].time == T + 4
    series.close()


BATCH = st.lists(
    st.builds(
        Reading,
        st.sampled_from("ab"),
        st.integers(0, 40).map(lambda k: T + k),
        st.floats(T, T + 100),
        st.dictionaries(st.sampled_from(["rh", "pm25", "temp", "n05"]), st.floats(0, 9)),
        st.sampled_from([(), ("tamper",)]),
        st.sampled_from([(), ("rh",)]),
        st.sampled_from([(), ("late", "retained")]),
    ),
    max_size=40,
)


@settings(max_examples=40)
@given(BATCH)
def test_a_batch_stores_what_its_readings_store_one_by_one(batch):
    found = []
    for parts in ([batch], [[reading] for reading in batch]):
        with SqliteSeries(":memory:") as series:
            for part in parts:
                series.write(part, 1)
            found.append(series.read_between(0, 4e9))
    assert found[0] == found[1]


def test_quantities_of_a_newer_program_are_left_out():
    with SqliteSeries(":memory:") as series:
        series.write([Reading("a", T, T, {"rh": 4.0, "radon": 9.0})], 1)
        assert series.read_latest()["a"].values == {"rh": 4.0}


@pytest.mark.needs("sqlite3")
def test_readings_of_a_sensor_whose_name_was_lost_become_no_others(tmp_path, make_readings):
    path = tmp_path / "series.db"
    with SqliteSeries(path) as series:
        series.write([*make_readings(5), *make_readings(5, "n2-girls-1")], 1)
        with contextlib.closing(sqlite3.connect(path)) as other:
            (page,) = other.execute("SELECT rootpage FROM sqlite_master WHERE name = 'sensor'")
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with path.open("r+b") as file:
            file.seek((page[0] - 1) * 4096)
            file.write(b"\xff" * 4096)
        assert len(series.read_between(0, 4e9)) == 10
        assert series.fetch_rows("SELECT * FROM sensor")  # a reader repairs the file
        assert series.repairs == 1
        assert series.get_cursor() == 0
        later = make_readings(1, "n2-girls-1", first=9)
        with pytest.raises(StorageUnavailableError, match="was rebuilt; reading the journal again"):
            series.write(later, 2)
        series.write(later, 2)
        assert series.read_window("n2-girls-1", 0, 4e9)[0].tolist() == [T + 9]
        assert len(series.read_between(0, 4e9)) == 11
