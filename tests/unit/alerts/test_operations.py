"""Test that a continuing service fault gives one incident, and doesn't count as a reading."""

import pytest

from alerts.engine import AlertEngine
from alerts.incidents.incident import Verdict
from alerts.operations import HOLD_S, Operations
from detection.events import Detail
from tests.support.alert_records import incidents, notices

T = 1_790_000_000.0


class Clock:
    now = T

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tx, registry, policy, clock):
    engine = AlertEngine(registry, policy)

    def stored(operations, at):
        clock.now = at
        return operations.store(tx, engine)

    return stored


@pytest.mark.parametrize(
    ("what", "at_broker"), [(Detail.SESSION_LOST, True), (Detail.QUOTA_USED_UP, False)]
)
def test_a_fault_is_one_incident_until_nobody_reports_it(tx, clock, store, what, at_broker):
    operations = Operations(clock)
    operations.report(what)
    (alert,) = store(operations, T)
    assert (alert.kind, operations.changed.is_set()) == ("service", True)
    for minute in range(1, 5):
        clock.now = T + 300 * minute
        operations.report(what)
        assert store(operations, clock.now) == []
    assert bool(operations.describe_broker_faults()) is at_broker
    over = clock.now + HOLD_S + 1
    store(operations, over)
    assert operations.describe_broker_faults() == ""
    assert incidents(tx, "room", "sensor") == [("", "")]
    assert incidents(tx, "is_running") == [False]
    assert len(notices(tx)) == len({n.person for n in notices(tx)}) > 0


@pytest.mark.parametrize("answered_s", [30, 290, 310, 900])
def test_a_fault_that_goes_on_after_an_answer_is_notified_again(
    tx, engine, clock, store, answered_s
):
    operations, found = Operations(clock), []
    for second in range(0, 1800, 10):
        clock.now = T + second
        if second == answered_s:
            (first,) = incidents(tx, "id")
            engine.record_feedback(tx, first, "ap", Verdict.FIXED, clock.now)
        operations.report(Detail.SESSION_CONTENDED)
        found += [(second, alert.incident) for alert in store(operations, clock.now)]
    (_, first), (again, second) = found
    assert answered_s < again <= answered_s + 360
    assert first != second
    assert {n.person for n in notices(tx) if n.incident == second}


def test_what_was_reported_before_a_restart_ends(tx, clock, store):
    operations = Operations(clock)
    operations.report(Detail.UNREGISTERED)
    store(operations, T)
    store(Operations(clock), T + HOLD_S - 1)
    assert incidents(tx, "is_running") == [True]
    store(Operations(clock), T + HOLD_S + 1)
    assert incidents(tx, "is_running") == [False]


def test_a_report_again_and_again_is_stored_once_a_minute(clock):
    operations = Operations(clock)
    for second in range(120):
        clock.now = T + second
        operations.report(Detail.SESSION_CONTENDED)
        if second not in (0, 60):
            assert not operations.changed.is_set()
        operations.changed.clear()


def test_two_faults_are_one_incident_that_ends_with_the_last(tx, clock, store):
    operations = Operations(clock)
    operations.report(Detail.SESSION_LOST)
    store(operations, T)
    clock.now = T + 300
    operations.report(Detail.QUOTA_USED_UP)
    assert store(operations, clock.now) == []
    store(operations, T + HOLD_S + 1)
    assert incidents(tx, "is_running") == [True]
    store(operations, T + 300 + HOLD_S + 1)
    assert incidents(tx, "is_running") == [False]
