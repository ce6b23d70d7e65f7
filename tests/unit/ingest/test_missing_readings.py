"""Test that missing readings count once, and reordering, restarts and copies never count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.copies import RecentReadings
from ingest.integrity import MAX_JUMP, OPEN_S, Integrity
from storage.reading import Reading

T = 1_790_000_000.0


def reading(seq, *, at=None, received=None, sensor="s1", flags=()):
    at = T + (seq or 0) if at is None else at
    return Reading(
        sensor, at, at if received is None else received, {"pm25": 4.0}, (), (), flags, seq
    )


def missing(readings):
    integrity = Integrity()
    return sum(integrity.on_reading(r) for r in readings)


def late_enough(seq, after=OPEN_S + 1):
    return reading(seq, received=T + seq + after)


@pytest.mark.parametrize(
    ("readings", "count"),
    [
        ([reading(None, at=T), reading(None, at=T + 1000)], 0),
        ([*map(reading, range(100)), late_enough(100)], 0),
        ([*map(reading, (1, 5, 3, 2, 4)), late_enough(6)], 0),
        ([*map(reading, (1, 10, 5)), late_enough(11)], 7),
        (
            [
                *map(reading, range(500, 520)),
                *(reading(k, at=T + 600 + k) for k in range(5)),
                reading(5, at=T + 700, received=T + 800),
            ],
            0,
        ),
        ([reading(1), reading(4), reading(0, at=T + 5)], 2),
        ([reading(1), reading(9), reading(3, at=T + 100), reading(4, at=T + 101)], 7),
        ([reading(1), *(reading(MAX_JUMP + k, at=T + 9 * k) for k in (2, 100))], 0),
        ([reading(k, sensor=s) for k in range(5) for s in ("s1", "s2")], 0),
        (
            [
                *(reading(k, at=T + n, flags=("no_time",)) for n, k in enumerate((1, 3, 2))),
                late_enough(4),
            ],
            0,
        ),
    ],
    ids=[
        "no numbers",
        "in order",
        "overtaken",
        "a part is filled",
        "counts anew",
        "an open gap when it counts anew",
        "counts anew into an open gap",
        "the counter was set",
        "two sensors",
        "late without a clock",
    ],
)
def test_what_never_came_is_counted(readings, count):
    assert missing(readings) == count


def test_a_gap_counts_once_it_stays_open():
    integrity = Integrity()
    assert [integrity.on_reading(reading(k)) for k in (1, 2, 6)] == [0, 0, 0]
    assert integrity.on_reading(reading(7)) == 0
    assert integrity.on_reading(late_enough(8)) == 3
    assert integrity.on_reading(late_enough(9)) == 0


def test_open_gaps_are_bounded():
    integrity = Integrity()
    found = sum(integrity.on_reading(reading(2 * k, received=T)) for k in range(1000))
    assert found == 999 - 64


def test_what_was_missed_while_the_service_was_down_shows():
    integrity = Integrity()
    integrity.restore([reading(1), reading(2), reading(3)])
    assert integrity.on_reading(reading(10)) == 0
    assert integrity.on_reading(late_enough(11)) == 6


@given(
    st.permutations(range(1, 30)),
    st.sets(st.integers(1, 29), max_size=20),
)
def test_missing_is_what_did_not_come(order, lost):
    """Exactly the lost readings count, in any order of arrival while the gap is open."""
    came = [k for k in order if k not in lost]
    readings = [reading(0, received=T), *(reading(k, received=T) for k in came)]
    assert missing([*readings, reading(30, received=T), late_enough(31)]) == len(lost)


@given(
    st.permutations(range(8)),
    st.sets(st.integers(8, 39)),
    st.integers(1, 20),
    st.integers(0, 15),
)
def test_readings_are_not_missing_whatever_their_stamps_share_or_swap(order, lost, each, swapped):
    """Send `each` readings per ten-second stamp, with eight at a time out of order.

    Within sixteen sequence numbers, stamps can be out of order.
    """
    recent, integrity = RecentReadings(), Integrity()
    later = (8 * k + place for k in range(1, 5) for place in order)
    came = [*range(8), *(seq for seq in later if seq not in lost), 48, 49]
    found = 0
    for n, seq in enumerate(came):
        received = T + n * 0.1 + (OPEN_S + 1) * (seq == 49)
        settled = recent.settle(reading(seq, at=T + (seq ^ swapped) // each, received=received))
        found += integrity.on_reading(settled)
    assert found == len(lost) + 8
