"""More than can be judged, and a store that hangs: bounded, nothing lost, alerts first."""

import contextlib
import json
import threading
import time
import urllib.request

import psutil
import pytest

from storage.reading import Reading
from storage.timeseries.sqlite import SqliteSeries
from tests.support.broker import Mosquitto
from tests.support.in_process import one_room, running, store, until
from tests.support.plumes import readings_of_puff
from tests.support.service import Publisher, Receiver, ServiceProcess, eventually

BROKER = """\
max_inflight_messages 200
max_queued_messages 200000
max_queued_bytes 0
sys_interval 1
"""
FLOOD = 10_000
PERIOD_S = 0.5
BOUND_BYTES = 80_000_000
"""Memory that the flood may cost: the journal's pages and batches under way, not the flood."""


def metric(service, name):
    """Value of a number of the service."""
    address = f"http://127.0.0.1:{service.web_port}/metrics"
    with urllib.request.urlopen(address, timeout=30) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[-1])
    raise AssertionError(f"no {name}")


def flood(count):
    """Readings of clean air, ten thousand a second by their own clock."""
    now = time.time()
    for k in range(count):
        yield Reading("n2-boys-2", now + k * 1e-4, 0, {"pm25": 4.0, "rh": 41.0}, seq=k)


@contextlib.contextmanager
def slowed(process, times):
    """Let the service run for one part in `times` of the time only."""
    over = threading.Event()

    def slow():
        while not over.is_set():
            process.suspend()
            over.wait(PERIOD_S * (1 - 1 / times))
            process.resume()
            over.wait(PERIOD_S / times)

    thread = threading.Thread(target=slow)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("times", [10, 100])
def test_a_flood_waits_in_the_broker_and_nothing_is_lost(tmp_path, times):
    """Published as fast as can be, to a service that gets a tenth or a hundredth of its time."""
    with (
        Receiver() as receiver,
        Mosquitto(BROKER) as broker,
        ServiceProcess(tmp_path, broker.port, push_url=receiver.url) as service,
    ):
        process = psutil.Process(service.pid)
        before = process.memory_info().rss
        puff = readings_of_puff(start=time.time() - 240)
        with Publisher(broker.port) as publisher:
            with slowed(process, times):
                publisher.send_readings(flood(FLOOD))
                publisher.send_readings(puff)
                eventually(lambda: publisher.waiting == 0, lambda: service.log, 60)
            acknowledged = set(publisher.acknowledged)
        assert len(acknowledged) == FLOOD + len(puff)
        highest = 0

        def caught_up():
            nonlocal highest
            highest = max(highest, process.memory_info().rss)
            return sum(service.series().values()) >= len(acknowledged) and receiver.pushes

        eventually(caught_up, lambda: service.log, 60)
        assert highest - before < BOUND_BYTES
        eventually(
            lambda: metric(service, "plumewatch_messages_acknowledged_total") == len(acknowledged),
            lambda: service.log,
        )
        assert metric(service, "plumewatch_broker_dropped_messages_total") == 0
        assert metric(service, 'plumewatch_readings_total{noted="missing"}') == 0
        stored = [(r.sensor, r.seq) for r in service.journal()]
        assert len(stored) == len(set(stored))
        assert acknowledged == set(stored)
        assert [push for push in receiver.pushes if "Vaping" in json.dumps(push)]
        assert "Traceback" not in service.log


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("AP_URL", "json://127.0.0.1:9/push")
    return one_room(tmp_path)


async def test_a_store_that_hangs_delays_no_alert(config, monkeypatch):
    """The store takes nothing at all until the alert is out; then it gets everything."""
    write, go_on = SqliteSeries.write, threading.Event()

    def hang(self, readings, behind):
        assert go_on.wait(60)
        write(self, readings, behind)

    monkeypatch.setattr(SqliteSeries, "write", hang)
    readings = readings_of_puff(start=time.time() - 300)
    async with running(config) as service:
        try:
            for k in range(0, len(readings), 10):
                await store(service, readings[k : k + 10])
            await until(lambda: service.alerting.notifier.sent)
            await until(lambda: service.detection.counts.readings == len(readings))
            assert service.series.count() == 0
            await until(lambda: service.alerting.deliveries.latency.count == 1)
            assert service.monitoring.health.moves()
        finally:
            go_on.set()
        await until(lambda: service.series.count() == len(readings))
