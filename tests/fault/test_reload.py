"""Test a changed, half-written or wrong configuration, at the start and while the service runs.

SIGHUP reloads the configuration. The journal is compared with the ledger of messages published in
the meantime.
"""

from __future__ import annotations

import random
import re
import signal
import socket
import time
from contextlib import closing

import httpx
import pytest

from alerts.access.passwords import list_with_password, store_hash
from storage.sqlite import connect
from tests.support.broker import Mosquitto, free_port
from tests.support.launcher import ForkedService
from tests.support.oracle import assert_all_stored, quiet_reading
from tests.support.service import Publisher
from tests.support.waiting import eventually

NEW_SENSOR = '\n[[sensor]]\nid = "n2-boys-3"\nroom = "N2-boys"\n'
STAYS = "the configuration stays as it was"
ANEW = "restarting with the configuration"


@pytest.fixture
def running(tmp_path):
    with (
        Mosquitto("max_inflight_messages 100\nmax_queued_messages 100000") as broker,
        ForkedService(tmp_path, broker.port) as service,
        Publisher(broker.port) as publisher,
    ):
        yield service, publisher
        assert "Traceback" not in service.log


def reload(service, words):
    """Make the service reload its configuration, and wait for the result."""
    before = service.log.count(words)
    service.send_signal(signal.SIGHUP)
    eventually(lambda: service.log.count(words) > before, lambda: service.log)


def test_half_written_files_change_nothing(running):
    service, publisher = running
    whole = service.config.read_text()
    with closing(connect(service.folder / "data/state.db")) as db:
        store_hash(db, "ap", "hash", 0.0)
    for cut in sorted(random.sample(range(1, whole.index("[[sensor]]")), 8)):
        service.config.write_text(whole[:cut])
        reload(service, STAYS)
    service.config.unlink()
    reload(service, STAYS)
    service.config.write_text(whole.replace('room = "N2-boys"', 'room = "elsewhere"', 1))
    reload(service, "room: 'elsewhere'")
    publisher.send_readings(quiet_reading("n2-boys-1", k) for k in range(100))
    assert_all_stored(service, publisher)
    assert service.log.count("connected to 127.0.0.1") == 1
    with closing(connect(service.folder / "data/state.db")) as db:
        assert list_with_password(db) == {"ap": 0.0}
    assert service.end(signal.SIGTERM) == 0


def test_a_sound_one_is_taken_over_and_nothing_is_lost(running):
    """Messages are published throughout, and the process keeps its lock on the data folder."""
    service, publisher = running
    pid = service.pid
    seq = 0
    for _ in range(3):
        service.config.write_text(service.config.read_text() + NEW_SENSOR.replace("3", f"x{seq}"))
        connections = service.log.count("connected to 127.0.0.1")
        reload(service, ANEW)
        while service.log.count("connected to 127.0.0.1") == connections:
            publisher.send_readings([quiet_reading("n2-boys-1", seq)])
            seq += 1
            time.sleep(0.01)
    publisher.send_readings([quiet_reading("n2-boys-x0", 1)])
    assert_all_stored(service, publisher)
    (new,) = [r for r in service.journal() if r.sensor == "n2-boys-x0"]
    assert new.flags == ()  # the sensor is registered now
    assert service.pid == pid
    assert service.end(signal.SIGTERM) == 0


def test_of_changes_close_together_the_last_holds(running):
    service, publisher = running
    for k in range(4):
        service.config.write_text(service.config.read_text() + NEW_SENSOR.replace("3", f"y{k}"))
        service.send_signal(signal.SIGHUP)
    publisher.send_readings([quiet_reading("n2-boys-1", 1)])

    def is_registered():
        publisher.send_readings([quiet_reading("n2-boys-y3", int(time.time() * 1000))])
        mine = [r for r in service.journal() if r.sensor == "n2-boys-y3"]
        return any(r.flags == () for r in mine)

    eventually(is_registered, lambda: service.log)
    assert service.end(signal.SIGTERM) == 0


def test_one_that_cannot_be_run_is_taken_back(running):
    service, publisher = running
    whole = service.config.read_text()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service.config.write_text(whole.replace(f"port = {service.web_port}", f"port = {port}"))
        reload(service, "using the old one")
        eventually(lambda: service.log.count("connected to 127.0.0.1") == 2, lambda: service.log)
    publisher.send_readings(quiet_reading("n2-boys-1", k) for k in range(100))
    assert_all_stored(service, publisher)
    service.config.write_text(whole)
    reload(service, ANEW)
    assert service.end(signal.SIGTERM) == 0


def test_the_data_folder_stays(running):
    service, _ = running
    whole = service.config.read_text()
    service.config.write_text(whole.replace('data_dir = "data"', 'data_dir = "elsewhere"'))
    reload(service, "must stay")
    assert not (service.folder / "elsewhere").exists()


def test_a_start_with_half_a_file_reports_all_faults_and_changes_nothing(tmp_path):
    service = ForkedService(tmp_path, free_port())
    whole = service.config.read_text()
    service.config.write_text(whole[: whole.index("[[room]]")])
    service.start(connected=False)
    assert service.wait() == 2
    assert "room" in service.log
    assert "sensor" in service.log
    assert not (tmp_path / "data").exists()


def fetched(client, path):
    """Get a page as browsers do: retry once if the server closes an idle connection.

    A client cannot know that the connection is closing, so it has to retry (RFC 9112, 9.3.1).
    """
    try:
        return client.get(path)
    except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
        return client.get(path)


def test_a_change_on_the_staff_page_is_taken_over_while_browsers_wait(running):
    """The page's socket stays open, so no request fails while the next service starts."""
    service, publisher = running
    url = f"http://127.0.0.1:{service.web_port}"
    with httpx.Client(base_url=url, timeout=60) as client:
        service.sign_in(client, "facilities")
        form = client.get("/settings/rooms/0").text
        fields = dict(re.findall(r'name="(form_token|version)" value="([^"]+)"', form))
        connections = service.log.count("connected to 127.0.0.1")
        room = {"name": "Renamed", "building": "North", "floor": "2nd floor"}
        answer = client.post("/settings/rooms/0", data={**fields, **room})
        assert answer.status_code == 303, answer.text
        publisher.send_readings(quiet_reading("n2-boys-1", k) for k in range(50))
        while service.log.count("connected to 127.0.0.1") == connections:
            assert fetched(client, "/").status_code in {200, 303}
        assert "Renamed" in fetched(client, "/").text
        assert service.log.count(ANEW) == 1
    assert 'name = "Renamed"' in service.config.read_text()
    assert_all_stored(service, publisher)
