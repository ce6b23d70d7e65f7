"""Set the machine's clock while the service runs, with real processes and a real broker.

Sensors with a clock always have the correct time; sensors without a clock use the machine's time.
"""

from __future__ import annotations

import json
import signal
import time
from dataclasses import dataclass
from typing import Any

import pytest

from storage.reading import Reading
from tests.support.broker import Mosquitto
from tests.support.launcher import ForkedService, set_clock
from tests.support.oracle import (
    assert_all_stored,
    assert_notified,
    detected_upto,
    incidents,
    quiet_reading,
)
from tests.support.plumes import readings_of_puff
from tests.support.provider import Provider, answer
from tests.support.service import Publisher, Receiver
from tests.support.waiting import eventually

HOUR = 3600.0
EPISODE_S = 190.0


@dataclass
class Course:
    service: Any
    publisher: Any
    receiver: Any

    def begin(self):
        """Wait until the service evaluates readings, which means that it has read its clock."""
        self.publisher.send_readings([quiet_reading("n2-boys-1", 10**6, time.time() - 600.0)])
        eventually(lambda: detected_upto(self.service) == 1, lambda: self.service.log)

    def set(self, offset_s):
        """Set the clock, and wait until the service has noticed."""
        before = self.service.log.count("the clock was set")
        set_clock(self.service.clock, offset_s)
        eventually(
            lambda: self.service.log.count("the clock was set") > before, lambda: self.service.log
        )

    def episode(self, sensor="n2-boys-1", seq=0, *, top=180.0, ago=0.0):
        """Return a sensor's last three minutes, with a puff half a minute ago."""
        start = time.time() - EPISODE_S - ago
        readings = readings_of_puff(sensor, start=start, seconds=EPISODE_S, top=top)
        self.publisher.send_readings(
            Reading(r.sensor, r.time, 0, r.values, seq=seq + k) for k, r in enumerate(readings)
        )
        self.publisher.settle()


@pytest.fixture
def course(tmp_path):
    with (
        Receiver() as receiver,
        Mosquitto("max_inflight_messages 100\nmax_queued_messages 100000") as broker,
        ForkedService(tmp_path, broker.port, push_url=receiver.url) as service,
        Publisher(broker.port) as publisher,
    ):
        course = Course(service, publisher, receiver)
        course.begin()
        yield course
        assert "Traceback" not in service.log
        assert not [p for p in receiver.pushes if "offline" in json.dumps(p)], "nobody was silent"


def settled(course, rooms=("N2-boys",)):
    assert_all_stored(course.service, course.publisher)
    assert_notified(course.service, course.receiver, rooms=rooms, kills=0)
    assert course.service.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("wrong_s", [HOUR, -HOUR, -20 * 365 * 86_400.0], ids=str)
def test_a_clock_that_was_wrong_is_put_right(course, wrong_s):
    """The machine starts without network time; an episode after the correction alerts once."""
    course.set(wrong_s)
    course.episode(top=0.0, ago=EPISODE_S)
    assert_all_stored(course.service, course.publisher)
    course.set(0.0)
    course.episode(seq=1000)
    settled(course)


@pytest.mark.parametrize("wrong_s", [HOUR, -HOUR], ids=str)
def test_a_glitch_during_an_episode(course, wrong_s):
    """The clock is set ahead and back during an episode: one incident with one notice."""
    course.episode()
    eventually(lambda: len(course.receiver.pushes) == 1, lambda: course.service.log)
    course.set(wrong_s)
    course.publisher.send_readings(quiet_reading("n2-boys-1", 2000 + k) for k in range(50))
    course.publisher.settle()
    course.set(0.0)
    course.episode("n2-boys-2")  # in the same room
    settled(course)


ROOM = """
[[room]]
id = "R{0}"
name = "Room {0}"
building = "{0}"

[[sensor]]
id = "s{0}"
room = "R{0}"
"""
SENSORS = 8


@pytest.mark.parametrize(("first_s", "then_s"), [(HOUR, HOUR), (HOUR, 0.0), (-HOUR, 0.0)], ids=str)
def test_plumes_in_the_seconds_after_a_step_of_sensors_without_a_clock(tmp_path, first_s, then_s):
    """Somebody vapes in each room 4 to 32 s after the first clock step."""
    every_s, begins_s, step_at = 2.0, 60.0, 60.0
    with (
        Receiver() as receiver,
        Mosquitto("max_inflight_messages 100") as broker,
        Publisher(broker.port) as publisher,
    ):
        service = ForkedService(tmp_path, broker.port, push_url=receiver.url)
        with service.config.open("a") as config:
            config.writelines(ROOM.format(k) for k in range(SENSORS))
        started, passed = time.time(), 0.0
        try:
            service.start()
            courses = [
                readings_of_puff(
                    f"s{k}", seconds=130.0, every_s=every_s, onset_s=begins_s + 4.0 + 4.0 * k
                )
                for k in range(SENSORS)
            ]
            for number, moment in enumerate(zip(*courses, strict=True)):
                passed = number * every_s  # single changes are too small to count as a step
                steps = first_s * (passed >= step_at)
                if passed >= step_at + 12.0:
                    steps = then_s
                set_clock(service.clock, started + passed + steps - time.time())
                for reading in moment:
                    publisher.send(
                        f"plumewatch/v1/{reading.sensor}/reading",
                        json.dumps(reading.values).encode(),
                        key=(reading.sensor, reading.seq),
                    )
                publisher.settle()
                expected = SENSORS * (number + 1)
                eventually(lambda n=expected: has(service, n), lambda: service.log)
            rooms = [f"R{k}" for k in range(SENSORS)]
            assert_notified(service, receiver, rooms=rooms, kills=0)
            assert service.end(signal.SIGTERM) == 0
            assert "Traceback" not in service.log
        finally:
            service.end(signal.SIGKILL)


def has(service, count):
    """Return whether the journal has this many readings, without the service's own reports."""
    return service.stored() >= count == sum(bool(reading.values) for reading in service.journal())


def test_a_notice_that_waits_is_sent_in_its_time(tmp_path):
    """The notice is due again in seconds, not an hour, and doesn't expire when the clock is set."""
    provider = Provider()
    with (
        Mosquitto("max_inflight_messages 100") as broker,
        Publisher(broker.port) as publisher,
    ):
        push = f"json://127.0.0.1:{provider.port}/push"
        provider.answers = [answer(503)] * 2
        service = ForkedService(tmp_path, broker.port, push_url=push)
        course = Course(service, publisher, None)
        try:
            service.start()
            course.begin()
            course.episode()
            eventually(lambda: provider.requests, lambda: service.log)
            course.set(-HOUR)
            eventually(lambda: len(provider.requests) > 1, lambda: service.log)
            course.set(24 * HOUR)
            eventually(lambda: len(provider.requests) > 2, lambda: service.log)
            notified_or_later = ("notified", "resolved")
            eventually(lambda: incidents(service)[0][2] in notified_or_later, lambda: service.log)
            assert len(provider.requests) == 3
            assert service.end(signal.SIGTERM) == 0
        finally:
            service.end(signal.SIGKILL)
            provider.close()


@pytest.mark.parametrize(
    "instant",
    ["2026-03-08T06:59:00+00:00", "2026-11-01T05:59:00+00:00"],
    ids=["spring", "autumn"],
)
def test_the_hour_that_the_law_moves(tmp_path, instant):
    """A school in New York has episodes before and after the time change, two minutes apart."""
    from datetime import datetime

    offset = datetime.fromisoformat(instant).timestamp() - time.time()
    with (
        Receiver() as receiver,
        Mosquitto("max_inflight_messages 100") as broker,
        Publisher(broker.port) as publisher,
    ):
        service = ForkedService(tmp_path, broker.port, push_url=receiver.url)
        set_clock(service.clock, offset)
        try:
            service.start()
            start = time.time() + offset - EPISODE_S
            readings = readings_of_puff(start=start, seconds=EPISODE_S)
            publisher.send_readings(readings)
            eventually(lambda: receiver.pushes, lambda: service.log)
            set_clock(service.clock, offset + 120.0)  # move past the time change
            later = readings_of_puff(
                "n2-boys-2", start=start + 120.0, seconds=EPISODE_S, onset_s=155.0
            )
            publisher.send_readings(later)
            publisher.settle()
            eventually(lambda: service.stored() == 2 * len(readings), lambda: service.log)
            assert len(incidents(service)) == 1  # same room minutes later: part of the incident
            assert len([p for p in receiver.pushes if p["reason"] == "opened"]) == 1
            assert service.end(signal.SIGTERM) == 0
            assert "Traceback" not in service.log
        finally:
            service.end(signal.SIGKILL)
