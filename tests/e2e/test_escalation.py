"""Nobody answers, over a real broker and real deaths of the service: the next are asked, once."""

import signal
import time

import pytest

from storage.sqlite import connect
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


def rows(service, sql):
    """Read or change the state database."""
    connection = connect(service.config.parent / "data/state.db")
    try:
        return [tuple(row) for row in connection.execute(sql)]
    finally:
        connection.close()


def test_a_step_that_came_due_while_the_service_was_dead_runs_once(school):
    service, first, second = school
    assert [r[0] for r in rows(service, "SELECT action FROM escalation_step WHERE round = 1")] == [
        "tell",
        "tell",
    ]
    sent = "SELECT 1 FROM outbox WHERE status = 'sent'"
    eventually(lambda: rows(service, sent), "the first notice is marked: it is not sent again")
    service.end(signal.SIGKILL)
    rows(service, "UPDATE escalation_step SET due_at = due_at - 100 WHERE done_at IS NULL")
    service.start()
    (push,) = eventually(lambda: second.pushes, lambda: f"a push:\n{service.log}")
    assert push["message"].startswith("Nobody has responded yet.")
    assert len(first.pushes) == 1
    waits = "SELECT count(*) FROM escalation_step WHERE done_at IS NULL AND due_at > "
    assert rows(service, waits + str(time.time()))[0][0] >= 1  # the next keep their distance
    assert service.end(signal.SIGTERM) == 0
    assert "Traceback" not in service.log
    assert len(second.pushes) == 1
