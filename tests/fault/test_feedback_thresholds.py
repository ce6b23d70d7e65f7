"""Test that feedback adjusts a threshold once, despite kill -9, and another answer reverts it."""

import contextlib
import re
import signal
import time

import httpx
import pytest

from alerts.incidents import threshold_adjustments
from alerts.incidents.incident import Verdict
from storage.sqlite import connect
from tests.support.broker import Mosquitto
from tests.support.oracle import incidents
from tests.support.plumes import readings_of_puff
from tests.support.service import Publisher, ServiceProcess
from tests.support.waiting import eventually

UP = threshold_adjustments.STEPS[Verdict.FALSE_ALARM]


@pytest.fixture
def broker():
    with Mosquitto() as started:
        yield started


def moves(service):
    with contextlib.closing(connect(service.folder / "data/state.db", read_only=True)) as found:
        return [
            (m.seq, m.after, m.position is not None)
            for m in threshold_adjustments.list_adjustments(found)
        ]


def is_raised(service):
    """Return whether the service uses a threshold that feedback has raised."""
    with httpx.Client(base_url=f"http://127.0.0.1:{service.web_port}", timeout=60) as client:
        service.sign_in(client, "ap-north")
        return "raised from" in client.get("/levels").text


def answer_on_the_page(service, **answer):
    """Answer the incident twice, as an impatient user does."""
    url = f"http://127.0.0.1:{service.web_port}"
    with httpx.Client(base_url=url, timeout=60) as client:
        service.sign_in(client, "ap-north")
        path = re.search(r'href="(/incidents/\d[^"]+)"', client.get("/incidents").text)[1]
        form_token = re.search(r'name="form_token" value="([^"]+)"', client.get(path).text)[1]
        for _ in range(2):
            form = {"form_token": form_token, **answer}
            assert client.post(f"{path}/feedback", data=form).status_code == 303
        assert "False alarm: spray" in client.get("/levels").text


def test_feedback_adjusts_a_threshold_once_survives_kills_and_is_reverted(broker, tmp_path):
    service = ServiceProcess(tmp_path, broker.port)
    start = time.time() - 200.0
    with service, Publisher(broker.port) as publisher:
        publisher.send_readings(readings_of_puff(start=start, seconds=190.0))
        publisher.settle()
        eventually(lambda: incidents(service), lambda: f"an incident:\n{service.log}")
        answer_on_the_page(service, verdict="false_alarm", cause="spray")
        eventually(lambda: moves(service) == [(1, UP, True)], lambda: f"placed {moves(service)}")
        for signum in (signal.SIGKILL, signal.SIGTERM):
            service.end(signum)
            service.start()
            assert moves(service) == [(1, UP, True)]
        assert is_raised(service)

        answer_on_the_page(service, verdict="nothing_found")
        undone = [(2, 0.0, True), (1, UP, True)]
        eventually(lambda: moves(service) == undone, lambda: f"placed {moves(service)}")
        for signum in (signal.SIGKILL, signal.SIGTERM):
            service.end(signum)
            service.start()
        assert not is_raised(service)
        assert moves(service) == undone
