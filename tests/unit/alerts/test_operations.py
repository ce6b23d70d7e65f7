"""Faults of the service itself: one incident while they go on, and no reading."""

import pytest

from alerts.engine import AlertEngine
from alerts.operations import BROKER, HOLD_S, PUSH_SERVICE, Operations
from detection.details import Detail
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
    ("what", "place"), [(Detail.SESSION_LOST, BROKER), (Detail.QUOTA_USED_UP, PUSH_SERVICE)]
)
def test_a_fault_is_one_incident_until_nobody_reports_it(tx, clock, store, what, place):
    operations = Operations(clock)
    operations.report(what)
    (alert,) = store(operations, T)
    assert (alert.sensor, operations.changed.is_set()) == (place, True)
    for minute in range(1, 5):
        clock.now = T + 300 * minute
        operations.report(what)
        assert store(operations, clock.now) == []
    assert operations.problem(place)
    over = clock.now + HOLD_S + 1
    store(operations, over)
    assert operations.problem(place) == ""
    assert incidents(tx, "room", "sensor") == [(place, place)]
    assert incidents(tx, "running") == [False]
    assert len(notices(tx)) == len({n.person for n in notices(tx)}) > 0


def test_what_was_reported_before_a_restart_ends(tx, clock, store):
    operations = Operations(clock)
    operations.report(Detail.STRANGERS)
    store(operations, T)
    store(Operations(clock), T + HOLD_S - 1)
    assert incidents(tx, "running") == [True]
    store(Operations(clock), T + HOLD_S + 1)
    assert incidents(tx, "running") == [False]


def test_a_report_again_and_again_is_stored_once_a_minute(clock):
    operations = Operations(clock)
    for second in range(120):
        clock.now = T + second
        operations.report(Detail.SESSION_CONTENDED)
        if second not in (0, 60):
            assert not operations.changed.is_set()
        operations.changed.clear()
