"""Test that a service with much to restore acknowledges before its detectors are ready."""

import threading
import time

from alerts.consumer.detection_consumer import DetectionConsumer
from storage.reading import Reading
from tests.support.broker import Mosquitto
from tests.support.in_process import one_room, running
from tests.support.service import Publisher
from tests.support.waiting import until


def reading(seq, start):
    return Reading(f"n2-boys-{1 + seq % 2}", start + seq * 0.01, 0, {"pm25": 4.0}, seq=seq // 2)


async def test_readings_are_acknowledged_while_the_detectors_are_restored(tmp_path, monkeypatch):
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
                await until(
                    lambda: service.series.get_cursor() == 1
                )  # storing does not wait either
                assert not service.ready.is_set()
            finally:
                go_on.set()
            await until(lambda: service.detection.position == 1)
