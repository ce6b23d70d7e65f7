"""Test that feedback adjusts a threshold once, within bounds, reversibly, and on record."""

import sqlite3

import pytest

from alerts.incidents import threshold_adjustments
from alerts.incidents.incident import Verdict
from detection.alert_rules import UPPER
from detection.events import EventKind
from tests.support import alert_records as stored

UP, DOWN = (
    threshold_adjustments.STEPS[Verdict.FALSE_ALARM],
    threshold_adjustments.STEPS[Verdict.CONFIRMED],
)


@pytest.fixture
def incident_of(tx, engine, make_event):
    def make(at=1000.0, **more):
        engine.on_events(tx, [make_event(at, **more)], at)
        return stored.incidents(tx, "id")[-1]

    return make


@pytest.fixture
def answer(tx, engine):
    def say(incident, verdict, cause="", now=2000.0):
        engine.record_feedback(tx, incident, "Ms. Lee", verdict, now, cause=cause)
        return [
            (m.sensor, m.reason, m.before, m.after, m.undoes)
            for m in reversed(threshold_adjustments.list_adjustments(tx))
        ]

    return say


def test_a_false_alarm_raises_the_level_of_the_sensor_that_alerted(tx, incident_of, answer):
    incident = incident_of()
    (move,) = answer(incident, Verdict.FALSE_ALARM, "spray")
    assert move == ("s1", "spray", 0.0, UP, None)
    found = threshold_adjustments.list_adjustments(tx)[0]
    assert (found.who, found.at) == ("Ms. Lee", 2000.0)
    assert found.position is None
    assert stored.history(tx, "who", "detail", what="threshold_adjusted") == [
        ("Ms. Lee", {"sensor": "s1", "because": "less_readily"})
    ]


def test_a_confirmed_alert_lowers_it_half_as_far(incident_of, answer):
    assert answer(incident_of(), Verdict.CONFIRMED) == [
        ("s1", "", 0.0, DOWN, None),
    ]
    assert DOWN == -UP / 2


def test_the_same_answer_again_moves_nothing(incident_of, answer):
    incident = incident_of()
    once = answer(incident, Verdict.FALSE_ALARM, "spray")
    assert answer(incident, Verdict.FALSE_ALARM, "steam") == once
    assert answer(incident, Verdict.FALSE_ALARM, "spray") == once


def test_another_answer_first_reverts_the_earlier_adjustment(incident_of, answer):
    incident = incident_of()
    answer(incident, Verdict.FALSE_ALARM, "dust")
    assert answer(incident, Verdict.CONFIRMED)[1:] == [
        ("s1", "", UP, 0.0, 1),
        ("s1", "", 0.0, DOWN, None),
    ]
    assert answer(incident, Verdict.NOTHING_FOUND)[3:] == [("s1", "", DOWN, 0.0, 3)]


def test_a_faulty_sensor_is_repaired_not_answered_by_a_level(incident_of, answer):
    incident = incident_of()
    assert answer(incident, Verdict.FALSE_ALARM, "sensor") == []
    assert answer(incident, Verdict.FALSE_ALARM, "dust") == [("s1", "dust", 0.0, UP, None)]
    assert answer(incident, Verdict.FALSE_ALARM, "sensor")[1:] == [
        ("s1", "", UP, 0.0, 1),
    ]


def test_moves_stay_within_bounds_and_are_taken_back_by_what_they_moved(tx, incident_of, answer):
    found = []
    for k in range(8):
        found.append(incident_of(1000.0 + 4000.0 * k))
        answer(found[-1], Verdict.FALSE_ALARM, "spray", 1e5)
    after = [m.after for m in reversed(threshold_adjustments.list_adjustments(tx))]
    assert after == [min((k + 1) * UP, UPPER) for k in range(8)]
    for incident, left in ((found[7], UPPER), (found[0], UPPER - UP)):
        assert answer(incident, Verdict.NOTHING_FOUND, "", 2e5)[-1][3] == left


@pytest.mark.attack
@pytest.mark.parametrize("tested", [-2.5, -1.1, -0.9, 0.0, 1.4, UPPER])
@pytest.mark.parametrize("verdict", [Verdict.FALSE_ALARM, Verdict.CONFIRMED])
def test_answers_to_one_incident_that_go_back_and_forth_move_nothing(
    tx, incident_of, answer, tested, verdict
):
    """A person can change an answer any number of times, with or without an earlier room test."""
    incident = incident_of()
    threshold_adjustments.adjust_from_test(tx, "s1", tested, "Ms. Lee", 1500.0)
    for k in range(4):
        answer(incident, verdict, "spray" if verdict is Verdict.FALSE_ALARM else "", 2000.0 + k)
        answer(incident, Verdict.NOTHING_FOUND, now=2000.5 + k)
        assert threshold_adjustments.get_adjustment(tx, "s1") == tested


def test_only_alerts_that_a_level_decided_move_one(tx, engine, make_event, incident_of, answer):
    assert answer(incident_of(kind=EventKind.TAMPER), Verdict.FALSE_ALARM, "sensor") == []
    from_vendor = make_event(9000.0)
    object.__setattr__(from_vendor, "model_version", "device-1")
    (alert,) = engine.on_events(tx, [from_vendor], 9000.0)
    assert answer(alert.incident, Verdict.FALSE_ALARM, "spray") == []


def place_pending(tx, position):
    tx.execute("UPDATE threshold_adjustment SET position = ? WHERE position IS NULL", (position,))


def test_moves_cannot_be_changed_or_deleted(tx, incident_of, answer):
    answer(incident_of(), Verdict.FALSE_ALARM, "spray")
    place_pending(tx, 5)
    stored.assert_append_only(tx, "threshold_adjustment")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        tx.execute("UPDATE threshold_adjustment SET position = 6")
