"""Test that possible vaping pages only people whose route names it, and can become likely."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from alerts.duty.roster import Roster, Route, parse_matchers
from alerts.engine import AlertEngine
from alerts.incidents.incident import Status
from alerts.page import queries
from alerts.policy import STAFF, Severity, build_role_receivers
from detection.events import EventKind, EventPhase
from tests.support import alert_records as stored

POSSIBLE = EventKind.POSSIBLE


@pytest.fixture
def possible(make_event):
    def make(at, **more):
        return make_event(at, kind=POSSIBLE, confidence=0.2, **more)

    return make


@pytest.fixture
def asked(registry, policy):
    """Return an engine whose routes name possible vaping."""
    route = Route(STAFF, parse_matchers("kind=possible"))
    everyone = tuple(member.id for member in policy.staff)
    receivers = build_role_receivers((member.id, member.role) for member in policy.staff)
    roster = Roster(Route(STAFF, routes=(route,)), receivers, everyone=everyone)
    return AlertEngine(registry, replace(policy, roster=roster))


def history(tx):
    return stored.history(tx, "what")


def delivered(notice):
    return SimpleNamespace(incident=notice.incident, person="ap", channel="json", notice=notice)


def test_nobody_is_notified_of_possible_vaping(tx, engine, possible):
    assert engine.on_events(tx, [possible(1000.0)], 1000.0) == []
    (incident,) = stored.incidents(tx)
    assert (incident.kind, incident.status, incident.severity) == (
        POSSIBLE,
        Status.OPEN,
        Severity.INFO,
    )
    engine.on_time(tx, 1500.0)
    assert stored.notices(tx) == []
    assert engine.check_stuck(tx, 1500.0) == []


def test_a_route_that_names_it_gets_one_quiet_notice(tx, asked, possible):
    asked.on_events(tx, [possible(1000.0), possible(1060.0)], 1060.0)
    (notice,) = stored.notices(tx, "notice")
    assert notice.priority == "quiet"


@pytest.mark.parametrize("ends_at", [1040.0, 1310.0])
def test_it_becomes_the_same_incident_when_vaping_is_likely(
    tx, engine, possible, make_event, ends_at
):
    end = possible(1000.0, phase=EventPhase.ENDED, end=ends_at)
    engine.on_events(tx, [possible(1000.0)], 1000.0)
    if ends_at < 1300.0:
        engine.on_events(tx, [end], ends_at)
    (alert,) = engine.on_events(tx, [make_event(1300.0)], 1300.0)
    (incident,) = stored.incidents(tx)
    assert (incident.kind, incident.id) == (EventKind.VAPE, alert.incident)
    assert (incident.severity, incident.confidence) == (Severity.WARNING, 0.9)
    assert stored.notices(tx, "person", "reason") == [("ap", "opened")]
    assert [*filter("ended".__ne__, history(tx))] == ["opened", "likely", "paged"]
    engine.on_events(tx, [end, make_event(1300.0, phase=EventPhase.UPDATED)], 1320.0)
    shown = queries.load_incident(tx, incident.id)
    assert shown["onset"] == incident.onset > 1200.0
    assert [e["kind"] for e in shown["events"]] == ["vape", "possible"]


def test_who_got_the_quiet_notice_gets_the_alert_as_well(tx, asked, possible, make_event):
    asked.on_events(tx, [possible(1000.0)], 1000.0)
    quiet = stored.notices(tx, "notice")[0]
    asked.record_delivery(tx, delivered(quiet), 1001.0)
    asked.on_events(tx, [make_event(1100.0)], 1100.0)
    notices = stored.notices(tx, "notice")
    assert [notice.kind for notice in notices] == ["possible", "vape"]
    asked.record_delivery(tx, delivered(notices[1]), 1101.0)
    (incident,) = stored.incidents(tx)
    assert (incident.opened_at, incident.notified_at) == (1100.0, 1101.0)
    assert tx.execute("SELECT room FROM cooldown").fetchone()[0] == incident.room


@pytest.mark.parametrize("responds", [False, True])
@pytest.mark.parametrize("begins", [EventKind.POSSIBLE, EventKind.VAPE])
def test_a_silence_mutes_what_is_detected_next(tx, engine, make_event, begins, responds):
    engine.on_events(tx, [make_event(1000.0, kind=begins)], 1000.0)
    if responds:
        engine.acknowledge(tx, stored.incidents(tx)[0].id, "ap", 1010.0)
    before = stored.notices(tx)
    stored.add_silence(tx, {"kind": "vape", "room": "n2-boys"}, 1020.0, 2000.0)
    engine.on_events(tx, [make_event(1100.0)], 1100.0)
    assert stored.notices(tx) == before
    assert stored.incidents(tx)[0].kind is EventKind.VAPE


def test_a_further_possible_pulse_joins_an_alert_quietly(tx, engine, possible, make_event):
    engine.on_events(tx, [make_event(1000.0)], 1000.0)
    engine.acknowledge(tx, stored.incidents(tx)[0].id, "ap", 1010.0)
    before = stored.notices(tx)
    engine.on_events(tx, [possible(1100.0)], 1100.0)
    (incident,) = stored.incidents(tx)
    assert (incident.kind, len(incident.detections)) == (EventKind.VAPE, 2)
    assert stored.notices(tx) == before


def test_it_waits_ten_minutes_for_more_evidence(tx, engine, possible):
    engine.on_events(tx, [possible(1000.0)], 1000.0)
    engine.on_events(tx, [possible(1000.0, phase=EventPhase.ENDED, end=1040.0)], 1040.0)
    engine.on_time(tx, 1639.0)
    assert stored.incidents(tx)[0].is_open
    engine.on_time(tx, 1640.0)
    assert not stored.incidents(tx)[0].is_open
