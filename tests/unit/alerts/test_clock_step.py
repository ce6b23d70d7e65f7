"""Test that deadlines and sensors without a clock follow when this machine's clock is set."""

from dataclasses import replace

import msgspec
import pytest

from alerts.incidents import silences
from alerts.incidents.clock_step import move_deadlines
from alerts.incidents.incident import Status
from alerts.policy import LONG_S, Severity
from detection.events import EventKind
from detection.liveness import LivenessSettings
from storage.reading import ClockSteps, Reading
from storage.sqlite import transaction
from tests.support import alert_records as stored
from tests.support.plumes import START, readings_of_puff


def test_only_steps_are_reported():
    wall, monotonic = 1_790_000_000.0, 50.0
    now = monotonic
    steps = ClockSteps(lambda: now)
    step_of, other = steps.make_reader(), steps.make_reader()
    assert step_of(wall) == 0.0
    for k in range(1, 100):  # a slewed clock that is checked now and then
        now = monotonic + k * k
        assert step_of(wall + k * 1.0005 * k) == 0.0
    now = 20_000.0
    set_back = pytest.approx(-(wall + 20_000.0 - 50.0), abs=10)
    assert step_of(0.0) == set_back
    now = 20_001.0
    assert step_of(1.0) == 0.0
    assert (other(1.0), other(1.0)) == (set_back, 0.0), "each reader is told once"


def on_our_clock(readings, by_s, first_seq=0):
    """Return a clockless sensor's readings, received while our clock is `by_s` ahead."""
    return [
        Reading(
            r.sensor,
            r.received + by_s,
            r.received + by_s,
            r.values,
            flags=("no_time",),
            seq=first_seq + k,
        )
        for k, r in enumerate(readings)
    ]


def set_back_by_an_hour():
    """Return an hour of clean air with the clock ahead, and a puff as soon as it is corrected."""
    before = on_our_clock(readings_of_puff("s1", START - 300, top=0.0), 3600.0)
    return [*before, *on_our_clock(readings_of_puff("s1", START), 0.0, 1000)]


def test_a_puff_after_the_clock_was_set_back_alerts(make_site):
    watched = make_site()
    watched.arrive(set_back_by_an_hour())
    assert [alert.kind for alert in watched.alerts] == [EventKind.VAPE]
    assert 150 <= watched.alerts[0].alerted - START <= 180
    assert not watched.consumer.skipped
    assert watched.consumer.watermark < START + 600


@pytest.mark.parametrize("batch", [1, 7, 10_000])
@pytest.mark.parametrize("crash", [False, True])
def test_any_split_and_any_crash_give_the_same(make_site, batch, crash):
    expected = make_site()
    expected.arrive(set_back_by_an_hour(), 50)
    watched = make_site()
    watched.arrive(set_back_by_an_hour(), batch, crash=crash and batch > 1)
    assert watched.events == expected.events
    assert watched.alerts == expected.alerts


def test_silence_is_noticed_by_the_clock_as_it_is_now(make_site):
    """Otherwise, no sensor would count as silent until the clock reaches the old time again."""
    watched = make_site(liveness=LivenessSettings())
    watched.arrive(on_our_clock(readings_of_puff("s1", START - 300, top=0.0), 3600.0))
    reported = []
    for k in range(60):
        reported += watched.consumer.check_silence(START + 10.0 * k)
    assert [event.kind for event in reported] == [EventKind.OFFLINE]


DEADLINES = ("due_at", "expires_at", "fallback_at")


def test_deadlines_move_and_what_happened_stays(make_site, policy):
    people = (replace(policy.staff[0], targets=policy.staff[0].targets + policy.staff[1].targets),)
    watched = make_site(replace(policy, staff=people))
    watched.arrive(readings_of_puff("s1", START))
    waiting, incident = stored.notices(watched.state, *DEADLINES), only_incident(watched.state)
    due, moved = incident.next_deadline(), [tuple(at - 3600.0 for at in row) for row in waiting]
    with transaction(watched.state) as tx:
        tx.execute("INSERT INTO cooldown VALUES ('vape', 'r', 100.0, 'warning')")
        move_deadlines(tx, waiting[0][0] - 3601.0, -3600.0)
    assert stored.notices(watched.state, *DEADLINES) == moved
    assert (
        watched.state.execute("SELECT min(next_deadline) FROM incident").fetchone()[0]
        == due - 3600.0
    )
    after = only_incident(watched.state)
    assert after.resolve_due == incident.resolve_due - 3600.0
    assert (after.onset, after.opened_at) == (incident.onset, incident.opened_at)
    assert watched.state.execute("SELECT until FROM cooldown").fetchone()[0] == -3500.0
    with transaction(watched.state) as tx:
        stored.deliver(tx, watched.engine, waiting[0][0])
        stored.change_incidents(tx, status=Status.RESOLVED)
        move_deadlines(tx, 0.0, 60.0)
    assert stored.notices(watched.state, *DEADLINES) == [(*row[:2], None) for row in moved]


@pytest.mark.parametrize("step", [3600.0, -3600.0, 1e9, 600.0])
def test_what_is_due_by_the_new_time_already_stays(make_site, step):
    watched = make_site()
    watched.arrive(readings_of_puff("s1", START))
    assert stored.notices(watched.state)
    old = START + 1000.0
    for wait in (0.0, 4.0, 290.0):
        for written, due in ((old, old + step + wait), (old + step, old + step + wait)):
            with transaction(watched.state) as tx:
                tx.execute("UPDATE outbox SET status = 'due', due_at = ?", (written + wait,))
                move_deadlines(tx, old + step, step)
            assert min(stored.notices(watched.state, "due_at")) == pytest.approx(due)


def with_a_step(by_s, onset_s, every_s, start=START):
    """Return a clockless sensor's puff; our clock is set by `by_s` 400 s after the start."""
    readings = readings_of_puff("s1", start, onset_s=onset_s, seconds=600.0, every_s=every_s)
    before = [r for r in readings if r.received < start + 400.0]
    after = on_our_clock(readings[len(before) :], by_s, len(before))
    first = msgspec.structs.replace(after[0], clock_step=by_s)
    return [*on_our_clock(before, 0.0), first, *after[1:]]


STEPS_S = (3600.0, 9 * 86_400.0, 90.0, -20.0, -3600.0)
ONSETS_S = (393.0, 403.0, 430.0)


@pytest.mark.parametrize(
    ("by_s", "onset_s", "every_s"),
    [
        (by_s, onset_s, (1.0, 10.0, 30.0)[(i + k) % 3])
        for i, by_s in enumerate(STEPS_S)
        for k, onset_s in enumerate(ONSETS_S)
    ],
)
def test_a_plume_of_the_seconds_around_a_step_is_seen(make_site, by_s, onset_s, every_s):
    expected = make_site()
    expected.arrive(with_a_step(0.0, onset_s, every_s))
    watched = make_site()
    watched.arrive(with_a_step(by_s, onset_s, every_s), size=7, crash=every_s == 10.0)
    (alert,) = expected.alerts
    assert alert.kind is EventKind.VAPE
    at = alert.alerted
    moved = by_s if at > START + 400.0 else 0.0
    assert watched.alerts[0].kind is EventKind.VAPE
    assert watched.alerts[0].alerted == pytest.approx(at + moved)
    assert not watched.consumer.skipped


@pytest.mark.parametrize("by_s", [3600.0, -3600.0])
def test_a_clock_set_forth_and_back_leaves_sensors_with_a_clock_alone(make_site, by_s):
    """Their readings look old while our clock is ahead, and punctual once it is set back."""
    readings = readings_of_puff("s1", START, onset_s=430.0, seconds=600.0)
    arrived, steps = [], {200: by_s, 205: -by_s}
    ahead = 0.0
    for k, r in enumerate(readings):
        step = steps.get(k, 0.0)
        ahead += step
        now = r.received + ahead
        own = r.time if r.time <= now + 300.0 else now
        arrived.append(Reading("s1", own, now, r.values, seq=k, clock_step=step))
    watched = make_site()
    watched.arrive(arrived, size=3)
    (alert,) = watched.alerts
    assert alert.kind is EventKind.VAPE
    assert START + 430.0 < alert.alerted < START + 440.0
    assert not watched.consumer.skipped


STEPS = pytest.mark.parametrize("step", [3600.0, -3600.0, -20 * 365 * 86_400.0])


def begin_vaping(make_site):
    """Return a consumer with an ongoing incident, and the time of its last reading."""
    watched = make_site()
    cut = [r for r in readings_of_puff("s1", START) if r.time < START + 165]
    watched.arrive(cut)
    return watched, cut[-1].received


def only_incident(database):
    (incident,) = stored.incidents(database)
    return incident


@STEPS
def test_an_incident_has_lasted_as_long_as_before_the_step(make_site, step):
    watched, now = begin_vaping(make_site)
    before = only_incident(watched.state)
    assert before.severity is Severity.WARNING
    watched.consumer.move_deadlines(now + step, step)
    watched.consumer.on_time(now + step + 1.0)
    assert only_incident(watched.state).severity is Severity.WARNING
    long = before.onset + LONG_S + 1.0 + step
    assert only_incident(watched.state).next_deadline() == pytest.approx(long, abs=3.0)
    watched.consumer.on_time(long + 3.0)
    assert only_incident(watched.state).severity is Severity.CRITICAL


@STEPS
def test_a_silence_lasts_as_many_hours_as_were_chosen(disk, registry, step):
    with transaction(disk) as tx:
        for starts, ends in ((START, START + 7200.0), (START + 9000.0, START + 9600.0)):
            more = {"now": START, "registry": registry, "is_admin": True}
            stored.add_silence(tx, {"room": "r1"}, starts, ends, **more)
        now = START + 3000.0 + step
        move_deadlines(tx, now, step)
        spans = [(s.starts_at - step, s.ends_at - step) for s in silences.list_recent(tx, now)]
    assert sorted(spans) == [(START, START + 7200.0), (START + 9000.0, START + 9600.0)]
