"""Test kills after every step of alerting and in every transaction: at most one duplicate notice.

The engine and the outbox run one afternoon's scenario, transaction by transaction: once without
interruption, once killed after each commit, and once killed before each commit, so that every
transaction is rolled back and repeated, and sent notices are not marked at first. The notices and
final states are compared.
"""

from __future__ import annotations

import math
from collections import Counter

import pytest

from alerts.duty.roster import Receiver, Roster
from alerts.engine import AlertEngine
from alerts.errors import NotifyReason, TransientNotifyError
from alerts.incidents import schema
from alerts.incidents.incident import Verdict
from alerts.notify import outbox as outbox_rows
from alerts.policy import BUILT_IN_ROUTES, AlertPolicy, EscalationTimings, StaffMember
from alerts.secrets import Secret
from detection.events import EventKind, EventPhase
from language.messages import build_fact
from storage import sqlite
from storage.registry import Registry, Room, Sensor
from tests.support import alert_records as stored
from tests.support import events

START = 1_788_789_600.0
REGISTRY = Registry.build(
    [Room(r, r, "2", "North", "School") for r in "abcdef"], [Sensor(f"s{r}", r) for r in "abcdef"]
)


def member(name, *urls):
    return StaffMember(name, name, "staff", tuple(map(Secret, urls)))


POLICY = AlertPolicy(
    staff=(
        member("lee", "ntfy://a.example/lee", "tgram://123:abc/9"),
        member("fox", "ntfy://b.example/fox"),
    ),
    roster=Roster(
        BUILT_IN_ROUTES,
        {r: Receiver(r, ("lee",), catch_all=("fox",)) for r in ("staff", "facilities")},
    ),
    timings=EscalationTimings(escalate_after_s=60, rounds=1, storm_rooms=2, acknowledged_for_s=120),
)
DOWN = "ntfy-"
"""Lee's first channel never delivers, so every page uses the second."""


def make_event(room, since, at, phase=EventPhase.ALERTED, kind=EventKind.VAPE):
    end = START + at if phase is EventPhase.ENDED else None
    return events.make_event(START + since, f"s{room}", kind, phase, end=end, time=START + at)


def scenario():
    """Yield events, answers, and the clock every five seconds."""

    def handle(*events):
        return lambda engine, tx, now: engine.on_events(tx, events, now)

    def answer(number, call):
        def work(engine, tx, now):
            call(engine, tx, stored.incidents(tx, "id")[number], now)

        return work

    def silenced(_engine, tx, now):
        stored.add_silence(tx, {"room": "f"}, now, now + 60, owner="lee")

    happens = {
        1: handle(make_event("a", 0, 0)),
        3: handle(make_event("b", 2, 2), make_event("c", 2, 2), make_event("d", 2, 2)),
        71: answer(0, lambda e, tx, i, now: e.acknowledge(tx, i, "fox", now)),
        75: answer(0, lambda e, tx, i, now: e.arrive(tx, i, "lee", now)),
        80: handle(make_event("a", 0, 79, EventPhase.UPDATED)),
        92: answer(3, lambda e, tx, i, now: e.arrive(tx, i, "fox", now)),
        90: answer(1, lambda e, tx, i, now: e.resolve(tx, i, "fox", now)),
        95: answer(
            2, lambda e, tx, i, now: e.record_feedback(tx, i, "lee", Verdict.CONFIRMED, now)
        ),
        100: handle(make_event("d", 2, 99, EventPhase.ENDED)),
        130: handle(make_event("e", 129, 129, kind=EventKind.OFFLINE)),
        150: handle(make_event("e", 129, 149, EventPhase.ENDED, EventKind.OFFLINE)),
        180: handle(make_event("b", 179, 179)),
        190: silenced,
        195: handle(make_event("f", 194, 194)),
        200: answer(0, lambda e, tx, i, now: e.decline(tx, i, "fox", now)),
        210: answer(0, lambda e, tx, i, now: e.acknowledge(tx, i, "lee", now)),
    }
    for t in range(420):
        if t in happens:
            yield t, happens[t]
        if t % 5 == 0:
            yield t, lambda engine, tx, now: engine.on_time(tx, now)
        yield t, "pump"


class Program:
    """The program with its database; after a kill, it starts again from committed data."""

    def __init__(self, path, kill):
        self.path = path
        self.kill = kill
        self.kills = 0
        self.sent = Counter()
        self.unmarked = set()
        self.open()

    def open(self):
        self.db = sqlite.connect(self.path)
        sqlite.migrate(self.db, schema.COMPONENT, schema.SCRIPTS)
        self.db.execute("PRAGMA synchronous=OFF")  # only the program is killed here
        self.engine = AlertEngine(REGISTRY, POLICY)

    def die(self, now):
        self.kills += 1
        self.db.close()
        self.open()
        with sqlite.transaction(self.db) as tx:
            outbox_rows.release_leases(tx, f"life {self.kills}", now)

    def commit(self, work, now, *, again=True):
        """Run work and commit; or die before the commit and repeat; or die after it."""
        if self.kill == "before":
            self.db.execute("BEGIN IMMEDIATE")
            work(self.db)
            self.db.execute("ROLLBACK")
            self.die(now)
            if not again:
                return None
        with sqlite.transaction(self.db) as tx:
            found = work(tx)
        if self.kill == "after":
            self.die(now)
        return found

    def pump(self, now):
        while (outbox_rows.find_next_deadline(self.db) or math.inf) <= now:
            with sqlite.transaction(self.db) as tx:
                self.engine.fall_back(tx, now)
                rows = outbox_rows.lease(
                    tx, now, owner="p", lease_s=60, limit=1, free=lambda _channel: 1
                )
            for row in rows:
                self.send(row, now)

    def send(self, row, now):
        down = row.person == "lee" and row.channel.startswith(DOWN)

        def mark(tx):
            if not down and outbox_rows.mark_sent(tx, row, now):
                self.engine.record_delivery(tx, row, now)
            elif down:
                self.engine.fall_back(tx, now, row.id)
                error = TransientNotifyError(NotifyReason.CONNECTION)
                outbox_rows.mark_failed(tx, row, now, error, due_at=now + 300)

        if not down:
            for incident in row.notice.incidents or (row.notice.incident,):
                self.sent[row.person, row.notice.reason.value, incident] += 1
        first = row.id not in self.unmarked
        self.unmarked.add(row.id)
        if first or self.kill != "before":
            self.commit(mark, now, again=False)
        else:  # its mark was lost once, so it was sent again
            with sqlite.transaction(self.db) as tx:
                mark(tx)


def play(path, kill=""):
    """Run the scenario; return notices, states, stuck incidents, deferred notices and kills."""
    program = Program(path, kill)
    for t, what in scenario():
        now = START + t
        if what == "pump":
            program.pump(now)
        else:
            program.commit(lambda tx, what=what, now=now: what(program.engine, tx, now), now)
    fields = ("id", "status", "severity", "arrived_at", "resolved_by")
    states = stored.incidents(program.db, *fields)
    stuck = program.engine.check_stuck(program.db, START + 420)
    held = {line["mute"] for line in stored.history(program.db, "detail", what="held")}
    program.db.close()
    return program.sent, states, stuck, held, program.kills


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return play(tmp_path_factory.mktemp("whole") / "state.db")


def test_the_scenario_has_every_kind_of_notice(whole):
    sent, states, stuck, held, kills = whole
    reasons = {reason for _, reason, _ in sent}
    assert reasons >= {"opened", "digest", "taken", "recovered"}
    assert "reminder" in reasons
    assert {person for person, _, _ in sent} == {"lee", "fox"}
    assert set(sent.values()) == {1}
    assert len(states) == 7
    assert held == {build_fact("silence", silence=1, owner="lee")}
    assert (stuck, kills) == ([], 0)


def test_killed_after_every_commit(whole, tmp_path):
    *found, kills = play(tmp_path / "state.db", "after")
    assert found == list(whole[:-1])
    assert kills > 100


def test_killed_before_every_commit(whole, tmp_path):
    """Each notice was sent and its mark lost in the kill, so it is sent exactly once more."""
    sent, *ends, kills = play(tmp_path / "state.db", "before")
    assert set(sent) == set(whole[0])
    assert set(sent.values()) == {2}
    assert ends == list(whole[1:-1])
    assert kills > 100
