"""Test overload and a hanging store: memory is bounded, nothing is lost, alerts come first."""

import collections
import contextlib
import json
import socket
import struct
import threading
import time
import urllib.request
from contextlib import ExitStack

import psutil
import pytest

from plumewatch.service.meters import read_histogram
from storage.reading import Reading
from storage.timeseries.sqlite import SqliteSeries
from tests.support.broker import Mosquitto
from tests.support.in_process import running, store
from tests.support.oracle import incidents
from tests.support.plumes import readings_of_puff
from tests.support.service import Publisher, Receiver, ServiceProcess
from tests.support.waiting import eventually, until

BROKER = """\
max_inflight_messages 200
max_queued_messages 200000
max_queued_bytes 0
sys_interval 1
"""
FLOOD = 10_000
SENSOR = """
[[sensor]]
id = "n1-girls-{}"
room = "N2-boys"
"""
PERIOD_S = 0.5
BOUND_BYTES = 80_000_000
"""Memory growth allowed during the flood, for journal pages and current batches."""


def metrics(service, name, label=""):
    """Return the values of the service's metrics with this name and label."""
    address = f"http://127.0.0.1:{service.web_port}/metrics"
    with urllib.request.urlopen(address, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return [float(line.split()[-1]) for line in lines if line.startswith(name) and label in line]


def metric(service, name):
    """Return the value of one of the service's metrics."""
    (value,) = metrics(service, name + " ")
    return value


def flood(count):
    """Return clean-air readings that ten sensors buffered for five minutes."""
    now = time.time()
    for k in range(count):
        sensor, at = f"n1-girls-{k % 10}", now - 300.0 * (1 - k / count)
        yield Reading(sensor, at, 0, {"pm25": 4.0, "rh": 41.0}, seq=k // 10)


@contextlib.contextmanager
def slowed(process, times):
    """Pause the service repeatedly so that it runs for only 1/`times` of the time."""
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
    """Publish as fast as possible to a service that runs a tenth or a hundredth of the time."""
    with Receiver() as receiver, Mosquitto(BROKER) as broker, ExitStack() as stack:
        service = ServiceProcess(tmp_path, broker.port, push_url=receiver.url)
        with service.config.open("a") as config:
            config.writelines(SENSOR.format(k) for k in range(10))
        stack.enter_context(service)
        process = psutil.Process(service.pid)
        before = process.memory_info().rss
        puff = readings_of_puff(start=time.time() - 240)
        with Publisher(broker.port) as publisher:
            with slowed(process, times):
                publisher.send_readings(flood(FLOOD))
                publisher.send_readings(puff)
                eventually(lambda: publisher.waiting == 0, lambda: service.log, 120)
            acknowledged = set(publisher.acknowledged)
        assert len(acknowledged) == FLOOD + len(puff)
        highest = 0

        def caught_up():
            nonlocal highest
            highest = max(highest, process.memory_info().rss)
            return sum(service.series().values()) >= len(acknowledged) and receiver.pushes

        eventually(caught_up, lambda: service.log, 120)
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


def publish_all_the_time(port, name, over, taken):
    """Publish one sensor's readings as fast as the broker accepts them, and count them in `taken`.

    Stops when `over` is set.
    """
    topic = f"plumewatch/v1/{name}/reading".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as link:
        link.sendall(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04loud")
        assert link.recv(4) == b"\x20\x02\x00\x00"
        sent = acknowledged = 0
        while not over.is_set():
            burst = bytearray()
            for seq in range(sent, sent + 400):
                body = b'{"time": %.6f, "seq": %d, "pm25": 4.0}' % (time.time(), seq)
                rest = struct.pack(">H", len(topic)) + topic + struct.pack(">H", seq % 65_535 + 1)
                burst += struct.pack(">BB", 0x32, len(rest) + len(body)) + rest + body
            link.sendall(burst)
            sent += 400
            while sent - acknowledged > 1_600:
                acknowledged += len(link.recv(65_536)) / 4
            taken.append(int(acknowledged))


def test_an_account_that_floods_delays_no_other_sensor(tmp_path):
    """Most of the flood is dropped and counted; a plume in another room notifies as usual."""
    over, taken = threading.Event(), collections.deque([0], maxlen=1)
    with (
        Receiver() as receiver,
        Mosquitto("max_inflight_messages 500\nmax_queued_messages 1000000") as broker,
        ServiceProcess(tmp_path, broker.port, push_url=receiver.url) as service,
        Publisher(broker.port) as publisher,
    ):
        loud = threading.Thread(
            target=publish_all_the_time, args=(broker.port, "n2-boys-2", over, taken)
        )
        loud.start()
        try:
            eventually(
                lambda: taken[0] > 20_000 and incidents(service, "integrity"), lambda: service.log
            )
            publisher.send_readings(readings_of_puff(start=time.time() - 200, seconds=190.0))
            publisher.settle()
            eventually(lambda: vaping(receiver), lambda: service.log, 60)
            assert loud.is_alive()
        finally:
            over.set()
            loud.join()
        (sensor,) = {s for _, s, _ in incidents(service, "integrity")}
        assert sensor == "N2-boys"

        def stored():
            return sum(r.sensor == "n2-boys-2" for r in service.journal())

        def left_out():
            return sum(metrics(service, "plumewatch_messages_total", 'outcome="flooded"'))

        eventually(lambda: stored() + left_out() > 0.5 * taken[0], lambda: service.log)
        assert stored() < 0.25 * taken[0]
        assert "Traceback" not in service.log


def vaping(receiver):
    return [push for push in receiver.pushes if push["kind"] == "vape"]


async def test_a_store_that_hangs_delays_no_alert(config, monkeypatch):
    """The store accepts nothing until the alert has been sent, and then receives everything."""
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
            assert len(service.series.read_between(0, 4e9)) == 0
            await until(lambda: read_histogram(service.alerting.deliveries.latency)["count"] == 1)
            assert service.monitoring.health.is_moving()
        finally:
            go_on.set()
        await until(lambda: len(service.series.read_between(0, 4e9)) == len(readings))
