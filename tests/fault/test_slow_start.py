"""A start with much to restore: connected and acknowledging at once, the detectors beside it."""

import signal
import threading
import time

import psutil
import pytest

from alerts.consumer.detection_consumer import DetectionConsumer
from storage.reading import Reading
from tests.support.broker import Mosquitto
from tests.support.in_process import one_room, running, until
from tests.support.service import Publisher, ServiceProcess, eventually

READINGS = 20_000
MORE_CPU_S = 1.0


def reading(seq, start):
    return Reading(f"n2-boys-{1 + seq % 2}", start + seq * 0.01, 0, {"pm25": 4.0}, seq=seq // 2)


async def test_readings_are_acknowledged_while_the_detectors_are_restored(tmp_path, monkeypatch):
    monkeypatch.setenv("AP_URL", "json://127.0.0.1:9/push")
    go_on, opened = threading.Event(), DetectionConsumer.open

    def slow_open(self, read):
        assert go_on.wait(60)
        opened(self, read)

    monkeypatch.setattr(DetectionConsumer, "open", slow_open)
    with Mosquitto() as broker:
        config = one_room(tmp_path)
        config = config.model_copy(
            update={"broker": config.broker.model_copy(update={"port": broker.port})}
        )
        async with running(config, wait=False) as service:
            try:
                await until(lambda: service.ingestion.source.state.connected)
                with Publisher(broker.port) as publisher:
                    publisher.send_readings([reading(0, time.time())])
                    await until(lambda: service.ingestion.source.state.acknowledged == 1)
                assert service.journal.last_offset() == 1
                assert not service.ready.is_set()
            finally:
                go_on.set()
            await until(lambda: service.detection.position == 1)


@pytest.mark.timeout(300)
def test_a_start_after_a_kill_costs_little_before_the_connection(tmp_path):
    """Processor time beyond that of a start without data."""

    def used():
        times = psutil.Process(service.pid).cpu_times()
        return times.user + times.system

    with Mosquitto("max_inflight_messages 500\nmax_queued_messages 100000") as broker:
        # one sensor sends thousands of messages: without the canary it gets no session of its own
        service = ServiceProcess(tmp_path, broker.port, broker="canary = false")
        with service:
            empty = used()
            start = time.time() - READINGS * 0.01
            with Publisher(broker.port) as publisher:
                publisher.send_readings(reading(seq, start) for seq in range(READINGS))
                publisher.settle(120)
            eventually(lambda: service.stored() == READINGS, lambda: service.log, 120)
            service.end(signal.SIGKILL)
            service.start()
            assert used() - empty < MORE_CPU_S
