"""F7: the database is away, overloaded, refuses in part, cuts answers short, or drips them.

The server speaks as much InfluxDB 1.x as a writer needs and keeps points by series and time stamp,
as the real one does: written twice is stored once. In front of a server that somebody names
(`tests.support.influx`), it hands on what it does not spoil. The journal, the writer and its HTTP
are real.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import threading
from contextlib import ExitStack
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from storage.journal import Journal
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.timeseries import influx_http
from storage.timeseries.influx import InfluxSeries
from storage.timeseries.writer import SeriesWriter, WriterSettings
from tests.support.influx import NAMED, forwarded, own_database

T = 1_790_000_000.0
POISON = 13.125
"""Of CO2, which another program has stored as text."""
REGISTRY = Registry.of([Room("r", "R", "1", "Main", "School")], [Sensor("s", "r")])


class FaultyInflux:
    """A server that follows a script of faults, one a write; when it is used up, it works.

    Faults: ``"reset"`` before anything is stored, ``"late"`` (stored, then no answer), ``"half"``
    (half is stored, then 500), ``"drip"`` (an answer byte by byte, without an end), a status, or a
    status with headers.
    """

    def __init__(self, script=(), named=None):
        self.script = list(script)
        self.named = named
        self.points = {}
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.influx = self
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def keep(self, lines):
        """Store what is not poison; return how much is."""
        good = [line for line in lines if f"co2={POISON}" not in line]
        for line in good:
            head, _, stamp = line.rpartition(" ")
            self.points[head.partition(" ")[0], stamp] = head
        return len(lines) - len(good)

    def close(self):
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(60)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.server.influx.named:
            self._answer(*self._handed_on(b""))
        else:
            self._answer(204, {"X-Influxdb-Version": "1.6.7"})

    def _handed_on(self, body):
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        url = self.server.influx.named.url
        return forwarded(url, self.command, parts.path, query, self.headers, body)

    def _stored(self, lines):
        """Store lines; return what the server answers."""
        influx = self.server.influx
        dropped = influx.keep(lines)
        if influx.named:
            return self._handed_on("\n".join(lines).encode())
        if not dropped:
            return 204, {}, b""
        content = {"error": f"partial write: field type conflict dropped={dropped}"}
        return 400, {}, json.dumps(content).encode()

    def do_POST(self):
        influx = self.server.influx
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "write" not in self.path:
            self._answer(*self._handed_on(body))
            return
        lines = body.decode().splitlines()
        fault = influx.script.pop(0) if influx.script else None
        if fault == "drip":
            self._drip()
        elif fault == "half":
            self._stored(lines[: len(lines) // 2])
            self._answer(500)
        elif fault in ("late", "reset"):
            if fault == "late":
                self._stored(lines)
            self.close_connection = True
        elif fault is not None:
            self._answer(*(fault if isinstance(fault, tuple) else (fault,)))
        else:
            self._answer(*self._stored(lines))

    def _answer(self, status, headers=(), body=b""):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _drip(self):
        with contextlib.suppress(OSError):
            self.wfile.write(b"HTTP/1.1 204 No Content\r\nX-Slow: ")
            while not self.server.influx.closing.wait(0.1):
                self.wfile.write(b"x")

    def log_message(self, *_):
        pass


class Course:
    """Journal and writer in front of a faulty server; `pauses` are what the writer waited."""

    def __init__(self, folder, server, batch=50):
        self.server = server
        self.journal = Journal(folder / "journal.db")
        self.journal.open()
        url = f"http://127.0.0.1:{server.port}"
        settings = replace(server.named or influx_http.InfluxSettings(url), url=url)
        self.series = InfluxSeries(settings, REGISTRY, folder / "cursor.db")
        self.series.open()
        self.series.check_connection = lambda: "greeted"  # the faults are for writes
        self.pauses = []
        self.writer = SeriesWriter(
            "the series",
            self.series,
            self.journal.read,
            self._bury,
            asyncio.to_thread,
            lambda: T,
            settings=WriterSettings(batch=batch, refused_in_a_row=1000),
            sleep=self._sleep,
        )
        self.sent = 0

    async def _bury(self, letters):
        self.journal.commit([], letters)

    async def _sleep(self, seconds):
        self.pauses.append(seconds)
        await asyncio.sleep(0.001)

    def stored(self):
        """Count the readings that the server has."""
        return self.series.count() if self.server.named else len(self.server.points)

    def commit(self, count, poison=()):
        self.journal.commit(
            [
                Reading("s", T + k, T, {"co2": POISON} if k in poison else {"pm25": 4.0}, seq=k)
                for k in range(self.sent, self.sent + count)
            ]
        )
        self.sent += count

    async def drain(self, within_s=60):
        task = asyncio.create_task(self.writer.run())
        try:
            async with asyncio.timeout(within_s):
                while self.writer.state.cursor < self.sent:
                    assert not task.done()
                    await asyncio.sleep(0.005)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def close(self):
        self.series.close()
        self.journal.close()


@pytest.fixture(params=["stub", *NAMED])
def run(request, tmp_path, monkeypatch):
    monkeypatch.setattr(influx_http, "_READ_S", 10.0)
    monkeypatch.setattr(influx_http, "_DEADLINE_S", 3.0)
    with ExitStack() as stack:

        def make(script=(), **options):
            named = None
            if request.param == "named":
                named = stack.enter_context(own_database())
                before = round(T - 60) * 10**9
                influx_http.InfluxHttp(named).write(b'reading co2="many" %d' % before)
            server = FaultyInflux(script, named)
            stack.callback(server.close)
            course = Course(tmp_path, server, **options)
            stack.callback(course.close)
            return course

        yield make


SCRIPTS = {
    "away": ["reset"] * 6,
    "errors": [500, 502, 503, 504, 500],
    "stored without an answer": ["late"] * 4,
    "stored in part": ["half"] * 4,
    "database deleted and made again": [(404, {}, b"{}")] * 3,
    "token revoked and given again": [401, 403, 401],
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
async def test_everything_arrives_once_the_server_works(run, script):
    course = run(script)
    course.commit(500)
    await course.drain()
    assert course.stored() == 500
    assert len(course.pauses) == len(script)
    assert course.writer.state.refused == 0
    assert course.writer.state.failing == ""


async def test_it_waits_as_long_as_it_is_asked_to(run):
    course = run([(429, {"Retry-After": "120"}), (503, {"Retry-After": "7"})])
    course.commit(100)
    await course.drain()
    assert course.stored() == 100
    assert course.pauses[0] >= 120
    assert course.pauses[1] >= 7


async def test_bad_points_are_dead_letters_and_stop_nobody(run):
    course = run()
    bad = {3, 49, 50, 137, 138}
    course.commit(200, poison=bad)
    await course.drain()
    assert course.stored() == 195
    assert course.writer.state.refused == len(bad)
    assert course.journal.dead_letter_counts() == {"series_refused": len(bad)}


async def test_bad_points_in_a_storm_of_faults(run):
    rng = random.Random(random.randrange(10**6))  # repeats under the seed pytest prints
    faults = ["reset", "late", "half", 500, 503, (429, {"Retry-After": "1"})]
    course = run([rng.choice([*faults, None]) for _ in range(60)])
    bad = set(rng.sample(range(600), 6))
    course.commit(600, poison=bad)
    await course.drain(100)
    assert course.stored() == 594
    assert course.journal.dead_letter_counts() == {"series_refused": 6}


async def test_an_answer_that_drips_is_given_up(run):
    """Each byte comes within the time-out for bytes; the whole answer must have one too."""
    course = run(["drip"])
    course.commit(50)
    await course.drain(20)
    assert course.stored() == 50
    assert len(course.pauses) == 1


async def test_an_hour_without_a_server_costs_disk_and_no_memory(run):
    """What waits is the journal; the writer holds one batch however much it is."""
    course = run([503] * 40)
    largest = 0
    write = course.series.write

    def noted(readings, behind):
        nonlocal largest
        largest = max(largest, len(readings))
        write(readings, behind)

    course.series.write = noted
    for _ in range(18):
        course.commit(1_000)
    await course.drain(100)
    assert course.stored() == 18_000
    assert largest == 50


async def test_a_crash_between_server_and_cursor_repeats_and_adds_nothing(run):
    course = run()
    course.commit(100)
    keep = course.series.change

    def killed(_change):
        raise KeyboardInterrupt

    course.series.change = killed
    with pytest.raises(KeyboardInterrupt):
        course.series.write([e.reading for e in course.journal.read(0, 50)[0]], 50)
    course.series.change = keep
    assert course.series.cursor() == 0
    await course.drain()
    assert course.stored() == 100
