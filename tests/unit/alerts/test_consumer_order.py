"""Readings that overtook each other lead to the events that they lead to in order."""

import random
from types import SimpleNamespace

import msgspec
import pytest

from alerts.consumer.detection_consumer import CONSUMER, DetectionConsumer
from alerts.consumer.reorder import MAX_WAIT_S
from alerts.engine import AlertEngine
from alerts.incidents import schema
from ingest.validation import may_alert
from storage import state
from storage.journal import JournalEntry
from storage.sqlite import connect, migrate
from tests.support.plumes import readings_of_puff

READINGS = readings_of_puff("s1")


class Replayed:
    """A consumer over a list in place of the journal."""

    def __init__(self, registry, policy):
        self.database = connect(":memory:")
        migrate(self.database, "state", state.SCRIPTS)
        migrate(self.database, schema.COMPONENT, schema.SCRIPTS)
        self.engine = AlertEngine(registry, policy)
        self.log = []
        self.events, self.alerts = [], []
        self.open()

    def open(self):
        self.consumer = DetectionConsumer(self.database, self.engine, may_alert)
        self.consumer.open(self.read)

    def read(self, after, limit):
        entries = [JournalEntry(k + 1, r) for k, r in enumerate(self.log)][after : after + limit]
        return entries, after + len(entries)

    def arrive(self, readings, batch=7):
        self.log += readings
        while self.consumer.position < len(self.log):
            entries, position = self.read(self.consumer.position, batch)
            arrived = [entry.reading for entry in entries]
            self.keep(self.consumer.step(arrived), position, arrived[-1].received)

    def listen(self, now):
        self.keep(self.consumer.check_silence(now), self.consumer.position, now)

    def keep(self, events, position, now):
        self.events += [(e.kind, e.phase, e.time, e.onset, e.end, e.confidence) for e in events]
        alerts = self.consumer.commit(events, position, now)
        self.alerts += [(a.sensor, a.kind, a.alerted, a.onset, a.confidence) for a in alerts]


@pytest.fixture
def make(registry, policy):
    made = []

    def one():
        made.append(Replayed(registry, policy))
        return made[-1]

    yield one
    for each in made:
        each.database.close()


@pytest.fixture(scope="module")
def known():
    """What the first test finds out for the others."""
    return {}


@pytest.fixture
def in_order(make, known):
    """Events and alerts of the readings in their order."""
    if not known:
        site = make()
        site.arrive(READINGS)
        assert len(site.alerts) == 1
        known |= {"events": site.events, "alerts": site.alerts}
    return SimpleNamespace(**known)


def shuffled(seed, window=6):
    """Blocks of readings, each in any order and received at once, the first one in its place."""
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
def test_any_order_within_the_window_gives_the_same_events(make, in_order, seed, batch):
    site = make()
    site.arrive(shuffled(seed), batch)
    assert site.events == in_order.events
    assert site.alerts == in_order.alerts
    assert not site.consumer.skipped


def test_a_crash_with_readings_that_wait_changes_nothing(make, in_order):
    site = make()
    for number, reading in enumerate(shuffled(3)):
        site.arrive([reading])
        if number % 3 == 0:  # within a block and at its bounds
            site.open()
    assert site.events == in_order.events
    assert site.alerts == in_order.alerts


def test_so_does_a_stop_with_a_snapshot(make, in_order):
    site = make()
    for reading in shuffled(4):
        site.arrive([reading])
        site.consumer.save_snapshot()
        site.open()
    assert site.events == in_order.events


def lost_before_the_alert(in_order):
    """All up to the alert, but one that was lost, and the reading that decides without it."""
    alerted = in_order.alerts[0][2]
    number = next(r.seq for r in READINGS if r.time >= alerted)
    return [r for r in READINGS[: number + 2] if r.seq != number], READINGS[number + 1]


def test_a_loss_delays_an_alert_by_the_hold_where_nothing_else_arrives(make, in_order):
    readings, decides = lost_before_the_alert(in_order)
    site = make()
    site.arrive(readings)
    assert site.alerts == []
    site.listen(decides.received + MAX_WAIT_S)
    before = site.alerts.copy()
    assert len(before) == 1
    assert state.snapshot(site.database, CONSUMER).position == len(readings)
    site.open()  # a crash: nothing that follows repeats the alert
    site.arrive([r for r in READINGS if r.seq > decides.seq])
    assert site.alerts == before
    alerted_events = [event for event in site.events if event[1] == "alerted"]
    assert len(alerted_events) == 1


def test_late_data_is_evaluated_and_nobody_is_notified(make, in_order):
    """A day late: an incident that pages nobody."""
    late = [
        msgspec.structs.replace(r, received=r.received + 86_400, flags=("late",)) for r in READINGS
    ]
    site = make()
    site.arrive(late)
    assert site.events
    assert site.alerts == []
