"""Test escalation timelines: who is notified when, with and without a response."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerts.duty.roster import Receiver, Roster
from alerts.incidents.incident import Verdict
from alerts.notify.notice import KIND_WORDS, render
from alerts.policy import BUILT_IN_ROUTES, AlertPolicy, EscalationTimings, StaffMember
from alerts.secrets import Secret, find_channel
from detection.events import Detail, EventKind, EventPhase
from language.messages import build_fact
from tests.support import alert_records as stored
from tests.support.timeline import Timeline

VAPE = KIND_WORDS["vape"]

BOYS, GIRLS = "Boys N2", "Girls N1"
TIMINGS = EscalationTimings(escalate_after_s=60, repeat_after_s=300, rounds=2)


def person(name, role="staff"):
    return StaffMember(name, name.title(), role, (Secret(f"ntfy://127.0.0.1:9/{name}"),))


STAFF = (person("lee"), person("fox", "admin"), person("fay", "facilities"))
ROSTER = Roster(
    BUILT_IN_ROUTES,
    {
        "staff": Receiver("staff", ("lee",), catch_all=("fox", "fay")),
        "facilities": Receiver("facilities", ("fay",)),
    },
)


@pytest.fixture
def school(registry):
    """Return a school with a staff of three: Lee is notified first, then the others."""
    return Timeline(registry, AlertPolicy(staff=STAFF, roster=ROSTER, timings=TIMINGS))


@pytest.fixture
def say(school, make_event):
    """Return a function that reports a sensor's detection at a time on the timeline."""

    def speak(t, sensor="s1", since=None, phase=EventPhase.ALERTED, **more):
        alerted = school.start + (t if since is None else since)
        at = school.start + t
        end = at if phase is EventPhase.ENDED else None
        event = make_event(alerted, sensor, phase=phase, end=end, time=at, **more)
        school.push(t, event)

    return speak


def chain(first, others, within=1):
    """Return who is notified when: Lee first, then Fox and Fay."""
    times = (("lee", first), ("fox", others), ("fay", others))
    return [(who, "opened", BOYS, t, t + within) for who, t in times]


def test_without_a_response_the_next_ring_is_notified(school, say):
    """Each ring is notified in turn, then all rings again; then "no response" is recorded."""
    say(0)
    school.run(900).want(
        *chain(0, 60),
        *chain(360, 390),  # now critical, because it continues
    )
    assert school.history() == [
        "opened",
        "paged",
        "escalated",
        "severity",
        "escalated",
        "escalated",
        "no_response",
    ]


@pytest.mark.parametrize("kind", [EventKind.VAPE, EventKind.SMOKE])
def test_a_plume_that_is_over_ends_no_chain(school, say, kind):
    """Below 70%, the second step is due after four minutes, long after the air has cleared."""
    say(0, kind=kind, confidence=0.6)
    say(30, since=0, kind=kind, confidence=0.6, phase=EventPhase.ENDED)
    wait = 240 if kind is EventKind.VAPE else 60
    rounds = (0,) if kind is EventKind.VAPE else (0, 360)
    school.run(900).want(
        *((who, "opened", BOYS, t, t + 1) for t in rounds for who in ("lee",)),
        *((who, "opened", BOYS, t + wait, t + wait + 1) for t in rounds for who in ("fox", "fay")),
    )
    assert school.history()[-3:] == ["escalated", "no_response", "resolved"]
    assert "cleared" in school.history()
    body = render(school.notices[-1])[0]
    assert "over, not yet checked" in body


@pytest.mark.parametrize("acked", [140, 200])
def test_who_responds_late_is_reminded_before_all_are_notified_again(school, say, acked):
    """Clear air ends nothing that somebody has acknowledged but not answered."""
    say(0)
    say(30, since=0, phase=EventPhase.ENDED)
    school.ack(acked, "lee")
    say(acked + 23)
    school.run(acked + 400)
    assert stored.incidents(school.db, "status", "missed_at") == [("acknowledged", None)]
    school.run(4000)
    history = school.history()
    assert history.index("reminded") < history.index("ack_expired") < history.index("no_response")
    assert history[-1] == "resolved"
    (missed,) = stored.incidents(school.db)
    assert (missed.status, missed.missed_at is None) == ("resolved", False)


def test_a_rise_of_severity_moves_what_is_still_to_come(school, say):
    """Below 70%, steps are four minutes apart, in one round; above, one minute, in two rounds."""
    say(0, confidence=0.6)
    say(20, since=0, confidence=0.9, phase=EventPhase.UPDATED)
    say(30, since=0, confidence=0.9, phase=EventPhase.ENDED)
    school.run(900).want(
        *(("lee", "opened", BOYS, t, t + 1) for t in (0, 360)),
        *((who, "opened", BOYS, t, t + 1) for t in (60, 420) for who in ("fox", "fay")),
    )


def refuse(school, begin, end):
    """Make all channels refuse for a while, as when a push service answers 404."""
    for t, refuses in ((begin, True), (end, False)):
        school.at(t, lambda _tx, _now, refuses=refuses: setattr(school, "refusing", refuses))


def test_a_service_that_refuses_for_a_while_does_not_use_up_the_rounds(school, say):
    """All rings of the round are tried at once. The next round starts at its scheduled time."""
    refuse(school, 0, 15)
    say(0)
    school.run(400).want(*chain(300, 330, within=2))
    assert {n.person for n in stored.notices(school.db) if n.status == "failed"} == {
        *("lee", "fox", "fay")
    }


def test_after_an_outage_of_two_rounds_everyone_is_notified_once(school, say):
    channels = {find_channel(person.targets[0]) for person in STAFF}
    school.at(0, lambda _tx, _now: school.down.update(channels))
    school.at(425, lambda _tx, _now: school.down.clear())
    say(0)
    school.run(3000).want(*((who, "opened", BOYS, 425, 426) for who in ("lee", "fox", "fay")))


def test_history_says_that_no_notice_was_delivered(school, say):
    refuse(school, 0, 10_000)
    say(0)
    school.run(2000)
    assert "undelivered" in school.history()
    assert "no_response" not in school.history()


@pytest.mark.parametrize(("confidence", "ends"), [(0.5, 240), (0.9, 360)])
def test_what_all_channels_refused_is_tried_once_more_at_the_end(school, say, confidence, ends):
    """An alert below 70% has one round, so a few seconds of refusals could use it up."""
    refuse(school, 0, ends - 20)
    say(0, confidence=confidence)
    say(30, since=0, phase=EventPhase.ENDED, confidence=confidence)
    school.run(3000).want(*((w, "opened", BOYS, ends, ends + 2) for w in ("lee", "fox", "fay")))


@pytest.mark.parametrize("name", ["Fay", "Fox"])
@pytest.mark.parametrize("respond", ["ack", "answer"])
def test_a_response_stops_it_and_the_others_learn_who_responds(school, say, respond, name):
    """Even someone with the same name as the responder learns it."""
    lee, fox, fay = STAFF
    school.policy = replace(school.policy, staff=(lee, fox, replace(fay, name=name)))
    say(0)
    {"ack": Timeline.ack, "answer": answer}[respond](school, 70, "fox")
    school.run(600).want(
        *chain(0, 60),
        ("lee", "taken", BOYS, 70, 71),
        ("fay", "taken", BOYS, 70, 71),
    )


def test_an_arrival_acknowledges_and_notifies_the_others(school, say):
    say(0)
    for t, who in ((70, "fox"), (71, "fox"), (90, "lee"), (91, "fox")):
        school.at(t, lambda tx, now, who=who: school.engine.arrive(tx, school.id(1), who, now))
    school.run(600).want(
        *chain(0, 60),
        ("lee", "taken", BOYS, 70, 71),
        ("fay", "taken", BOYS, 70, 71),
    )
    answers = [what for what in school.history() if what.startswith(("ack", "arr"))]
    assert answers == ["acknowledged", "arrived", "arrived_too"]  # a repeat has no effect


def test_an_arrival_restarts_the_wait_for_the_reminder(school, say):
    say(0)
    school.ack(10, "lee")
    school.at(500, lambda tx, now: school.engine.arrive(tx, school.id(1), "lee", now))
    for t in range(100, 1700, 100):
        say(t, since=0, phase=EventPhase.UPDATED)
    school.run(1200).want(
        ("lee", "opened", BOYS, 0, 1),
        ("lee", "reminder", BOYS, 1100, 1101),
    )


def test_a_person_who_arrived_can_acknowledge_again_after_the_reopening(school, say):
    say(0)
    school.at(10, lambda tx, now: school.engine.arrive(tx, school.id(1), "lee", now))
    for t in range(100, 1700, 100):
        say(t, since=0, phase=EventPhase.UPDATED)
    school.run(1000)  # reminded at 610, paged again at 910
    assert "ack_expired" in school.history()
    school.at(1010, lambda tx, now: school.engine.arrive(tx, school.id(1), "lee", now))
    school.run(1020)
    assert school.history()[-2:] == ["acknowledged", "arrived_too"]


def test_a_second_acknowledgment_is_recorded_without_notices(school, say):
    """The second person is recorded once, and the first stays responsible."""
    say(0)
    school.ack(70, "fox")
    school.ack(71, "lee")
    for t, person in ((72, "fox"), (73, "lee")):
        school.ack(t, person)
    school.run(100)
    assert [h.reason for h in school.received_notices] == ["opened"] * 3 + ["taken"] * 2
    assert school.history()[-2:] == ["acknowledged", "acknowledged_too"]


def test_no_report_after_an_acknowledgment(school, say):
    """After an acknowledgment expires, a reminder is sent, and then the whole chain runs again."""
    say(0)
    school.ack(10, "lee")
    for t in range(100, 1700, 100):
        say(t, since=0, phase=EventPhase.UPDATED)
    school.run(1100).want(
        ("lee", "opened", BOYS, 0, 1),
        ("lee", "reminder", BOYS, 610, 611),
        *chain(910, 940),
    )


def test_feedback_ends_the_wait(school, say):
    say(0)
    school.ack(10, "lee")
    answer(school, 30, "lee")
    for t in range(100, 1700, 100):
        say(t, since=0, phase=EventPhase.UPDATED)
    school.run(1700).want(("lee", "opened", BOYS, 0, 1))


@pytest.mark.parametrize("end", [95.0, 200.0, 400.0])
def test_steps_that_were_due_while_the_program_was_down(school, say, end):
    """If several steps came due during downtime, one runs and the next waits."""
    say(0)
    say(90, since=0, phase=EventPhase.UPDATED)
    school.stopped(30, end)
    school.run(end + 302).want(
        *chain(0, end),
        ("lee", "opened", BOYS, end + 300, end + 301),
    )


def test_what_ended_while_the_program_was_down_is_still_to_be_checked(school, say):
    say(0)
    say(50, since=0, phase=EventPhase.ENDED)
    school.stopped(55, 300)
    school.run(400).want(*chain(0, 300))


def test_without_staff_the_end_is_recorded(registry, make_event):
    """The history records that nobody can be notified."""
    school = Timeline(registry, AlertPolicy(staff=(), timings=TIMINGS))
    school.push(0, make_event(school.start))
    school.run(400).want()
    assert school.history() == ["opened", "nobody_notified", "severity", "undelivered"]


def test_the_chain_stays_as_it_was_at_the_opening(school, say):
    """Later settings and rosters do not change a running chain."""
    say(0)
    school.at(30, lambda _tx, _now: setattr(school, "policy", replaced(school)))
    school.run(70).want(*chain(0, 60))


def replaced(school):
    new = StaffMember("new", "New", "staff", (Secret("ntfy://127.0.0.1:9/new"),))
    return replace(
        school.policy, staff=(*STAFF, new), timings=EscalationTimings(escalate_after_s=600)
    )


def test_a_device_fault_is_for_facilities_and_its_end_for_those_notified(school, say):
    """A silent sensor is reported once, and its return is reported to the same people."""
    say(0, kind=EventKind.OFFLINE, confidence=1.0)
    say(900, since=0, kind=EventKind.OFFLINE, confidence=1.0, phase=EventPhase.ENDED)
    school.run(1200).want(
        ("fay", "opened", BOYS, 0, 1),
        ("fay", "recovered", BOYS, 1020, 1021),
    )
    assert school.history()[:3] == ["opened", "paged", "no_response"]


def silence(school, t, seconds, begin=None, **labels):
    """Return a function that adds a silence at a time on the timeline."""

    def add(tx, now):
        starts = now if begin is None else now - t + begin
        place = labels or {"room": "n2-boys"}
        stored.add_silence(tx, place, starts, starts + seconds, owner="lee", now=now)

    school.at(t, add)


def test_a_silenced_incident_is_recorded_and_notified_at_the_end(school, say):
    """If the incident outlasts the silence, people are notified once."""
    silence(school, 0, 300)
    say(10)
    say(20, sensor="s3")
    for t in (100, 200):
        say(t, since=10, phase=EventPhase.UPDATED)
    school.run(305).want(
        ("lee", "opened", GIRLS, 20, 21),
        ("fox", "opened", GIRLS, 80, 81),
        ("fay", "opened", GIRLS, 80, 81),
        ("lee", "opened", BOYS, 300, 301),
    )
    assert school.history()[:4] == ["opened", "held", "severity", "released"]


def test_a_silence_that_is_ended_early(school, say):
    """When a silence ends early, people are notified of deferred incidents within a second."""
    silence(school, 0, 3000)
    say(10)
    school.at(40, lambda tx, now: school.engine.end_silence(tx, 1, "fox", now))
    school.run(50).want(("lee", "opened", BOYS, 40, 41))


def test_a_silence_after_the_first_notice_delays_the_steps(school, say):
    """Nobody else is paged until the silence is over."""
    say(0)
    say(100, since=0, phase=EventPhase.UPDATED)
    silence(school, 30, 300)
    school.run(395).want(*chain(0, 330))


def test_a_chain_that_a_silence_delays_continues_when_it_is_ended_early(school, say):
    say(0)
    silence(school, 30, 3000)
    school.at(200, lambda tx, now: school.engine.end_silence(tx, 1, "fox", now))
    school.run(235)
    assert [h.person for h in school.received_notices] == ["lee", "fox", "fay"]


def test_a_planned_silence_mutes_from_its_start(school, say):
    silence(school, 0, 300, begin=100)
    say(50)
    say(60, sensor="s3")
    say(70, since=50, phase=EventPhase.ENDED)
    school.run(105)
    assert [h.place for h in school.received_notices if h.person == "lee"] == [BOYS, GIRLS]


def test_an_obsolete_update_is_not_sent(registry, make_event):
    """A notice that Fox is responding is useless once the incident is over."""
    ring = (person("lee"), person("fox"))
    roster = Roster(BUILT_IN_ROUTES, {"staff": Receiver("staff", ("lee", "fox"))})
    school = Timeline(registry, AlertPolicy(staff=ring, roster=roster, timings=TIMINGS))
    school.push(0, make_event(school.start))
    school.at(5, lambda _tx, _now: school.down.add(find_channel(ring[0].targets[0])))
    school.ack(6, "fox")
    school.at(9, lambda tx, now: school.engine.resolve(tx, school.id(1), "fox", now))
    school.at(10, lambda _tx, _now: school.down.clear())
    school.run(60).want(("lee", "opened", BOYS, 0, 1), ("fox", "opened", BOYS, 0, 1))


FAULT, OFFLINE = EventKind.SENSOR_FAULT, EventKind.OFFLINE


def test_an_offline_sensor_is_not_reported_as_faulty_too(school, say):
    """A fault is deferred while the sensor is offline; people are notified afterward."""
    say(0, kind=OFFLINE, confidence=1.0)
    say(10, kind=FAULT, confidence=1.0)
    say(100, since=0, kind=OFFLINE, confidence=1.0, phase=EventPhase.ENDED)
    for t in (90, 200):
        say(t, since=10, kind=FAULT, confidence=1.0, phase=EventPhase.UPDATED)
    school.run(300).want(
        ("fay", "opened", BOYS, 0, 1),
        ("fay", "recovered", BOYS, 220, 221),
        ("fay", "opened", BOYS, 220, 236),
    )
    assert stored.history(school.db, "detail", what="held")[0] == {
        "mute": build_fact("inhibited", kind="offline", room="n2-boys")
    }


def finding(detail):
    return {"kind": EventKind.INTEGRITY, "confidence": 1.0, "details": (build_fact(detail),)}


@pytest.mark.parametrize("found", [Detail.FLOODED, Detail.TWO_SENDERS])
@pytest.mark.parametrize("before", [False, True], ids=["at once", "another fault went on before"])
def test_staff_on_duty_are_told_that_a_room_is_not_watched(school, say, before, found):
    """Facilities staff are paged through their chain; people nearby can look in the meantime."""
    if before:
        say(0, **finding(Detail.REFUSED))
    say(10, since=10, **finding(found))
    wanted = ("lee", "opened", BOYS, 10, 11), ("fay", "opened", BOYS, 0 if before else 10, 11)
    school.run(60).want(*wanted)
    (row,) = stored.notices(school.db, person="lee")
    assert "not monitored reliably" in render(row.notice)[1]


def test_a_flooded_room_that_is_silenced_or_is_no_room_warns_nobody(school, say):
    silence(school, 0, 300)
    say(10, since=10, **finding(Detail.FLOODED))
    say(20, since=20, sensor="stranger", **finding(Detail.FLOODED))
    school.run(60).want()


def test_tamper_never_mutes_vaping(school, say):
    say(0, kind=EventKind.TAMPER, confidence=1.0)
    say(5)
    school.run(10).want(("fay", "opened", BOYS, 0, 1), ("lee", "opened", BOYS, 5, 6))


def answer(school, t, person, number=1):
    """Return a function that confirms vaping in an incident."""
    school.at(
        t,
        lambda tx, now: school.engine.record_feedback(
            tx, school.id(number), person, Verdict.CONFIRMED, now
        ),
    )


@pytest.mark.parametrize(
    ("words", "wanted", "again_of"),
    [
        pytest.param(
            [(20, "ack lee 1"), (60, "answer lee 1"), (65, "puff s2")],
            ["lee opened 65", "fox opened 179", "fay opened 179"],
            [0, 1],
            id="after an answer the responder is notified first, and then the chain",
        ),
        pytest.param(
            [(20, "ack lee 1"), (60, "answer lee 1"), (65, "puff s2"), (70, "ack lee 2")],
            ["lee opened 65"],
            [0, 1],
            id="the chain is not notified if the responder responds",
        ),
        pytest.param(
            [
                *((30, "answer lee 1"), (65, "puff s2"), (90, "answer lee 2"), (100, "puff s2")),
                *((120, "answer lee 3"), (150, "puff s1"), (160, "answer lee 4")),
            ],
            ["lee opened 65", "lee opened 100", "lee opened 150"],
            [0, 1, 2, 3],
            id="each answer closes its own incident",
        ),
        pytest.param(
            [(20, "ack lee 1"), (50, "puff s2")],
            [],
            [0],
            id="a second sensor within a minute adds nothing",
        ),
        pytest.param(
            [(20, "ack lee 1"), (100, "puff s2"), (110, "puff s1"), (200, "puff s2")],
            ["lee again 100", "lee again 200"],
            [0],
            id="before an answer it joins, and the responder is notified",
        ),
        pytest.param(
            [(5, "end s1"), (60, "answer lee 1"), (150, "puff s1")],
            ["lee opened 150", "fox opened 264", "fay opened 264"],
            [0, 1],
            id="no cooldown mutes what follows an answer",
        ),
        pytest.param(
            [(5, "end s1"), (130, "answer lee 1"), (150, "puff s1"), (160, "ack lee 2")],
            ["fox opened 60", "fay opened 60", "lee opened 150"],
            [0, 1],
            id="nor what follows an answer after the end",
        ),
        pytest.param(
            [(5, "end s1"), (20, "ack lee 1"), (150, "puff s1")],
            ["lee again 150"],
            [0],
            id="a puff joins the incident that a responder is on the way to",
        ),
        pytest.param(
            [(5, "end s1"), (20, "ack fox 1"), (60, "answer fox 1"), (700, "puff s1")],
            ["lee opened 700", "fox opened 760", "fay opened 760"],
            [0, 1],
            id="after ten minutes the usual chain is notified",
        ),
        pytest.param(
            [(20, "answer fox 1"), (65, "puff s2"), (66, "ack fox 2")],
            ["fox opened 65"],
            [0, 1],
            id="the responder is notified, not who is nearest",
        ),
        pytest.param(
            [(20, "answer ghost 1"), (65, "puff s2"), (66, "ack lee 2")],
            ["lee opened 65"],
            [0, 1],
            id="a responder without a channel is not waited for",
        ),
    ],
)
def test_vaping_after_an_answer(school, say, words, wanted, again_of):
    """`again_of` has the number of each incident's earlier incident, or 0."""
    say(0)
    for t, word in words:
        match word.split():
            case "puff", sensor:
                say(t, sensor, since=t)
            case "end", sensor:
                say(t, sensor, since=0, phase=EventPhase.ENDED)
            case "ack", who, number:
                school.ack(t, who, int(number))
            case "answer", who, number:
                answer(school, t, who, int(number))
    school.run(words[-1][0] + 130)
    received = [
        f"{h.person} {h.reason} {h.at:.0f}" for h in school.received_notices if h.reason != "taken"
    ]
    assert received == ["lee opened 0", *wanted]
    ids = ["", *stored.incidents(school.db, "id")]
    assert stored.incidents(school.db, "again_of") == [ids[n] for n in again_of]
