"""Test a second sender without sequence numbers, and honest devices that look like one."""

import functools
import json
import random
from itertools import chain

import pytest
from msgspec.structs import replace

from ingest.decoding import Context
from ingest.intake import Intake, IntakeConfig
from ingest.integrity import Integrity
from ingest.validation import Message
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from tests.support.plumes import puff

pytestmark = pytest.mark.attack

T0 = 1_790_000_000.0
PUFFS_S = (1_000.0, 1_060.0, 1_120.0, 1_180.0)
LATE_S = 0.25


@functools.cache
def air(at, onsets=PUFFS_S, top=265.0):
    """Return the values at a time; puffs begin at `onsets`."""
    fine = 4.0 + random.Random(int(at * 10)).gauss(0, 0.2)
    return {"pm25": fine + sum(puff(at - onset, top) for onset in onsets), "rh": 41.0}


def reading(at, *, late=LATE_S, own=None, timed=True, values=None):
    """Return a reading that arrives `late` after `at`; `own` is its time stamp if not `at`."""
    received = T0 + at + late
    if not timed:
        return Reading("s1", received, received, values or air(at), flags=("no_time",))
    return Reading("s1", T0 + (at if own is None else own), received, values or air(at))


def device(every, begin=0.0, end=1_300.0, **given):
    return (reading(begin + k * every, **given) for k in range(int((end - begin) / every)))


def clean(per_s, lead=0.0, values=None, begin=900.0, end=1_300.0, **given):
    """Return forged readings; `lead` is how far their stamps are ahead of their receipt."""
    values = values or {"pm25": 4.0}
    times = [begin + 0.37 + k / per_s for k in range(int((end - begin) * per_s))]
    return [reading(at, late=0.0, own=at + lead, values=values, **given) for at in times]


def first_found(*streams):
    """Return when the first finding came, or None."""
    watch, readings = Integrity(), sorted((r for s in streams for r in s), key=lambda r: r.received)
    for one in readings:
        watch.on_live(one)
        for found in watch.take_findings():
            assert found.events == ("integrity:two_senders",)
            return found.received - T0
    return None


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("every", [1.0, 2.0, 5.0, 10.0])
@pytest.mark.parametrize(
    "values", [{"pm25": 4.0}, {"pm10": 5.0}, {"n03": 100.0}], ids=["pm25", "pm10", "n03"]
)
@pytest.mark.parametrize(("per_s", "lead"), [(1, 0), (2, 0), (1, 50), (2, 200)])
def test_clean_air_beside_a_plume_is_a_second_sender(timed, every, values, per_s, lead):
    """Whatever stamps the forged readings have, they alternate with the sensor's own."""
    own, forged = device(every, timed=timed), clean(per_s, lead, values, timed=timed or lead > 0)
    assert PUFFS_S[0] < first_found(own, forged) < PUFFS_S[0] + max(25.0, 12 * every)


@pytest.mark.parametrize("every", [1.0, 30.0, 600.0])
@pytest.mark.parametrize("values", [{"pm25": 4.0}, {"co2": 600.0}], ids=["pm25", "co2"])
def test_far_more_readings_than_usual_are_a_second_sender(every, values):
    assert 900 < first_found(device(every), clean(12, values=values)) < 960


@pytest.mark.parametrize("begin", [0.0, 900.0])
@pytest.mark.parametrize("late", [0.5, 2.5, 12.0, 50.0])
def test_readings_of_one_sender_that_make_those_of_the_other_old_are_a_second_sender(begin, late):
    """No rule about the air applies: it is clean, and both report seldom."""
    begin += 300.0 * (late > 15.0)  # first, the sensor's usual delay must be known
    own = device(5.0, late=late, values={"pm25": 5.0, "rh": 41.0})
    assert begin < first_found(own, clean(0.2, begin=begin)) < begin + 35


@pytest.mark.parametrize("every", [20.0, 40.0])
def test_two_forged_spikes_just_before_a_plume_are_a_second_sender(every):
    forged = [reading(PUFFS_S[0] - k * every, values={"pm25": 400.0}) for k in (1.5, 0.5)]
    assert first_found(device(every), forged) < PUFFS_S[0] + every + 1.0


def exception(at):
    """Return whether a device that reports changes reports at this second."""
    return at % 60 == 0 or abs(air(at)["pm25"] - air(at - 1)["pm25"]) > 2.0


HONEST = {
    "a reading a second": device(1.0),
    "ten a second, as always": device(0.1, timed=False),
    "jitter": (reading(at + random.Random(at).uniform(-0.9, 0.9)) for at in range(1_300)),
    "shorter interval": chain(device(30.0, end=500.0), device(1.0, begin=500.0)),
    "reports changes": (reading(float(at), timed=False) for at in range(1_300) if exception(at)),
    "a backlog without stamps": chain(
        device(10.0, end=900.0, timed=False),
        (reading(10.0 * k, late=400.0 - 9.95 * k + 900.0, timed=False) for k in range(90, 130)),
    ),
    "a backlog between live readings": chain(
        device(1.0),
        (reading(at, late=300.0 - 0.9 * (at - 900), own=at) for at in range(900, 1_200)),
        (reading(500.0 + k, own=500.0 + k - 400.0, values=air(1_000.0 + k)) for k in range(300)),
    ),
    "a slow backlog": chain(
        device(10.0, end=300.0),
        (
            reading(300 + k / 5, own=-10_000.0 + 10 * k, values=air(10 * k % 1_300))
            for k in range(999)
        ),
    ),
    "a batch every minute": (
        reading(at, late=60.0 - at % 60 + at % 60 / 1_000) for at in range(0, 1_300, 10)
    ),
    "a batch of a second's readings": (
        reading(at, late=60.0 - at % 60 + at % 60 / 1_000) for at in range(1_300)
    ),
    "late batches": (
        reading(at, late=100.0 - at % 60 + random.Random(at // 60).uniform(0, 30) + at % 60 / 1_000)
        for at in range(0, 1_300, 10)
    ),
    "slow clock": (
        reading(at, own=at - 50.0, late=random.Random(at).uniform(0, 0.9)) for at in range(1_300)
    ),
    "clock set ahead": (reading(at, own=at - 50.0 * (at < 600)) for at in range(1_300)),
    "clock set back": (reading(at, own=at - 3_000.0 * (at > 600)) for at in range(1_300)),
    "clock drifts": (reading(at, own=at - 20.0 + at / 50) for at in range(1_300)),
    "clock set back by seconds": (reading(at, own=at - 12.0 * (at > 600)) for at in range(1_300)),
    "particles stamped when measured": (
        reading(at + k / 10, own=at + k / 10 - late, values=values)
        for at in range(1_300)
        for k, (late, values) in enumerate([(0.0, {"co2": 600.0}), (2.5, air(at))])
    ),
    "numbered, by two routes": (
        replace(reading(at, late=0.3 + 1.2 * (at % 2)), seq=at) for at in range(1_300)
    ),
    "two clocks": (
        reading(at, own=at - 50.0 * (at % 2), values=air(at - at % 2)) for at in range(1_300)
    ),
    "untimed readings together": (
        reading(at, late=60.0 - at % 60, timed=False) for at in range(0, 1_300, 10)
    ),
    "averages apart": chain(
        device(1.0, timed=False),
        (reading(at, own=at - 60.0, values={"pm25": 5.0}) for at in range(30, 1_300, 60)),
    ),
    "three spikes": (
        reading(at, values={"pm25": 900.0} if at in {400, 500, 600} else air(at))
        for at in range(1_300)
    ),
    "retained": chain(device(1.0), (replace(r, flags=("retained",)) for r in clean(1))),
}


@pytest.mark.parametrize("name", HONEST)
def test_what_honest_devices_send_is_one_sender(name):
    assert first_found(HONEST[name]) is None


@pytest.mark.parametrize(
    ("permits", "live", "stamped", "found"),
    [
        (None, False, False, False),
        (None, False, True, True),
        (None, False, "own", True),
        (None, True, False, True),
        (lambda *_: True, False, False, True),
    ],
    ids=["backlog", "backlog with time stamps", "backlog of both", "MQTT", "HTTP"],
)
def test_readings_are_compared_if_it_is_known_when_they_were_sent(permits, live, stamped, found):
    registry = Registry.build((Room("r", "R", "1", "N", "S"),), (Sensor("s1", "r"),))
    intake, found_events = Intake(IntakeConfig(Context(registry=registry))), set()
    for k in range(60):
        body = {"pm25": 4.0 if k % 2 else 200.0}
        at = T0 + (60.0 + 0.001 * k if stamped else 0.5 * k)
        is_own = k % 2 == 1
        body |= {"time": T0 + 0.5 * k} if stamped is True or (stamped and is_own) else {}
        topic, payload = "plumewatch/v1/s1/reading", json.dumps(body).encode()
        message = Message(topic, payload, at, live=live, packet=0 if permits else k + 1)
        intake.on_message(message, permits=permits)
        found_events |= {e for r in intake.on_time(at) for e in r.events}
    assert found_events == ({"integrity:two_senders"} if found else set())


def test_our_clock_set_back_is_no_second_sender():
    watch = Integrity()
    for begin in (0.0, -3_600.0, 0.0):
        for at in range(1_300):
            watch.on_live(reading(begin + at, own=begin + at - 50, values=air(at)))
    assert watch.take_findings() == ()
