"""Test that reports read what the engine stores, with an incident on a fake clock."""

import pytest

from alerts.duty.roster import Receiver, Roster
from alerts.incidents.incident import ActionClass, Verdict
from alerts.policy import BUILT_IN_ROUTES, AlertPolicy, EscalationTimings, StaffMember
from alerts.secrets import Secret, find_channel
from detection.combined import DeviceEvents
from detection.events import EventKind, EventPhase
from language.messages import parse_facts
from reports import read
from reports.kpis import compute_kpis, select_counted
from storage.registry import Registry, Room, Sensor
from tests.support.alert_records import events
from tests.support.events import make_event
from tests.support.timeline import Timeline

REGISTRY = Registry.build(
    [Room("n2", "Boys N2", "2", "North", "Lincoln High")], [Sensor("s1", "n2", "sen55")]
)
STAFF = tuple(
    StaffMember(name, name, role, (Secret(f"ntfy://127.0.0.1:9/{name}"),))
    for name, role in (("lee", "staff"), ("fox", "admin"))
)
ROSTER = Roster(
    BUILT_IN_ROUTES,
    {
        "staff": Receiver("staff", ("lee",), catch_all=("fox",)),
        "facilities": Receiver("facilities"),
    },
)


@pytest.fixture
def school():
    timings = EscalationTimings(escalate_after_s=60, repeat_after_s=300, rounds=1)
    return Timeline(REGISTRY, AlertPolicy(staff=STAFF, roster=ROSTER, timings=timings))


def vape(school, t, name="e1", kind=EventKind.VAPE, until=None):
    at = school.start + t
    phase, end = EventPhase.ALERTED, None
    if until is not None:
        phase, end = EventPhase.ENDED, school.start + until
    event = make_event(at, kind=kind, phase=phase, end=end, time=end or at, id=name)
    school.push(t if until is None else until, event)


def rows(school):
    start, end = school.start - 1, school.start + 1e6
    roles = {member.id: member.role for member in STAFF}
    return (
        read.read_incidents(school.db, REGISTRY, start, end),
        read.read_notices(school.db, roles, start, end),
    )


def figures(school):
    return compute_kpis(select_counted(*rows(school), ()), (), school.start + school.now)


def test_answered_in_the_second_ring(school):
    vape(school, 0)
    school.ack(90, "fox")
    school.at(
        200,
        lambda tx, now: school.engine.record_feedback(
            tx, school.id(1), "fox", Verdict.CONFIRMED, now
        ),
    )
    school.at(
        210,
        lambda tx, now: school.engine.record_action(
            tx, school.id(1), "fox", ActionClass.NURSE, now, case_number="26-7"
        ),
    )
    school.run(220)
    (row,), notices = rows(school)
    assert (row.action, row.case_number) == ("nurse", "26-7")
    assert (row.room, row.building, row.location) == ("Boys N2", "North", "restroom")
    assert row.opened_at - row.first_evidence_at == 6.0
    assert row.notified_at == school.start
    assert row.acknowledged_at == school.start + 90
    assert row.responder == "fox"
    assert row.level == 2
    assert row.chain_end_at > row.acknowledged_at
    assert row.verdict == "confirmed"
    assert row.peaks == {"pm25": 180.0}
    opened = [(n.person, n.role, n.delivered_at - school.start) for n in notices][:2]
    assert opened == [("lee", "staff", 0.0), ("fox", "admin", 60.0)]
    found = figures(school)
    assert found.response.acknowledge.acknowledged.mean_s == 90.0
    assert found.response.escalated.part == 1


def test_who_is_there_first_counts(school):
    vape(school, 0)
    school.ack(30, "lee")
    for t, who in ((130, "fox"), (150, "lee")):
        school.at(t, lambda tx, now, who=who: school.engine.arrive(tx, school.id(1), who, now))
    school.run(200)
    (row,), _ = rows(school)
    assert row.arrived_at == school.start + 130
    assert row.responder == "lee"
    found = figures(school).response.arrive
    assert (found.n, found.median_s) == (1, 130.0)


def test_sensor_health_lists_faults_of_other_incidents(school):
    tamper = EventKind.TAMPER
    vape(school, 0, "t1", tamper)
    vape(school, 60, "v1")
    vape(school, 60, "v1", until=80)
    vape(school, 0, "t1", tamper, until=100)
    vape(school, 700, "v2")
    school.run(720)
    found, _ = rows(school)
    assert [(row.kind, row.sensor_health) for row in found] == [
        ("tamper", "ok"),
        ("vape", "tamper"),
        ("vape", "ok"),
    ]


def test_nobody_answers(school):
    vape(school, 0)
    school.run(900)
    (row,), _ = rows(school)
    assert row.acknowledged_at is None
    assert row.level == 2
    found = figures(school).response
    assert (found.acknowledge.notified, found.acknowledge.unacknowledged) == (1, 1)


def test_what_was_not_delivered_is_no_delivery(school):
    school.down |= {find_channel(member.targets[0]) for member in STAFF}
    vape(school, 0)
    school.run(120)
    (row,), notices = rows(school)
    assert row.notified_at is None
    assert [n.delivered_at for n in notices] == [None] * len(notices) != []
    assert figures(school).load.notices == 0


def test_a_device_that_alarms_and_the_detector_share_an_incident(school):
    def alarm(t, sensor="s1"):
        reported = DeviceEvents().on_reading(sensor, school.start + t, ("vendor_vape",), (), {})
        school.push(t, *reported)

    alarm(0)
    vape(school, 3)
    alarm(9_000)
    school.push(9_005, make_event(school.start + 9_005, "", EventKind.SERVICE))
    school.run(9_010)
    (*found, service), _ = rows(school)
    assert service.room == "Plumewatch"
    assert [(i.alarm_of, i.is_detected_here) for i in found] == [("sen55", True), ("sen55", False)]
    assert parse_facts(events(school.db, "details")[0])[0].params["device"] == "sen55"
