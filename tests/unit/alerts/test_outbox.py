from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
from dataclasses import replace

import pytest

from alerts.duty.roster import Receiver, Roster
from alerts.engine import AlertEngine
from alerts.errors import NotifyReason, PermanentNotifyError, TransientNotifyError
from alerts.incidents.incident import Status
from alerts.incidents.repository import load
from alerts.notify import outbox as outbox_rows
from alerts.notify.notice import KIND_WORDS
from alerts.notify.pump import OutboxPump, PumpSettings
from alerts.policy import BUILT_IN_ROUTES, StaffMember
from alerts.secrets import Secret
from storage import sqlite
from tests.support import alert_records as stored
from tests.support.recording_notifier import RecordingNotifier
from tests.support.waiting import until

VAPE = KIND_WORDS["vape"]

FAST = PumpSettings(first_retry_s=0.02, max_retry_s=0.05, idle_s=0.2, send_timeout_s=0.5, lease_s=2)
TRANSIENT = TransientNotifyError(NotifyReason.SERVER_ERROR, "HTTP 503")
PERMANENT = PermanentNotifyError(NotifyReason.REFUSED, "HTTP 403")


class Bench:
    """An engine, a pump and a database on the real clock plus an adjustable offset."""

    def __init__(self, database, registry, policy, notifier, settings=FAST, pictures=None):
        self.now = 1000.0
        self.db = sqlite.connect(database)
        self.engine = AlertEngine(registry, policy)
        self.wake = asyncio.Event()
        self.outcomes = []
        loop = asyncio.get_running_loop()
        origin = loop.time()
        self.pump = OutboxPump(
            database,
            self.engine,
            notifier,
            self.wake,
            clock=lambda: self.now + loop.time() - origin,
            rng=random.Random(7),
            settings=settings,
            on_outcome=self.outcomes.append,
            pictures=pictures,
        )

    def events(self, *events):
        with sqlite.transaction(self.db) as tx:
            records = self.engine.on_events(tx, events, self.now)
        self.wake.set()
        return records


@pytest.fixture
async def run(database, registry, policy):
    tasks = []
    benches = []

    def start(notifier, settings=FAST, rules=policy, pictures=None):
        bench = Bench(database, registry, rules, notifier, settings, pictures)
        bench.task = asyncio.create_task(bench.pump.run(), name="pump")
        tasks.append(bench.task)
        benches.append(bench)
        return bench

    yield start
    for bench in benches:
        bench.pump.stop()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            async with asyncio.timeout(60):
                await task
    for bench in benches:
        bench.db.close()


async def test_a_committed_notice_leaves_at_once(run, make_event):
    notifier = RecordingNotifier()
    bench = run(notifier)
    (record,) = bench.events(make_event())
    await until(lambda: bench.outcomes)
    (sent,) = notifier.sent
    assert sent.title == f"Boys N2, floor 2, North: {VAPE} since 7:16 PM"
    assert sent.body.startswith("90% likely vaping (10% spray). Why: fine particles rose")
    assert sent.body.endswith(f"/incidents/{record.incident}")
    assert load(bench.db, record.incident).status is Status.NOTIFIED
    assert stored.notices(bench.db, "status", "attempts") == [("sent", 1)]


async def test_a_disk_that_refuses_at_the_start_is_asked_again(run, make_event, monkeypatch):
    refusal = sqlite3.OperationalError("attempt to write a readonly database")
    refusal.sqlite_errorcode = sqlite3.SQLITE_READONLY
    refusals, release = [refusal], outbox_rows.release_leases

    def release_leases(*arguments):
        if refusals:
            raise refusals.pop()
        return release(*arguments)

    monkeypatch.setattr(outbox_rows, "release_leases", release_leases)
    notifier = RecordingNotifier()
    bench = run(notifier)
    await until(lambda: not refusals)
    bench.events(make_event())
    await until(lambda: notifier.sent)
    assert not bench.task.done()


async def test_a_lease_that_waited_for_a_lock_sends_nothing_while_the_pump_is_held(
    run, make_event, monkeypatch
):
    looked, look = [], outbox_rows.find_next_deadline

    def next_outbox_deadline(*arguments):
        looked.append(look(*arguments))
        return looked[-1]

    monkeypatch.setattr(outbox_rows, "find_next_deadline", next_outbox_deadline)
    notifier = RecordingNotifier()
    bench = run(notifier)
    await until(lambda: looked)
    with sqlite.transaction(bench.db) as tx:
        bench.engine.on_events(tx, [make_event()], bench.now)
    bench.db.execute("BEGIN IMMEDIATE")
    bench.wake.set()
    await until(lambda: looked[-1] is not None)  # the pump now waits for the lock
    holding = asyncio.create_task(bench.pump.pause())
    await asyncio.sleep(0)
    bench.db.execute("COMMIT")
    await holding
    await asyncio.sleep(0)
    assert stored.notices(bench.db, "status") == ["due"]
    bench.pump.resume()
    await until(lambda: notifier.sent)


async def test_transient_failures_are_tried_again(run, make_event):
    notifier = RecordingNotifier([TRANSIENT, TRANSIENT, None])
    bench = run(notifier)
    bench.events(make_event())
    await until(lambda: notifier.sent)
    await until(lambda: len(bench.outcomes) == 3)
    assert stored.notices(bench.db, "status", "attempts", "last_error") == [("sent", 3, "")]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "sent"),
        ({"status": Status.RESOLVED, "missed_at": 1.0}, "sent"),
        ({"status": Status.RESOLVED}, "failed"),
    ],
)
async def test_an_alert_is_tried_for_as_long_as_nobody_has_answered(
    run, policy, make_event, changed, expected
):
    """An open alert is retried longer than other notices. Once over, it expires like them."""
    notifier = RecordingNotifier([TRANSIENT] * 8)
    bench = run(notifier, rules=replace(policy, expire_s=0.05))
    bench.events(make_event())
    with sqlite.transaction(bench.db) as tx:
        stored.change_incidents(tx, **changed)
    await until(lambda: stored.notices(bench.db, "status")[0] in {"sent", "failed"})
    assert stored.notices(bench.db, "status") == [expected]


async def test_permanent_failure_ends_it_and_shows_in_the_history(run, make_event):
    notifier = RecordingNotifier([PERMANENT])
    bench = run(notifier)
    (record,) = bench.events(make_event())
    await until(lambda: bench.outcomes)
    assert stored.notices(bench.db, "status", "last_error") == [("failed", "refused")]
    assert "notice_failed" in stored.history(bench.db, "what")
    assert load(bench.db, record.incident).status is Status.OPEN
    assert notifier.attempts == 1


async def test_retry_after_is_obeyed(run, make_event):
    wish = TransientNotifyError(NotifyReason.RATE_LIMITED, retry_after_s=77.0)
    bench = run(RecordingNotifier([wish]))
    bench.events(make_event())
    await until(lambda: bench.outcomes)
    (due,) = stored.notices(bench.db, "due_at")
    assert due >= 1077.0


async def test_a_notifier_that_breaks_is_survived(run, make_event):
    class Broken(RecordingNotifier):
        async def send(self, target, notice, *, timeout_s, **more):
            if self.attempts == 0:
                self.attempts += 1
                raise ZeroDivisionError
            await super().send(target, notice, timeout_s=timeout_s, **more)

    notifier = Broken()
    bench = run(notifier)
    bench.events(make_event())
    await until(lambda: notifier.sent)
    assert bench.outcomes[0].error is NotifyReason.LIBRARY


async def test_one_hung_provider_delays_no_other(run, policy, make_event):
    release = asyncio.Event()

    class Hanging(RecordingNotifier):
        async def send(self, target, notice, *, timeout_s, **more):
            if "slow" in target.reveal():
                await release.wait()
                raise TransientNotifyError(NotifyReason.TIMEOUT)
            await super().send(target, notice, timeout_s=timeout_s, **more)

    slow = tuple(Secret(f"json://slow.example/{n}") for n in range(50))
    staff = (
        StaffMember("x", "X", targets=slow),
        StaffMember("y", "Y", targets=(Secret("tgram://1:a/2"),)),
    )
    notifier = Hanging()
    bench = run(notifier, rules=replace(policy, staff=staff))
    bench.events(make_event())
    await until(lambda: notifier.sent)
    assert notifier.sent[0].target.reveal().startswith("tgram")
    release.set()


async def test_expired_and_vanished_targets_end(run, database, registry, policy, make_event):
    engine = AlertEngine(registry, policy)
    db = sqlite.connect(database)
    with sqlite.transaction(db) as tx:
        engine.on_events(tx, [make_event(-3000.0)], -3000.0)
        stored.change_incidents(tx, status=Status.RESOLVED)
        engine.on_events(tx, [make_event(sensor="s3")], 1000.0)
    db.close()
    moved = replace(
        policy, staff=(StaffMember("ap", "A", targets=(Secret("json://new.example/"),)),)
    )
    bench = run(RecordingNotifier(), rules=moved)
    await until(lambda: len(bench.outcomes) == 2)
    assert {o.error for o in bench.outcomes} == {NotifyReason.EXPIRED, NotifyReason.TARGET_GONE}
    assert set(stored.notices(bench.db, "status")) == {"failed"}


async def test_a_notice_in_flight_is_not_sent_again_when_the_clock_is_set_ahead(run, make_event):
    class Slow(RecordingNotifier):
        answers = asyncio.Event()

        async def send(self, target, notice, *, timeout_s, **more):
            await super().send(target, notice, timeout_s=timeout_s, **more)
            await self.answers.wait()

    notifier = Slow()
    bench = run(notifier, replace(FAST, lease_s=60.0))
    bench.events(make_event())
    await until(lambda: notifier.sent)
    bench.now += 120.0
    bench.events(make_event(sensor="s3"))
    await until(lambda: len(notifier.sent) > 1)
    notifier.answers.set()
    await until(lambda: len(bench.outcomes) > 1)
    assert len({s.notice.incident for s in notifier.sent}) == len(notifier.sent)
    assert set(stored.notices(bench.db, "status", "attempts")) == {("sent", 1)}


class Pictures:
    def __init__(self, picture=b"PNG"):
        self.picture = picture
        self.asked = []

    async def draw_in_time(self, incident_id, _language):
        self.asked.append(incident_id)
        return self.picture


@pytest.mark.parametrize("picture", [b"PNG", None])
async def test_an_alert_is_sent_with_its_picture_or_without(run, make_event, picture):
    notifier, pictures = RecordingNotifier(), Pictures(picture)
    bench = run(notifier, pictures=pictures)
    (record,) = bench.events(make_event())
    await until(lambda: notifier.sent)
    assert [s.picture for s in notifier.sent] == [picture]
    assert pictures.asked == [record.incident]


async def test_a_retry_and_the_notice_of_who_responds_go_without_picture(run, make_event):
    notifier, pictures = RecordingNotifier(script=[TRANSIENT]), Pictures()
    bench = run(notifier, pictures=pictures)
    (record,) = bench.events(make_event())
    await until(lambda: notifier.sent)
    await until(lambda: stored.notices(bench.db, status="sent"))
    with sqlite.transaction(bench.db) as tx:
        bench.engine.acknowledge(tx, record.incident, "fm", bench.now)
    bench.wake.set()
    await until(lambda: len(notifier.sent) == 2)
    assert [s.picture for s in notifier.sent] == [None, None]
    assert len(pictures.asked) == 1


def with_two_channels(policy):
    """Give the assistant principal a second channel at another provider."""
    first, *others = policy.staff
    second = Secret("json://127.0.0.2:9/ap")
    return replace(policy, staff=(replace(first, targets=(*first.targets, second)), *others))


async def test_a_refusal_goes_on_by_the_second_channel_at_once(run, policy, make_event):
    notifier = RecordingNotifier([PERMANENT])
    bench = run(notifier, rules=with_two_channels(policy))
    bench.events(make_event())
    await until(lambda: notifier.sent)
    await until(lambda: stored.notices(bench.db, status="sent"))
    ends = [("failed", "refused"), ("sent", "")]
    assert stored.notices(bench.db, "status", "last_error") == ends


async def test_a_channel_that_hangs_does_not_keep_the_second_waiting(run, policy, make_event):
    """The pump wakes up for the second channel while the first send is still in progress."""
    release = asyncio.Event()

    class Hanging(RecordingNotifier):
        async def send(self, target, notice, *, timeout_s, picture=None):
            if "127.0.0.1" in target.reveal():
                await release.wait()
                raise TransientNotifyError(NotifyReason.TIMEOUT)
            await super().send(target, notice, timeout_s=timeout_s, picture=picture)

    notifier = Hanging()
    patient = with_two_channels(policy)
    hasty = replace(patient, timings=replace(patient.timings, fallback_after_s=1.0))
    settings = replace(FAST, lease_s=60.0, idle_s=60.0)
    bench = run(notifier, settings, hasty)
    bench.events(make_event())
    await until(lambda: notifier.sent)
    assert stored.notices(bench.db, "status")[0] == "leased"
    assert [
        o.channel for o in bench.outcomes if o.error
    ] == []  # the first send is still in progress
    release.set()


async def test_if_nobody_can_be_notified_the_next_are_paged_at_once(run, policy, make_event):
    """If all channels of the first ring refuse, the next ring is paged without waiting."""
    lee, fox = (replace(m, role="staff") for m in policy.staff[:2])
    roster = Roster(
        BUILT_IN_ROUTES,
        {r: Receiver(r, (lee.id,), catch_all=(fox.id,)) for r in ("staff", "facilities")},
    )
    notifier = RecordingNotifier([PERMANENT])
    bench = run(notifier, rules=replace(policy, staff=(lee, fox), roster=roster))
    bench.events(make_event())
    await until(lambda: bench.outcomes)
    with sqlite.transaction(bench.db) as tx:
        bench.engine.on_time(tx, bench.now + 5)
    assert stored.notices(bench.db, "person", "status") == [("ap", "failed"), ("fm", "due")]


def test_the_backlog_is_counted_without_reading_what_was_delivered(
    tx, registry, policy, make_event
):
    AlertEngine(registry, policy).on_events(tx, [make_event()], 1000.0)
    waiting = outbox_rows.measure_backlog(tx)
    assert waiting[0] > 0
    assert waiting[1] == 1000.0
    stored.change_incidents(tx, opened_at=1.0, status=Status.RESOLVED)
    tx.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"
        " INSERT INTO outbox (incident, person, target, channel, reason, priority, notice,"
        " created_at, due_at, expires_at, status) SELECT incident, person, target, channel,"
        " 'n' || i, priority, notice, 1.0, due_at, expires_at, 'sent' FROM outbox, n"
        " GROUP BY i"
    )
    steps = []
    tx.set_progress_handler(lambda: steps.append(1), 100)
    assert outbox_rows.measure_backlog(tx) == waiting
    assert outbox_rows.count_by_status(tx, since=500.0) == {"due": waiting[0]}
    assert len(steps) < 10
    assert outbox_rows.count_by_status(tx, since=0.0) == {"due": waiting[0], "sent": 20_000}
