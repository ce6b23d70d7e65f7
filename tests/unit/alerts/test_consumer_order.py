"""Test that readings out of order give the same events as in order."""

import random
from types import SimpleNamespace

import msgspec
import pytest

from alerts.consumer.detection_consumer import CONSUMER
from alerts.consumer.reading_selector import MAX_WAIT_S
from storage.journal import load_snapshot
from tests.support.plumes import readings_of_puff

READINGS = readings_of_puff("s1")


@pytest.fixture(scope="module")
def known():
    """Return a cache for results that several tests share."""
    return {}


@pytest.fixture
def in_order(make_site, known):
    """Return the events and alerts of the readings in order."""
    if not known:
        site = make_site()
        site.arrive(READINGS)
        assert len(site.alerts) == 1
        known |= {"events": site.events, "alerts": site.alerts}
    return SimpleNamespace(**known)


def shuffled(seed, window=6):
    """Return readings shuffled in blocks, each received at once; the first reading stays first."""
    rng = random.Random(seed)
    readings = READINGS[:1]
    for k in range(1, len(READINGS), window):
        block = READINGS[k : k + window]
        received = max(r.received for r in block)
        block = [msgspec.structs.replace(r, received=received) for r in block]
        rng.shuffle(block)
        readings += block
    return readings


@pytest.mark.parametrize(("seed", "batch"), [(k, (1, 7, 500)[k % 3]) for k in range(9)])
def test_any_order_within_the_window_gives_the_same_events(make_site, in_order, seed, batch):
    site = make_site()
    site.arrive(shuffled(seed), batch)
    assert site.events == in_order.events
    assert site.alerts == in_order.alerts
    assert not site.consumer.skipped


def test_a_crash_with_readings_that_wait_changes_nothing(make_site, in_order):
    site = make_site()
    for number, reading in enumerate(shuffled(3)):
        site.arrive([reading])
        if number % 3 == 0:  # within a block and at its boundaries
            site.start()
    assert site.events == in_order.events
    assert site.alerts == in_order.alerts


def lost_before_the_alert(in_order):
    """Return the readings up to the alert without a lost one, and the reading that alerts then."""
    alerted = in_order.alerts[0].alerted
    number = next(r.seq for r in READINGS if r.time >= alerted)
    return [r for r in READINGS[: number + 2] if r.seq != number], READINGS[number + 1]


def test_a_loss_delays_an_alert_by_the_hold_where_nothing_else_arrives(make_site, in_order):
    readings, decides = lost_before_the_alert(in_order)
    site = make_site()
    site.arrive(readings)
    assert site.alerts == []
    site.look(decides.received + MAX_WAIT_S)
    before = site.alerts.copy()
    assert len(before) == 1
    assert load_snapshot(site.state, CONSUMER).position == len(readings)
    site.start()  # after a crash, nothing repeats the alert
    site.arrive([r for r in READINGS if r.seq > decides.seq])
    assert site.alerts == before
    alerted_events = [event for event in site.events if event.phase == "alerted"]
    assert len(alerted_events) == 1


def test_late_data_is_evaluated_and_nobody_is_notified(make_site, in_order):
    """Data that is a day late opens an incident that pages nobody."""
    late = [
        msgspec.structs.replace(r, received=r.received + 86_400, flags=("late",)) for r in READINGS
    ]
    site = make_site()
    site.arrive(late)
    assert site.events
    assert site.alerts == []
