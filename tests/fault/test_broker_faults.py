"""Test that the service recovers when the broker stops, returns, or was never there."""

import signal
import time
from collections import Counter

import msgspec
import pytest

from storage.reading import Reading
from tests.support.broker import Mosquitto
from tests.support.oracle import incidents
from tests.support.plumes import readings_of_puff
from tests.support.service import Publisher, ServiceProcess
from tests.support.waiting import eventually

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
        eventually(lambda: service.log.count("connected to 127.0.0.1") == 2, lambda: service.log)
        with Publisher(broker.port) as publisher:
            publisher.send_readings([good(2)])
            publisher.settle()
        eventually(
            lambda: [r.seq for r in service.journal() if r.sensor == "n2-boys-1"] == [1, 2],
            lambda: service.log,
        )
        assert "Traceback" not in service.log
        assert service.end(signal.SIGTERM) == 0


def test_a_broker_killed_after_a_backlog_delivers_it_again_and_nothing_is_stored_twice(tmp_path):
    """The broker saved the whole backlog, and one sensor's share of it exceeds every window."""
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
            with Publisher(broker.port) as publisher:  # these readings follow the backlog
                publisher.send_readings(
                    [Reading("n2-boys-1", time.time(), 0, {"pm25": 4.0}, seq=1_500)]
                )
                publisher.settle()
            eventually(lambda: service.stored() > len(backlog), lambda: service.log, 60)
            assert Counter(r.seq for r in service.journal() if r.sensor == "n2-boys-1") == Counter(
                range(1_501)
            )
            assert service.stored() == len(backlog) + 1


PULSES = 10
PULSE_ROOM = """
[[room]]
id = "room-{0}"
name = "Room {0}"
building = "Building {0}"
[[sensor]]
id = "pulse-{0}"
room = "room-{0}"
"""


def test_pulses_around_a_frozen_broker_are_all_alerted(tmp_path):
    """Sensors at 2 Hz stamp whole seconds, and the broker freezes for a minute.

    The test shortens the minute to seconds. What matters is that readings with the same stamp
    arrive far apart.
    """
    begin = int(time.time()) - 560
    frozen_at, thawed_at = begin + 430.75, begin + 490.75
    readings = [
        msgspec.structs.replace(reading, time=float(int(reading.time)), seq=None)
        for k in range(PULSES)
        for reading in readings_of_puff(
            f"pulse-{k}", begin, onset_s=405.25 + 9 * k, seconds=540.0, every_s=0.5
        )
    ]
    readings.sort(key=lambda r: r.received)
    with Mosquitto(WINDOW) as broker:
        service = ServiceProcess(tmp_path, broker.port)
        with service.config.open("a") as config:
            config.writelines(PULSE_ROOM.format(k) for k in range(PULSES))
        with service, Publisher(broker.port) as publisher:
            publisher.send_readings(r for r in readings if r.received < frozen_at)
            publisher.settle()
            with broker.frozen():
                publisher.send_readings(r for r in readings if frozen_at <= r.received < thawed_at)
                time.sleep(3.0)  # longer than equal stamps are tolerated
            publisher.send_readings(r for r in readings if r.received >= thawed_at)
            publisher.settle()
            rooms = sorted(f"room-{k}" for k in range(PULSES))
            eventually(
                lambda: sorted(room for _, room, _ in incidents(service)) == rooms,
                lambda: f"{incidents(service)}\n{service.log}",
            )
            eventually(lambda: service.stored() == len(readings), lambda: service.log)
            assert not any(r.flags for r in service.journal())
