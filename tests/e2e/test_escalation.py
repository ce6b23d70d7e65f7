"""Nobody answers, over a real broker and real deaths of the service: the next are asked, once."""

import signal
import time
from contextlib import closing

import pytest

from alerts.escalation import steps
from storage.sqlite import connect
from tests.support import alert_records as stored
from tests.support.broker import Mosquitto
from tests.support.plumes import readings_of_puff
from tests.support.service import Publisher, Receiver, ServiceProcess, eventually

SECOND = """
[routing]
receiver = "hall"

[[receiver]]
id = "hall"
people = ["ap-north"]
catch_all = ["lead"]

[[staff]]
id = "lead"
name = "Lead"
notify = [{ url_file = "lead-push" }]
"""


@pytest.fixture
def school(tmp_path):
    """A service, and the phones of the first and the second who are asked."""
    with (
        Mosquitto("max_inflight_messages 500\nmax_queued_messages 100000") as broker,
        Receiver() as first,
        Receiver() as second,
    ):
        service = ServiceProcess(tmp_path, broker.port, push_url=first.url)
        (tmp_path / "lead-push").write_text(second.url)
        (tmp_path / "lead-push").chmod(0o600)
        service.config.write_text(service.config.read_text() + SECOND)
        with service, Publisher(broker.port) as publisher:
            publisher.send_readings(readings_of_puff(start=time.time() - 165.0, seconds=165.0))
            publisher.settle()
            eventually(lambda: first.pushes, lambda: f"a push:\n{service.log}")
            yield service, first, second


def state(service):
    return closing(connect(service.config.parent / "data/state.db"))


def test_a_step_that_came_due_while_the_service_was_dead_runs_once(school):
    service, first, second = school
    with state(service) as db:
        assert stored.steps(db, "action", round=1) == ["tell", "tell"]
        marked = "the first notice is marked: it is not sent again"
        eventually(lambda: stored.notices(db, status="sent"), marked)
    service.end(signal.SIGKILL)
    with state(service) as db:
        steps.shift(db, *stored.incidents(db, "id"), -100.0)
    service.start()
    (push,) = eventually(lambda: second.pushes, lambda: f"a push:\n{service.log}")
    assert push["message"].startswith("Nobody has responded yet.")
    assert len(first.pushes) == 1
    with state(service) as db:
        assert steps.next_deadline(db) > time.time()  # the next keep their distance
    assert service.end(signal.SIGTERM) == 0
    assert "Traceback" not in service.log
    assert len(second.pushes) == 1
