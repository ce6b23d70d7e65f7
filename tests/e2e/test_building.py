"""From a puff to the building: retained room states, discovery, a signed webhook."""

import base64
import hashlib
import hmac
import json
import signal
import time

import httpx
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.broker import Mosquitto
from tests.support.plumes import readings_of_puff
from tests.support.provider import Provider, answer
from tests.support.service import Publisher, ServiceProcess, eventually

KEY = b"0123456789abcdef0123456789abcdef"
STATE = "plumewatch/v1/room/N2-boys/state"
AVAILABILITY = "plumewatch/v1/room/availability"
CONFIG = """
[outbound.mqtt]
enabled = true

[[outbound.webhook]]
name = "fans"
url_file = "hook-url"
secret_file = "hook-secret"
kinds = ["vape"]
"""


@pytest.fixture
def broker():
    with Mosquitto() as started:
        yield started


@pytest.fixture
def fans():
    server = Provider()
    yield server
    server.close()


class Building:
    """What a fan controller receives: the newest payload of each topic."""

    def __init__(self, port):
        self.received = {}
        self.client = Client(CallbackAPIVersion.VERSION2)
        self.client.on_message = lambda _c, _u, m: self.received.update(
            {m.topic: m.payload.decode()}
        )
        self.client.connect("127.0.0.1", port)
        self.client.subscribe("plumewatch/v1/room/#", qos=1)
        self.client.loop_start()

    def state(self):
        return json.loads(self.received.get(STATE, "{}")).get("state")

    def close(self):
        self.client.loop_stop()
        self.client.disconnect()


def test_from_a_puff_to_fans_and_back(broker, fans, tmp_path):
    (tmp_path / "hook-url").write_text(f"http://127.0.0.1:{fans.port}/plumewatch")
    (tmp_path / "hook-secret").write_text("whsec_" + base64.b64encode(KEY).decode())
    service = ServiceProcess(tmp_path, broker.port, push_url=f"json://127.0.0.1:{fans.port}/phone")
    service.config.write_text(service.config.read_text() + CONFIG)
    fans.answers = [answer(503, b"")] * 2  # at first nobody is there
    building = Building(broker.port)
    try:
        with service, Publisher(broker.port) as publisher:
            eventually(lambda: building.state() == "clear", lambda: str(building.received))
            assert building.received[AVAILABILITY] == "online"
            publisher.send_readings(readings_of_puff(start=time.time() - 200.0, seconds=190.0))
            publisher.settle()
            eventually(lambda: building.state() == "open", lambda: f"open:\n{service.log}")
            incident = json.loads(building.received[STATE])["id"]

            def delivered():
                return [r for r in fans.requests if r[0] == "/plumewatch"]

            eventually(delivered, lambda: f"a webhook:\n{service.log}", within_s=30)
            _, headers, body = delivered()[-1]
            assert json.loads(body)["type"] == "incident.opened"
            assert json.loads(body)["data"]["id"] == incident
            signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
            mac = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
            assert headers["webhook-signature"] == f"v1,{mac}"

            with httpx.Client(base_url=f"http://127.0.0.1:{service.web_port}") as page:
                service.sign_in(page, "ap-north")
                shown = page.get(f"/incidents/{incident}").text
                form = {"form_token": shown.split('name="form_token" value="')[1].split('"')[0]}
                page.post(f"/incidents/{incident}/acknowledge", data=form)
                eventually(lambda: building.state() == "taken", lambda: str(building.received))

            # a killed service leaves its will, and publishes everything again when it is back
            service.end(signal.SIGKILL)
            eventually(
                lambda: building.received[AVAILABILITY] == "offline", "the will", within_s=60
            )
            building.received.pop(STATE)
            service.start()
            eventually(lambda: building.received[AVAILABILITY] == "online", "back", within_s=30)
            eventually(building.state, lambda: str(building.received))

            def types():
                return {json.loads(r[2])["type"] for r in delivered()}

            both = {"incident.opened", "incident.acknowledged"}
            eventually(lambda: both <= types(), lambda: f"{types()}\n{service.log}", within_s=60)
            ids = [
                r[1]["webhook-id"]
                for r in delivered()
                if json.loads(r[2])["type"].endswith("opened")
            ]
            assert len(set(ids)) == 1
    finally:
        building.close()
    assert "Traceback" not in service.log
