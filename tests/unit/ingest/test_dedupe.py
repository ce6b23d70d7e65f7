"""Bounded memory of accepted readings."""

import pytest

from ingest.duplicates.dedupe import Dedupe, _Seen
from storage.reading import Reading
from tests.support.memory import assert_bounded


def reading(time=100.0, sensor="s", seq=None, flags=(), **values):
    return Reading(sensor, time, time + 1, values or {"pm25": 1.0}, flags=flags, seq=seq)


def test_equal_means_equal_in_all_content():
    d = Dedupe()
    assert d.is_new(reading(seq=1))
    assert not d.is_new(reading(seq=1))
    assert d.is_new(reading(seq=1, pm25=2.0))
    assert d.is_new(reading(seq=2))
    assert d.is_new(reading(time=101.0, seq=1))
    assert d.is_new(reading(sensor="t", seq=1))


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
    known = Dedupe()
    if restarted:
        known.restore([first])
    else:
        known.on_delivery(7, duplicate=False)
        assert known.is_new(first)
    if new_session:
        known.on_new_session()
    known.on_delivery(packet, duplicate=dup)
    assert known.is_new(delivered(packet, 105.0, events, **values)) is new


def test_the_journal_knows_the_last_message_under_a_packet_id():
    known = Dedupe()
    known.restore([delivered(7), delivered(8), delivered(7, 110.0, pm25=2.0)])
    known.on_delivery(7, duplicate=True)
    assert known.is_new(delivered(7, 120.0))
    assert not known.is_new(delivered(7, 120.0, pm25=2.0))


def test_other_quantities_of_the_same_moment_are_not_duplicates():
    d = Dedupe()
    assert d.is_new(reading(pm25=1.0))
    assert d.is_new(reading(temp=21.0))
    assert not d.is_new(reading(temp=21.0))


@pytest.mark.parametrize("flag", ["no_time", "time_replaced"])
def test_timeless_readings_need_the_dup_flag(flag):
    d = Dedupe()
    assert d.is_new(reading(flags=(flag,)))
    assert d.is_new(reading(flags=(flag,)))
    assert not d.is_new(reading(time=105.0, flags=(flag,)), duplicate=True)
    assert d.is_new(reading(time=105.0, flags=(flag,), pm25=2.0), duplicate=True)


def test_restore_knows_the_journals_tail():
    d = Dedupe()
    d.restore([reading(seq=1), reading(time=101.0, seq=2), reading(time=1.0, flags=("no_time",))])
    assert not d.is_new(reading(seq=1))
    assert not d.is_new(reading(time=101.0, seq=2))
    assert d.is_new(reading(time=1.0))
    assert not d.is_new(reading(time=7.0, flags=("no_time",)), duplicate=True)


def test_memory_is_bounded_in_both_directions():
    d = Dedupe(window=3, sensors=2)
    assert_bounded(d, 50, lambda t: d.is_new(reading(time=float(t))))
    assert not d.is_new(reading(time=97.0))
    assert d.is_new(reading(time=96.0))
    for name in "abcdef":
        assert d.is_new(reading(sensor=name))
    assert len(d) == 2


def test_a_key_is_found_at_its_place_only():
    """Bytes at the seam of two keys may look like a third."""
    seen = _Seen()
    assert seen.add(0x1111111122222222, None, 4)
    assert seen.add(0x3333333344444444, None, 4)
    seam = int.from_bytes(bytes(seen.keys[4:12]), "little")
    assert seen.add(seam, None, 4)
    assert not seen.add(seam, None, 4)
    assert not seen.add(0x3333333344444444, None, 4)


def test_the_sensor_received_longest_ago_is_evicted():
    d = Dedupe(sensors=2)
    d.is_new(reading(sensor="a"))
    d.is_new(reading(sensor="b"))
    d.is_new(reading(sensor="a", time=200.0))
    d.is_new(reading(sensor="c"))
    assert not d.is_new(reading(sensor="a"))
    assert d.is_new(reading(sensor="b"))
