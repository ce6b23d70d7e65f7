"""Test that suspicion never mutes: a disputed sensor's readings are evaluated and marked."""

from __future__ import annotations

import json
import signal
import time
from itertools import chain

import pytest

from storage.reading import Reading
from tests.support.broker import Mosquitto
from tests.support.launcher import ForkedService
from tests.support.oracle import assert_all_stored, assert_notified, incidents
from tests.support.plumes import readings_of_puff
from tests.support.service import Publisher, Receiver
from tests.support.waiting import eventually

pytestmark = pytest.mark.attack

SENSOR = "n2-boys-1"
LASTS_S = 240.0
KEEPER = """
[[staff]]
id = "keeper"
name = "Building services"
role = "facilities"
notify = [{ url_file = "keeper-url" }]
"""


class School:
    """A service, its broker, and the phones of a hall monitor and an administrator."""

    def __init__(self, service, publisher, monitor, keeper):
        self.service, self.publisher = service, publisher
        self.monitor, self.keeper = monitor, keeper

    def send(self, readings):
        self.publisher.send_readings(readings)
        assert_all_stored(self.service, self.publisher)

    def assert_one_alert(self, besides=()):
        assert_notified(self.service, self.monitor, rooms=["N2-boys"], kills=0, besides=besides)

    def pushed(self, receiver, kind):
        names = {name for name, _, _ in incidents(self.service, kind)}
        return [push for push in receiver.pushes if push["incident"] in names]


@pytest.fixture
def school(tmp_path):
    with (
        Receiver() as monitor,
        Receiver() as keeper,
        Mosquitto("max_inflight_messages 100\nmax_queued_messages 100000") as broker,
        Publisher(broker.port) as publisher,
    ):
        service = ForkedService(tmp_path, broker.port, push_url=monitor.url)
        (tmp_path / "keeper-url").write_text(keeper.url)
        with service.config.open("a") as config:
            config.write(KEEPER)
        with service:
            yield School(service, publisher, monitor, keeper)
            assert service.end(signal.SIGTERM) == 0
            assert "Traceback" not in service.log


def numbered(readings, first):
    return [Reading(r.sensor, r.time, 0, r.values, seq=first + k) for k, r in enumerate(readings)]


def test_two_devices_under_one_name(school):
    """An old device still runs next to its replacement: one in clean air, one in a plume."""
    start = time.time() - LASTS_S
    old = readings_of_puff(SENSOR, start=start, seconds=LASTS_S, top=0.0)
    new = readings_of_puff(SENSOR, start=start + 1.0, seconds=LASTS_S, top=260.0, onset_s=200.0)
    pairs = zip(numbered(old, 50_000), numbered(new, 0), strict=True)
    lines = [*chain.from_iterable(pairs)]
    school.send(lines[: len(lines) // 2])  # the plume begins later
    eventually(lambda: school.pushed(school.keeper, "integrity"), lambda: school.service.log)
    school.send(lines[len(lines) // 2 :])
    school.assert_one_alert(besides=["integrity"])
    assert len(school.pushed(school.monitor, "integrity")) == 1
    (alert,) = [p for p in school.pushed(school.monitor, "vape") if p["reason"] == "opened"]
    assert "Another sender may be using this sensor's name" in json.dumps(alert)


def test_a_forged_reading_far_ahead_does_not_mute(school):
    """Forged clean air with future times and numbers arrives among the sensor's own readings."""
    start = time.time() - LASTS_S
    own = numbered(readings_of_puff(SENSOR, start=start, seconds=LASTS_S, onset_s=200.0), 0)
    sent = []
    for k, reading in enumerate(own):
        if k % 6 == 3:
            ahead = Reading(SENSOR, reading.time + 0.5, 0, own[0].values, seq=10_000 + k + 60)
            sent.append(ahead)
        sent.append(reading)
    school.send(sent)
    school.assert_one_alert(besides=["integrity"])


def test_a_restart_after_a_long_outage_does_not_make_a_sensor_deaf(school):
    """An hour of readings is lost, so numbers jump; then the sensor restarts numbering at 0."""
    start = time.time() - LASTS_S
    own = readings_of_puff(SENSOR, start=start, seconds=LASTS_S, onset_s=200.0)
    before, after, anew = own[:40], own[40:80], own[80:]
    school.send(numbered(before, 100) + numbered(after, 2_000) + numbered(anew, 0))
    school.assert_one_alert()
