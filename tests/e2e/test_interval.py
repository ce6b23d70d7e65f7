"""From a sensor's page over a real broker to its device, which obeys, and its answer back."""

import json
import re
import threading
import time

import httpx
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from sensor_sim.wire import ENCODERS
from sensor_sim.wire.base import WireDevice, WireNetwork, WireRow
from tests.support.broker import Mosquitto
from tests.support.service import ServiceProcess, eventually, run_command

SENSOR = "n2-boys-1"
COMMAND = f"cmnd/{SENSOR}/TelePeriod"


class Tasmota:
    """A simulated board that takes the command: it answers, and reports, as Tasmota does."""

    def __init__(self, port, least_s):
        self.commands, self.listens = [], threading.Event()
        self._least_s = least_s
        self._encoder = ENCODERS["tasmota"](WireDevice(SENSOR, "sps30+sgp40"), WireNetwork())
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="DVES_1")
        self._client.on_connect = lambda client, *_: client.subscribe(COMMAND, qos=1)
        self._client.on_subscribe = self._begin
        self._client.on_message = self._obey
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._client.disconnect()
        self._client.loop_stop()

    def _begin(self, *_):
        self._send(self._encoder.connect(time.time()))
        self.listens.set()

    def _send(self, messages):
        for one in messages:
            self._client.publish(one.topic, one.payload, qos=1, retain=one.retain)

    def _obey(self, _client, _data, message):
        self.commands.append((message.topic, message.payload, bool(message.retain)))
        answer = json.dumps({"TelePeriod": max(int(message.payload), self._least_s)})
        self._client.publish(f"stat/{SENSOR}/RESULT", answer, qos=1)
        row = WireRow(time.time(), time.time(), {"pm25": 4.0, "pm1": 3.0, "pm10": 5.0})
        self._send(self._encoder.reading(row))


@pytest.mark.parametrize("least_s", [10, 60], ids=["obeys", "has a bound of its own"])
def test_an_interval_set_on_the_page_reaches_the_device_and_its_answer_the_page(tmp_path, least_s):
    with Mosquitto() as broker, Tasmota(broker.port, least_s) as device:
        assert device.listens.wait(30)
        service = ServiceProcess(tmp_path, broker.port)
        text = service.config.read_text()
        one = f'id = "{SENSOR}"\n'
        downlink = f'[[ingest.downlink]]\nsensor = "{SENSOR}"\nformat = "tasmota"\n'
        service.config.write_text(
            text.replace(one, f'{one}decoder = "tasmota"\ninterval_s = 300\n')
            + f'{downlink}topic = "{COMMAND}"\n'
        )
        base = f"http://127.0.0.1:{service.web_port}"
        with service, httpx.Client(base_url=base) as browser:
            service.sign_in(browser, "facilities")
            page = f"/sensors/{SENSOR}/device"

            def shown():
                return " ".join(browser.get(page).text.split())

            token = re.search(r'name="form_token" value="([^"]+)"', shown())[1]
            form = {"form_token": token, "every_s": "15"}
            sent = browser.post(f"/sensors/{SENSOR}/interval", data=form)
            assert (sent.status_code, sent.headers["location"]) == (303, page)
            words = f"the device answered with a report every {max(15, least_s)} s"
            found = eventually(lambda: words in shown() and shown(), lambda: shown() + service.log)
            assert "Facilities asked for a report every 15 s" in found
            assert device.commands == [(COMMAND, b"15", False)]
            eventually(service.journal, lambda: f"a report:\n{service.log}")
        assert {reading.sensor for reading in service.journal()} == {SENSOR}
        log = run_command("audit", "list", "--json", "--config", str(service.config))
        assert [line for line in log.stdout.splitlines() if '"downlink"' in line], log.stdout
        assert "Traceback" not in service.log
