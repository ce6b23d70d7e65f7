"""Test the incident rules in isolation, as tables of inputs and effects."""

from __future__ import annotations

import pytest

from alerts.errors import FeedbackError
from alerts.incidents.history import Record
from alerts.incidents.incident import ActionClass, Mute, Rules, Status, Verdict
from alerts.incidents.inputs import (
    AckExpired,
    Acknowledged,
    ActionReported,
    ChainEnded,
    Delivered,
    Detected,
    Feedback,
    NewIncident,
    Resolved,
    Tick,
)
from alerts.incidents.lifecycle import Step, compute_cooldown_s, step
from alerts.policy import Severity
from detection.events import EventKind, EventPhase
from language.messages import build_fact

RULES = Rules(cooldown_s=300.0, runs_chain=False)
"""Rules of a replay, in which nobody is paged."""
ASKING = Rules(cooldown_s=300.0)
SILENCE = build_fact("silence", silence=3, owner="Lee")
TAKEN = ["Stop", "ScheduleAckDeadline", "NotifyOutcome"]
CONFIRMED, EXPIRED = ("feedback", 1200, Verdict.CONFIRMED), ("ack expired", 1900)
A, U, E = EventPhase.ALERTED, EventPhase.UPDATED, EventPhase.ENDED


@pytest.fixture
def play(make_event):
    """Run a script of short words through the rules; return the incident and all effects."""

    def run(*script, cooldown_until=None, rules=RULES):
        incident, effects = None, []
        new = NewIncident("i1", "n2-boys")
        cooldown = Mute(cooldown_until or 0.0, build_fact("cooldown"))
        for word, at, *rest in script:
            if isinstance(word, EventPhase):
                sensor = rest[0] if rest else "s1"
                event = make_event(1000.0, sensor, phase=word, end=at if word is E else None)
                given = Detected(event, at, new, cooldown if at < cooldown.until else None)
            elif word == "delivered":
                given = Delivered("ap", "json", at)
            elif word == "ack":
                given = Acknowledged(rest[0] if rest else "Ms. Lee", at)
            elif word == "ack expired":
                given = AckExpired(at)
            elif word == "chain ended":
                given = ChainEnded(at)
            elif word == "over":
                given = Resolved("Ms. Lee", at)
            elif word == "feedback":
                given = Feedback("Ms. Lee", rest[0], at, "spray" if len(rest) > 1 else "")
            else:
                given = Tick(at)
            result = step(incident, given, rules)
            incident = result.incident
            effects += result.effects
        return incident, effects

    return run


def kinds(effects):
    return [type(e).__name__ for e in effects if not isinstance(e, Record)]


@pytest.mark.parametrize(
    ("script", "status", "effects"),
    [
        ([(A, 1000)], Status.OPEN, ["Page"]),
        ([(A, 1000), (U, 1005), (U, 1010)], Status.OPEN, ["Page"]),
        ([(A, 1000), (A, 1003, "s2"), (U, 1004, "s2")], Status.OPEN, ["Page"]),
        ([(A, 1000), ("delivered", 1001)], Status.NOTIFIED, ["Page", "StartCooldown"]),
        (
            [(A, 1000), ("delivered", 1001), ("delivered", 1002)],
            Status.NOTIFIED,
            ["Page", "StartCooldown"],
        ),
        ([(A, 1000), ("ack", 1001)], Status.ACKNOWLEDGED, ["Page", *TAKEN]),
        (
            [(A, 1000), ("ack", 1001), ("delivered", 1002)],
            Status.ACKNOWLEDGED,
            ["Page", *TAKEN, "StartCooldown", "NotifyOutcome"],
        ),
        ([(A, 1000), (E, 1030), ("tick", 1149)], Status.OPEN, ["Page"]),
        ([(A, 1000), (E, 1030), ("tick", 1150)], Status.RESOLVED, ["Page", "Stop"]),
        ([(A, 1000), (E, 1030), (A, 1100, "s2"), ("tick", 1113)], Status.OPEN, ["Page"]),
        ([(A, 1000), ("tick", 1113)], Status.OPEN, ["Page"]),
        ([(A, 1000), ("tick", 1114)], Status.OPEN, ["Page", "SeverityRaised"]),
        ([(A, 1000), ("tick", 1114), ("tick", 2799)], Status.OPEN, ["Page", "SeverityRaised"]),
        ([(A, 1000), ("tick", 2800)], Status.RESOLVED, ["Page", "Stop"]),
        ([(A, 1000), (U, 2000), ("tick", 2800)], Status.OPEN, ["Page", "SeverityRaised"]),
        (
            [(A, 1000), (E, 1030), (U, 1100), (A, 1140), ("tick", 1150)],
            Status.RESOLVED,
            ["Page", "Stop"],
        ),
        (
            [(A, 1000), ("feedback", 1020, Verdict.CONFIRMED)],
            Status.ACKNOWLEDGED,
            ["Page", *TAKEN, "Stop", "EndCooldown"],
        ),
    ],
)
def test_lives(play, script, status, effects):
    incident, found = play(*script)
    assert incident.status is status
    assert kinds(found) == effects


@pytest.mark.parametrize(
    ("script", "status", "cleared_at", "missed_at"),
    [
        ([(A, 1000), (E, 1030), ("tick", 1150)], Status.OPEN, 1150, None),
        ([(A, 1000), ("tick", 2800)], Status.OPEN, 2800, None),
        (
            [(A, 1000), (E, 1030), ("tick", 1150), ("chain ended", 2000)],
            Status.RESOLVED,
            1150,
            2000,
        ),
        ([(A, 1000), ("chain ended", 1500)], Status.OPEN, None, 1500),
        (
            [(A, 1000), ("chain ended", 1500), (E, 1600), ("tick", 1720)],
            Status.RESOLVED,
            None,
            1500,
        ),
        ([(A, 1000), (E, 1030), ("tick", 1150), (A, 1200, "s2")], Status.OPEN, None, None),
        ([(A, 1000), (E, 1030), ("tick", 1150), ("over", 1200)], Status.RESOLVED, 1150, 1200),
        ([(A, 1000), (E, 1030), ("tick", 1150), ("ack", 1200)], Status.ACKNOWLEDGED, 1150, None),
        ([(A, 1000), ("ack", 1010), (E, 1030), ("tick", 1150)], Status.ACKNOWLEDGED, 1150, None),
        (
            [(A, 1000), ("ack", 1010), (E, 1030), ("tick", 1150), (A, 1200, "s2")],
            Status.ACKNOWLEDGED,
            None,
            None,
        ),
        (
            [(A, 1000), ("ack", 1010), (E, 1030), ("tick", 1150), CONFIRMED, ("tick", 1200)],
            Status.RESOLVED,
            None,
            None,
        ),
        (
            [(A, 1000), ("ack", 1010), CONFIRMED, (E, 1210), ("tick", 1330)],
            Status.RESOLVED,
            None,
            None,
        ),
        (
            [(A, 1000), ("ack", 1010), (E, 1030), ("tick", 1150), EXPIRED, ("chain ended", 2000)],
            Status.RESOLVED,
            1150,
            2000,
        ),
        ([(A, 1000), ("ack", 1010), ("chain ended", 1500)], Status.ACKNOWLEDGED, None, None),
    ],
)
def test_clear_air_resolves_nothing_that_nobody_has_answered(
    play, script, status, cleared_at, missed_at
):
    incident, _ = play(*script, rules=ASKING)
    assert incident.status is status
    assert (incident.cleared_at, incident.missed_at) == (cleared_at, missed_at)


def test_what_followed_is_kept_with_what_it_was_before(play):
    known, _ = play((A, 1000), (E, 1030), ("tick", 1150), ("feedback", 1200, Verdict.CONFIRMED))
    first = step(known, ActionReported("Lee", ActionClass.REFERRAL, 1300, "26/114"), RULES)
    assert first.effects == (
        Record(1300, "Lee", "action", {"action": "referral"}),
        Record(1300, "Lee", "case_number", {"case_number": "26/114"}),
    )
    second = step(first.incident, ActionReported("Fox", ActionClass.NURSE, 1400, "26/114"), RULES)
    assert second.effects == (
        Record(1400, "Fox", "action", {"action": "nurse", "before": "referral"}),
    )
    third = step(second.incident, ActionReported("Fox", None, 1500), RULES)
    assert third.effects == (
        Record(1500, "Fox", "action", {"action": "", "before": "nurse"}),
        Record(1500, "Fox", "case_number", {"case_number": "", "before": "26/114"}),
    )
    assert (third.incident.action, third.incident.case_number) == (None, "")
    assert step(
        second.incident, ActionReported("Lee", ActionClass.NURSE, 9999, "26/114"), RULES
    ) == Step(second.incident)


def test_what_followed_comes_after_what_was_found(play):
    incident, _ = play((A, 1000), ("ack", 1010))
    with pytest.raises(FeedbackError, match="first report what was found"):
        step(incident, ActionReported("Lee", ActionClass.NONE, 1300), RULES)


@pytest.mark.parametrize(
    "number", ["1", "A-1", "2026/114", "DISC-2026-114", "INC" + "1" * 29, "D.12_b-3/4"]
)
def test_numbers_of_cases(number):
    assert ActionReported("Lee", None, 1.0, number).case_number == number


@pytest.mark.parametrize(
    "number",
    [
        "Smith",
        "Miller2",
        "Miller-2011",
        "J. Doe 3",
        "12 ",
        " 12",
        "x" * 32 + "1",
        "-12",
        "/1",
        "=1+1",
        "1\n",
        "n\u00e91",
        "\u0664",
    ],
)
def test_what_could_be_free_text_is_no_number_of_a_case(number):
    with pytest.raises(FeedbackError, match="at most 32 letters, digits and"):
        ActionReported("Lee", None, 1.0, number)


@pytest.mark.parametrize(
    ("script", "effects", "suppressed"),
    [
        ([(A, 1000)], [], "cooldown"),
        ([(A, 1000), ("tick", 1113)], [], "cooldown"),
        ([(A, 1000), ("tick", 1200)], ["Page"], ""),
        ([(A, 1000), (E, 1100), ("tick", 1200)], [], "cooldown"),
        ([(A, 1000), (E, 1100), ("tick", 1200), (A, 1210, "s2")], ["Page"], ""),
        ([(A, 1000), ("ack", 1100), ("tick", 1200)], TAKEN, "cooldown"),
        ([(A, 1200)], ["Page"], ""),
    ],
)
def test_held_by_a_cooldown_until_1200(play, script, effects, suppressed):
    incident, found = play(*script, cooldown_until=1200.0)
    assert kinds(found) == effects
    assert incident.suppressed_by == (build_fact(suppressed) if suppressed else None)


def test_a_held_incident_that_grows_is_looked_at_again_at_once(play):
    incident, _ = play((A, 1000), cooldown_until=1200.0)
    assert incident.next_deadline() == 1114
    freed = step(incident, Tick(1114), RULES)
    assert freed.incident.severity is Severity.CRITICAL
    assert kinds(freed.effects) == ["Page"]
    silenced = step(incident, Tick(1114, Mute(9000.0, SILENCE)), RULES)
    assert kinds(silenced.effects) == []
    assert silenced.incident.held_until == 9000.0


@pytest.mark.parametrize("later", [[("tick", 1200)], [(U, 1200)], [(U, 1110), ("tick", 1200)]])
def test_an_answer_makes_the_severity_final(play, later):
    incident, effects = play((A, 1000), ("feedback", 1050, Verdict.TEST), *later)
    assert incident.is_open
    assert incident.is_running
    assert incident.severity is Severity.WARNING
    assert "severity" not in [effect.what for effect in effects if isinstance(effect, Record)]
    assert incident.next_deadline() == incident.resolve_due


@pytest.mark.parametrize(
    ("kind", "repeats", "lasts_s"),
    [
        ("vape", 0, 300),
        ("vape", 9, 300),
        ("offline", 0, 300),
        ("offline", 2, 1200),
        ("sensor_fault", 5, 9600),
        ("offline", 6, 14_400),
        ("offline", 50, 14_400),
    ],
)
def test_how_long_a_cooldown_lasts(kind, repeats, lasts_s):
    assert compute_cooldown_s(EventKind(kind), repeats, RULES) == lasts_s
