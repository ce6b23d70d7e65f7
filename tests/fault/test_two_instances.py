"""Two services on one data folder: one works, the other names it, or waits as a standby."""

import signal
import time

import httpx
import pytest

from storage.reading import Reading
from tests.support.broker import Mosquitto
from tests.support.service import START_WITHIN_S, Publisher, ServiceProcess, eventually, run_command


def good(seq):
    return Reading("n2-boys-1", time.time(), 0, {"pm25": 4.0}, seq=seq)


@pytest.fixture
def broker():
    with Mosquitto("max_inflight_messages 500\nmax_queued_messages 100000") as started:
        yield started


def test_the_second_refuses_and_names_the_holder(broker, tmp_path):
    with ServiceProcess(tmp_path, broker.port) as service, Publisher(broker.port) as publisher:
        refused = run_command("run", "--config", str(service.config), timeout_s=START_WITHIN_S)
        assert refused.returncode == 3
        (line,) = [x for x in refused.stderr.splitlines() if "is in use by" in x]
        assert f"data folder {tmp_path / 'data'} is in use by process" in line
        assert "since 20" in line
        publisher.send_readings([good(1)])
        eventually(lambda: len(service.journal()) == 1, lambda: service.log)
        assert service.log.count("connected to 127.0.0.1") == 1  # nobody took its session


def test_a_standby_takes_over_after_a_kill(broker, tmp_path):
    with ServiceProcess(tmp_path, broker.port) as service, Publisher(broker.port) as publisher:
        publisher.send_readings([good(1)])
        eventually(lambda: len(service.journal()) == 1, lambda: service.log)
        standby = ServiceProcess.__new__(ServiceProcess)
        standby.__dict__.update(service.__dict__)
        standby.start(connected=False, arguments=("--standby",))
        try:
            eventually(lambda: "standing by" in service.log, lambda: service.log, START_WITHIN_S)
            service.end(signal.SIGKILL)
            publisher.send_readings([good(2)])
            eventually(lambda: len(standby.journal()) == 2, lambda: standby.log, START_WITHIN_S)
            assert "taking over data folder" in standby.log
            assert standby.end(signal.SIGTERM) == 0
        finally:
            standby.end(signal.SIGKILL)
        assert [r.seq for r in standby.journal()] == [1, 2]


def test_a_standby_begins_when_it_takes_over(broker, tmp_path):
    """Its start, and the configuration, which the page of the other service may change."""
    with ServiceProcess(tmp_path, broker.port) as service:
        standby = ServiceProcess.__new__(ServiceProcess)
        standby.__dict__.update(service.__dict__)
        standby.start(connected=False, arguments=("--standby",))
        try:
            eventually(lambda: "standing by" in service.log, lambda: service.log, START_WITHIN_S)
            standby.send_signal(signal.SIGHUP)
            eventually(lambda: "is read when" in service.log, lambda: service.log)
            whole = service.config.read_text()
            service.config.write_text(whole.replace('site = "', 'site = "Renamed ', 1))
            ended = time.time()
            service.end(signal.SIGKILL)
            url, log = f"http://127.0.0.1:{standby.web_port}", lambda: standby.log
            eventually(lambda: "staff page: " in log().partition("taking over")[2], log)
            metrics = httpx.get(f"{url}/metrics", timeout=60).text.splitlines()
            (start,) = [x for x in metrics if x.startswith("plumewatch_start_time_seconds ")]
            assert float(start.split()[1]) >= ended
            assert "Renamed " in httpx.get(f"{url}/sign-in", timeout=60).text
            assert standby.end(signal.SIGTERM) == 0
        finally:
            standby.end(signal.SIGKILL)


def test_a_lock_file_that_is_deleted_ends_the_holder(broker, tmp_path):
    """Otherwise the next service would start beside it."""
    with ServiceProcess(tmp_path, broker.port) as service:
        (tmp_path / "data" / "service.lock").unlink()
        eventually(lambda: not service.running, lambda: service.log, 20)
        assert "the lock file of data folder" in service.log
        assert service.end() == 3
