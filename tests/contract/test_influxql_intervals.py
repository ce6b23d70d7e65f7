"""Intervals of local time are those of InfluxDB on days on which the clock changes."""

import json
import re
from contextlib import closing
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import httpx

from dashboards.build import built
from dashboards.frame import DashboardSettings
from storage import sqlite
from storage.registry import Registry
from storage.timeseries import influxql, influxql_sql
from storage.timeseries.records import Record
from storage.timeseries.sqlite import SqliteSeries
from tests.support import grafana
from tests.support.influx import DATABASE, Influxd
from tests.support.influx import influxql as ask

CHANGES = {
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "Australia/Lord_Howe": ("2026-04-04", "2026-10-03"),
    "America/Santiago": ("2026-04-04", "2026-09-05"),
    "Asia/Kolkata": ("2026-06-15",),
}
STEPS = (5, 10, 15, 30, 60, 180, 240, 360, 480, 720, 1_440, 2_880, 10_080)
OFFSETS = {60: (0,), 10_080: (0, 10, 30, 50, 5_760, -4_320)}


def starts():
    """Zones, and the beginning of the day before each change of the clock, Unix seconds."""
    for zone, days in CHANGES.items():
        for day in days:
            noon = datetime.fromisoformat(day).replace(tzinfo=UTC)
            yield zone, round(noon.timestamp()) - 86_400


def statements(zone, start):
    for step in STEPS:
        for offset in OFFSETS.get(step, (0, 10, 30, 50)):
            for fill in ("none", "0"):
                yield (
                    f'SELECT count("messages") FROM "pipeline" WHERE time >= {start}s'  # noqa: S608 - no SQL
                    f" AND time < {start + 3 * 86_400}s GROUP BY time({step}m, {offset}m)"
                    f" fill({fill}) tz('{zone}')"
                )


def test_intervals_around_a_change_of_the_clock(tmp_path):
    times = {start + 600 * k for _, start in starts() for k in range(6 * 72)}
    with SqliteSeries(tmp_path / "series.db") as series:
        series.record([Record("pipeline", at, {"messages": 1.0}) for at in times])
    lines = "\n".join(f"pipeline messages=1 {at}" for at in times)
    with (
        Influxd(tmp_path) as server,
        closing(sqlite.connect(tmp_path / "series.db", read_only=True)) as db,
    ):
        query = {"db": DATABASE, "precision": "s"}
        httpx.post(f"{server.url}/write", params=query, content=lines).raise_for_status()
        for zone, start in starts():
            texts = list(statements(zone, start))
            answers = json.loads(ask(server.url, ";".join(texts), DATABASE, epoch="ns"))["results"]
            for text, found in zip(texts, answers, strict=True):
                mine = influxql_sql.answer(db, Registry(), influxql.parse(text, 0.0)).rows
                theirs = [tuple(row) for row in found["series"][0]["values"]]
                if "fill(0)" in text:  # it may add an empty interval inside another
                    theirs = [row for row in theirs if row[1] or row in mine]
                assert mine == theirs, text


def test_weeks_of_the_board_begin_on_monday_where_the_clock_changes(tmp_path):
    (weeks,) = {
        re.search(r"GROUP BY (time\(\S+ \S+\))", target["query"])[1]
        for panel, target in grafana.questions(built(DashboardSettings())["board"])
        if "per week" in panel["title"] or "by week" in panel["title"]
    }
    with (
        SqliteSeries(tmp_path / "series.db") as series,
        closing(sqlite.connect(tmp_path / "series.db", read_only=True)) as db,
    ):
        days = range(round(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp()), 1_798_000_000, 86_400)
        series.record([Record("pipeline", at, {"messages": 1.0}) for at in days])
        for zone in ("America/New_York", "Europe/Berlin", "Asia/Kolkata", "America/Santiago"):
            text = (
                f'SELECT count("messages") FROM "pipeline" WHERE time >= {days[0]}s'  # noqa: S608 - no SQL
                f" AND time < {days[-1]}s GROUP BY {weeks} fill(none) tz('{zone}')"
            )
            rows = influxql_sql.answer(db, Registry(), influxql.parse(text, 0.0)).rows
            begins = {
                datetime.fromtimestamp(row[0] / 1e9, ZoneInfo(zone)).strftime("%a %H:%M")
                for row in rows
            }
            assert begins == {"Mon 00:00"}, zone
