"""The broker goes away, comes back, was never there: the service goes on by itself."""

import signal
import socket
import threading
import time
from collections import Counter

import pytest

from storage.reading import Reading
from tests.support.broker import Mosquitto, free_port
from tests.support.service import Publisher, ServiceProcess, eventually, run_command

WINDOW = "max_inflight_messages 500\nmax_queued_messages 100000\nautosave_interval 1"


def good(seq):
    return Reading("n2-boys-1", time.time(), 0, {"pm25": 4.0}, seq=seq)


@pytest.mark.parametrize("how", ["in order", "killed"])
def test_messages_arrive_again_after_the_broker_restarts(tmp_path, how):
    with Mosquitto(WINDOW) as broker, ServiceProcess(tmp_path, broker.port) as service:
        with Publisher(broker.port) as publisher:
            publisher.send_readings([good(1)])
            publisher.settle()
        eventually(lambda: len(service.journal()) == 1, lambda: service.log)
        if how == "killed":
            broker.kill9()
            broker.start()
        else:
            broker.restart()
        eventually(
            lambda: service.log.count("connected to 127.0.0.1") == 2, lambda: service.log, 25
        )
        with Publisher(broker.port) as publisher:
            publisher.send_readings([good(2)])
            publisher.settle()
        eventually(
            lambda: [r.seq for r in service.journal() if r.sensor == "n2-boys-1"] == [1, 2],
            lambda: service.log,
        )
        assert "Traceback" not in service.log
        assert service.end(signal.SIGTERM) == 0


def test_a_broker_that_does_not_answer(tmp_path):
    """A server listens and never answers: a bounded wait, one sentence, and stoppable meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        service = ServiceProcess(tmp_path, port)
        checked = run_command("check", "--config", str(service.config))
        assert checked.returncode == 3
        (line,) = [x for x in checked.stdout.splitlines() if x.startswith("FAULT broker")]
        assert f"127.0.0.1:{port}" in line


def test_a_server_that_is_no_broker(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer():
            link, _ = server.accept()
            with link:
                link.recv(1000)
                link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        service = ServiceProcess(tmp_path, port)
        checked = run_command("check", "--config", str(service.config))
        thread.join(60)
        assert checked.returncode == 3
        assert f"FAULT broker: broker 127.0.0.1:{port}" in checked.stdout
        assert checked.stderr == ""


def test_a_host_nobody_knows(tmp_path):
    service = ServiceProcess(tmp_path, free_port())
    text = service.config.read_text()
    service.config.write_text(text.replace('host = "127.0.0.1"', 'host = "no-broker.invalid"', 1))
    checked = run_command("check", "--config", str(service.config))
    assert checked.returncode == 3
    (line,) = [x for x in checked.stdout.splitlines() if x.startswith("FAULT broker")]
    assert "no-broker.invalid" in line
    assert "not reachable" in line
    assert checked.stderr == ""


@pytest.mark.timeout(300)
def test_a_broker_killed_after_a_backlog_delivers_it_again_and_nothing_is_stored_twice(tmp_path):
    """Its last save has the whole backlog, of which one sensor's part exceeds every window."""
    with Mosquitto("max_inflight_messages 500\nmax_queued_messages 100000") as broker:
        service = ServiceProcess(tmp_path, broker.port)
        with service:
            assert service.end(signal.SIGTERM) == 0
            now = time.time() - 300.0
            backlog = [
                Reading(f"n2-boys-{1 + k % 2}", now + k * 0.02, 0, {"pm25": 4.0}, seq=k // 2)
                for k in range(3_000)
            ]
            with Publisher(broker.port) as publisher:
                publisher.send_readings(backlog)
                publisher.settle()
            broker.save()
            service.start()
            eventually(lambda: service.stored() >= len(backlog), lambda: service.log, 60)
            before = service.log.count("connected to 127.0.0.1")
            broker.kill9()
            broker.start()
            eventually(
                lambda: service.log.count("connected to 127.0.0.1") > before, lambda: service.log
            )
            with Publisher(broker.port) as publisher:  # behind the backlog
                publisher.send_readings(
                    [Reading("n2-boys-1", time.time(), 0, {"pm25": 4.0}, seq=1_500)]
                )
                publisher.settle()
            eventually(lambda: service.stored() > len(backlog), lambda: service.log, 60)
            assert Counter(r.seq for r in service.journal() if r.sensor == "n2-boys-1") == Counter(
                range(1_501)
            )
            assert service.stored() == len(backlog) + 1
