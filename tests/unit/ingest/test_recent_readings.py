"""Test that the bounded memory of readings detects copies and gives each reading its own time."""

import pytest

from ingest.copies import Doubtful, RecentReadings
from storage.reading import Reading
from tests.support.memory import assert_bounded


def reading(time=100.0, sensor="s", seq=None, flags=(), received=None, **values):
    received = time if received is None else received
    return Reading(sensor, time, received, values or {"pm25": 1.0}, flags=flags, seq=seq)


def test_equal_means_equal_in_all_content():
    recent = RecentReadings()
    assert recent.settle(reading(seq=1))
    assert not recent.settle(reading(seq=1, received=105.0))
    for other in (
        reading(seq=1, pm25=2.0),
        reading(seq=2),
        reading(time=101.0, seq=1),
        reading(sensor="t", seq=1),
        reading(seq=1, temp=21.0),
    ):
        assert recent.settle(other)
        assert not recent.settle(other)


def delivered(packet, received=100.0, events=(), **values):
    values = values or {"pm25": 1.0}
    return Reading("s", received, received, values, events, (), ("no_time",), packet=packet)


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(
    ("packet", "dup", "new_session", "events", "values", "new"),
    [
        (7, True, False, (), {"pm25": 1.0}, False),
        (7, False, False, (), {"pm25": 1.0}, True),
        (8, True, False, (), {"pm25": 1.0}, True),
        (7, True, False, (), {"pm25": 2.0}, True),
        (7, True, True, (), {"pm25": 1.0}, True),
        (7, True, False, ("vendor_vape",), {"pm25": 1.0}, True),
    ],
    ids=["redelivery", "not DUP", "other packet", "other content", "other session", "event"],
)
def test_a_redelivery_is_what_mqtt_calls_one(
    restarted, packet, dup, new_session, events, values, new
):
    first = delivered(7, events=events)
    recent = RecentReadings()
    if restarted:
        recent.restore([first])
    else:
        recent.on_delivery(7, duplicate=False)
        assert recent.settle(first, 7)
    if new_session:
        recent.on_new_session()
    recent.on_delivery(packet, duplicate=dup)
    assert bool(recent.settle(delivered(packet, 105.0, events, **values), packet)) is new


def test_the_journal_knows_the_last_message_under_a_packet_id():
    recent = RecentReadings()
    recent.restore([delivered(7), delivered(8), delivered(7, 110.0, pm25=2.0)])
    recent.on_delivery(7, duplicate=True)
    assert recent.settle(delivered(7, 120.0), 7)
    assert not recent.settle(delivered(7, 120.0, pm25=2.0), 7)


@pytest.mark.parametrize("flag", ["no_time", "time_replaced"])
def test_readings_without_a_stamp_are_copies_only_if_their_sender_says_so(flag):
    recent = RecentReadings()
    assert recent.settle(reading(flags=(flag,)))
    assert recent.settle(reading(flags=(flag,)))
    assert not recent.settle(reading(time=105.0, flags=(flag,)), again=True)
    assert recent.settle(reading(time=105.0, flags=(flag,), pm25=2.0), again=True)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_backlog_without_stamps_is_known_by_its_numbers(restarted):
    """After a kill, the broker resends the backlog with new packet ids and without the DUP flag."""

    def backlog(received, first_packet):
        for k in range(50):
            yield Reading(
                "s",
                received,
                received,
                {"pm25": 4.0},
                (),
                (),
                ("no_time",),
                k,
                first_packet + k,
            )

    recent = RecentReadings()
    stored = [recent.settle(r, r.packet, waited=True) for r in backlog(100.0, 1)]
    assert all(stored)
    if restarted:
        recent = RecentReadings()
        recent.restore(stored)
    recent.on_new_session()
    assert not any(recent.settle(r, r.packet, waited=True) for r in backlog(200.0, 77))
    live = [recent.settle(r, r.packet) for r in backlog(300.0, 300)]
    assert all(live), "a device that began anew"
    (beyond,) = [recent.settle(r, 999, waited=True) for r in [delivered_numbered(3)]]
    assert type(beyond) is Doubtful


def delivered_numbered(seq):
    return Reading("s", 400.0, 400.0, {"pm25": 9.0}, (), (), ("no_time",), seq, 999)


def test_memory_is_bounded_and_what_it_cannot_tell_is_doubtful():
    recent = RecentReadings(window=3, sensors=2)
    assert_bounded(recent, 50, lambda t: recent.settle(reading(time=float(t))))
    assert not recent.settle(reading(time=97.0))
    assert type(recent.settle(reading(time=96.0))) is Doubtful
    assert type(recent.settle(reading(time=150.0))) is Reading
    assert type(recent.settle(reading(time=149.0))) is Reading, "all behind 97 are remembered"
    for name in "abcdef":
        assert type(recent.settle(reading(sensor=name))) is Doubtful
    assert len(recent) == 2


def test_the_sensor_received_longest_ago_is_forgotten():
    recent = RecentReadings(sensors=2)
    for name, at in (("a", 100.0), ("b", 100.0), ("a", 200.0), ("c", 100.0)):
        recent.settle(reading(at, name))
    assert not recent.settle(reading(sensor="a"))
    assert recent.settle(reading(sensor="b"))


def times(stamps, *, every_s=0.5, recent=None):
    """Return the times of readings with these stamps, received at intervals of `every_s`."""
    recent = RecentReadings() if recent is None else recent
    found = []
    for k, stamp in enumerate(stamps):
        settled = recent.settle(reading(stamp, received=1000.0 + k * every_s, pm25=float(k)))
        assert settled.sensor_stamp == stamp
        found.append(settled.time)
    return found


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ((999, 999, 1000, 1000), (999, 999.5, 1000, 1000.5)),
        ((999, 999, 999.001), (999, 999.5, 999.501)),
        ((999, 1000, 999), (999, 1000, 999.001)),
        ((990, 999, 995), (990, 999, 995)),
    ],
)
def test_equal_stamps_keep_their_distance_and_no_time_comes_twice(stamps, expected):
    assert times(stamps) == pytest.approx(list(expected), abs=1e-9)


@pytest.mark.parametrize("pause_s", [2.5, 60.0, 3600.0])
def test_a_pause_of_delivery_is_no_stopped_clock(pause_s):
    recent = RecentReadings()
    assert times((990, 990), every_s=pause_s, recent=recent) == [990, 990.9]
    assert times((991, 991), every_s=pause_s, recent=recent) == [991, 991.9]


def test_a_clock_that_stands_still_counts_at_receipt_until_it_goes_on():
    recent = RecentReadings()
    found = times([900.0] * 6, every_s=2.0, recent=recent)
    assert found == [900.0, 900.9, 1004.0, 1006.0, 1008.0, 1010.0]
    again = recent.settle(reading(900.0, received=1300.0))
    assert (again.flags, again.faults) == (("time_replaced",), ("clock",))
    assert recent.settle(reading(1301.0, received=1301.0)).is_timed


def test_a_burst_of_one_stamp_stays_within_its_second():
    found = times([900.0] * 900, every_s=0.0)
    assert len(set(found)) == 900
    assert found == sorted(found)
    assert found[-1] < 901.0
    assert times([900.0] * 3_000, every_s=0.0)[-1] > 1000.0, "no room is left: it stands still"


@pytest.mark.parametrize("restarted", [False, True])
def test_copies_of_stamps_ahead_of_our_clock_are_known_when_it_is_right(restarted):
    """Our clock was an hour behind. Then the same readings arrive again at the correct time."""
    recent = RecentReadings()

    def wrong(k):
        return Reading("s", k, k, {"pm25": 4.0}, flags=("time_replaced",), stamp=3600.0 + k)

    def right(k):
        return reading(3600.0 + k, received=4000.0 + k, pm25=4.0)

    stored = [recent.settle(wrong(float(k))) for k in range(100)]
    assert all(stored)
    assert not any(recent.settle(wrong(float(k))) for k in range(99))
    if restarted:
        recent = RecentReadings()
        recent.restore(stored)
    assert not any(recent.settle(right(float(k))) for k in range(100))
    assert recent.settle(right(100.0))
    small = RecentReadings(window=10)
    small.restore(stored)
    assert {type(small.settle(right(float(k)))) for k in range(80)} == {Doubtful}


def test_what_is_known_survives_a_snapshot():
    recent, following = RecentReadings(), RecentReadings()
    times((999, 999, 1000), recent=recent)
    following.resume(recent.snapshot())
    assert not following.settle(reading(999.0, pm25=1.0))
    assert following.settle(reading(1000.0, received=1002.0, pm25=9.0)).time == 1000.9
