"""Test throttling timelines: storms, budgets, quiet hours, and second channels."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from alerts.duty.roster import Receiver, Roster
from alerts.duty.shifts import ClockHours
from alerts.engine import AlertEngine
from alerts.errors import NotifyReason, PermanentNotifyError
from alerts.incidents import repository
from alerts.incidents.incident import Verdict
from alerts.notify import outbox as outbox_rows
from alerts.notify.notice import KIND_WORDS, render
from alerts.notify.notice_writer import NoticeWriter
from alerts.policy import BUILT_IN_ROUTES, AlertPolicy, EscalationTimings, StaffMember
from alerts.secrets import Secret, find_channel
from detection.events import EventKind, EventPhase
from storage.registry import Registry, Room, Sensor
from tests.support import alert_records as stored
from tests.support.timeline import Timeline

VAPE, AIR = KIND_WORDS["vape"], "building-wide air change"

ZONE = ZoneInfo("America/New_York")
ALL_WEEK = frozenset(range(7))
TIMINGS = EscalationTimings(escalate_after_s=600, repeat_after_s=3600, rounds=1, notices_per_hour=6)
FLOORS = Registry.build(
    [Room(f"r{n}", f"Room {n}", "2" if n < 9 else "3", "North", "School") for n in range(18)],
    [Sensor(f"s{n}", f"r{n}") for n in range(18)],
)


def clock_hours(start, end):
    return ClockHours(ZONE, start * 60, end * 60, ALL_WEEK)


def member(name, *targets, quiet=()):
    urls = targets or (f"ntfy://127.0.0.1:9/{name}",)
    return StaffMember(name, name.title(), "staff", tuple(map(Secret, urls)), quiet)


def a_school(*staff, timings=TIMINGS, first=1):
    """Return a school that pages its first `first` people first, and the others next."""
    ids = [m.id for m in staff]
    receiver = Receiver("staff", tuple(ids[:first]), catch_all=tuple(ids[first:]))
    roster = Roster(BUILT_IN_ROUTES, {"staff": receiver, "facilities": receiver})
    policy = AlertPolicy(staff=staff, roster=roster, timings=timings, zone=ZONE.key)
    return Timeline(FLOORS, policy)


def puff(school, make_event, t, sensor, **more):
    school.push(t, make_event(school.start + t, sensor, **more))


def over(school, make_event, t, since, sensor, **more):
    at = school.start + t
    ended = make_event(school.start + since, sensor, phase=EventPhase.ENDED, end=at, **more)
    school.push(t, ended)


def answer_all(school, t):
    """Schedule an answer to every incident that has none."""

    def answer(tx, now):
        for row in tx.execute("SELECT id FROM incident WHERE verdict IS NULL").fetchall():
            school.engine.record_feedback(tx, row["id"], "lee", Verdict.NOTHING_FOUND, now)

    school.at(t, answer)


def test_a_storm_of_a_floor_comes_together_after_the_first_few(make_event):
    """The first notices never wait. In a storm, the rest of a floor is combined in one notice."""
    school = a_school(member("lee"))
    for n in range(8):
        puff(school, make_event, n, f"s{n}")
    school.run(60)
    assert [h.reason for h in school.received_notices] == ["opened"] * 3 + ["digest"]
    assert [h.at for h in school.received_notices] == [0, 1, 2, 33]
    assert len(school.notices[-1].incidents) == 5
    assert stored.incidents(school.db, "status") == ["notified"] * 8
    title, body = render(school.notices[-1])
    assert title == f"5 rooms on floor 2, North: {VAPE.lower()}"
    assert body.startswith(f"Many rooms at once: Room 3 {VAPE.lower()} ")


def test_smoke_in_a_storm_waits_for_nothing(make_event):
    school = a_school(member("lee"))
    for n in range(4):
        puff(school, make_event, n, f"s{n}", kind=EventKind.SMOKE)
    school.run(10)
    assert [(h.at, h.reason) for h in school.received_notices] == [
        (0, "opened"),
        (1, "opened"),
        (2, "opened"),
        (3, "opened"),
    ]


@pytest.mark.parametrize("rooms", [1, 9])
def test_beyond_the_budget_of_an_hour_the_rest_comes_together(make_event, rooms):
    """After six notices in an hour, one notice combines all others. Smoke is not delayed.

    The sixth says so, because people may otherwise take the silence for clean air.
    """
    school = a_school(member("lee"), timings=replace(TIMINGS, storm_rooms=5))
    more = {"confidence": 0.6} if rooms == 1 else {}  # near-certain ones of one room don't wait
    for n in range(9):
        puff(school, make_event, 310 * n, f"s{n % rooms}", **more)
        over(school, make_event, 310 * n + 30, 310 * n, f"s{n % rooms}", **more)
        if rooms == 1:
            answer_all(school, 310 * n + 60)
    puff(school, make_event, 2795, "s9", kind=EventKind.SMOKE)
    school.run(3700)
    opened = [h.at for h in school.received_notices if h.reason == "opened"]
    assert opened == [310.0 * n for n in range(6)] + [2795.0]
    told = [n.written - school.start for n in school.notices if "further ones may" in render(n)[1]]
    assert told == [310.0 * 5, 2795.0][:rooms]
    digests = [h.at for h in school.received_notices if h.reason == "digest"]
    if rooms == 1:  # all were answered meanwhile
        assert digests == []
        return
    assert digests == [3600]  # the first of the six is an hour old
    notice = school.notices[-1]
    assert len(notice.incidents) == 3
    assert render(notice)[1].count("(resolved)") == 3


@pytest.mark.attack
@pytest.mark.parametrize("rooms", [1, 3])
@pytest.mark.parametrize("people", [1, 3])
@pytest.mark.parametrize("every_s", [20, 40])
def test_a_few_rooms_use_up_nobody_s_budget(make_event, people, every_s, rooms):
    """Forged alerts from a few sensors must not delay another room's alerts."""
    staff = map(member, ("lee", "kim", "day")[:people])
    school = a_school(*staff, timings=EscalationTimings(storm_rooms=6))

    for t in range(0, 600, 20):
        for sensor in ("s0", "s2", "s3")[:rooms]:
            puff(school, make_event, t, sensor)
            over(school, make_event, t + 10, t, sensor)
        if t % every_s == 0:
            answer_all(school, t + 15)
    puff(school, make_event, 600, "s1")
    school.run(700)
    assert next(h.at for h in school.received_notices if h.place == "Room 1") == 600


@pytest.mark.attack
@pytest.mark.parametrize("joins", [False, True])
def test_reports_of_a_device_use_up_no_budget_of_what_our_detector_finds(make_event, joins):
    """The plume is notified at once in an incident of its own, and in a deferred one it joins."""
    school = a_school(member("lee"))
    alarm = {"model_version": "device-1-vendor_vape", "confidence": 0.6}
    for n in range(6 + joins):
        puff(school, make_event, 310 * n, "s0", **alarm)
        over(school, make_event, 310 * n + 30, 310 * n, "s0", **alarm)
        if n < 6:
            answer_all(school, 310 * n + 60)
    puff(school, make_event, 1950, "s0", confidence=0.6)
    school.run(1960)
    assert [h.at for h in school.received_notices][-1] == 1950


@pytest.mark.attack
@pytest.mark.parametrize("respond", [AlertEngine.acknowledge, AlertEngine.arrive])
def test_one_person_s_answers_delay_and_flood_nobody_else(make_event, respond):
    """Somebody who keeps changing their answer pages the others again at most twice."""
    people = {r: Receiver(r, ("lee", "kim", "mal")) for r in ("staff", "facilities")}
    staff = tuple(map(member, ("lee", "kim", "mal")))
    school = Timeline(FLOORS, AlertPolicy(staff=staff, roster=Roster(BUILT_IN_ROUTES, people)))
    for n in range(2):
        puff(school, make_event, n, f"s{n}")
        for t in range(20, 110, 3):
            for after, press in enumerate((respond, respond, AlertEngine.decline)):
                school.at(
                    t + after,
                    lambda tx, now, n=n, press=press: press(
                        school.engine, tx, school.id(n + 1), "mal", now
                    ),
                )
    puff(school, make_event, 120, "s5", confidence=0.8)
    school.run(130)
    for person in ("lee", "kim"):
        received = [h for h in school.received_notices if h.person == person]
        assert [h.at for h in received if h.place == "Room 5"] == [120]
        for place in ("Room 0", "Room 1"):
            reasons = Counter(h.reason for h in received if h.place == place)
            assert reasons == {"opened": 3, "taken": 2}
    for n in (1, 2):
        pressed = [w for w in school.history(n) if w in ("acknowledged", "arrived", "declined")]
        assert len(pressed) <= 5
        assert "escalated" in school.history(n)[-2:]


def test_what_becomes_critical_while_it_waits_leaves_at_once(make_event):
    quiet = (clock_hours(0, 24),)
    school = a_school(member("lee", quiet=quiet))
    puff(school, make_event, 0, "s0")
    school.run(200)
    assert [(h.at, h.reason) for h in school.received_notices] == [(114, "opened")]


def test_quiet_hours_defer_until_their_end_and_then_notify_once(make_event):
    """Quiet hours are 10 to 11 AM. An incident that is over by then is a line in the digest."""
    school = a_school(member("lee", quiet=(clock_hours(10, 11),)))
    starts_after_ten = 300  # the timeline begins at 10:00
    for n in range(2):
        puff(school, make_event, starts_after_ten + n, f"s{n}")
        over(school, make_event, starts_after_ten + 30 + n, starts_after_ten + n, f"s{n}")
    school.run(3610)
    assert [(h.at, h.reason) for h in school.received_notices] == [(3600, "digest")]
    title, body = render(school.notices[-1])
    assert title == f"2 rooms on floor 2, North: {VAPE.lower()}"
    assert body == (
        f"During your quiet hours: Room 0 {VAPE.lower()} 10:04 AM (resolved);"
        f" Room 1 {VAPE.lower()} 10:04 AM (resolved)"
    )


def test_what_was_acknowledged_meanwhile_is_not_notified_later(make_event):
    quiet = (clock_hours(10, 11),)
    school = a_school(member("lee", quiet=quiet), member("fox"))
    puff(school, make_event, 10, "s0")
    school.ack(20, "fox")
    over(school, make_event, 60, 10, "s0")
    answer = ("fox", Verdict.NOTHING_FOUND)
    school.at(70, lambda tx, now: school.engine.record_feedback(tx, school.id(1), *answer, now))
    school.run(3610).want(("fox", "opened", "Room 0", 10, 11))


def test_an_answer_before_the_second_channel_is_tried_ends_it(make_event):
    school = a_school(member("lee", "ntfy://a.example/lee", "tgram://123:abc/9"), member("fox"))
    school.hanging.add(find_channel(Secret("ntfy://a.example/lee")))
    puff(school, make_event, 0, "s0")
    school.ack(5, "fox")
    school.run(40).want()


@pytest.mark.attack
@pytest.mark.parametrize(
    ("ends", "received"),
    [("sent", [(0, "mal")]), ("gone", [(10, "vic")]), ("hanging", [(10, "vic")])],
)
def test_a_shared_address_gets_one_notice_and_nobody_s_is_lost(
    make_event, monkeypatch, ends, received
):
    """Somebody whose channel is another person's address can't prevent that person's notice."""
    mal, vic = (member(name, "mailtos://u:p@m.example?to=vic@s.example") for name in ("mal", "vic"))
    school = a_school(mal, vic, first=2)
    hand_over = school._hand_over

    def end(tx, row, now):
        if row.person == "mal" and ends == "gone":
            school.engine.fall_back(tx, now, row.id)
            outbox_rows.mark_failed(tx, row, now, PermanentNotifyError(NotifyReason.TARGET_GONE))
            school.engine.escalate_undelivered(tx, row.incident, now)
        elif row.person == "vic" or ends == "sent":
            hand_over(tx, row, now)

    monkeypatch.setattr(school, "_hand_over", end)
    puff(school, make_event, 0, "s0")
    school.run(50)
    assert [(h.at, h.person) for h in school.received_notices] == received


def test_people_not_yet_notified_come_before_those_who_were(make_event):
    """One person has 300 notices; another person's first notice is sent second."""
    school = a_school(member("lee"), member("fox"))
    with school.transaction() as tx:
        school.engine.on_events(tx, [make_event(school.start, "s0")], school.start)
        incident = repository.load(tx, school.id(1))
        notices = NoticeWriter(FLOORS, school.policy)
        for n in range(300):
            tx.execute(
                "INSERT INTO outbox (incident, person, target, channel, reason, priority, notice,"
                " created_at, due_at, expires_at, status) SELECT incident, person, target, channel,"
                " 'still:' || ?, priority, notice, created_at, due_at, expires_at, 'due'"
                " FROM outbox WHERE id = 1",
                (n,),
            )
        notices.page(tx, incident, ["fox"], school.start)
        rows = outbox_rows.lease(
            tx, school.start, owner="t", lease_s=60, limit=3, free=lambda _channel: 9
        )
    assert [row.person for row in rows] == ["lee", "fox", "lee"]
