"""When a person is notified, notified again, or of the end: Alertmanager's dedup stage as a table.

Its eleven rows (`notify/notify_test.go`, Apache-2.0), in our words. Its "repeat interval" is our
chain that begins again, its "resolved" our end, its "send_resolved" the kinds with a notice of it.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from alerts.duty.roster import Receiver, Roster
from alerts.incidents import lifecycle
from alerts.policy import BUILT_IN_ROUTES, AlertPolicy, EscalationTimings, StaffMember
from alerts.secrets import Secret, find_channel
from detection.events import EventKind, EventPhase
from tests.support.timeline import Timeline

REPEAT_S = 600
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
            timings=EscalationTimings(repeat_after_s=REPEAT_S, rounds=2),
        ),
    )


@pytest.fixture
def say(school, make_event):
    def speak(t, kind=VAPE, since=None, phase=EventPhase.ALERTED, sensor="s1"):
        at = school.start + t
        onset = school.start + (t if since is None else since)
        end = at if phase is EventPhase.ENDED else None
        school.push(
            t,
            make_event(onset, sensor, kind=kind, phase=phase, end=end, time=at, confidence=1.0),
        )

    return speak


def begins(t, sensor="s1"):
    """A detection begins."""
    return t, {"sensor": sensor}


def ends(t, since, sensor="s1"):
    """The one that began at a moment ends."""
    return t, {"sensor": sensor, "since": since, "phase": EventPhase.ENDED}


TWO = [begins(0), begins(2, "s2"), ends(9, 0), ends(9, 2, "s2")]
AGAIN = REPEAT_S + 10


@pytest.mark.parametrize(
    ("kind", "script", "until", "reasons"),
    [
        pytest.param(VAPE, [begins(0)], 5, ["opened"], id="not notified yet, firing"),
        pytest.param(VAPE, [begins(0), begins(3, "s2")], 9, ["opened"], id="more of the same"),
        pytest.param(VAPE, "down", 30, ["opened"], id="notified, but not delivered"),
        pytest.param(VAPE, [begins(0)], REPEAT_S - 10, ["opened"], id="before the repetition"),
        pytest.param(VAPE, [begins(0)], AGAIN, ["opened"] * 2, id="past the repetition"),
        pytest.param(VAPE, [begins(0), ends(9, 0)], AGAIN, ["opened"] * 2, id="ended by then"),
        pytest.param(VAPE, [begins(0), ends(9, 0)], 30, ["opened"], id="no notice of its end"),
        pytest.param(
            OFFLINE, [begins(0), ends(9, 0)], 30, ["opened", "recovered"], id="a notice of its end"
        ),
        pytest.param(VAPE, TWO, 30, ["opened"], id="all ended, no notice"),
        pytest.param(OFFLINE, TWO, 30, ["opened", "recovered"], id="all ended, one notice"),
    ],
)
def test_row(school, say, kind, script, until, reasons):
    if script == "down":
        script = [begins(0)]
        school.down.update(channels(school))
        school.at(20, lambda _tx, _now: school.down.clear())
    for t, more in script:
        say(t, kind, **more)
    school.run(until)
    assert [h.reason for h in school.received_notices] == reasons


def channels(school):
    return {find_channel(target) for m in school.policy.staff for target in m.targets}


def test_what_is_more_severe_breaks_the_cooldown(school, say):
    """The third within the hour is more severe and notified; it mutes the fourth."""
    for k in range(4):
        say(100 * k, EventKind.AMBIENT)
        say(100 * k + 9, EventKind.AMBIENT, since=100 * k, phase=EventPhase.ENDED)
    school.run(390)
    assert [h.at for h in school.received_notices] == [0, 200]


def test_a_sensor_that_comes_and_goes_is_notified_ever_more_rarely(school, say):
    """Every ten minutes for three hours: a handful of notices, not eighteen."""
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
