"""Test sensors polled over HTTP: requests, stored readings, and devices that don't answer."""

import asyncio
import json
import logging
from collections import Counter

import pytest

from alerts.secrets import Secret
from ingest.commit import GroupCommit
from ingest.decoding import Context
from ingest.http.poll import HttpPolls, PolledSensor, PollError, get
from ingest.http.server import HttpIngest, HttpIngestSettings
from ingest.http.sources import HttpSource
from ingest.intake import Intake, IntakeConfig
from storage.registry import Registry, Room, Sensor
from tests.support.broker import free_port
from tests.support.command import plumewatch
from tests.support.fake_server import FakeServer

NOW = 1_790_000_000.0
REGISTRY = Registry.build(
    [Room("r", "Room", "2", "North", "Site")],
    [Sensor("b2", "r", decoder="halo"), Sensor("b3", "r")],
)
VALUES = {"pmsensor/raw/1": 12, "co2sensor/tvoc": 120, "audsensor/sum": 35}


@pytest.fixture
def device():
    """Run a device on loopback; return its answers by path, and the requests that it received."""
    answers = {}

    def answer(_method, path, *_):
        status, body = answers.get(path, (404, b""))
        return status, {"Location": "/other"}, body

    with FakeServer(answer) as server:
        yield server.url, answers, server.requests


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"pm25": 4, "rh": 41}, "ok    polls: b2: answers, with 2 values\n"),
        ({"pm25": "nan", "rh": 41}, "ok    polls: b2: answers, with 1 value\n"),
        (
            {"co2": 600, "rh": 41},
            "warn  polls: b2: answers, but no particles are read, so a sensor that nothing else",
        ),
    ],
)
def test_check_asks_once_and_says_what_is_read(device, tmp_path, content, found):
    url, answers, _ = device
    answers["/now"] = (200, json.dumps(content).encode())
    path = tmp_path / "plumewatch.toml"
    path.write_text(
        f'site = "S"\ntimezone = "UTC"\n[broker]\nport = {free_port()}\n'
        '[[room]]\nid = "r"\nname = "R"\nbuilding = "B"\n'
        '[[sensor]]\nid = "b2"\nroom = "r"\ndecoder = "generic"\n'
        f'[[ingest.poll]]\nsensor = "b2"\nurl = "{url}/now"\n'
    )
    assert found in plumewatch("check", "--config", path).out


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (None, None)),
        ({"user": "admin", "secret": Secret("pw")}, ("Basic YWRtaW46cHc=", None)),
        ({"secret": Secret("key"), "header": "X-Key"}, (None, "key")),
    ],
)
async def test_a_request_carries_what_the_device_wants(device, options, expected):
    url, answers, requests = device
    answers["/api"] = (200, b"{}")
    assert await get(PolledSensor("b2", "halo", f"{url}/api?x=1", **options)) == b"{}"
    ((_, _, query, headers, _),) = requests
    assert query == {"x": "1"}
    assert (headers.get("Authorization"), headers.get("X-Key")) == expected


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [(401, b"", "HTTP status 401"), (302, b"", "HTTP status 302"), (200, b"x" * 70_000, "65536")],
)
async def test_an_answer_that_is_no_use(device, status, body, why):
    url, answers, requests = device
    answers["/"] = (status, body)
    with pytest.raises(PollError, match=why):
        await get(PolledSensor("b2", "halo", f"{url}/"))
    assert len(requests) == 1  # redirects are not followed


async def test_a_device_that_is_not_there():
    with pytest.raises(PollError, match="cannot be reached") as error:
        await get(PolledSensor("b2", "halo", "http://127.0.0.1:9/?key=secret"))
    assert "secret" not in str(error.value)


async def poll(answers, *sensors, rounds=1):
    """Return readings and dead letters after this many requests per sensor."""
    readings, letters = [], []

    async def commit(found, refused):
        readings.extend(found)
        letters.extend(refused)

    commits = GroupCommit(commit, pace_s=0)
    intake = Intake(IntakeConfig(context=Context(registry=REGISTRY)))
    clock = iter(range(1000))
    ingest = HttpIngest([], intake, commits, clock=lambda: NOW + next(clock))
    asked, waiting, idle = Counter(), [], asyncio.Event()

    async def fetch(polled):
        asked[polled.sensor] += 1
        answer = answers[polled.sensor]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(_seconds):
        """Return at once until all sensors were polled often enough."""
        name = asyncio.current_task().get_name().removeprefix("poll ")
        if asked[name] >= rounds:
            waiting.append(name)
            if len(waiting) == len(sensors):
                idle.set()
            await asyncio.Event().wait()

    polls = HttpPolls(sensors, ingest, fetch, sleep, lambda: NOW + next(clock))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(commits.run()), group.create_task(polls.run())]
        async with asyncio.timeout(60):
            await idle.wait()
            await commits.commit((), ())
        for task in tasks:
            task.cancel()
    return readings, letters, polls


async def test_answers_are_readings_of_the_sensor_that_was_asked():
    body = json.dumps(VALUES).encode()
    asked = PolledSensor("b2", "halo", "http://x/")
    readings, letters, polls = await poll({"b2": body}, asked, rounds=2)
    assert [(r.sensor, r.values) for r in readings] == [("b2", {"pm25": 12, "tvoc_ppb": 120})] * 2
    assert letters == []
    assert polls.failing == {}


async def test_a_device_that_calls_itself_another_sensor_writes_nothing():
    body = json.dumps({"mac": "b3", **VALUES}).encode()
    readings, (letter,), _ = await poll({"b2": body}, PolledSensor("b2", "halo", "http://x/"))
    assert (readings, letter.reason) == ([], "not_allowed")
    assert letter.topic == "answer of b2 for halo by poll"


async def test_a_device_without_answer_is_logged_once_and_delays_no_other(caplog):
    caplog.set_level(logging.INFO, "ingest.http.poll")
    answers = {"b2": PollError("HTTP status 500"), "b3": json.dumps({"pm25": 4}).encode()}
    readings, _, polls = await poll(
        answers,
        PolledSensor("b2", "halo", "http://x/"),
        PolledSensor("b3", "generic", "http://y/"),
        rounds=3,
    )
    assert {r.sensor for r in readings} == {"b3"}
    assert [r.message for r in caplog.records] == ["b2 cannot be polled: HTTP status 500"]
    assert {name: found.reason for name, found in polls.failing.items()} == {
        "b2": "HTTP status 500"
    }


async def test_an_answer_that_finds_no_room_is_counted():
    async def commit(_readings, _letters):
        """Commit nothing."""

    intake = Intake(IntakeConfig(context=Context(registry=REGISTRY)))
    settings = HttpIngestSettings(max_waiting=1)
    ingest = HttpIngest([], intake, GroupCommit(commit), settings, clock=lambda: NOW)
    source = HttpSource("poll", "halo", frozenset(("b2",)))
    for _ in range(3):
        ingest.enter_polled(source, "b2", json.dumps(VALUES).encode())
    assert ingest.answers == {("poll", 200): 1, ("poll", 503): 2}
