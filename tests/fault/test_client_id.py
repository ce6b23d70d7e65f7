"""The client id of the service's session: not to be guessed, and nothing lost when it changes."""

from __future__ import annotations

import os
import signal
import stat
import time

import msgspec
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from detection.events import ChannelEvidence, Event, EventKind, EventPhase
from ingest.event_messages import EVENT_TOPIC
from tests.support.broker import ShippedMosquitto
from tests.support.launcher import ForkedService
from tests.support.oracle import assert_all_stored, incidents, quiet_reading
from tests.support.service import Publisher, eventually

SENSOR = {"username": "n2-boys-1", "password": "of-the-sensor"}
GATEWAY = {"username": "gateway", "password": "of-the-gateway"}
STREAM = {"username": "plumewatch-stream", "password": "of-the-stream"}
LOGIN = 'username = "plumewatch"\npassword_file = "broker-password"'
FORMER = f'{LOGIN}\nclient_id = "plumewatch"'


@pytest.fixture
def broker():
    users = {"plumewatch": "of-the-service", SENSOR["username"]: SENSOR["password"]}
    users |= {who["username"]: who["password"] for who in (GATEWAY, STREAM)}
    with ShippedMosquitto(users, "user gateway\ntopic write plumewatch/v1/#") as started:
        yield started


@pytest.fixture
def service(broker, tmp_path):
    """A service of a version whose client id everybody knows, with readings queued for it."""
    (tmp_path / "broker-password").write_text("of-the-service")
    with ForkedService(tmp_path, broker.port, broker=FORMER) as started:
        yield started
        assert "Traceback" not in started.log


@pytest.fixture
def publisher(broker):
    with Publisher(broker.port, **GATEWAY) as started:
        yield started


def upgrade(service):
    """Take the client id out of the configuration, as a version before it had it built in."""
    text = service.config.read_text()
    service.config.write_text(text.replace('client_id = "plumewatch"', ""))


def take_session(broker, client_id="plumewatch", *, clean=True):
    """Connect with a sensor's account and a client id; return the messages that came."""
    thief = Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=clean)
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


def numbers(service):
    """Of the readings in the order of the journal; those without a time stamp have none."""
    return [r.seq for r in service.journal() if r.sensor == "n2-boys-1"]


def test_a_client_with_the_former_default_id_cannot_take_over_the_session(
    broker, service, publisher
):
    upgrade(service)
    service.end(signal.SIGTERM)
    service.start()
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


def test_what_waits_under_the_former_client_id_is_taken_first(broker, service, publisher):
    send(publisher, range(10))
    assert_all_stored(service, publisher)
    service.end(signal.SIGTERM)
    send(publisher, range(10, 3_000))
    for event in ("first", "second"):  # without a time stamp: it exists only in a queue
        publisher.send("plumewatch/v1/n2-boys-1/reading", b'{"events":["tamper"]}', key=event)
    upgrade(service)
    service.start()
    send(publisher, range(3_000, 3_010))
    eventually(lambda: service.stored() >= 3_013, lambda: service.log)
    assert numbers(service) == [*range(3_000), None, None, *range(3_000, 3_010)]
    assert take_session(broker, clean=False) == []  # of the former id: nothing more goes there
    send(publisher, range(3_010, 3_020))
    assert take_session(broker, clean=False) == []
    eventually(lambda: service.stored() >= 3_023, lambda: service.log)


def test_an_event_that_waits_under_the_former_client_id_opens_its_incident(broker, service):
    service.end(signal.SIGTERM)
    with service.config.open("a") as config:
        config.write("\n[ingest]\nevents = true\n")
    service.start()
    eventually(lambda: service.log.count("connected to 127.0.0.1") >= 3, lambda: service.log)
    service.end(signal.SIGTERM)
    alerted = Event(
        sensor="n2-boys-1",
        kind=EventKind.VAPE,
        phase=EventPhase.ALERTED,
        onset=time.time() - 8.0,
        alerted=time.time() - 2.0,
        peak_time=time.time() - 3.0,
        end=None,
        confidence=0.93,
        probabilities={"vape": 0.93},
        evidence={"pm25": ChannelEvidence(4.0, 80.0, 5.0, None)},
        model_version="of another detector",
    )
    with Publisher(broker.port, **STREAM) as stream:
        stream.send(f"{EVENT_TOPIC}n2-boys-1", msgspec.json.encode(alerted))
        stream.settle()
    upgrade(service)
    service.start()
    eventually(lambda: incidents(service), lambda: service.log)
    assert take_session(broker, "plumewatch-events", clean=False) == []
    assert len(incidents(service)) == 1


def test_a_kill_while_draining_loses_nothing(broker, service, publisher):
    send(publisher, range(10))
    assert_all_stored(service, publisher)
    service.end(signal.SIGTERM)
    send(publisher, range(10, 4_000))
    upgrade(service)
    for stored in (500, 1_500):
        service.start(connected=False)
        eventually(lambda least=stored: service.stored() >= least, lambda: service.log)
        os.kill(service.pid, signal.SIGKILL)
        service.wait()
    service.start()
    send(publisher, range(4_000, 4_010))
    eventually(lambda: service.stored() >= 4_011, lambda: service.log)
    assert numbers(service) == [*range(4_010)]


def test_a_former_session_that_was_wiped_is_reported(broker, service, publisher):
    send(publisher, range(10))
    assert_all_stored(service, publisher)
    service.end(signal.SIGTERM)
    send(publisher, range(10, 20))
    take_session(broker)
    upgrade(service)
    service.start()
    send(publisher, range(20, 30))
    eventually(lambda: service.stored() >= 21, lambda: service.log)
    assert "no longer has the session of client id 'plumewatch'" in service.log
