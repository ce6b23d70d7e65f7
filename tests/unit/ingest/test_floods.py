"""Senders that flood: how much is read, and what does not count as one."""

from collections import Counter

import pytest

from ingest.integrity import BURST, FLOOD_WINDOW_S, MOST, PER_S, Floods, Share

pytestmark = pytest.mark.attack

T0 = 1_800_000_000.0


def shares(floods, per_s, seconds, *, kind="stamped", begins=T0, stamp=None):
    """Shares of live messages at a rate; `stamp` gives their own time by that of receipt."""
    found = []
    for k in range(int(per_s * seconds)):
        now = begins + k / per_s
        found.append(floods.on_live("s", kind, stamp(now) if stamp else now, now))
    return found


@pytest.mark.parametrize(("per_s", "seconds"), [(200, 60), (700, 150), (1_000, 1.5), (1_900, 30)])
def test_of_a_flood_one_message_a_second_is_read(per_s, seconds):
    found = shares(Floods(), per_s, seconds)
    read = found.count(Share.READ)
    assert found[:BURST] == [Share.READ] * BURST
    assert BURST <= read <= BURST + seconds + 2
    assert found.count(Share.LEFT_OUT) == len(found) - read


@pytest.mark.parametrize(
    ("per_s", "seconds", "stamp"),
    [
        (PER_S, 600, None),
        (90, 60, None),
        (BURST, 1.0, None),  # a network that was held up
        (1_900, 9, lambda now: T0 - 86_400 + 5.0 * int(1_900 * (now - T0))),
        (1_900, 9, lambda now: T0 - 86_400 + 0.1 * int(1_900 * (now - T0))),
    ],
    ids=["a fast sensor", "a very fast one", "a burst", "a stored day", "stored readings at 10 Hz"],
)
def test_what_honest_sensors_send_is_read(per_s, seconds, stamp):
    assert set(shares(Floods(), per_s, seconds, stamp=stamp)) == {Share.READ}


@pytest.mark.parametrize(
    "stamp",
    [
        lambda now: T0 + 100.0 * (int(now * 700) % 2),
        lambda now: T0 - 0.001 * int(now * 700),
        lambda now: T0 + int(now) % 7,
    ],
    ids=["two by turns", "backwards", "a few"],
)
def test_no_stamps_hide_a_flood(stamp):
    assert shares(Floods(), 700, 60, stamp=stamp).count(Share.LEFT_OUT) > 35_000


def test_beyond_what_can_be_read_stamps_do_not_count():
    found = shares(Floods(), 20_000, 20, stamp=lambda now: T0 - 1e6 + 5 * int((now - T0) * 20_000))
    assert found.count(Share.READ) <= MOST + 20


def test_many_that_have_something_to_say_do_not_flood():
    """As after an outage: each with a tenth of all."""
    floods = Floods()
    found = [
        floods.on_live(f"s{k % 10}", "stamped", T0 + k / 5_000, T0 + k / 5_000)
        for k in range(50_000)
    ]
    assert set(found) == {Share.READ}


def test_a_flood_ends_with_it():
    floods = Floods()
    shares(floods, 700, 30)
    calm = shares(floods, 2, 3 * FLOOD_WINDOW_S, begins=T0 + 30)
    assert calm.count(Share.LEFT_OUT) <= FLOOD_WINDOW_S + 1
    assert set(calm[-int(2 * FLOOD_WINDOW_S) :]) == {Share.READ}
    shares(floods, 700, 30, begins=T0 + 100)
    assert set(shares(floods, 2, 10, begins=T0 + 400)) == {Share.READ}


def test_a_flood_of_another_kind_takes_nothing_from_the_usual_readings():
    floods = Floods()
    shares(floods, 0.2, 100, kind="usual", begins=T0 - 100)
    found = Counter()
    for second in range(60):
        found.update(shares(floods, 700, 1, kind="forged", begins=T0 + second))
        assert shares(floods, 1, 1, kind="usual", begins=T0 + second) == [Share.READ]
    assert found[Share.STORED] >= 50, "stored, and not judged"
    assert found[Share.READ] <= BURST + 1


def test_names_are_apart_and_bounded():
    floods = Floods(names=2)
    shares(floods, 700, 10)
    assert floods.on_live("other", "stamped", T0 + 10, T0 + 10) is Share.READ
    for name in "abc":
        floods.on_live(name, "stamped", T0 + 10, T0 + 10)
    assert floods.on_live("s", "stamped", T0 + 10, T0 + 10) is Share.READ, "forgotten"
