"""Test an unknown device on a real broker: it is listed, mapped and then received."""

import json
import re
import subprocess
import sys
import time
from html import unescape

import httpx
import pytest

from tests.support.broker import Mosquitto
from tests.support.service import Publisher, ServiceProcess
from tests.support.waiting import eventually

TOPIC = "acme/n2-boys-1/state"


@pytest.fixture
def broker():
    with Mosquitto() as started:
        yield started


def payload(**content):
    return json.dumps({"ts": int(time.time()), **content}).encode()


def write(service, more):
    service.config.write_text(service.config.read_text() + more)


def test_from_unread_to_mapped(broker, tmp_path):
    service = ServiceProcess(tmp_path, broker.port)
    write(service, "\n[ingest]\ntopics = ['acme/#']\n")
    with service, Publisher(broker.port) as publisher:
        publisher.send(TOPIC, payload(dust=7, pm25=7.5, co2=600))
        publisher.settle()
        eventually(lambda: service.dead_letters()["unknown_topic"], "a dead letter")
        url = f"http://127.0.0.1:{service.web_port}"
        with httpx.Client(base_url=url, timeout=60) as page:
            service.sign_in(page, "facilities")
            shown = page.get("/sensors").text
        assert TOPIC in shown
        sample = unescape(re.search(r'<pre class="payload">(.*?)</pre>', shown, re.DOTALL)[1])
        command = [sys.executable, "-m", "plumewatch", "mapping", "suggest", "--topic", TOPIC]
        found = subprocess.run(command, input=sample, capture_output=True, text=True, check=True)
        write(service, "\n" + found.stdout)
        service.end()
        service.start()
        publisher.send(TOPIC, payload(pm25=8.5, co2=650))
        publisher.settle()
        (reading,) = eventually(service.journal, lambda: f"a reading:\n{service.log}")
    assert reading.sensor == "n2-boys-1"
    assert reading.values == {"pm25": 8.5, "co2": 650.0}
    assert reading.flags == ()
    assert "Traceback" not in service.log
