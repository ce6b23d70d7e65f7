"""Test that the service stops within seconds, whatever a server or push service does."""

import asyncio
import threading
import time

import pytest

from plumewatch.config.load import parse
from plumewatch.service.app import Service
from tests.support.fake_server import FakeServer
from tests.support.in_process import store
from tests.support.plumes import readings_of_puff
from tests.support.recording_notifier import RecordingNotifier
from tests.support.waiting import until


@pytest.fixture
def released():
    """Yield an event that is set at the end of the test; until then, external servers hang."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def dripping(released):
    """Run an InfluxDB that sends its answers byte by byte, but never the last byte."""

    def answer(_method, path, *_):
        if path == "/ping":
            return 204, {"X-Influxdb-Version": "1.12.4"}, b""
        return 200, {}, drip()

    def drip():
        while not released.wait(0.05):
            yield b"x"

    with FakeServer(answer) as server:
        yield server


async def ended(service, until_busy):
    """Run a service until it is busy, and stop it within the systemd unit's time limit."""
    stop = asyncio.Event()
    task = asyncio.create_task(service.run(stop))
    await until_busy()
    stop.set()
    async with asyncio.timeout(30):
        await task


async def test_while_an_influxdb_drips(config, tmp_path, dripping, monkeypatch):
    monkeypatch.setattr("storage.timeseries.influx_http._DEADLINE_S", 3600.0)
    tree = config.model_dump(by_alias=True, mode="json") | {"timeseries": {"url": dripping.url}}
    service = Service(parse(tree, base=tmp_path), notifier=RecordingNotifier())
    await ended(service, lambda: until(lambda: len(dripping.requests) > 1))


class Silent(RecordingNotifier):
    """A push service that never answers."""

    asked = False

    async def send(self, *_args, **_more):
        self.asked = True
        await asyncio.Event().wait()


async def test_while_a_push_service_does_not_answer(config):
    notifier = Silent()
    service = Service(config, notifier=notifier)

    async def busy():
        await service.ready.wait()
        await store(service, readings_of_puff(start=time.time() - 300))
        await until(lambda: notifier.asked)

    await ended(service, busy)
