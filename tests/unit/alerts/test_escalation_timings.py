"""Test that contradictory timings are refused, and that steps are due according to the timings."""

from __future__ import annotations

import pytest

from alerts.duty.roster import Candidate, Ring
from alerts.escalation.escalator import Action, plan
from alerts.policy import EscalationTimings, Severity

RINGS = tuple(Ring(name, (Candidate(name, ""),)) for name in ("near", "next", "lead"))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, []),
        ({"acknowledged_for_s": 80}, ["acknowledged_for_s"]),
        ({"storm_rooms": 12}, ["storm_rooms"]),
        ({"acknowledged_for_s": 80, "notices_per_hour": 3}, ["acknowledged_for_s", "storm_rooms"]),
    ],
)
def test_faults(settings, named):
    assert [
        fault.partition(":")[0] for fault in EscalationTimings(**settings).find_faults()
    ] == named


@pytest.mark.parametrize(
    ("severity", "due"),
    [
        (Severity.CRITICAL, [0, 45, 90, 690, 735, 780, 825]),
        (Severity.WARNING, [0, 90, 180, 780, 870, 960, 1050]),
        (Severity.INFO, [0, 360, 720, 1080]),
    ],
)
def test_when_each_ring_is_notified(severity, due):
    steps = plan("i", RINGS, severity, 0.0, EscalationTimings(rounds=2))
    assert [s.due_at for s in steps] == due
    assert [s.action for s in steps] == [*[Action.NOTIFY] * (len(due) - 1), Action.END]
    assert [s.seq for s in steps] == list(range(1, len(due) + 1))


def test_numbers_go_on_where_a_chain_begins_again():
    steps = plan(
        "i", RINGS[:1], Severity.WARNING, 50.0, EscalationTimings(rounds=1), seq=8, first_round=3
    )
    assert [(s.seq, s.round, s.due_at) for s in steps] == [(8, 3, 50.0), (9, 3, 140.0)]
