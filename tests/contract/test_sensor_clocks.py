"""Test that readings with equal time stamps are all kept, and that plumes in them are detected."""

import json
from dataclasses import replace

import pytest

from detection.events import EventKind
from sensor_sim.wire import WireMessage
from tests.contract.test_attacks import AT, QUIET, VAPED, school  # noqa: F401 - a fixture
from tests.support.plumes import START, readings_of_puff

SECONDS = 560.0


def messages(stamp, *, every_s=2.0, seq=False, sensor=QUIET, onset_s=420.0):
    """Return a sensor's messages; `stamp` computes the time stamp from the time."""
    readings = readings_of_puff(sensor, seconds=SECONDS, every_s=every_s, onset_s=onset_s)
    for k, r in enumerate(readings):
        body = {**r.values}
        if stamp is not None:
            body["time"] = stamp(r.time)
        if seq:
            body["seq"] = k
        topic = f"plumewatch/v1/{sensor}/reading"
        yield WireMessage(topic, json.dumps(body).encode(), 1, False, r.received, sensor)


@pytest.mark.parametrize("seq", [False, True])
@pytest.mark.parametrize(
    ("stamp", "every_s"),
    [
        (lambda at: float(int(at)), 0.5),
        (lambda at: at - at % 60, 2.0),
        (lambda _: START - 7.0, 2.0),
        (lambda _: START - 86_400.0, 2.0),
        (lambda at: min(START + 300, at), 2.0),
    ],
    ids=["whole seconds", "whole minutes", "stands", "stands since yesterday", "stops"],
)
def test_all_are_kept_and_the_plume_is_seen(school, stamp, every_s, seq):  # noqa: F811
    sent = list(messages(stamp, every_s=every_s, seq=seq))
    result = school().receive(sent)
    assert len(result.stored) == len(sent)
    assert len({r.time for r in result.stored}) == len(sent)
    ((sensor, at),) = result.alerts_of(EventKind.VAPE)
    assert sensor == QUIET
    assert START + 420 < at < START + 480
    assert not result.consumer.skipped or result.consumer.skipped[QUIET] < 3


@pytest.mark.parametrize("stops", [False, True])
def test_a_stopped_clock_is_reported(school, stops):  # noqa: F811
    result = school().receive(
        messages(lambda at: min(at, START + 100) if stops else float(int(at)))
    )
    faults = result.alerts_of(EventKind.SENSOR_FAULT)
    assert bool(faults) is stops


def held_up(sent, begins, lasts_s):
    """Deliver the messages sent during a pause in order, when the pause ends."""
    ends, k = START + begins + lasts_s, 0
    for message in sent:
        if START + begins <= message.sent < ends:
            k += 1
            yield replace(message, sent=ends + 0.0002 * k)
        else:
            yield replace(message, sent=max(message.sent, ends + 0.0002 * k) if k else message.sent)


@pytest.mark.parametrize("lasts_s", [3.0, 10.0, 60.0, 120.0])
@pytest.mark.parametrize("begins", [405.25, 425.25])
def test_a_pause_of_delivery_hides_no_plume(school, begins, lasts_s):  # noqa: F811
    """The sensor stamps whole seconds at 2 Hz; the broker froze or the service was down."""
    sent = list(messages(lambda at: float(int(at)), every_s=0.5))
    result = school().receive(held_up(sent, begins, lasts_s))
    assert len(result.stored) == len(sent)
    assert not any(r.flags for r in result.stored)
    ((sensor, at),) = result.alerts_of(EventKind.VAPE)
    assert sensor == QUIET
    assert START + 420 < at < START + 480
    assert not result.consumer.skipped


@pytest.mark.parametrize(
    ("behind_s", "returns_s", "most_skipped"),
    [(1.0, 400.0, 0), (40.0, 350.0, 31), (300.0, 350.0, 31)],
)
def test_stamps_that_return_are_evaluated(school, behind_s, returns_s, most_skipped):  # noqa: F811
    """The sensor's clock was stuck and is now correct, and its readings arrive `behind_s` late.

    More than slightly late ones are evaluated after a minute: until then, they could be forged.
    """
    sent = list(messages(lambda at: at if at > START + returns_s else START, every_s=2.0))
    late = [replace(m, sent=m.sent + behind_s) for m in sent]
    result = school().receive(late)
    assert len(result.stored) == len(sent)
    assert len(result.alerts_of(EventKind.VAPE)) == 1
    assert result.consumer.skipped[QUIET] <= most_skipped
