"""F7: the database is down or overloaded, refuses parts, or truncates or delays answers.

The stub server implements what a writer needs from InfluxDB 1.x. Like the real server, it stores
points by series and time stamp, so a point written twice is stored once. The journal, the writer
and its HTTP client are real.
"""

from __future__ import annotations

import json
import random
import threading
from contextlib import ExitStack

import pytest

from storage.timeseries import influx_http
from tests.support.fake_server import FakeServer
from tests.support.series_course import Course

POISON = 13.125
"""CO2 value that the server refuses, as if another program had stored CO2 as text."""


class FaultyInflux:
    """A server that follows a script with one fault per write; after the script, it works.

    Faults are ``"reset"`` (before anything is stored), ``"late"`` (stored, but no answer),
    ``"half"`` (half is stored, then 500), ``"drip"`` (an endless answer byte by byte), a status, or
    a status with headers.
    """

    def __init__(self, script):
        self.script = list(script)
        self.points = {}
        self.closing = threading.Event()

    def __call__(self, _method, path, _query, _headers, body):
        if "write" not in path:
            return 204, {"X-Influxdb-Version": "1.6.7"}, b""
        lines = body.decode().splitlines()
        fault = self.script.pop(0) if self.script else None
        if fault in ("late", "half", None):
            dropped = self.keep(lines[: len(lines) // 2] if fault == "half" else lines)
        if fault in ("reset", "late"):
            return None
        if fault == "drip":
            return 204, {}, self.drip()
        if fault is not None:
            status, headers = fault if isinstance(fault, tuple) else (fault, {})
            return 500 if fault == "half" else status, headers, b""
        content = {"error": f"partial write: field type conflict dropped={dropped}"}
        return (400, {}, json.dumps(content).encode()) if dropped else (204, {}, b"")

    def keep(self, lines):
        """Store all lines except poison; return the number of poison lines."""
        good = [line for line in lines if f"co2={POISON}" not in line]
        for line in good:
            head, _, stamp = line.rpartition(" ")
            self.points[head.partition(" ")[0], stamp] = head
        return len(lines) - len(good)

    def drip(self):
        while not self.closing.wait(0.1):
            yield b"x"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(influx_http, "_READ_S", 10.0)
    with ExitStack() as stack:

        def make(script=()):
            server = FaultyInflux(script)
            url = stack.enter_context(FakeServer(server)).url
            stack.callback(server.closing.set)
            settings = influx_http.InfluxSettings(url)
            course = Course(tmp_path, settings, batch=50, refused_in_a_row=1000)
            stack.callback(course.close)
            course.series.check_connection = lambda: "greeted"  # only writes have faults
            return course, server.points

        yield make


SCRIPTS = {
    "away": ["reset"] * 6,
    "errors": [500, 502, 503, 504, 500],
    "stored without an answer": ["late"] * 4,
    "stored in part": ["half"] * 4,
    "database deleted and made again": [404] * 3,
    "token revoked and given again": [401, 403, 401],
    "an answer that drips": ["drip"],
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
async def test_everything_arrives_once_the_server_works(run, script, monkeypatch):
    if "drip" in script:
        monkeypatch.setattr(influx_http, "_DEADLINE_S", 3.0)
    course, points = run(script)
    course.commit(500)
    await course.drain()
    assert len(points) == 500
    assert len(course.pauses) == len(script)
    assert course.writer.state.refused == 0
    assert course.writer.state.failing == ""


@pytest.mark.parametrize("stormy", [False, True])
async def test_bad_points_are_dead_letters_and_stop_nobody(run, stormy):
    rng = random.Random(random.randrange(10**6))  # reproducible with the seed that pytest prints
    faults = ["reset", "late", "half", 500, 503, (429, {"Retry-After": "1"}), None]
    course, points = run([rng.choice(faults) for _ in range(60)] if stormy else ())
    bad = {3, 49, 50, 137, 138, rng.randrange(200, 600)}
    course.commit(600, changed={key: {"co2": POISON} for key in bad})
    await course.drain()
    assert len(points) == 594
    assert course.writer.state.refused == 6
    assert course.journal.count_dead_letters() == {"series_refused": 6}


async def test_an_hour_without_a_server_costs_disk_and_no_memory(run):
    """The backlog stays in the journal; the writer has only one batch in memory."""
    course, points = run([503] * 40)
    sizes, write = [], course.series.write

    def noted(readings, behind):
        sizes.append(len(readings))
        write(readings, behind)

    course.series.write = noted
    course.commit(18_000)
    await course.drain()
    assert len(points) == 18_000
    assert max(sizes) == 50
