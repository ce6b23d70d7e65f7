"""From a sensor without MQTT, through the HTTP ingest of the real service, to a push on a phone."""

import hashlib
import hmac
import json
import signal
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx
import pytest

from tests.support.broker import free_port
from tests.support.certificates import certificate
from tests.support.halo import message
from tests.support.service import START_WITHIN_S, Receiver, ServiceProcess
from tests.support.waiting import eventually

TOKEN = "token-for-halo-0000"
DIY = "token-for-diy-00000"
SHARED = "shared-secret-of-verkada"
SOURCES = """
[ingest.http]
port = {port}
{more}

[[ingest.source]]
name = "halo"
decoder = "halo"
token_file = "halo-token"

[[ingest.source]]
name = "diy"
decoder = "native"
token_file = "diy-token"
sensors = ["n2-boys-1"]
rate_per_s = 1000

[[ingest.source]]
name = "verkada"
decoder = "verkada"
signature_file = "verkada-secret"

[[sensor]]
id = "1C8259000001"
room = "N2-boys"
decoder = "halo"

[[sensor]]
id = "JQ9E-R9CG-RF6X"
room = "N2-boys"
decoder = "verkada"
"""


def service_of(folder, *, push_url="", more=""):
    """Return a service with HTTP ingest and without a broker, and its URL."""
    service = ServiceProcess(folder, free_port(), push_url=push_url)
    port = free_port()
    # the device stamps local time, and once a year an hour comes twice
    base = service.config.read_text().replace("America/New_York", "UTC")
    service.config.write_text(base + SOURCES.format(port=port, more=more))
    (folder / "halo-token").write_text(TOKEN)
    (folder / "diy-token").write_text(DIY)
    (folder / "verkada-secret").write_text(SHARED)
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
    """What the device makes of our template."""
    now = datetime.now(UTC)
    field = {"true": "Set String", "false": "Reset String"}[status]
    return message(
        field,
        EID=event,
        DATE=f"{now.year}-{now.month}-{now.day}",
        TIME=f"{now.hour}:{now.minute}:{now.second}",
    )


def no_secret_in(service):
    for secret in (TOKEN, DIY, SHARED):
        assert secret not in service.log


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
        no_secret_in(service)
        assert len(receiver.pushes) == 1


def test_a_signed_webhook_becomes_one_push(tmp_path, running):
    with Receiver() as receiver:
        service, url = service_of(tmp_path, push_url=receiver.url)
        running(service)
        data = {
            "start_time": time.time() - 1,
            "end_time": None,
            "most_extreme_value": 88.7,
            "reading": "vape_index",
            "device_serial": "JQ9E-R9CG-RF6X",
        }
        body = json.dumps({"webhook_type": "sensor_alert", "data": data}).encode()
        stamp = str(int(time.time()))
        digest = hmac.new(SHARED.encode(), body + b"|" + stamp.encode(), hashlib.sha256).hexdigest()
        header = {"Verkada-Signature": f"{stamp}|{digest}"}
        forged = httpx.post(f"{url}/verkada", content=body + b" ", headers=header, timeout=60)
        assert forged.status_code == 401
        taken = httpx.post(f"{url}/verkada", content=body, headers=header, timeout=60)
        assert taken.status_code == 200
        (push,) = eventually(lambda: receiver.pushes, lambda: f"a push:\n{service.log}")
        assert "Vaping" in push["title"]
        assert len(service.journal()) == 1
        no_secret_in(service)


def test_a_student_on_the_network(tmp_path, running):
    """No token, a wrong one, another's sensor, too much: refused, and the service goes on."""
    service, url = service_of(tmp_path)
    running(service)
    diy = {"authorization": f"Bearer {DIY}"}
    reading = json.dumps({"time": time.time(), "pm25": 900}).encode()
    with httpx.Client(timeout=60) as client:
        cases = [
            ("native/n2-boys-1", reading, {}, 401),
            ("native/n2-boys-1", reading, {"authorization": "Bearer guessed-token-000"}, 401),
            ("native/n2-boys-2", reading, diy, 403),
            ("halo", halo_push(), diy, 401),
            ("esphome/n2-boys-1", reading, diy, 404),
            ("native/n2-boys-1", b"7" * 200_000, diy, 413),
            ("native/n2-boys-1", b"\x00\xff", diy, 400),
            ("native/n2-boys-1", b'{"a":' * 500, diy, 422),
            ("native/n2-boys-1", reading, diy | {"content-encoding": "gzip"}, 415),
            ("native/n2-boys-1", reading, diy, 200),
        ]
        for path, content, headers, status in cases:
            answer = client.post(f"{url}/{path}", content=content, headers=headers)
            assert answer.status_code == status, path
    assert service.dead_letters() == {"not_allowed": 1, "malformed": 1, "too_deep": 1}
    assert len(service.journal()) == 1
    assert "a wrong token or signature from 127.0.0.1" in service.log
    assert service.end(signal.SIGTERM) == 0
    assert "Traceback" not in service.log
    no_secret_in(service)


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


def test_https(tmp_path, running):
    certificate(tmp_path)
    files = 'cert_file = "http.crt"\nkey_file = "http.key"'
    service, url = service_of(tmp_path, more=files)
    running(service)
    trusted = ssl.create_default_context(cafile=tmp_path / "http.crt")
    with httpx.Client(verify=trusted, timeout=60) as client:
        secure = url.replace("http:", "https:")
        answer = client.post(f"{secure}/halo", content=halo_push(), auth=("halo", TOKEN))
    assert answer.status_code == 200
    with pytest.raises(httpx.TransportError):
        httpx.post(f"{url}/halo", content=halo_push(), auth=("halo", TOKEN), timeout=60)
