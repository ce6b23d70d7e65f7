"""Queries of dashboards over the embedded store, by hand; a contract test asks a real InfluxDB."""

from contextlib import closing
from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from storage import sqlite
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.timeseries import influxql
from storage.timeseries.influxql import QueryError
from storage.timeseries.records import Record
from storage.timeseries.sqlite import SqliteSeries

NOW = 1_790_000_000.0
REGISTRY = Registry.of(
    [Room("r/1", "A", "1", "Main", "High"), Room("r2", "B", "2", "Main", "High")],
    [Sensor("a", "r/1"), Sensor("b", "r2"), Sensor("c", "r2", "sen55")],
)
VALUES = {"a": (1.0, 2.0, 3.0, 10.0), "b": (5.0,), "c": (7.0, 8.0)}


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    path = tmp_path_factory.mktemp("influxql") / "series.db"
    with SqliteSeries(path) as series:
        for sensor, values in VALUES.items():
            series.add(
                [Reading(sensor, NOW - 50 + 10 * k, NOW, {"pm25": v}) for k, v in enumerate(values)]
            )
        series.record([Record("pipeline", NOW - 30, {"messages": 6.0, "period_s": 0.0})])
    with closing(sqlite.connect(path, read_only=True)) as opened:
        yield opened


def ask(db, text):
    found = influxql.answer(db, REGISTRY, influxql.parse(text, NOW))
    return found.columns, found.rows


def values(db, what, more=""):
    _, rows = ask(db, f'SELECT {what} FROM "reading" WHERE time > now() - 1m {more}')  # noqa: S608 - no SQL
    return [row[1:] for row in rows]


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ('count("pm25")', 7),
        ('sum("pm25")', 36.0),
        ('median("pm25")', 5.0),
        ('percentile("pm25", 90)', 8.0),
        ('max("pm25") - min("pm25") * 2', 8.0),
        ('(max("pm25") - min("pm25")) * 2', 18.0),
        ('sum("pm25") / 0', 0.0),
    ],
)
def test_one_number(db, what, expected):
    assert values(db, what) == [(expected,)]


def test_nothing_is_no_row(db):
    assert values(db, 'sum("rh")') == []
    assert values(db, 'count("pm25")', "AND \"room\" = 'nowhere'") == []


def test_groups_by_tag_and_time(db):
    assert values(db, 'max("pm25")', 'GROUP BY "room"') == [("r/1", 10.0), ("r2", 8.0)]
    found = values(db, 'mean("pm25")', 'AND "sensor" =~ /^(a|c)$/ GROUP BY time(20s), "room"')
    assert ("r/1", 2.5) in found


def test_empty_intervals_are_filled_in(db):
    text = 'SELECT count("pm25") FROM "reading" WHERE time > now() - 1m AND time < now()'
    _, rows = ask(db, f"{text} AND \"sensor\" = 'b' GROUP BY time(20s) fill(0)")
    assert sorted(row[1] for row in rows) == [0.0, 0.0, 1]
    assert {b[0] - a[0] for a, b in pairwise(rows)} == {20e9}


def test_a_slash_in_a_pattern_and_passed_tags(db):
    inner = 'SELECT "pm25" * 2 AS "twice" FROM "reading" WHERE time > now() - 1m'
    inner += ' AND "room" =~ /^r\\/1$/'
    text = f'SELECT max("twice") FROM ({inner}) GROUP BY "room"'  # noqa: S608 - no SQL
    assert [row[1:] for row in ask(db, text)[1]] == [("r/1", 20.0)]


def test_values_of_a_tag(db):
    columns, rows = ask(
        db, 'SHOW TAG VALUES FROM "reading" WITH KEY = "room" WHERE "floor" =~ /^2$/'
    )
    assert columns == ("time", "key", "value")
    assert [row[1:] for row in rows] == [("room", "r2")]


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])
@pytest.mark.parametrize("day", ["2026-03-08", "2026-10-04", "2026-11-01", "2026-06-15"])
def test_days_begin_at_local_midnight(zone, day):
    for hour in range(24):
        at = datetime.fromisoformat(f"{day}T{hour:02}:30:00").replace(tzinfo=ZoneInfo(zone))
        begins = influxql._local_bucket(round(at.timestamp() * 1e9), 86_400 * 10**9, 0, zone)
        midnight = datetime.fromtimestamp(begins / 1e9, ZoneInfo(zone))
        assert midnight.isoformat().startswith(f"{day}T00:00:00")


def test_a_query_that_takes_too_long_is_ended(db, monkeypatch):
    monkeypatch.setattr(influxql, "_LONGEST_S", -1.0)
    monkeypatch.setattr(influxql, "_STEPS", 1)
    with pytest.raises(QueryError, match="too long"):
        values(db, 'sum("pm25")')
