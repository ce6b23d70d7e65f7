"""Test the path from a sensor without MQTT, through HTTP ingest, to a push on a phone."""

import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx
import pytest

from tests.support.broker import free_port
from tests.support.halo import message
from tests.support.service import START_WITHIN_S, Receiver, ServiceProcess
from tests.support.waiting import eventually

TOKEN = "token-for-halo-0000"
SOURCES = """
[ingest.http]
port = {port}
{more}

[[ingest.source]]
name = "halo"
decoder = "halo"
token_file = "halo-token"

[[sensor]]
id = "1C8259000001"
room = "N2-boys"
decoder = "halo"
"""


def service_of(folder, *, push_url="", more=""):
    """Return a service with HTTP ingest and without a broker, and its URL."""
    service = ServiceProcess(folder, free_port(), push_url=push_url)
    port = free_port()
    # the device uses local time, in which one hour occurs twice each year
    base = service.config.read_text().replace("America/New_York", "UTC")
    service.config.write_text(base + SOURCES.format(port=port, more=more))
    (folder / "halo-token").write_text(TOKEN)
    return service, f"http://127.0.0.1:{port}/ingest"


@pytest.fixture
def running():
    started = []

    def running(service):
        started.append(service)
        service.start(connected=False)
        eventually(
            lambda: "HTTP ingest: " in service.log or not service.running,
            lambda: service.log,
            START_WITHIN_S,
        )
        assert service.running, service.log
        return service

    yield running
    for service in started:
        service.end(signal.SIGKILL)


def halo_push(status="true", event="Vape"):
    """Return the message that the device creates from our template."""
    now = datetime.now(UTC)
    field = {"true": "Set String", "false": "Reset String"}[status]
    return message(
        field,
        EID=event,
        DATE=f"{now.year}-{now.month}-{now.day}",
        TIME=f"{now.hour}:{now.minute}:{now.second}",
    )


def test_a_halo_push_becomes_one_push(tmp_path, running):
    with Receiver() as receiver:
        service, url = service_of(tmp_path, push_url=receiver.url)
        running(service)
        body = halo_push()
        for outcome in ("accepted", "duplicate"):
            answer = httpx.post(f"{url}/halo?", content=body, auth=("halo", TOKEN), timeout=60)
            assert (answer.status_code, answer.json()["outcome"]) == (200, outcome)
        (push,) = eventually(lambda: receiver.pushes, lambda: f"a push:\n{service.log}")
        assert "Boys' restroom" in push["title"]
        assert "Vaping" in push["title"]
        (reading,) = service.journal()
        assert (reading.sensor, reading.events) == ("1C8259000001", ("vendor_vape",))
        assert service.end(signal.SIGTERM) == 0
        assert "Traceback" not in service.log
        assert TOKEN not in service.log
        assert len(receiver.pushes) == 1


def test_guessing_through_a_proxy_locks_out_the_guesser_alone(tmp_path, running):
    service, url = service_of(tmp_path)
    running(service)

    def post(token, address):
        headers = {"authorization": f"Bearer {token}", "x-forwarded-for": address}
        return httpx.post(f"{url}/halo", content=halo_push(), headers=headers, timeout=60)

    with ThreadPoolExecutor(10) as threads:
        guesses = [threads.submit(post, f"guess-number-{k:04}", "10.1.1.1") for k in range(10)]
        assert [guess.result().status_code for guess in guesses] == [401] * 10
    assert post(TOKEN, "10.1.1.1").status_code == 429
    assert post(TOKEN, "10.1.1.2").status_code == 200
    assert "from 10.1.1.1" in service.log
