"""Test what the check for stuck incidents finds and restarts, and its cost."""

from __future__ import annotations

import pytest

from alerts.incidents import stuck_incidents
from alerts.incidents.stuck_incidents import StuckItem, StuckKind
from detection.events import EventKind, EventPhase
from tests.support import alert_records as stored


@pytest.mark.parametrize("answered", [False, True])
def test_an_incident_without_a_future_gets_one(tx, engine, make_event, answered):
    (record,) = engine.on_events(tx, [make_event()], 1000.0)
    if answered:
        engine.acknowledge(tx, record.incident, "ap", 1001.0)
    tx.execute("DELETE FROM escalation_step")
    what = StuckKind.NO_REMINDER if answered else StuckKind.NO_STEP
    assert engine.check_stuck(tx, 1030.0) == [StuckItem(what, record.incident)]
    assert engine.check_stuck(tx, 1060.0) == []
    steps = ["remind", "reopen"] if answered else ["tell", "tell", "tell", "end"]
    assert stored.steps(tx, "action") == steps
    assert stored.history(tx, "detail", what="restarted") == [{"stuck": what}]


def test_a_logged_end_is_an_end(tx, engine, make_event):
    kind = EventKind.OFFLINE
    engine.on_events(tx, [make_event(kind=kind, confidence=1.0)], 1000.0)
    engine.on_time(tx, 5000.0)
    assert stored.deliver(tx, engine, 5000.0)
    assert stored.incidents(tx, "status") == ["notified"]
    assert engine.check_stuck(tx, 5030.0) == []


def test_what_is_late_is_named(tx, engine, make_event):
    (record,) = engine.on_events(tx, [make_event()], 1000.0)
    found = engine.check_stuck(tx, 1000.0 + 700)
    assert found == [
        StuckItem(StuckKind.LATE_NOTICE, "1"),
        StuckItem(StuckKind.LATE_STEP, record.incident),
    ]
    assert engine.check_stuck(tx, 1000.0 + 60) == []


def test_the_queries_read_indexes_of_what_is_open(tx, engine, make_event):
    """No query scans the history, however long it is."""
    engine.on_events(tx, [make_event()], 1000.0)
    over = make_event(1000.0, phase=EventPhase.ENDED, end=1010.0)
    engine.on_events(tx, [over], 1010.0)
    for query in stuck_incidents.QUERIES.values():
        plan = [r["detail"] for r in tx.execute("EXPLAIN QUERY PLAN " + query, {"late": 0.0})]
        walks = [line for line in plan if line.startswith("SCAN") and "USING" not in line]
        assert not walks, (query, plan)
