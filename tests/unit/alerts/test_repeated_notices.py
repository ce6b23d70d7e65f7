"""Test when a repeated incident notifies again despite cooldowns."""

from __future__ import annotations

from itertools import pairwise

import pytest

from alerts.duty.roster import Receiver, Roster
from alerts.incidents import lifecycle
from alerts.policy import BUILT_IN_ROUTES, AlertPolicy, EscalationTimings, StaffMember
from alerts.secrets import Secret
from detection.events import UNRELIABLE, EventKind, EventPhase
from language.messages import build_fact
from tests.support import alert_records
from tests.support.timeline import Timeline

VAPE, OFFLINE = EventKind.VAPE, EventKind.OFFLINE


@pytest.fixture
def school(registry, monkeypatch):
    monkeypatch.setattr(lifecycle, "QUIET_S", 1.0)
    people = {r: Receiver(r, ("lee",)) for r in ("staff", "facilities")}
    lee = StaffMember("lee", "Lee", "staff", (Secret("ntfy://127.0.0.1:9/lee"),))
    return Timeline(
        registry,
        AlertPolicy(
            staff=(lee,),
            roster=Roster(BUILT_IN_ROUTES, people),
            timings=EscalationTimings(repeat_after_s=600, rounds=2),
        ),
    )


@pytest.fixture
def say(school, make_event):
    def speak(t, kind=VAPE, since=None, phase=EventPhase.ALERTED, sensor="s1", **more):
        at = school.start + t
        onset = school.start + (t if since is None else since)
        end = at if phase is EventPhase.ENDED else None
        school.push(
            t,
            make_event(
                *(onset, sensor),
                **{"kind": kind, "phase": phase, "end": end, "time": at, "confidence": 1.0} | more,
            ),
        )

    return speak


def test_what_is_more_severe_breaks_the_cooldown(school, say):
    """The third incident in an hour is more severe, so it notifies people and mutes the fourth."""
    for k in range(4):
        say(100 * k, EventKind.AMBIENT)
        say(100 * k + 9, EventKind.AMBIENT, since=100 * k, phase=EventPhase.ENDED)
    school.run(390)
    assert [h.at for h in school.received_notices] == [0, 200]


def test_a_sensor_that_comes_and_goes_is_notified_ever_more_rarely(school, say):
    """An outage every ten minutes for three hours gives a handful of notices, not eighteen."""
    for k in range(18):
        say(600 * k, OFFLINE)
        say(600 * k + 60, OFFLINE, since=600 * k, phase=EventPhase.ENDED)
    school.run(18 * 600, step=5.0)
    opened = [h.at for h in school.received_notices if h.reason == "opened"]
    recovered = [h.at for h in school.received_notices if h.reason == "recovered"]
    assert len(opened) == len(recovered)
    assert len(opened) <= 6
    gaps = [b - a for a, b in pairwise(opened)]
    assert gaps == sorted(gaps)


@pytest.mark.attack
@pytest.mark.parametrize("every_s", [290, 590])
def test_what_nobody_answered_mutes_no_later_plume(school, say, every_s):
    """A device's own alarm, forged all night, keeps an incident open. In the morning, vaping is
    notified at once."""
    alarm = {"model_version": "device-1-vendor_vape"}
    for t in range(0, 8 * 3600, every_s):
        say(t, **alarm)
        say(t + every_s, since=t, phase=EventPhase.ENDED, **alarm)
    plume = 7 * 3600
    say(plume)
    school.run(plume + 60, step=10.0)
    opened = [h.at for h in school.received_notices if h.reason == "opened"]
    assert opened[-1] == plume
    assert len(opened) < 6
    statuses = alert_records.incidents(school.db, "status")
    assert statuses == ["resolved", "notified"]


@pytest.mark.attack
@pytest.mark.parametrize("detail", sorted(UNRELIABLE))
def test_an_unanswered_second_sender_is_reported_again(school, say, detail):
    """All night the findings go on. Whoever is on duty learns of them, but not of each one."""
    for t in range(0, 6 * 3600, 300):
        say(t, EventKind.INTEGRITY, details=(build_fact(detail),))
        say(t + 300, EventKind.INTEGRITY, since=t, phase=EventPhase.ENDED)
    school.run(6 * 3600, step=20.0)
    opened = [h.at for h in school.received_notices if h.reason == "opened"]
    assert opened[0] == 0
    assert all(600 <= b - a <= 1200 for a, b in pairwise(opened))
    assert opened[-1] >= 6 * 3600 - 1200
