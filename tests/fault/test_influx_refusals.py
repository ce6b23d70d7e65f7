"""Test a real InfluxDB's refusals: each gives one message, and in the end nothing is lost."""

import asyncio
import shutil
import threading
import time

import pytest

from storage.timeseries.influx_http import InfluxHttp, InfluxSettings
from storage.timeseries.influx_setup import set_up
from storage.timeseries.resolution import Retention
from tests.support.influx import DATABASE, Influxd, influxql
from tests.support.oracle import letters_of
from tests.support.series_course import Course
from tests.support.waiting import until

NOW = time.time() // 1
COUNT = 600


@pytest.fixture
def server(tmp_path):
    with Influxd(tmp_path) as started:
        yield started


@pytest.fixture
def course(tmp_path):
    made = []

    def make(settings, count=COUNT):
        made.append(Course(tmp_path, settings, now=NOW))
        values = {k: {"pm25": float(k), "co2": 400.0 + k} for k in range(count)}
        made[-1].commit(count, changed=values)
        return made[-1]

    yield make
    for one in made:
        one.close()


def assert_all_stored(course, count=COUNT):
    found = [r.values["pm25"] for r in course.series.read_between(NOW - count, NOW + 1)]
    assert found == [float(i) for i in range(count)]
    assert course.writer.state.refused == 0


async def test_a_password_that_is_wrong_and_then_right(course, tmp_path):
    with Influxd(tmp_path, auth=True) as server:
        influxql(server.url, "CREATE USER root WITH PASSWORD 'right' WITH ALL PRIVILEGES")
        root = InfluxHttp(InfluxSettings(server.url, "air", username="root", secret="right"))
        root.query("CREATE DATABASE air", change=True)
        root.query("CREATE USER p WITH PASSWORD 'changed'", change=True)
        c = course(InfluxSettings(server.url, "air", username="p", secret="mine"))
        async with c.running():
            await until(lambda: c.faults)
            root.query("SET PASSWORD FOR p = 'mine'", change=True)
            await until(lambda: len(c.faults) > 1)  # it has no permissions yet
            root.query("GRANT ALL ON air TO p", change=True)
            await until(lambda: c.series.get_cursor() == COUNT)
        assert "does not accept the token or password" in c.faults[0]
        assert "the token or user has no permission to write to database 'air'" in c.faults[1]
        assert all("\n" not in fault and "mine" not in fault for fault in c.faults)
        assert_all_stored(c)


def make_database(settings):
    """Set up a database that accepts readings of any age."""
    list(set_up(InfluxHttp(settings), Retention(raw_days=3_650)))


async def test_a_database_that_is_made_later(course, server):
    c = course(settings := InfluxSettings(server.url, "later"))
    async with c.running():
        await until(lambda: c.faults)
        make_database(settings)
        await until(lambda: c.series.get_cursor() == COUNT)
    assert "has no database 'later'" in c.faults[0]
    assert_all_stored(c)


async def test_a_schema_of_another_program(course, server):
    settings = InfluxSettings(server.url, DATABASE)
    InfluxHttp(settings).write(b'reading,sensor=other co2="many" %d000000000' % NOW)
    c = course(settings)
    await c.drain()
    assert c.journal.count_dead_letters() == {"series_refused": COUNT}
    assert all("field type conflict" in fault for fault in c.faults)
    assert len(c.faults) >= 1  # and it paused in between
    assert all("field type conflict" in letter.detail for letter in letters_of(c.journal))
    influxql(server.url, 'DROP MEASUREMENT "reading"', DATABASE)
    c.series.write([], 0)  # as in a new file with the cursor
    await c.drain()
    assert c.journal.count_dead_letters() == {"series_refused": COUNT}  # the earlier ones
    assert len(c.series.read_between(0.0, 4e9)) == COUNT


async def test_a_clock_or_retention_that_does_not_fit(course, server):
    settings = InfluxSettings(server.url, "short")
    influxql(server.url, "CREATE DATABASE short WITH DURATION 1h")
    c = course(settings, 9_000)  # 2.5 hours
    async with c.running():
        await until(lambda: c.faults)
        make_database(settings)
        await until(lambda: c.series.get_cursor() == 9_000)
    assert "refuses current readings as older than it keeps: its clock is wrong" in c.faults[0]
    assert_all_stored(c, 9_000)


async def test_a_full_disk(course, small_disk):
    """Version 1.6.7 must be restarted after space is free again, or it keeps refusing."""
    with Influxd(small_disk) as server:
        c = course(InfluxSettings(server.url, DATABASE), 6000)
        filler, is_full, write = small_disk / "filler", threading.Event(), c.series.write

        def write_later(readings, behind):
            assert behind <= 1000 or is_full.wait(60)
            write(readings, behind)

        c.series.write = write_later
        async with c.running():
            await until(lambda: c.series.get_cursor() == 1000)
            filler.write_bytes(bytes(max(0, shutil.disk_usage(small_disk).free - 8192)))
            is_full.set()
            await until(lambda: c.faults)
            filler.unlink()
            server.end()
            await asyncio.to_thread(server.start)
            await until(lambda: c.series.get_cursor() == 6000)
        assert "no space left on device" in c.faults[0]
        assert_all_stored(c, 6000)
