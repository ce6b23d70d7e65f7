"""Test two devices under one name, repeats, floods, and harmless look-alikes."""

import random

import pytest

from detection.combined import DeviceEvents
from detection.events import EventKind, join_details
from ingest.integrity import FINDINGS, Integrity
from storage.reading import DEVICE_EVENTS, Reading

pytestmark = pytest.mark.attack

T0 = 1_790_000_000.0


def reading(seq, at, *, time=None, flags=(), values=None, sensor="s1"):
    moment = T0 + at if time is None else time
    values = {"pm25": 7.0} if values is None else values
    return Reading(sensor, moment, T0 + at, values, (), (), flags, seq)


def run(watch, stream):
    """Return the findings in a stream of readings."""
    for item in stream:
        watch.on_reading(item)
    return [(r.sensor, r.events[0].partition(":")[2]) for r in watch.take_findings()]


def honest(first, start, count, every=5.0, flags=()):
    return [reading(first + k, start + k * every, flags=flags) for k in range(count)]


def unstamped(k, at):
    return reading(5_100 + k, at, flags=("no_time",), values={"pm25": 7.0 + k % 5})


@pytest.fixture
def known():
    """Return a sensor that has sent numbered readings every 5 s for a while."""
    watch = Integrity()
    assert run(watch, honest(5_000, -500.0, 100)) == []
    return watch


def test_a_name_that_floods_is_a_finding_of_its_sensor_or_a_fault_of_the_service():
    faults = []
    watch = Integrity(faults.append)
    for sensor in ("s1", None, "s1"):
        watch.on_flood(sensor, T0)
    findings = [(r.sensor, r.events) for r in watch.take_findings()]
    assert findings == [("s1", ("integrity:flooded",))]
    assert faults == ["strangers"]


def test_findings_are_events_that_no_device_can_claim_and_that_become_incidents():
    assert not FINDINGS & DEVICE_EVENTS
    for name in FINDINGS:
        (event,) = DeviceEvents().on_reading("s1", T0, (name,), (), {})
        assert event.kind is EventKind.INTEGRITY
        assert join_details(event.details)


@pytest.mark.parametrize("every", [1.0, 5.0, 60.0])
def test_two_devices_under_one_name_are_found_once_a_minute_and_nothing_is_missing(every):
    watch = Integrity()
    run(watch, honest(5_000, -500 * every, 500, every))
    streams = [*honest(1, 0.0, 60, every), *honest(5_500, every / 2, 60, every)]
    missing = sum(watch.on_reading(r) for r in sorted(streams, key=lambda r: r.received))
    found = [(r.sensor, r.events) for r in watch.take_findings()]
    assert found
    assert set(found) == {("s1", ("integrity:two_senders",))}
    assert len(found) <= 60 * every / 60 + 1
    assert missing == 0


def second_sender(kind, k):
    """Return the sequence number of the k-th forged reading, which follows a genuine one."""
    return {
        "without numbers": None,
        "random": random.Random(k).randrange(10**6),
        "random and few": random.Random(k).randrange(100),
        "constant": 7,
        "constant and near": 5_050,
        "the same": 5_000 + k,
        "jumping": 10_000 + 1_000 * k,
        "just ahead": 5_001 + k + 20,
    }[kind]


@pytest.mark.parametrize("each", [1, 5])
@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize(
    "kind",
    [
        "without numbers",
        "random",
        "random and few",
        "constant",
        "constant and near",
        "the same",
        "jumping",
        "just ahead",
    ],
)
def test_whatever_numbers_a_second_sender_gives_it_is_found(known, kind, timed, each):
    """The sensor reports every 5 s; `each` forged readings follow every genuine one."""
    flags = () if timed else ("no_time",)
    stream = []
    for k in range(60):
        at = 5.0 * k
        stream.append(reading(5_100 + k, at, flags=flags))
        for i in range(each):
            later = at + 0.5 + 0.5 * i
            seq = second_sender(kind, k * each + i if kind != "the same" else 100 + k)
            stream.append(reading(seq, later, flags=flags, values={"pm25": 4.0}))
    found = run(known, stream)
    assert set(found) == {("s1", "two_senders")}


@pytest.mark.parametrize("ahead", [2, 20, 50, 101, 1_400, 500_000])
@pytest.mark.parametrize("every", [0.5, 2.5])
def test_a_second_sender_ahead_of_the_numbers_is_found_before_it_stops(known, ahead, every):
    """It forges 40 s of clean air with future numbers, so the real sensor seems to fill a gap."""
    own = honest(5_100, 0.0, 8)
    forged = [
        reading(5_100 + ahead + k, 0.3 + every * k, values={"pm25": 4.0})
        for k in range(int(40 / every))
    ]
    found = run(known, sorted([*own, *forged], key=lambda r: r.received))
    assert set(found) == {("s1", "two_senders")}


@pytest.mark.parametrize(
    "stream",
    [
        [reading(5_101, 1.0), reading(5_100, 1.2, time=T0 + 0.5)],
        [reading(5_140, 1.0)],
        [reading(60_000, 7_200.0)],
        [reading(5_100, 1.0), reading(5_100, 1.0)],
        [reading(5_100, k * 1.0) for k in range(30)],
        [reading(None, 1.0, values={}), reading(None, 2.0), reading(5_101, 3.0)],
        [reading(3, 1.0, flags=("retained",), time=T0 - 900), reading(5_100, 2.0)],
        [r for boot in range(30) for r in honest(1, boot * 60.0, 12)],
        [*honest(1, 0.0, 5_200, 1.0)],
        honest(5_100, -90_000.0, 5),
        [
            reading(5_100 + k // 2, k) if k % 2 else reading(None, k, values={"rssi": -60.0})
            for k in range(99)
        ],
        [r for boot in range(3) for r in honest(1, boot * 90.0, 12, flags=("no_time",))],
        [reading(5_100 + k // 3, 10.0 * (k // 3), time=T0 + k) for k in range(90)],
        [r for k in range(9) for r in honest(5_100 + 900 * k, 900.0 * k, 30, 1.0)],
        [reading(None, 5.0 * k) for k in range(60)],
        [r for boot in range(9) for k in (0, 5, 6) for r in [reading(k, 4.0 * boot + k / 2)]],
        [copy for k in range(60) for i in range(3) for copy in [unstamped(k, 60.0 * k + i / 3)]],
        [unstamped(k - n, 5.0 * k + 3 * n) for k in range(99) for n in range(2 - (k % 9 > 0))],
    ],
    ids=[
        "overtaken",
        "gap",
        "away for two hours",
        "twice",
        "stands still",
        "without numbers",
        "retained",
        "starts anew again and again",
        "starts anew and passes the old numbers",
        "clock set back",
        "signal without numbers",
        "starts anew without a clock",
        "three of one message",
        "offline again and again",
        "numbers no more",
        "starts anew within seconds, with gaps",
        "three gateways without a clock",
        "sent again after reconnections without a clock",
    ],
)
def test_what_honest_devices_do_is_not_found(known, stream):
    assert run(known, stream) == []


@pytest.mark.parametrize("each", [1, 30, 190])
@pytest.mark.parametrize("numbered", [True, False])
def test_air_in_messages_of_its_own_is_found_only_if_it_begins_later(known, numbered, each):
    """Some formats send several messages per moment; attackers could use that to hide a plume."""
    stream = []
    for k in range(1_000):
        stream.append(reading(5_100 + k, 1.0 * k))
        if k % each == each - 1:
            number = 5_100 + k if numbered else None
            stream.append(reading(number, k + 0.5, values={"co2": 600.0}))
    assert run(Integrity(), stream) == []
    assert set(run(known, stream)) == {("s1", "two_senders")}


@pytest.mark.parametrize("size", [2**8, 2**16, 2**32])
def test_counters_that_wrap_are_one_device(size):
    assert run(Integrity(), [reading((size - 20 + k) % size, k * 5.0) for k in range(60)]) == []


def test_replayed_readings_are_found_unless_marked_as_redelivered(known):
    for again in (True, False):
        for k in range(40):
            old = reading(5_000 + k, 10.0 + k, time=T0 - 500 + 5 * k)
            known.on_repeated(old, delivered_again=again)
        found = [r.events for r in known.take_findings()]
        assert found == ([] if again else [("integrity:repeated",)])


def test_garbage_is_found_of_its_sensor_and_unregistered_ones_as_a_fault_of_the_service():
    faults = set()
    watch = Integrity(faults.add)
    for k in range(400):
        watch.on_reading(reading(k, k / 100))  # a large number alone means nothing
    for k in range(30):
        watch.on_refused("s2", T0 + k)
        watch.on_unregistered(T0 + k / 10)
        watch.on_unregistered(T0 + k / 10)
    found = {(r.sensor, r.events[0]) for r in watch.take_findings()}
    assert found == {("s2", "integrity:refused")}
    assert faults == {"strangers"}


def test_a_backlog_is_no_flood():
    watch = Integrity()
    for k in range(400):  # an hour's messages, delivered in seconds
        watch.on_reading(reading(k, 3_600 + k / 100, time=T0 + 9.0 * k))
        watch.on_reading(reading(None, 3_600 + k / 100, flags=("no_time",), sensor="no clock"))
        if k > 50:
            watch.on_refused("s2", T0 + 3_600 + k / 100)
            watch.on_unregistered(T0 + 3_600 + k / 100)
    assert watch.take_findings() == ()


def test_after_a_restart_the_numbers_are_known():
    watch = Integrity()
    watch.restore(honest(5_000, -500.0, 100))
    assert run(watch, [reading(8, 0.0), reading(5_100, 1.0)]) == [("s1", "two_senders")]
