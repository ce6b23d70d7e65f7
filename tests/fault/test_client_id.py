"""The client id of the service's session is not to be guessed."""

from __future__ import annotations

import signal
import stat

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.broker import ShippedMosquitto
from tests.support.launcher import ForkedService
from tests.support.oracle import assert_all_stored, quiet_reading
from tests.support.service import Publisher, eventually

SENSOR = {"username": "n2-boys-1", "password": "of-the-sensor"}
GATEWAY = {"username": "gateway", "password": "of-the-gateway"}
LOGIN = 'username = "plumewatch"\npassword_file = "broker-password"'


@pytest.fixture
def broker():
    users = {"plumewatch": "of-the-service", SENSOR["username"]: SENSOR["password"]}
    users[GATEWAY["username"]] = GATEWAY["password"]
    with ShippedMosquitto(users, "user gateway\ntopic write plumewatch/v1/#") as started:
        yield started


@pytest.fixture
def service(broker, tmp_path):
    (tmp_path / "broker-password").write_text("of-the-service")
    with ForkedService(tmp_path, broker.port, broker=LOGIN) as started:
        yield started
        assert "Traceback" not in started.log


@pytest.fixture
def publisher(broker):
    with Publisher(broker.port, **GATEWAY) as started:
        yield started


def take_session(broker, *, clean=True):
    """Connect with a sensor's account and an obvious client id; return the messages that came."""
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


def test_a_client_with_an_obvious_id_cannot_take_over_the_session(broker, service, publisher):
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
