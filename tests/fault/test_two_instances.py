"""Test two services on one data folder: the second one reports the first and exits."""

import time

from storage.reading import Reading
from tests.support.service import START_WITHIN_S, Publisher, ServiceProcess, run_command
from tests.support.waiting import eventually


def good(seq):
    return Reading("n2-boys-1", time.time(), 0, {"pm25": 4.0}, seq=seq)


def test_the_second_refuses_and_names_the_holder(broker, tmp_path):
    with ServiceProcess(tmp_path, broker.port) as service, Publisher(broker.port) as publisher:
        refused = run_command("run", "--config", str(service.config), timeout_s=START_WITHIN_S)
        assert refused.returncode == 3
        (line,) = [x for x in refused.stderr.splitlines() if "is in use by" in x]
        assert f"data folder {tmp_path / 'data'} is in use by process" in line
        assert "since 20" in line
        publisher.send_readings([good(1)])
        eventually(lambda: len(service.journal()) == 1, lambda: service.log)
        assert service.log.count("connected to 127.0.0.1") == 1  # nothing took over its session


def test_a_lock_file_that_is_deleted_ends_the_holder(broker, tmp_path):
    """Otherwise, a second service could start while the first is running."""
    with ServiceProcess(tmp_path, broker.port) as service:
        (tmp_path / "data" / "service.lock").unlink()
        eventually(lambda: not service.running, lambda: service.log)
        assert "the lock file of data folder" in service.log
        assert service.end() == 3
