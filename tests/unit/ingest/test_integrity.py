"""Who speaks for a sensor: two lines of numbers, repeats, floods; and what is no attack."""

import math

import pytest

from detection.device_events import DeviceEvents
from detection.events import EventKind
from ingest import integrity
from ingest.integrity import BROKER, FINDINGS, Integrity
from storage.reading import DEVICE_EVENTS, Reading

T0 = 1_790_000_000.0


def reading(seq, at, *, time=None, flags=(), values=None, sensor="s1"):
    moment = T0 + at if time is None else time
    values = {"pm25": 7.0} if values is None else values
    return Reading(sensor, moment, T0 + at, values, (), (), flags, seq)


def run(watch, stream):
    """Return which readings were disputed, and what was found."""
    disputed = [watch.on_reading(item) for item in stream]
    return disputed, [(r.sensor, r.events[0].partition(":")[2]) for r in watch.take()]


def honest(first, start, count, every=5.0):
    return [reading(first + k, start + k * every) for k in range(count)]


@pytest.fixture
def known():
    """A sensor that has numbered its readings for a while, each 5 s."""
    watch = Integrity()
    assert run(watch, honest(5_000, -500.0, 100)) == ([False] * 100, [])
    return watch


def test_findings_are_events_that_no_device_can_claim_and_that_become_incidents():
    assert not FINDINGS & DEVICE_EVENTS
    for name in FINDINGS:
        (event,) = DeviceEvents().on_reading("s1", T0, (name,), (), {})
        assert event.kind is EventKind.INTEGRITY
        assert event.detail


def test_a_second_line_is_disputed_from_its_first_reading_and_told_when_the_first_goes_on(known):
    forged = [reading(1 + k, k * 1.0) for k in range(60)]
    true = honest(5_100, 2.5, 12)
    stream = sorted([*forged, *true], key=lambda r: r.received)
    disputed, found = run(known, stream)
    assert found == [("s1", "two_senders")]
    for item, doubtful in zip(stream, disputed, strict=True):
        assert doubtful == (item.seq < 1_000)


@pytest.mark.parametrize("every", [1.0, 5.0, 60.0, 600.0])
def test_a_counter_that_begins_anew_is_taken_after_a_trial(every):
    watch = Integrity()
    run(watch, honest(5_000, 0.0, 100, every))
    disputed, found = run(watch, honest(1, 100 * every + 3, 40, every))
    trial_s = max(integrity.TRIAL_S, 3 * every)
    assert found == []
    assert disputed == [k * every <= trial_s for k in range(40)]


def test_a_slow_sensor_is_not_taken_over_between_two_of_its_readings():
    watch = Integrity()
    run(watch, honest(5_000, 0.0, 50, 60.0))
    forged = [reading(1 + k, 2_945 + k) for k in range(120)]
    true = honest(5_050, 3_000.0, 3, 60.0)
    stream = sorted([*forged, *true], key=lambda r: r.received)
    disputed, found = run(watch, stream)
    assert found == [("s1", "two_senders")] * 3  # said again each minute
    assert all(d == (r.seq < 1_000) for d, r in zip(disputed, stream, strict=True))


@pytest.mark.parametrize(
    "stream",
    [
        [reading(5_101, 1.0), reading(5_100, 1.2, time=T0 + 0.5)],  # overtook another
        [reading(5_140, 1.0)],  # some are missing
        [reading(60_000, 7_200.0)],  # away for two hours, numbering on
        [reading(5_100, 1.0), reading(5_100, 1.0)],
        [reading(5_100, k * 1.0) for k in range(30)],  # stands still
        [reading(None, 1.0, values={}), reading(5_101, 2.0)],  # a status
        [reading(3, 1.0, flags=("retained",)), reading(9, 2.0, flags=("late",))],
    ],
    ids=["overtaken", "gap", "long gap", "twice", "stuck", "status", "not live"],
)
def test_what_honest_devices_do_is_not_disputed(known, stream):
    assert run(known, stream) == ([False] * len(stream), [])


@pytest.mark.parametrize("size", [2**8, 2**16, 2**32])
def test_counters_that_wrap_go_on(size):
    stream = [reading((size - 20 + k) % size, k * 5.0) for k in range(60)]
    assert run(Integrity(), stream) == ([False] * 60, [])


def test_a_device_that_always_begins_anew_is_not_muted_for_long():
    watch, disputed = Integrity(), []
    for boot in range(30):  # numbers 1 to 12 again and again
        disputed += run(watch, honest(1, boot * 60.0, 12))[0]
    assert not any(disputed[-120:])


def test_readings_without_numbers_of_one_that_numbers_are_disputed(known):
    assert run(known, [reading(None, 1.0)]) == ([True], [("s1", "unnumbered")])
    assert run(Integrity(), [reading(None, k * 1.0) for k in range(99)]) == ([False] * 99, [])


def test_recorded_readings_that_come_again_are_told_unless_the_broker_says_so(known):
    for again in (True, False):
        for k in range(40):
            old = reading(5_000 + k, 10.0 + k, time=T0 - 500 + 5 * k)
            known.on_repeated(old, delivered_again=again)
        found = [r.events for r in known.take()]
        assert found == ([] if again else [("integrity:repeated",)])


def test_garbage_is_told_of_its_sensor_and_strangers_of_the_broker():
    watch = Integrity()
    for k in range(400):
        assert not watch.on_reading(reading(k, k / 100))  # many are no sign of anything
    for k in range(30):
        watch.on_refused("s2", T0 + k)
        watch.on_stranger(T0 + k / 10)
        watch.on_stranger(T0 + k / 10)
    found = {(r.sensor, r.events[0]) for r in watch.take()}
    assert found == {
        ("s2", "integrity:refused"),
        (BROKER, "integrity:strangers"),
    }


def test_a_burst_of_held_back_readings_is_no_flood(known):
    burst = [reading(5_100 + k, 300 + k / 50, time=T0 + k * 0.5) for k in range(590)]
    assert run(known, burst)[1] == []


def test_a_backlog_is_no_flood():
    watch = Integrity()
    for k in range(400):  # of an hour, drained in seconds
        watch.on_reading(reading(k, 3_600 + k / 100, time=T0 + 9.0 * k))
        watch.on_reading(reading(None, 3_600 + k / 100, flags=("no_time",), sensor="no clock"))
        if k > 50:
            watch.on_refused("s2", T0 + 3_600 + k / 100)
            watch.on_stranger(T0 + 3_600 + k / 100)
    assert watch.take() == ()


def test_after_a_restart_the_lines_are_known():
    watch = Integrity()
    watch.restore([*honest(5_000, -500.0, 100), reading(7, -1.0, flags=("disputed",))])
    assert run(watch, [reading(8, 0.0), reading(5_100, 1.0)]) == (
        [True, False],
        [("s1", "two_senders")],
    )


def test_a_clock_that_is_set_back_stops_nothing(known):
    assert run(known, [reading(5_100, -90_000.0)])[0] == [False]
    assert math.isfinite(known._of["s1"].interval)
