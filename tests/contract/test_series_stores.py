"""Test the contract of series stores for the embedded store and each generation of InfluxDB.

1.x is a real server. Requests to 2.x and 3 go through a stand-in with recorded answers
(`tests.support.influx_standin`) to a real 1.x, which checks lines and statements. If the
environment names a real server (`tests.support.influx.own_database`), everything runs against it.
"""

import contextlib
import math
import random

import numpy as np
import pytest

from detection.quantities import COLUMNS, QUANTITIES
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.timeseries.influx import InfluxSeries
from storage.timeseries.influx_http import InfluxSettings
from storage.timeseries.influx_setup import set_up
from storage.timeseries.records import HEALTH_FIELDS, Record, RecordError
from storage.timeseries.resolution import Retention
from storage.timeseries.sqlite import SqliteSeries
from tests.support.fake_server import FakeServer
from tests.support.influx import NAMED, influxql, own_database
from tests.support.influx_standin import InfluxDb2, InfluxDb3

T = 1_790_000_040.0  # a whole minute
REGISTRY = Registry.build(
    [Room("n2, boys", "Boys' room", "2nd floor", "North = old\\", "St. Mary's")],
    [Sensor("s", "n2, boys", "sen55"), Sensor("s2", "n2, boys"), Sensor("away", "n2, boys")],
)
STORES = ["sqlite", "influx1", "influx2", "influx3", *NAMED]


@pytest.fixture(params=STORES)
def series(request, tmp_path):
    if request.param == "sqlite":
        with SqliteSeries(tmp_path / "series.db") as store:
            yield store
        return
    if request.param == "named":
        with (
            own_database() as settings,
            InfluxSeries(settings, REGISTRY, tmp_path / "influx.db") as store,
        ):
            list(set_up(store.http, Retention(*[3_650] * 3)))
            yield store
        return
    server = request.getfixturevalue("influxd")
    name = f"db{random.getrandbits(64)}"
    influxql(server.url, f'CREATE DATABASE "{name}"')
    with contextlib.ExitStack() as stack:
        settings = InfluxSettings(server.url, name)
        if request.param != "influx1":
            kind = InfluxDb2 if request.param == "influx2" else InfluxDb3
            standin = stack.enter_context(FakeServer(kind(server.url)))
            settings = InfluxSettings(standin.url, name, org="school", secret="secret")
        store = stack.enter_context(InfluxSeries(settings, REGISTRY, tmp_path / "influx.db"))
        list(set_up(store.http, Retention(*[3_650] * 3)))
        yield store
    influxql(server.url, f'DROP DATABASE "{name}"')


def test_empty(series):
    assert series.get_cursor() == 0
    assert series.read_latest() == {}
    assert len(series.read_between(0, 4e9)) == 0
    for sensor in ("s", "nobody"):
        for time, values in (
            series.read_window(sensor, T, T + 60),
            series.aggregate_readings(sensor, T, T + 60, 10),
        ):
            assert time.shape == (0,)
            assert time.dtype == np.float64
            assert values == {}
    assert series.read_between(T, T + 60) == []


def test_position_moves_with_what_is_written_and_alone(series):
    series.write([Reading("s", T, T, {"pm25": 1.0})], 7)
    assert series.get_cursor() == 7
    series.write([], 9)
    assert series.get_cursor() == 9
    assert len(series.read_between(0, 4e9)) == 1


def test_every_quantity_comes_back_exact(series):
    full = {key: QUANTITIES[key].high for key in COLUMNS}
    full["pm1"], full["temp"] = 0.1 + 0.2, -1e-7
    series.write([Reading("s", T + 0.123456, T + 0.2, full)], 1)
    assert series.read_latest() == {"s": (T + 0.123456, full)}
    time, values = series.read_window("s", T, T + 1)
    assert time.tolist() == [T + 0.123456]
    assert {k: v.tolist() for k, v in values.items()} == {k: [v] for k, v in full.items()}


def test_window_is_closed_and_in_order(series):
    series.write([Reading("s", T + i, T + 9, {"pm25": float(i)}) for i in (4, 0, 3, 1, 2, 5)], 6)
    series.write([Reading("s2", T + 2, T + 9, {"rh": 40.0})], 7)
    time, values = series.read_window("s", T + 1, T + 4)
    assert time.tolist() == [T + 1, T + 2, T + 3, T + 4]
    assert list(values) == ["pm25"]
    assert values["pm25"].tolist() == [1, 2, 3, 4]


def test_missing_is_nan_and_never_zero(series):
    series.write([Reading("s", T, T, {"pm25": 0.0}), Reading("s", T + 1, T, {"rh": 41.0})], 2)
    _, values = series.read_window("s", T, T + 1)
    np.testing.assert_array_equal(values["pm25"], [0.0, np.nan])
    np.testing.assert_array_equal(values["rh"], [np.nan, 41.0])


def test_what_is_no_number_is_not_stored(series):
    bad = {"pm25": float("nan"), "rh": float("inf"), "temp": 20.0}
    series.write([Reading("s", T, T, bad), Reading("s", T + 1, T, {"pm25": float("nan")})], 2)
    assert series.read_latest()["s"].values["temp"] == 20.0
    assert "pm25" not in series.read_window("s", T, T + 1)[1]


def test_repeats_change_nothing(series):
    batch = [Reading("s", T + i, T + i, {"pm25": float(i), "rh": 40.0}) for i in range(5)]
    series.write(batch, 5)
    before = repr(series.read_window("s", T, T + 9))
    series.write(batch, 5)
    series.write(batch[2:4], 5)
    assert repr(series.read_window("s", T, T + 9)) == before
    assert len(series.read_between(0, 4e9)) == 5


def test_two_readings_of_one_moment_fill_each_other_and_the_first_counts(series):
    series.write(
        [Reading("s", T, T + 0.1, {"pm25": 1.0}), Reading("s", T, T + 0.2, {"rh": 40.0})], 2
    )
    series.write([Reading("s", T, T + 0.3, {"pm25": 2.0, "temp": 20.0})], 3)
    whole = {"pm25": 1.0, "rh": 40.0, "temp": 20.0}
    assert series.read_latest()["s"] == (T, whole)
    time, values = series.read_window("s", T, T)
    assert time.tolist() == [T]
    assert {k: v.tolist() for k, v in values.items()} == {k: [v] for k, v in whole.items()}


def test_latest_joins_what_a_device_spreads_over_messages(series):
    parts = [{"pm25": 7.0, "rh": 40.0}, {"rssi": -60.0}, {"rh": 41.0}]
    series.write([Reading("s", T + i, T, part) for i, part in enumerate(parts)], 3)
    assert series.read_latest()["s"] == (T + 2, {"pm25": 7.0, "rssi": -60.0, "rh": 41.0})
    series.write([Reading("s", T + 200, T, {"rssi": -61.0})], 4)
    assert series.read_latest()["s"].values == {"rssi": -61.0}


def test_that_a_device_is_connected_is_no_reading(series):
    readings = [Reading("s", T, T, {"pm25": 7.0}), Reading("s", T + 600, T + 600, {}, ("online",))]
    series.write(readings, 2)
    assert series.read_latest()["s"] == (T, {"pm25": 7.0})


def test_intervals_are_half_open_aligned_and_left_out_where_empty(series):
    at = {0: 1.0, 59.9: 3.0, 60: 10.0, 180: 7.0, 239.999: 9.0, 240: 99.0}
    series.write([Reading("s", T + k, T + 300, {"pm25": v, "rh": 40.0}) for k, v in at.items()], 6)
    for aggregate, expected in (
        ("mean", [2.0, 10.0, 8.0]),
        ("min", [1.0, 10.0, 7.0]),
        ("max", [3.0, 10.0, 9.0]),
    ):
        time, values = series.aggregate_readings("s", T, T + 240, 60, aggregate, ["pm25"])
        assert time.tolist() == [T, T + 60, T + 180]
        assert list(values) == ["pm25"]
        assert values["pm25"].tolist() == expected
    time, values = series.aggregate_readings("s", T + 30, T + 61, 60)
    assert time.tolist() == [T, T + 60]
    assert values["pm25"].tolist() == [3.0, 10.0]
    assert sorted(values) == ["pm25", "rh"]


def test_intervals_without_the_quantity_are_left_out(series):
    series.write([Reading("s", T, T, {"pm25": 1.0}), Reading("s", T + 60, T, {"rh": 40.0})], 2)
    time, values = series.aggregate_readings("s", T, T + 120, 60, "mean", ["rh", "co2"])
    assert time.tolist() == [T + 60]
    assert list(values) == ["rh"]


def test_statements_are_made_of_known_quantities_only(series):
    with pytest.raises(ValueError, match=r"no such quantity: 'pm25\) FROM x --'"):
        series.aggregate_readings("s", T, T + 1, 60, "mean", ["pm25) FROM x --"])
    with pytest.raises(ValueError, match=r"at least 0\.001"):
        series.aggregate_readings("s", T, T + 1, 0)


def test_events_and_faults(series):
    series.write(
        [
            Reading("s2", T, T, {}, ("tamper", "online"), ("co", "pm25")),
            Reading("s", T, T, {"pm25": 1.0}, ("vendor_vape",)),
            Reading("s", T + 1, T, {"pm25": 1.0}),
            Reading("s", T + 2, T, {}, (), ("rh",)),
            Reading("s", T + 3, T, {}, ("offline",)),
        ],
        5,
    )
    assert [(r.time, r.sensor, r.events, r.faults) for r in series.read_between(T, T + 3)] == [
        (T, "s", ("vendor_vape",), ()),
        (T, "s2", ("tamper", "online"), ("co", "pm25")),
        (T + 1, "s", (), ()),
        (T + 2, "s", (), ("rh",)),
    ]


def test_a_sensor_that_is_not_registered_is_kept_and_found(series):
    name = 'it\'s \\ a "stranger",\nx=1 y'
    series.write([Reading(name, T, T, {"pm25": 5.0}, ("tamper",), (), ("unknown_sensor",))], 1)
    time, values = series.read_window(name, T, T)
    assert time.tolist() == [T]
    assert values["pm25"].tolist() == [5.0]
    (found,) = series.read_between(T, T + 1)
    assert (found.sensor, found.events) == (name, ("tamper",))


def test_readings_of_some_sensors(series):
    names = ("s", "s2", "it's \\ nobody")
    series.write([Reading(name, T, T, {"pm25": 5.0}) for name in names], 3)
    for asked in (names[:1], names[1:], names):
        assert [r.sensor for r in series.read_between(T, T + 1, asked)] == sorted(asked)
    assert series.read_between(T, T + 1, ["away"]) == []


def test_all_readings_come_back_as_they_were_received(series):
    assert series.read_between(T, T + 9) == []
    full = {key: QUANTITIES[key].high for key in COLUMNS}
    readings = [
        Reading("s", T, T + 0.5, full, ("tamper", "online"), ("co", "pm25"), ("late",)),
        Reading("s2", T, T + 0.6, {}, (), ("rh",)),
        Reading("nobody knows", T + 0.25, T + 1, {"pm25": 3.0}, (), (), ("unknown_sensor",)),
        Reading("s", T + 1.000001, T + 2, {"rh": 0.0}),
    ]
    series.write(readings[::-1], 4)
    assert series.read_between(T, T + 9) == readings
    assert series.read_between(T, T + 1) == readings[:3]
    assert series.read_between(T + 0.25, T + 0.26) == readings[2:3]


def test_readings_of_one_moment_come_back_as_one(series):
    series.write(
        [
            Reading("s", T, T + 2, {"pm25": 9.0, "rh": 40.0}, ("online",), (), ("history",)),
            Reading("s", T, T + 1, {"pm25": 1.0}, (), ("co",)),
        ][::-1],
        2,
    )
    (found,) = series.read_between(T, T + 1)
    assert found.values == {"pm25": 1.0, "rh": 40.0}
    assert (found.received, found.events, found.faults) == (T + 1, ("online",), ("co",))
    assert found.flags == ()  # the first reading's flags


def test_what_is_added_does_not_move_the_position(series):
    series.write([Reading("s", T, T, {"pm25": 1.0})], 7)
    series.write([Reading("s", T + 1, T, {"pm25": 2.0}), Reading("s2", T, T, {"rh": 40.0})])
    series.write([])
    assert series.get_cursor() == 7
    assert [r.sensor for r in series.read_between(T, T + 9)] == ["s", "s2", "s"]


def test_readings_of_no_sensor_are_none(series):
    series.write([Reading("s", T, T, {"pm25": 7.0})], 1)
    assert len(series.read_between(T, T + 1)) == 1
    assert series.read_between(T, T + 1, ()) == []


class TestHealth:
    """Tests that records of sensors' health are the same in every store."""

    def test_every_field_comes_back(self, series):
        fields = {
            key: f'it\'s \\ "{key}"\n=, é' if kind is str else i + 0.1
            for i, (key, kind) in enumerate(HEALTH_FIELDS.items())
        }
        record = Record("sensor_health", T + 0.25, fields, sensor="s")
        series.record([record])
        assert series.read_health(T, T + 1) == [record]
        assert series.read_health(T + 1, T + 9) == []
        assert series.read_health(T, T + 0.25) == []

    def test_what_is_written_again_replaces_itself(self, series):
        first, after = (Record("sensor_health", T, {"online": n}, sensor="s") for n in (1.0, 0.0))
        other = Record("sensor_health", T + 1, {"online": 1.0}, sensor="s2")
        incident = Record("incident", T, {"open": 1.0}, room="n2, boys", kind="vape", id="i1")
        for records in ([other, first, incident], [after], [after]):
            series.record(records)
        assert series.read_health(T, T + 9) == [after, other]

    def test_sums_by_sensor(self, series):
        series.record(
            [
                Record("sensor_health", T + i, {"online_s": 1.5, "missing": float(i)}, sensor=name)
                for i in range(4)
                for name in ("s", "s2")
            ]
            + [Record("sensor_health", T + 1.5, {"online_s": 0.5}, sensor="s")]
        )
        found = series.sum_health(("online_s", "missing"), T + 1, T + 3, ["s", "away"])
        assert found == {"s": (3.5, 3.0)}
        assert series.sum_health(("missing",), T + 9, T + 99, ["s"]) == {}
        assert series.sum_health(("missing", "urgency"), T, T + 9, ["s"]) == {"s": (6.0, 0.0)}

    def test_what_is_not_registered_is_kept_by_its_name(self, series):
        records = [
            Record("sensor_health", T, {"online": 0.0}, sensor='it\'s "gone", \\ a=b'),
            Record("sensor_health", T, {"online": 1.0}, sensor="gone too"),
        ]
        series.record(records)
        assert sorted(series.read_health(T, T + 1), key=lambda r: r.sensor)[::-1] == records

    def test_what_is_no_number_is_left_out_and_what_does_not_fit_is_refused(self, series):
        fields = {"online": 1.0, "last_seen": math.nan}
        series.record([Record("sensor_health", T, fields, sensor="s")])
        assert series.read_health(T, T + 1)[0].fields == {"online": 1.0}
        for wrong in (
            Record("sensors_health", T, {"online": 1.0}, sensor="s"),
            Record("sensor_health", T, {"onlien": 1.0}, sensor="s"),
            Record("sensor_health", T, {"online": "yes"}, sensor="s"),
            Record("sensor_health", T, {"state": 1.0}, sensor="s"),
            Record("sensor_health", T, {"online": 1.0}, kind="vape"),
            Record("sensor_health", T, {"online": math.inf}, sensor="s"),
            Record("incident", T, {"open": 1.0}, room="n2, boys", kind="vape"),
        ):
            with pytest.raises(RecordError, match=r"health|incident"):
                series.record([wrong])
