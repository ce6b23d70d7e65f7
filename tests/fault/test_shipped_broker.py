"""Test what the shipped broker configuration, `deploy/mosquitto.conf`, keeps and can lose.

With `FAULT_LONG=1`, a whole day of messages is queued, as described in that file.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import stat
import time
import urllib.request
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from storage.reading import Reading
from tests.support.broker import Mosquitto, ShippedMosquitto, free_port
from tests.support.launcher import ForkedService, set_clock
from tests.support.oracle import assert_all_stored, quiet_reading, reaches
from tests.support.service import Publisher
from tests.support.waiting import eventually

pytestmark = pytest.mark.attack

LONG = bool(os.environ.get("FAULT_LONG"))
FLEET, EVERY_S = 50, 5
A_DAY = FLEET * 86_400 // EVERY_S
QUEUED = A_DAY if LONG else 10_000
WITHIN_S = 120.0
SENSOR = {"username": "n2-boys-1", "password": "of-the-sensor"}
GATEWAY = {"username": "gateway", "password": "of-the-gateway"}
LOGIN = 'username = "plumewatch"\npassword_file = "broker-password"'


@pytest.fixture
def broker():
    users = {"plumewatch": "of-the-service", SENSOR["username"]: SENSOR["password"]}
    users[GATEWAY["username"]] = GATEWAY["password"]
    speaks_for_all = "user gateway\ntopic write plumewatch/v1/#"
    with ShippedMosquitto(users, speaks_for_all) as started:
        yield started


@pytest.fixture
def service(broker, tmp_path):
    (tmp_path / "broker-password").write_text("of-the-service")
    with ForkedService(tmp_path, broker.port, broker=LOGIN) as started:
        yield started
        assert "Traceback" not in started.log


def metrics(service):
    address = f"http://127.0.0.1:{service.web_port}/metrics"
    with urllib.request.urlopen(address, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def queue(publisher, first, count):
    """Return readings of all sensors up to now, in time order."""
    began = time.time() - QUEUED / FLEET * EVERY_S
    for start in range(first, first + count, 10_000):  # a client has 65,535 packet ids
        end = min(start + 10_000, first + count)
        publisher.send_readings(
            quiet_reading(f"fleet-{k % FLEET}", k, began + k // FLEET * EVERY_S)
            for k in range(start, end)
        )
        publisher.settle(WITHIN_S)


def test_service_and_sensors_may_do_what_they_need_and_no_more(broker, service):
    with Publisher(broker.port, **SENSOR) as publisher:
        publisher.send_readings([quiet_reading("n2-boys-2", 1)])  # another sensor's reading
        publisher.send("plumewatch/canary/plumewatch", b"forged 1")
        publisher.send_readings([quiet_reading("n2-boys-1", 2)])
        publisher.settle()
    eventually(service.journal, lambda: service.log)
    assert [(r.sensor, r.seq) for r in service.journal()] == [("n2-boys-1", 2)]
    eventually(lambda: float(metrics(service)["plumewatch_canaries_returned_total"]) >= 1, "canary")
    eventually(lambda: "plumewatch_broker_stored_messages" in metrics(service), "its counts")
    anonymous = Client(CallbackAPIVersion.VERSION2)
    answers = []
    anonymous.on_connect = lambda *arguments: answers.append(arguments[3].is_failure)
    anonymous.connect("127.0.0.1", broker.port)
    anonymous.loop_start()
    eventually(lambda: answers, "an answer")
    anonymous.disconnect()
    anonymous.loop_stop()
    assert answers[0]


def take_session(broker, *, clean=True):
    """Connect with a sensor's account and an obvious client id; return the messages received."""
    thief = Client(CallbackAPIVersion.VERSION2, client_id="plumewatch", clean_session=clean)
    thief.username_pw_set(**SENSOR)
    thief.manual_ack_set(on=True)
    stolen = []
    thief.on_message = lambda _client, _data, message: stolen.append(message.payload)
    thief.connect("127.0.0.1", broker.port)
    thief.loop_start()
    eventually(thief.is_connected, "connected")
    thief.disconnect()
    thief.loop_stop()
    return stolen


def send(publisher, numbers):
    publisher.send_readings(quiet_reading("n2-boys-1", k) for k in numbers)
    publisher.settle()


def test_a_client_with_an_obvious_id_cannot_take_over_the_session(broker, service):
    with Publisher(broker.port, **GATEWAY) as publisher:
        send(publisher, range(10))
        assert_all_stored(service, publisher)
        service.end(signal.SIGTERM)
        send(publisher, range(10, 60))
        assert take_session(broker) == []
        assert take_session(broker, clean=False) == []
        service.start()  # with the same id, from its data folder
        assert_all_stored(service, publisher)
        assert "no longer has the session" not in service.log
        kept = service.folder / "data/client-id"
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert len(kept.read_text().strip()) >= 32


def network_listener():
    """Return the shipped network listener without its certificate, and its port."""
    text = (Path(__file__).parents[2] / "deploy/broker-tls.conf").read_text()
    port = free_port()
    lines = [
        line.replace("listener 8883", f"listener {port} 127.0.0.1")
        for line in text.splitlines()
        if not line.startswith(("#", "certfile", "keyfile", "tls_version"))
    ]
    return "\n".join(lines), port


def test_connections_without_end_keep_the_service_from_nothing():
    """Connections are limited below the broker's descriptors; devices have a separate listener."""
    listener, port = network_listener()
    with Mosquitto(listener) as broker, contextlib.ExitStack() as opened:
        _, most = resource.prlimit(broker.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(broker.pid, resource.RLIMIT_NOFILE, (500, most))
        for _ in range(600):
            more = socket.create_connection(("127.0.0.1", port), timeout=60)
            opened.enter_context(more)
        with Publisher(broker.port) as publisher:
            publisher.send_readings([quiet_reading("n2-boys-1", 1)])
            publisher.settle()
            broker.save()


def test_no_account_takes_over_the_session_of_another():
    listener, port = network_listener()
    users = {"plumewatch": "of-the-service", SENSOR["username"]: SENSOR["password"]}
    with Mosquitto(listener, users=users) as broker:
        lost = []
        own = Client(CallbackAPIVersion.VERSION2, client_id="plumewatch", clean_session=False)
        own.username_pw_set("plumewatch", "of-the-service")
        own.on_disconnect = lambda *_: lost.append("own")
        thief = Client(CallbackAPIVersion.VERSION2, client_id="plumewatch", clean_session=True)
        thief.username_pw_set(**SENSOR)
        for client, to in ((own, broker.port), (thief, port)):
            client.connect("127.0.0.1", to)
            client.loop_start()
            eventually(client.is_connected, "connected")
        time.sleep(0.5)
        assert (own.is_connected(), thief.is_connected(), lost) == (True, True, [])
        for client in (own, thief):
            client.disconnect()
            client.loop_stop()


def test_what_is_too_large_ends_its_senders_connection_and_nothing_else(broker, service):
    with socket.create_connection(("127.0.0.1", broker.port), timeout=60) as raw:
        name, password = SENSOR["username"].encode(), SENSOR["password"].encode()
        hello = b"\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01x"
        hello += len(name).to_bytes(2) + name + len(password).to_bytes(2) + password
        raw.sendall(bytes([0x10, len(hello)]) + hello)
        assert raw.recv(4) == b"\x20\x02\x00\x00"
        raw.sendall(b"\x32\xff\xff\x7f")  # a message of 2 MB begins
        assert raw.recv(10) in (b"", b"\xe0\x00")
    with Publisher(broker.port, **GATEWAY) as publisher:
        publisher.send_readings([quiet_reading("n2-boys-1", 1)])
        assert_all_stored(service, publisher)


@pytest.mark.timeout(7_200 if LONG else 300)
def test_it_keeps_what_comes_while_the_service_is_away_over_its_own_restart(broker, service):
    service.end(signal.SIGTERM)
    with Publisher(broker.port, **GATEWAY) as publisher:
        queue(publisher, 0, QUEUED // 2)
        broker.restart()
        eventually(lambda: publisher.connected, "the publisher is back", 60)
        queue(publisher, QUEUED // 2, QUEUED - QUEUED // 2)
        service.start()
        reaches(QUEUED, service.stored, "stored", service, WITHIN_S)
        assert_all_stored(service, publisher)
    assert float(metrics(service)["plumewatch_broker_dropped_messages_total"]) == 0


def test_killed_it_loses_what_it_was_given_since_it_saved_and_that_shows(broker, service):
    """The only loss outside the promise: the broker is killed while the service is down."""

    def kept():
        return [r.seq for r in service.journal() if r.sensor == "n2-boys-1"]

    with Publisher(broker.port, **GATEWAY) as publisher:
        publisher.send_readings([quiet_reading("n2-boys-1", 0)])
        assert_all_stored(service, publisher)
        service.end(signal.SIGTERM)
        base = time.time()
        queued = [Reading("n2-boys-1", base + k, 0, {"pm25": 4.0}, seq=k) for k in range(1, 501)]
        publisher.send_readings(queued[:400])
        publisher.settle()
        broker.save()
        publisher.send_readings(queued[400:])
        publisher.settle()
        broker.kill9()
    broker.start()
    service.start()
    with Publisher(broker.port, **GATEWAY) as publisher:
        publisher.send_readings([quiet_reading("n2-boys-1", 501)])
        publisher.settle()
        eventually(lambda: 501 in kept(), lambda: service.log)
        set_clock(service.clock, 120.0)  # a gap counts if nothing fills it within a minute
        publisher.send_readings([quiet_reading("n2-boys-1", 502, time.time() + 120.0)])
        missing = 'plumewatch_readings_total{noted="missing"}'
        eventually(lambda: float(metrics(service)[missing]) == 100, lambda: service.log)
        eventually(lambda: 502 in kept(), lambda: service.log)
    assert kept() == [*range(401), 501, 502]


def test_killed_while_the_service_runs_it_loses_nothing(broker, service):
    """The broker delivers acknowledged messages within moments, so nothing waits to be lost."""
    with Publisher(broker.port, **GATEWAY) as publisher:
        publisher.send_readings(quiet_reading("n2-boys-1", k) for k in range(500))
        assert_all_stored(service, publisher)
        connections = service.log.count("connected to 127.0.0.1")
        broker.kill9()
        broker.start()
        eventually(
            lambda: service.log.count("connected to 127.0.0.1") > connections, service.log, 60
        )
        eventually(lambda: publisher.connected, "the publisher is back", 60)
        publisher.send_readings(quiet_reading("n2-boys-1", k) for k in range(500, 600))
        assert_all_stored(service, publisher)
