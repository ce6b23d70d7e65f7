"""Queries of dashboards over the embedded store, by hand; a contract test asks a real InfluxDB."""

import sqlite3
import time
import tracemalloc
from contextlib import closing
from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from storage import sqlite
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.timeseries import influxql, influxql_sql
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
    found = influxql_sql.answer(db, REGISTRY, influxql.parse(text, NOW))
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
        ('sum("pm25") / 8', 4.5),
        ('(sum("pm25") / 2) / (count("pm25") / 7)', 18.0),
    ],
)
def test_one_number(db, what, expected):
    assert values(db, what) == [(expected,)]


def test_nothing_is_no_row(db):
    assert values(db, 'sum("rh")') == []
    assert values(db, 'count("pm25")', "AND \"room\" = 'nowhere'") == []


@pytest.mark.parametrize(("outer", "inner"), [("25s", "1m"), ("1m", "25s")])
def test_of_two_nested_ranges_both_count(db, outer, inner):
    newest = f'SELECT "pm25" AS "x" FROM "reading" WHERE time > now() - {inner}'  # noqa: S608 - no SQL
    _, rows = ask(db, f'SELECT count("x") FROM ({newest}) WHERE time > now() - {outer}')  # noqa: S608 - no SQL
    assert [row[1] for row in rows] == [1]


def test_the_newest_of_many_values_is_found_without_keeping_the_others(tmp_path):
    with SqliteSeries(tmp_path / "series.db") as series:
        series.add([Reading("a", NOW - k, NOW, {"pm25": float(k)}) for k in range(1, 20_001)])
    with closing(sqlite.connect(tmp_path / "series.db", read_only=True)) as db:
        tracemalloc.start()
        try:
            _, rows = ask(db, 'SELECT last("pm25") FROM "reading" WHERE time > now() - 1d')
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert [row[1] for row in rows] == [1.0]
    assert most < 1_000_000


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
        begins = influxql_sql._local_bucket(round(at.timestamp() * 1e9), 86_400 * 10**9, 0, zone)
        midnight = datetime.fromtimestamp(begins / 1e9, ZoneInfo(zone))
        assert midnight.isoformat().startswith(f"{day}T00:00:00")


def test_a_query_that_takes_too_long_is_ended(db, monkeypatch):
    monkeypatch.setattr(influxql_sql, "_LONGEST_S", -1.0)
    monkeypatch.setattr(influxql_sql, "_STEPS", 1)
    with pytest.raises(QueryError, match="too long"):
        values(db, 'sum("pm25")')


def test_time_is_that_of_the_clock_on_the_wall(db, monkeypatch):
    """A busy machine gives a thread little time of its own; the page waits no longer for it."""
    moments = iter([0.0, *[influxql_sql._LONGEST_S + 1.0] * 100])
    monkeypatch.setattr(influxql_sql.time, "monotonic", lambda: next(moments))
    monkeypatch.setattr(influxql_sql, "_STEPS", 1)
    with pytest.raises(QueryError, match="too long"):
        values(db, 'sum("pm25")')


def nested(depth):
    text = "1"
    for _ in range(depth):
        text = f"1 / ({text})"
    return text


deep = pytest.mark.skipif(
    sqlite3.sqlite_version_info < (3, 46), reason="the parser of this SQLite refuses deep terms"
)


@deep
def test_nested_divisions_are_answered(db):
    columns = ", ".join(f'{nested(22)} AS "{k}"' for k in range(10))
    _, rows = ask(db, f'SELECT {columns} FROM "registered_sensor"')  # noqa: S608 - no SQL
    assert rows[0][1:] == (1.0,) * 10


def test_a_statement_that_becomes_too_long_is_refused(db, monkeypatch):
    monkeypatch.setattr(influxql_sql, "_MOST_SQL", 500)
    with pytest.raises(QueryError, match="too long"):
        values(db, " + ".join(['"pm25"'] * 40))


RECENT = 'FROM "reading" WHERE time > now() - 1m'


@pytest.mark.parametrize(
    "text",
    [
        f"SELECT {'+'.join(['1'] * 2_500)} {RECENT}",
        f'SELECT "pm25" {RECENT} AND {" OR ".join(["1=1"] * 1_000)}',
        f"SELECT {','.join(['1'] * 2_500)} {RECENT}",
        f'SELECT "pm25", \'{"x" * 5_000}\' AS "text" {RECENT}',
        f'SELECT "pm25" {RECENT} LIMIT {"9" * 5_000}',
        f'SELECT "pm25" {RECENT} LIMIT 1.5',
        f'SELECT "pm25" {RECENT} AND time > now() - {"9" * 5_000}s',
        'SELECT "pm25" FROM "reading" WHERE time > 1.5',
        f'SELECT "pm25" FROM "reading" WHERE time > {"9" * 5_000}',  # noqa: S608 - no SQL
        'SELECT "pm25" FROM "reading" WHERE time > \'0001-01-01\'',
        'SELECT "pm25" FROM "reading" WHERE time > \'9999-12-31T23:59:59-14:00\'',
    ],
)
def test_what_is_too_much_or_no_number_is_refused(text):
    with pytest.raises(QueryError):
        influxql.parse(text, NOW)


@deep
def test_the_terms_that_are_allowed_are_answered(db):
    assert values(db, f'{"+".join(["1"] * 299)} + "pm25"')[0] == (300.0,)


def test_an_answer_has_at_most_so_many_cells(db, monkeypatch):
    monkeypatch.setattr(influxql_sql, "MOST_CELLS", 20)
    assert len(values(db, '"pm25"', "LIMIT 7")) == 7
    with pytest.raises(QueryError, match="more than 5 rows"):
        values(db, '"pm25" AS "a", "pm25" AS "b", "pm25" AS "c"')
    assert len(values(db, '"pm25" AS "a", "pm25" AS "b", "pm25" AS "c"', "LIMIT 5")) == 5


def test_more_rows_than_allowed_are_refused_and_not_cut_off(db):
    sensors = [Sensor(f"s{k}", "r2") for k in range(influxql_sql.MOST_ROWS + 1)]
    query = influxql.parse('SELECT "sensor" FROM "registered_sensor"', NOW)
    allowed, too_many = (
        Registry.of(REGISTRY.rooms.values(), some) for some in (sensors[1:], sensors)
    )
    assert len(influxql_sql.answer(db, allowed, query).rows) == influxql_sql.MOST_ROWS
    with pytest.raises(QueryError, match="more than 50000 rows"):
        influxql_sql.answer(db, too_many, query)


CHANGES = {
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "Australia/Lord_Howe": ("2026-04-04", "2026-10-03"),
    "Asia/Kolkata": ("2026-06-15",),
}
HOUR_NS = 3_600 * 10**9


@pytest.fixture(scope="module")
def around_changes(tmp_path_factory):
    """Records every ten minutes of the days around each change of the clock."""
    path = tmp_path_factory.mktemp("changes") / "series.db"
    days = {day for days in CHANGES.values() for day in days}
    starts = [datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() for day in days]
    with SqliteSeries(path) as series:
        series.record(
            [
                Record("pipeline", start - 86_400 + 600 * k, {"messages": 1.0, "period_s": 0.0})
                for start in starts
                for k in range(6 * 72)
            ]
        )
    with closing(sqlite.connect(path, read_only=True)) as opened:
        yield opened


@pytest.mark.parametrize(("zone", "day"), [(z, day) for z, days in CHANGES.items() for day in days])
@pytest.mark.parametrize("step", [5, 10, 15, 30, 60, 180, 240, 360, 1_440])
def test_intervals_advance_over_a_change_of_the_clock(around_changes, zone, day, step):
    start = round(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 10**9
    start, end = start - 24 * HOUR_NS, start + 48 * HOUR_NS
    for offset in (0, 10, 30, 50) if step != 60 else (0,):
        _, rows = ask(
            around_changes,
            f'SELECT count("messages") FROM "pipeline" WHERE time >= {start} AND time < {end}'  # noqa: S608 - no SQL
            f" GROUP BY time({step}m, {offset}m) fill(0) tz('{zone}')",
        )
        times = [row[0] for row in rows]
        steps = [after - before for before, after in pairwise(times)]
        assert min(steps, default=1) > 0
        assert max(steps, default=0) <= step * HOUR_NS // 60 + HOUR_NS
        assert times[0] <= start
        assert times[-1] > end - step * HOUR_NS // 60 - HOUR_NS
        assert sum(row[1] for row in rows) == 6 * 72


@pytest.mark.parametrize("step", ["20m", "40m", "45m", "75m", "90m", "2h", "5h", "25h", "1h, 30m"])
def test_intervals_that_differ_when_the_clock_changes_are_refused(step):
    text = f'SELECT count("messages") FROM "pipeline" WHERE time > 0 GROUP BY time({step})'  # noqa: S608 - no SQL
    assert influxql.parse(text, NOW).step
    with pytest.raises(QueryError, match="on which the clock changes"):
        influxql.parse(f"{text} tz('America/New_York')", NOW)


def test_a_nested_statement_is_not_cut_off(db):
    registry = Registry.of(REGISTRY.rooms.values(), [Sensor(f"s{k}", "r2") for k in range(60_000)])
    inner = '(SELECT 1 AS "one" FROM "registered_sensor")'
    for limit, count in (("", 60_000), (" LIMIT 55000", 55_000)):
        query = influxql.parse(f'SELECT sum("one") FROM {inner.replace(")", limit + ")")}', NOW)  # noqa: S608 - no SQL
        assert influxql_sql.answer(db, registry, query).rows == [(0, count)]


@pytest.mark.parametrize("machine", ["America/New_York", "Asia/Tokyo", "UTC"])
def test_a_moment_without_a_zone_is_utc_wherever_the_machine_is(monkeypatch, machine):
    monkeypatch.setenv("TZ", machine)
    time.tzset()
    text = 'SELECT "pm25" FROM "reading" WHERE time >= '
    try:
        starts = {
            influxql.parse(f"{text}'2026-01-02{rest}'", NOW).start
            for rest in ("", " 00:00:00", "T00:00:00Z", "T01:00:00+01:00")
        }
    finally:
        monkeypatch.undo()
        time.tzset()
    assert starts == {1_767_312_000 * 10**9}
    with pytest.raises(QueryError, match="end each moment with its zone"):
        influxql.parse(f"{text}'2026-01-02' tz('America/New_York')", NOW)
