"""Test that dead connections are distinguished from quiet ones, and retried ever more slowly."""

import pytest

from ingest.mqtt.intake_loop import Canary, CanarySettings


@pytest.fixture
def canary():
    made = Canary(CanarySettings(every_s=10, silent_after_s=30, last_wait_s=100), "me")
    made.on_connected(0.0)
    return made


def test_round_trip(canary):
    payload = canary.take_due_payload(0.0)
    assert canary.take_due_payload(9.0) is None
    canary.on_return(payload, 0.25)
    assert (canary.sent, canary.returned, canary.round_trip_s) == (1, 1, 0.25)
    assert canary.is_fresh(30.0)
    assert canary.get_age_s(20.25) == 20.0
    assert not canary.is_fresh(31.0)
    assert canary.take_due_payload(10.0) != payload


@pytest.mark.parametrize(
    "payload", [b"other 1", b"me 2", b"me", b"me x", b"", b"\xff\xfe", b"me " + b"9" * 30]
)
def test_canaries_of_another_time_are_arrivals_only(canary, payload):
    canary.take_due_payload(0.0)
    canary.on_return(payload, 29.0)
    assert canary.returned == 0
    assert not canary.on_time(58.0, waiting=False)


def reconnections(canary, until, step=1.0):
    found, now = [], 0.0
    while now < until:
        now += step
        if canary.on_time(now, waiting=False):
            found.append(now)
            canary.on_connected(now)
    return found


def test_reconnections_come_less_and_less_often(canary):
    assert reconnections(canary, 500) == [30.0, 90.0, 190.0, 290.0, 390.0, 490.0]
    assert canary.silent


def test_any_arrival_ends_the_silence(canary):
    reconnections(canary, 61)
    canary.on_arrival(62.0)
    assert not canary.silent
    assert not canary.on_time(91.0, waiting=False)
    assert canary.on_time(92.0, waiting=False)


def test_silence_of_our_own_making_is_none(canary):
    for now in range(0, 600, 10):
        assert not canary.on_time(float(now), waiting=True)
    assert not canary.on_time(600.0, waiting=False)
    assert canary.on_time(620.0, waiting=False)
