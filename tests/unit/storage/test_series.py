"""The embedded time series: repeats change nothing, gaps are filled, positions fit the rows."""

import contextlib
import sqlite3

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detection.quantities import COLUMNS, QUANTITIES
from storage.errors import SchemaTooNewError, StorageUnavailableError
from storage.reading import Reading
from storage.timeseries.line_protocol import to_ns
from storage.timeseries.sqlite import SqliteSeries

T = 1_790_000_000.0


@pytest.fixture(params=["file", "memory"])
def series(request, tmp_path):
    opened = SqliteSeries(":memory:" if request.param == "memory" else tmp_path / "series.db")
    opened.open()
    yield opened
    opened.close()


def everything(series):
    found = {}
    for sensor in series.latest():
        time, values = series.window(sensor, 0, 4e9)
        found[sensor] = (time.tolist(), {k: v.tolist() for k, v in values.items()})
    return repr(found)


def test_empty(series):
    assert series.cursor() == 0
    assert series.latest() == {}
    assert series.count() == 0
    time, values = series.window("nobody", 0, 4e9)
    assert time.shape == (0,)
    assert time.dtype == np.float64
    assert values == {}


def test_window_is_closed_and_in_order(series, make_readings):
    series.write(make_readings(6)[::-1], 6)
    time, values = series.window("n2-boys-1", T + 1, T + 4)
    assert time.tolist() == [T + 1, T + 2, T + 3, T + 4]
    assert values["pm25"].tolist() == [5, 6, 7, 8]
    assert sorted(values) == ["pm25", "rh"]
    assert series.window("n2-boys-1", T + 10, T + 20)[0].size == 0
    assert series.window("n2-girls-1", T, T + 4)[0].size == 0


def test_missing_is_nan_and_never_zero(series):
    series.write([Reading("s", T, T, {"pm25": 0.0}), Reading("s", T + 1, T, {"rh": 41.0})], 2)
    _, values = series.window("s", T, T + 1)
    assert values["pm25"][0] == 0.0
    assert np.isnan(values["pm25"][1])
    assert np.isnan(values["rh"][0])
    assert "temp" not in series.latest()["s"].values


def test_latest_joins_what_a_device_spreads_over_messages(series):
    parts = [{"pm25": 7.0, "rh": 40.0}, {"rssi": -60.0}, {"rh": 41.0}]
    series.write([Reading("s", T + i, T, part) for i, part in enumerate(parts)], 3)
    assert series.latest()["s"] == (T + 2, {"pm25": 7.0, "rssi": -60.0, "rh": 41.0})
    series.write([Reading("s", T + 200, T, {"rssi": -61.0})], 4)
    assert series.latest()["s"].values == {"rssi": -61.0}


def test_every_quantity_comes_back(series):
    full = {key: QUANTITIES[key].high for key in COLUMNS}
    series.write([Reading("s", T + 0.123456, T, full)], 1)
    assert series.latest()["s"] == (T + 0.123456, full)


def test_a_second_reading_of_the_same_moment_fills_what_is_empty(series):
    series.write([Reading("s", T, T, {"pm25": 1.0}, ("online",))], 1)
    series.write([Reading("s", T, T, {"pm25": 2.0, "rh": 40.0}, ("tamper",), ("co",))], 2)
    assert series.count() == 1
    assert series.latest()["s"].values == {"pm25": 1.0, "rh": 40.0}
    row = series.query(
        lambda db: db.execute("SELECT events, faults, flags FROM reading").fetchone()
    )
    assert tuple(row) == ("online", "co", None)


def test_the_same_moment_twice_in_one_batch(series):
    series.write([Reading("s", T, T, {"pm25": 1.0}), Reading("s", T, T, {"rh": 40.0})], 2)
    assert series.latest()["s"].values == {"pm25": 1.0, "rh": 40.0}


def test_repeats_change_nothing(series, make_readings):
    series.write(make_readings(5), 5)
    before = everything(series)
    series.write(make_readings(5), 5)
    series.write(make_readings(2), 5)
    assert everything(series) == before
    assert series.cursor() == 5


def test_latest_is_by_event_time(series, make_readings):
    series.write(make_readings(3), 3)
    series.write([Reading("n2-boys-1", T - 60, T + 9, {"pm25": 99.0})], 4)
    assert series.latest()["n2-boys-1"].time == T + 2


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
    assert series.cursor() == 2
    assert series.count() == 2
    assert "new" not in series.latest()
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        other.execute("DROP TRIGGER full")
    series.write(later, 5)
    assert (series.cursor(), series.count()) == (5, 5)
    assert series.latest()["new"].time == T + 4
    series.close()


def test_kept_over_a_restart(tmp_path, make_readings):
    for run in (0, 3):
        series = SqliteSeries(tmp_path / "series.db")
        series.open()
        assert series.cursor() == run
        series.write(make_readings(3, first=run), run + 3)
        series.close()
        series.close()
    with pytest.raises(StorageUnavailableError, match="not open"):
        series.count()
    with pytest.raises(StorageUnavailableError, match="not open"):
        series.cursor()


def test_a_newer_file_is_refused(tmp_path):
    series = SqliteSeries(tmp_path / "series.db")
    series.open()
    series.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "series.db")) as other, other:
        other.execute("UPDATE component_version SET version = 99 WHERE component = 'series'")
    with pytest.raises(SchemaTooNewError):
        series.open()


def test_time_is_kept_to_the_microsecond():
    assert to_ns(1_790_000_000.123456) == 1_790_000_000_123_456_000
    assert to_ns(-1.5) == -1_500_000_000


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
            found.append(series.between(0, 4e9))
    assert found[0] == found[1]


def test_quantities_of_a_newer_program_are_left_out(series):
    series.write([Reading("a", T, T, {"rh": 4.0, "radon": 9.0})], 1)
    assert series.latest()["a"].values == {"rh": 4.0}
    series.latest()
    series.write([Reading("a", T + 1, T, {"rh": 5.0, "radon": 9.0})], 2)
    assert series.latest()["a"].values == {"rh": 5.0}


def test_the_newest_readings_include_what_another_process_wrote(tmp_path, make_readings):
    path = tmp_path / "series.db"
    with SqliteSeries(path) as service, SqliteSeries(path) as importer:
        service.write(make_readings(3), 3)
        assert service.latest().keys() == {"n2-boys-1"}
        importer.add(make_readings(5, "n2-girls-1"))
        importer.add(make_readings(9))
        service.record([])  # it writes some record each minute
        assert service.latest() == importer.latest()
        assert service.latest()["n2-girls-1"].time == T + 4
        service.write(make_readings(1, first=20), 4)
        assert service.latest()["n2-boys-1"].time == T + 20


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
        assert series.count() == 10
        assert series.rows("SELECT * FROM sensor")  # a reader repairs the file
        assert series.repairs == 1
        series.write(make_readings(1, "n2-girls-1", first=9), 2)
        assert series.window("n2-girls-1", 0, 4e9)[0].tolist() == [T + 9]
        assert series.count() == 11
