"""What a real InfluxDB refuses: one sentence each, nothing lost, and all of it there in the end.

A server that somebody names (`tests.support.influx`) is asked too, except what needs its disk.
"""

import asyncio
import contextlib
import re
import shutil
import subprocess
import time
from dataclasses import replace

import pytest
from influxdb_client import BucketRetentionRules

from storage.journal import Journal
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.timeseries.influx import InfluxSeries
from storage.timeseries.influx_http import InfluxHttp, InfluxSettings
from storage.timeseries.writer import SeriesWriter, WriterSettings, retry_refused
from tests.support.influx import (
    NAMED,
    Influxd,
    influxql,
    make_database,
    no_database,
    own_database,
    remove_database,
)
from tests.support.oracle import letters_of

REGISTRY = Registry.of([Room("r", "R", "", "B", "S")], [Sensor("s", "r")])
NOW = time.time() // 1
COUNT = 600


class Course:
    """Journal, writer and series of one database; `faults` are its sentences, in order."""

    def __init__(self, folder, settings, count=COUNT):
        self.count = count
        self.journal = Journal(folder / "journal.db")
        self.journal.open()
        readings = [
            Reading("s", NOW - count + i, NOW, {"pm25": float(i), "co2": 400.0 + i})
            for i in range(count)
        ]
        self.journal.commit(readings)
        self.series = InfluxSeries(settings, REGISTRY, folder / "influx.db")
        self.series.open()
        self.faults = []
        self.writer = SeriesWriter(
            "influx",
            self.series,
            self.journal.read,
            self._write_dead_letters,
            asyncio.to_thread,
            lambda: NOW,
            settings=WriterSettings(batch=100),
            sleep=self._sleep,
        )

    async def _write_dead_letters(self, letters):
        self.journal.commit([], letters)

    async def _sleep(self, _):
        failing = self.writer.state.failing
        if not self.faults or self.faults[-1] != failing:
            self.faults.append(failing)
        await asyncio.sleep(0.02)

    @contextlib.asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.writer.run())
        try:
            async with asyncio.timeout(100):
                yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def until(self, condition):
        while not condition():  # noqa: ASYNC110 - what is waited for is in other threads
            await asyncio.sleep(0.02)

    def stored(self):
        return [r.values["pm25"] for r in self.series.between(NOW - self.count, NOW + 1)]

    def close(self):
        self.series.close()
        self.journal.close()


@pytest.fixture
def course(tmp_path):
    made = []

    def make(settings, **options):
        made.append(Course(tmp_path, settings, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def all_of(course):
    return [float(i) for i in range(course.count)]


async def test_a_password_that_is_wrong_and_then_right(course, tmp_path):
    with Influxd(tmp_path, auth=True) as server:
        influxql(server.url, "CREATE USER root WITH PASSWORD 'right' WITH ALL PRIVILEGES")
        settings = InfluxSettings(server.url, "air", username="root", secret="right")
        root = InfluxHttp(settings)
        root.query("CREATE DATABASE air", change=True)
        root.query("CREATE USER p WITH PASSWORD 'changed'", change=True)
        c = course(replace(settings, username="p", secret="mine"))
        async with c.running():
            await c.until(lambda: c.faults)
            root.query("SET PASSWORD FOR p = 'mine'", change=True)
            await c.until(lambda: len(c.faults) > 1)  # it has no rights yet
            root.query("GRANT ALL ON air TO p", change=True)
            await c.until(lambda: c.series.cursor() == COUNT)
        assert "does not accept the token or password" in c.faults[0]
        assert "the token or user has no right to write to database 'air'" in c.faults[1]
        assert all("\n" not in fault and "mine" not in fault for fault in c.faults)
        assert c.stored() == all_of(c)
        assert c.writer.state.refused == 0


@contextlib.contextmanager
def of_the_test(folder):
    """Yield settings of a database that is not there, on a 1.x of the test."""
    with Influxd(folder) as server:
        yield InfluxSettings(server.url, "later")


SERVERS = [of_the_test, *(pytest.param(lambda _: no_database(), id=name) for name in NAMED)]


@pytest.mark.skipif(not NAMED, reason="of a server that is named")
async def test_a_token_of_a_named_server_that_is_wrong_and_then_right(course):
    with own_database() as settings:
        if not settings.secret:
            pytest.skip("it wants no token")
        c = course(replace(settings, secret="wrong"))
        async with c.running():
            await c.until(lambda: c.faults)
            c.series.close()
            c.series.http.settings = settings
            c.series.open()
            await c.until(lambda: c.series.cursor() == COUNT)
        assert "does not accept the token or password" in c.faults[0]
        assert c.stored() == all_of(c)


@pytest.mark.parametrize("server", SERVERS)
async def test_a_database_that_is_made_later(course, tmp_path, server):
    with server(tmp_path) as settings:
        c = course(settings)
        async with c.running():
            await c.until(lambda: c.faults)
            make_database(settings)
            await c.until(lambda: c.series.cursor() == COUNT)
        name = settings.database
        assert re.match(
            rf"{settings.url} has no (database|bucket) '{name}'.*; `plumewatch storage setup`"
            " makes it",
            c.faults[0],
        )
        assert c.stored() == all_of(c)


@pytest.mark.parametrize("server", SERVERS)
async def test_a_schema_of_another_program(course, tmp_path, server):
    with server(tmp_path) as settings:
        make_database(settings)
        InfluxHttp(settings).write(b'reading,sensor=other co2="many" %d000000000' % NOW)
        c = course(settings, count=200)
        async with c.running():
            await c.until(lambda: c.series.cursor() == c.count)
        assert c.journal.dead_letter_counts() == {"series_refused": c.count}
        words = "field type conflict|invalid column type"
        assert all(re.search(words, fault) for fault in c.faults)  # and it made pauses
        assert len(c.faults) >= 1
        assert {bool(re.search(words, letter.detail)) for letter in letters_of(c.journal)} == {True}
        assert c.stored() == []
        remove_database(settings)
        make_database(settings)
        assert retry_refused(c.journal.path, c.series) == (c.count, 0)
        assert c.stored() == all_of(c)
        assert c.journal.dead_letter_counts() == {}


def make_short_database(settings):
    """Make a database, or bucket, that keeps readings for an hour."""
    http = InfluxHttp(settings)
    if http.server().major == 3:
        pytest.skip("it drops what is too old, without a word")
    if http.server().major == 1:
        http.query(f'CREATE DATABASE "{settings.database}" WITH DURATION 1h', change=True)
        return
    rules = BucketRetentionRules(type="expire", every_seconds=3_600)
    http.on_client(
        lambda client: client.buckets_api().create_bucket(
            bucket_name=settings.database, org=settings.org, retention_rules=rules
        )
    )


@pytest.mark.parametrize("server", SERVERS)
async def test_a_clock_or_retention_that_does_not_fit(course, tmp_path, server):
    with server(tmp_path) as settings:
        make_short_database(settings)
        c = course(settings, count=9000)  # 2.5 hours
        async with c.running():
            await c.until(lambda: c.faults)
            make_database(settings)
            await c.until(lambda: c.series.cursor() == 9000)
        assert "refuses current readings as older than it keeps: its clock is wrong" in c.faults[0]
        assert c.writer.state.refused == 0
        assert c.stored() == all_of(c)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MB."""
    home = tmp_path / "small"
    home.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(home)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    yield home
    subprocess.run(["umount", "-l", str(home)], check=True)


async def test_a_full_disk(course, small_disk):
    """1.6.7 goes on refusing when there is room again, until it is started anew."""
    with Influxd(small_disk) as server:
        influxql(server.url, "CREATE DATABASE air")
        c = course(InfluxSettings(server.url, "air"), count=6000)
        filler = small_disk / "filler"
        async with c.running():
            await c.until(lambda: c.series.cursor() >= 1000)
            filler.write_bytes(bytes(max(0, shutil.disk_usage(small_disk).free - 8192)))
            await c.until(lambda: c.faults)
            filler.unlink()
            server.end()
            await asyncio.to_thread(server.start)
            await c.until(lambda: c.series.cursor() == 6000)
        assert "has a full disk" in c.faults[0]
        assert c.writer.state.refused == 0
        assert c.stored() == all_of(c)
