"""Test that `Reorder` restores time order, never delays ordered readings, and handles losses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.consumer.reading_selector import MAX_UNFILLED_GAPS, MAX_WAIT_S, MAX_WAITING, Reorder
from storage.reading import Reading

T = 1_790_000_000.0


def reading(seq, *, received=None, sensor="s1", at=None, flags=()):
    at = T + (seq or 0) if at is None else at
    received = T if received is None else received
    return Reading(sensor, at, received, {"pm25": 4.0}, (), (), flags, seq)


def passed(order, *numbers, **more):
    return [r.seq for k in numbers for r in order.on_reading(reading(k, **more))]


@pytest.fixture
def order():
    made = Reorder()
    assert passed(made, 0) == [0]
    return made


def test_a_gap_is_a_loss_after_a_while(order):
    assert passed(order, 2, 3) == []
    assert order.on_time(T + MAX_WAIT_S - 0.01) == []
    assert [r.seq for r in order.on_time(T + MAX_WAIT_S)] == [2, 3]
    assert passed(order, 1) == [1]  # too late: the consumer counts it as skipped


def test_no_reading_waits_longer_than_the_hold(order):
    assert passed(order, 5) == []
    assert passed(order, 3, received=T + 0.9 * MAX_WAIT_S) == []
    assert [r.seq for r in order.on_time(T + MAX_WAIT_S)] == [3, 5]


def test_a_sensor_that_loses_readings_soon_waits_no_more(order):
    now, seq = T, 0
    for _ in range(MAX_UNFILLED_GAPS):
        seq += 2
        assert passed(order, seq, received=now) == []
        now += MAX_WAIT_S
        assert [r.seq for r in order.on_time(now)] == [seq]
    assert passed(order, seq + 2, received=now) == [seq + 2]
    assert passed(order, seq + 1, received=now) == [seq + 1]  # arrives out of order after all
    assert passed(order, seq + 4, received=now) == []


def test_a_filled_gap_begins_the_tries_anew(order):
    now, seq = T, 0
    for _ in range(3 * MAX_UNFILLED_GAPS):
        assert passed(order, seq + 2, received=now) == []
        now += MAX_WAIT_S
        order.on_time(now)
        assert passed(order, seq + 4, received=now) == []
        assert passed(order, seq + 3, received=now) == [seq + 3, seq + 4]
        seq += 4


def test_nothing_overtakes_what_waits_when_waiting_ends(order):
    now, seq = T, 2
    for _ in range(MAX_UNFILLED_GAPS - 1):
        assert passed(order, seq, received=now) == []
        now, seq = now + MAX_WAIT_S, seq + 2
        order.on_time(now)
    assert passed(order, seq, received=now) == []
    assert passed(order, seq + 3, received=now + 0.5) == []
    assert [r.seq for r in order.on_time(now + MAX_WAIT_S)] == [seq]
    assert passed(order, seq + 5, received=now + MAX_WAIT_S) == [seq + 3, seq + 5]


def test_a_counter_that_begins_anew(order):
    assert passed(order, 1, 5) == [1]
    assert passed(order, 0, at=T + 60) == [5, 0]
    assert passed(order, 1, at=T + 61) == [1]


def test_what_waits_is_bounded(order):
    got = passed(order, *range(2, 2 * MAX_WAITING + 4, 2))
    assert got == list(range(2, 2 * MAX_WAITING + 4, 2))


@pytest.mark.parametrize("flag", ["no_time", "time_replaced", "unknown_sensor"])
def test_readings_that_have_no_order(order, flag):
    assert passed(order, 9, 5, flags=(flag,)) == [9, 5]
    assert passed(order, 1) == [1]


permutations = st.permutations(range(1, 20))
losses = st.sets(st.integers(1, 19), max_size=10)


@given(permutations)
def test_any_order_within_the_window_comes_out_in_order(numbers):
    order = Reorder()
    assert passed(order, 0, *numbers) == list(range(20))


@given(permutations, losses, st.integers(0, 18))
def test_nothing_is_lost_or_counted_twice_and_a_snapshot_changes_nothing(numbers, lost, cut):
    whole, split = Reorder(), Reorder()
    came = [k for k in numbers if k not in lost]
    arrivals = [reading(0), *(reading(k, received=T + n / 4) for n, k in enumerate(came))]
    expected = [r for a in arrivals for r in whole.on_reading(a)]
    expected += whole.on_time(T + 1000)
    got = []
    for n, arrival in enumerate(arrivals):
        if n == cut:
            split = Reorder.restore(split.snapshot())
        got += split.on_reading(arrival)
    got += split.on_time(T + 1000)
    assert got == expected
    assert sorted(r.seq for r in got) == [0, *sorted(came)]
