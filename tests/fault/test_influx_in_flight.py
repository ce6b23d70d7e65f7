"""An InfluxDB 3 takes a second a write: several at once, and the cursor behind the oldest.

In front of a server that somebody names (`tests.support.influx`), the stub decides when it writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from detection.quantities import COLUMNS, QUANTITIES
from storage.journal import Journal
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.timeseries.influx import BATCH, IN_FLIGHT, InfluxSeries
from storage.timeseries.influx_http import InfluxSettings
from storage.timeseries.writer import SeriesWriter, WriterSettings
from tests.support.influx import NAMED, FakeServer, forwarded, own_database

T = 1_790_000_000.0
WAIT_S = 60
REQUIRED_PER_S = 8_000
TAKEN_MB = 10
ROOT = Path(__file__).parents[2]
REGISTRY = Registry.of([Room("r", "R", "", "B", "S")], [Sensor("s", "r")])
CHILD = """
import asyncio, sys
from pathlib import Path
from storage.timeseries.influx_http import InfluxSettings
from tests.fault.test_influx_in_flight import drain
settings = InfluxSettings(*sys.argv[3:])
asyncio.run(drain(Path(sys.argv[1]), settings, int(sys.argv[2])))
"""


class Influx3:
    """Remembers points; `answer` decides when and how a write is answered, by its first time.

    What it accepts is handed on to the server that is `named`, and answered as that does.
    """

    def __init__(self, named=None, answer=lambda _first: 204):
        self.named = named
        self.answer = answer
        self.points = set()
        self.bytes = []
        self.waiting = self.most = 0
        self.changed = threading.Condition()

    def __call__(self, method, path, query, headers, body):
        if self.named and "write" not in path:
            return forwarded(self.named.url, method, path, query, headers, body)
        if path == "/ping":
            return 200, {}, b'{"version":"3.7.0"}'
        if "write" not in path:
            found = [{"iox::database": "air"}] if "configure" in path else {"results": [{}]}
            return 200, {"Content-Type": "application/json"}, json.dumps(found).encode()
        if not body.strip():
            return 400, {}, b'{"code":"invalid","message":"incoming write was empty"}'
        times = [int(line.rpartition(b" ")[2]) // 10**9 - int(T) for line in body.split(b"\n")]
        with self.changed:
            self.waiting += 1
            self.most = max(self.most, self.waiting)
            self.bytes.append(len(body))
            self.changed.notify_all()
        status, more, content = self.answer(times[0]), {}, b""
        if self.named and status == 204:
            status, more, content = forwarded(self.named.url, method, path, query, headers, body)
        with self.changed:
            self.waiting -= 1
            if status == 204:
                self.points.update(times)
            self.changed.notify_all()
        return status, more, content

    def until(self, condition):
        """Return once a condition holds, at most after `WAIT_S`."""
        with self.changed:
            assert self.changed.wait_for(condition, WAIT_S)

    def settings(self, url):
        """Return settings for this behind an address."""
        return replace(self.named or InfluxSettings(url, "air"), url=url)


@pytest.fixture(params=["stub", *NAMED])
def influx(request):
    if request.param == "stub":
        yield Influx3()
    else:
        with own_database() as named:
            yield Influx3(named)


async def drain(folder, settings, batch, in_flight=IN_FLIGHT):
    """Write a journal into the series as the service does, until the cursor is at its end."""
    journal = Journal(folder / "journal.db")
    journal.open()
    with InfluxSeries(settings, REGISTRY, folder / "influx.db") as series:
        failures = []

        async def send(items):
            await asyncio.to_thread(series.add, items)

        async def write_dead_letters(letters):
            raise AssertionError(letters)

        async def sleep(_):
            failures.append(writer.state.failing)

        writer = SeriesWriter(
            "influx",
            series,
            journal.read,
            write_dead_letters,
            asyncio.to_thread,
            lambda: T,
            send=send,
            settings=WriterSettings(batch=batch, in_flight=in_flight),
            sleep=sleep,
        )
        task = asyncio.create_task(writer.run())
        async with asyncio.timeout(WAIT_S):
            while series.cursor() < journal.last_offset():  # noqa: ASYNC110 - it is in a file
                await asyncio.sleep(0.02)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        stale = series.unaveraged()
    journal.close()
    return failures, stale


def accepted(folder, count, keys=("pm25",)):
    """A journal of readings, one a second."""
    values = {key: QUANTITIES[key].high / 3 for key in keys}
    with contextlib.closing(Journal(folder / "journal.db")) as journal:
        journal.open()
        for at in range(0, count, 10_000):
            several = range(at, min(at + 10_000, count))
            journal.commit([Reading("s", T + k, T + k, values) for k in several])


async def test_a_second_a_write_is_enough_for_more_than_8000_readings_a_second(tmp_path, influx):
    """The server answers when as many writes wait as the service keeps in flight."""
    batch = BATCH // 20  # a full one takes long to read on a busy machine
    accepted(tmp_path, 2 * IN_FLIGHT * batch, COLUMNS)
    rounds = threading.Barrier(IN_FLIGHT)

    def answer(_first):
        rounds.wait(WAIT_S)
        return 204

    influx.answer = answer
    with FakeServer(influx) as server:
        await drain(tmp_path, influx.settings(server.url), batch)
    assert influx.points == set(range(2 * IN_FLIGHT * batch))
    assert len(influx.bytes) == 2 * IN_FLIGHT  # two seconds, had each taken one
    assert IN_FLIGHT * BATCH > 3 * REQUIRED_PER_S
    assert 20 * max(influx.bytes) < TAKEN_MB * 750_000  # of all quantities, with all digits
    assert influx.most == IN_FLIGHT


async def test_a_failure_of_the_oldest_sends_the_others_again_behind_it(tmp_path, influx):
    accepted(tmp_path, 500)
    seen = []

    def answer(first):
        seen.append(first)
        if first == 0 and seen.count(0) == 1:
            influx.until(lambda: {100, 200} <= {p for p in influx.points if p % 100 == 0})
            return 503
        return 204

    influx.answer = answer
    with FakeServer(influx) as server:
        failures, stale = await drain(tmp_path, influx.settings(server.url), 100)
    assert influx.points == set(range(500))
    assert len(failures) == 1
    assert [seen.count(first) for first in (0, 100, 200)] == [2, 2, 2]
    assert stale == 2  # both quarters of an hour will be averaged


def test_killed_while_the_oldest_is_under_way_the_cursor_has_not_passed_it(tmp_path, influx):
    """Batches behind it are stored, and the writer is killed with -9 before it is answered."""
    accepted(tmp_path, 1_000)
    killed = threading.Event()

    def answer(first):
        if first == 0 and not killed.is_set():
            killed.wait(WAIT_S)
            return 503  # not stored, and the client is gone
        return 204

    influx.answer = answer
    with FakeServer(influx) as server:
        settings = influx.settings(server.url)
        given = (settings.database, settings.org, settings.username, settings.secret)
        command = [sys.executable, "-c", CHILD, str(tmp_path), "100", settings.url, *given]
        with subprocess.Popen(command, cwd=ROOT) as child:
            influx.until(lambda: {100, 200} <= influx.points)
            with influx.changed:  # time for what must not come: a batch beyond the three
                assert not influx.changed.wait_for(lambda: 300 in influx.points, 0.5)
            child.kill()
        killed.set()
        influx.until(lambda: influx.waiting == 0)
        assert 0 not in influx.points
        with InfluxSeries(settings, REGISTRY, tmp_path / "influx.db") as series:
            assert series.cursor() == 0
        asyncio.run(drain(tmp_path, settings, 100))
    assert influx.points == set(range(1_000))
