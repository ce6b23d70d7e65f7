"""Test that each sensor's counts match the journal, however often the service is killed."""

import contextlib
import signal
import time
import urllib.request

from storage.reading import Reading
from storage.sqlite import connect
from tests.support.broker import Mosquitto
from tests.support.launcher import ForkedService
from tests.support.service import Publisher
from tests.support.waiting import eventually

KILLS = 4
EACH = 40


def counted(service):
    """Return the number of readings that the service counts, over all sensors."""
    address = f"http://127.0.0.1:{service.web_port}/metrics"
    with urllib.request.urlopen(address, timeout=30) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith('plumewatch_readings_total{noted="readings"}'):
                return int(float(line.split()[-1]))
    raise AssertionError("not counted")


def recorded(service):
    """Return the sums of ``received`` and ``expected`` with the documented query."""
    with contextlib.closing(connect(service.folder / "data/series.db", read_only=True)) as series:
        return series.execute(
            "SELECT coalesce(sum(received), 0), coalesce(sum(expected), 0) FROM sensor_health"
        ).fetchone()


def test_counts_and_completeness_survive_kills(tmp_path):
    """Kill the service before it saves its counts, which it does once a minute."""
    with (
        Mosquitto() as broker,
        Publisher(broker.port) as publisher,
        ForkedService(tmp_path, broker.port) as service,
    ):
        seq = 0

        def whole(
            received, expected
        ):  # the expected number is known once the detector has the readings
            return received == seq and 0.9 * expected <= received <= 1.1 * expected

        for _ in range(KILLS):
            for _ in range(EACH):
                reading = Reading("n2-boys-1", time.time(), 0, {"pm25": 4.0}, seq=seq)
                publisher.send_readings([reading])
                seq += 1
                time.sleep(0.01)
            publisher.settle()
            eventually(lambda sent=seq: service.stored() == sent, lambda: service.log)
            service.end(signal.SIGKILL)
            service.start()
        eventually(lambda: counted(service) == seq, lambda: f"{counted(service)} of {seq}")
        eventually(lambda: whole(*recorded(service)), lambda: f"{recorded(service)} of {seq}")
        assert "Traceback" not in service.log
