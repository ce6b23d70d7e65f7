"""Test the path from a sensor's message over a real broker to a push, and its possible faults."""

import base64
import re
import signal
import socket
import time

import pytest

from storage.reading import Reading
from tests.support.broker import Mosquitto, free_port
from tests.support.plumes import readings_of_puff
from tests.support.service import Publisher, Receiver, ServiceProcess, run_command
from tests.support.waiting import eventually

WINDOW = "max_inflight_messages 500\nmax_queued_messages 100000"


@pytest.fixture
def broker():
    with Mosquitto(WINDOW) as started:
        yield started


def one_line_and_no_traceback(text):
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) == 1, text
    assert "Traceback" not in text
    return lines[0]


def test_a_puff_becomes_one_push(broker, tmp_path):
    puff = readings_of_puff(start=time.time() - 300)
    with (
        Receiver() as receiver,
        ServiceProcess(tmp_path, broker.port, push_url=receiver.url) as service,
        Publisher(broker.port) as publisher,
    ):
        publisher.send_readings(puff)
        publisher.settle()
        (push,) = eventually(lambda: receiver.pushes, lambda: f"a push:\n{service.log}")
        first = push["title"]
        assert "Boys' restroom" in first
        assert "2nd floor" in first
        assert "North" in first
        assert "Vaping" in first
        second = push["message"].splitlines()[0]
        assert re.search(r"Why: fine particles rose from 4 to \d+ in \d+ s", second), second
        assert f"http://127.0.0.1:{service.web_port}/" in push["message"].splitlines()[-1]
        (picture,) = push["attachments"]
        assert base64.b64decode(picture["base64"]).startswith(b"\x89PNG\r\n\x1a\n")
        assert (picture["filename"], picture["mimetype"]) == ("evidence.png", "image/png")
        eventually(lambda: service.series()["n2-boys-1"] == len(puff), "all stored")
        assert [r.seq for r in service.journal()] == [r.seq for r in puff]
        assert service.end(signal.SIGTERM) == 0
        service.start(fresh=True)  # nobody is notified again
        publisher.send_readings([Reading("n2-boys-1", time.time(), 0, {"pm25": 4.0}, seq=1000)])
        eventually(lambda: service.series()["n2-boys-1"] == len(puff) + 1, "still receives")
        assert len(receiver.pushes) == 1
        assert "Traceback" not in service.log


def test_wrong_password(tmp_path):
    with Mosquitto(WINDOW, users={"plumewatch": "right"}) as broker:
        (tmp_path / "password").write_text("guessed-7")
        account = 'username = "plumewatch"\npassword_file = "password"'
        service = ServiceProcess(tmp_path, broker.port, broker=account)
        output = run_command("run", "--config", str(service.config))
        assert output.returncode == 3
        last = output.stderr.splitlines()[-1]
        assert last == (
            f"broker 127.0.0.1:{broker.port} rejected user 'plumewatch': wrong name or password"
        )
        assert "Traceback" not in output.stderr
        assert "guessed-7" not in output.stderr
        checked = run_command("check", "--config", str(service.config))
        assert checked.returncode == 3
        assert f"FAULT broker: {last}" in checked.stdout


def test_unreachable_broker_is_waited_for(tmp_path):
    port = free_port()
    with Receiver() as receiver:
        service = ServiceProcess(tmp_path, port, push_url=receiver.url)
        checked = run_command("check", "--config", str(service.config))
        assert checked.returncode == 3
        (line,) = [x for x in checked.stdout.splitlines() if x.startswith("FAULT")]
        assert f"broker 127.0.0.1:{port} is not reachable" in line
        service.start(connected=False)
        try:
            eventually(lambda: "is not reachable" in service.log, lambda: service.log)
            with Mosquitto(WINDOW, port=port):
                eventually(lambda: "connected to" in service.log, lambda: service.log)
            assert service.end(signal.SIGTERM) == 0
            assert "Traceback" not in service.log
        finally:
            service.end(signal.SIGKILL)


def test_port_in_use(broker, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = ServiceProcess(tmp_path, broker.port, web_port=port)
        output = run_command("run", "--config", str(service.config))
        assert output.returncode == 3
        assert f"cannot listen on 127.0.0.1:{port}" in output.stderr.splitlines()[-1]
        assert "Traceback" not in output.stderr
        checked = run_command("check", "--config", str(service.config))
        assert checked.returncode == 3
        assert f"FAULT staff page: cannot listen on 127.0.0.1:{port}" in checked.stdout


def test_unwritable_data_folder(broker, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    service = ServiceProcess(tmp_path, broker.port, data_dir="file/data")
    output = run_command("run", "--config", str(service.config))
    assert output.returncode == 3
    assert "Not a directory" in one_line_and_no_traceback(output.stderr)
    checked = run_command("check", "--config", str(service.config))
    assert checked.returncode == 3
    assert "FAULT store: cannot write to" in checked.stdout


def test_missing_configuration(tmp_path):
    output = run_command("run", "--config", str(tmp_path / "none.toml"))
    assert output.returncode == 2
    assert "No such file" in one_line_and_no_traceback(output.stderr)
