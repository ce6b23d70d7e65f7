"""Test any order of detections, answers, deliveries and time: never two open, nobody notified
twice."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from alerts.duty.roster import Receiver, Roster
from alerts.engine import AlertEngine
from alerts.errors import FeedbackError, NotifyReason, PermanentNotifyError, UnknownIncidentError
from alerts.incidents import repository, schema, silences
from alerts.incidents.incident import ActionClass, Verdict, find_answer_choices
from alerts.incidents.stuck_incidents import StuckKind, find_stuck
from alerts.notify import outbox as outbox_rows
from alerts.policy import BUILT_IN_ROUTES, AlertPolicy, StaffMember
from alerts.secrets import Secret
from detection.events import EventKind, EventPhase
from storage import sqlite
from storage.registry import Registry, Room, Sensor
from tests.support import alert_records as stored
from tests.support.events import make_event

ROOMS = tuple(Room(r, r, "1", "Main", "School") for r in ("a", "b"))
SENSORS = (Sensor("a1", "a"), Sensor("a2", "a"), Sensor("b1", "b"))
KINDS = (EventKind.VAPE, EventKind.SMOKE, EventKind.TAMPER, EventKind.STEAM)
PAGING = set(KINDS) - {EventKind.STEAM}
POLICY = AlertPolicy(
    staff=(
        StaffMember("p", "P", "staff", (Secret("json://x.example/p"),)),
        StaffMember("q", "Q", "staff", (Secret("json://x.example/q"), Secret("json://y.example/"))),
    ),
    roster=Roster(
        BUILT_IN_ROUTES,
        {role: Receiver(role, ("p",), catch_all=("q",)) for role in ("staff", "facilities")},
    ),
)


class IncidentMachine(RuleBasedStateMachine):
    """Runs the engine on a real database, and checks invariants."""

    events = Bundle("events")

    def __init__(self):
        super().__init__()
        self.db = sqlite.connect(":memory:")
        sqlite.migrate(self.db, schema.COMPONENT, schema.SCRIPTS)
        self.registry = Registry.build(ROOMS, SENSORS)
        self.now = 1_000_000.0
        self.history = 0
        self.last_word = {}
        self.alerted = []
        self.live = set()

    def teardown(self):
        self.db.close()

    @property
    def engine(self):
        return AlertEngine(self.registry, POLICY)  # a new one each time, because it has no state

    def say(self, event):
        if self.now - event.time <= 600:
            self.live.add(event.id)
        before = self.last_word.get(event.id)
        with sqlite.transaction(self.db) as tx:
            records = self.engine.on_events(tx, [event], self.now)
        self.alerted += records
        if before is not EventPhase.ENDED:
            self.last_word[event.id] = event.phase

    @rule(
        target=events,
        sensor=st.sampled_from(["a1", "a2", "b1", "unregistered"]),
        kind=st.sampled_from(KINDS),
        confidence=st.sampled_from([0.3, 0.6, 0.99]),
        age=st.sampled_from([0.0, 1.0, 599.0, 700.0]),
    )
    def detect(self, sensor, kind, confidence, age):
        at = self.now - age
        event = make_event(at, sensor, kind, onset=at - 5, confidence=confidence)
        self.say(event)
        return event

    @rule(event=events, phase=st.sampled_from(list(EventPhase)), lift=st.booleans())
    def speak_again(self, event, phase, lift):
        end = self.now if phase is EventPhase.ENDED else None
        confidence = 0.99 if lift else event.confidence
        self.say(replace(event, phase=phase, end=end, confidence=confidence, time=self.now))

    @rule(seconds=st.sampled_from([1.0, 30.0, 119.0, 120.0, 301.0, 2000.0]))
    def time_passes(self, seconds):
        self.now += seconds
        with sqlite.transaction(self.db) as tx:
            self.alerted += self.engine.on_time(tx, self.now)

    @rule(count=st.integers(1, 3), ok=st.booleans())
    def pump(self, count, ok):
        with sqlite.transaction(self.db) as tx:
            rows = outbox_rows.lease(
                tx, self.now, owner="m", lease_s=60, limit=count, free=lambda _channel: 9
            )
            for row in rows:
                if not ok:
                    self.engine.fall_back(tx, self.now, row.id)
                    outbox_rows.mark_failed(
                        tx, row, self.now, PermanentNotifyError(NotifyReason.REFUSED)
                    )
                    self.engine.escalate_undelivered(tx, row.incident, self.now)
                elif outbox_rows.mark_sent(tx, row, self.now):
                    self.engine.record_delivery(tx, row, self.now)

    @rule(number=st.integers(1, 3), verdict=st.sampled_from([None, *Verdict]))
    def answer(self, number, verdict):
        incident = self.incident(number) or "none"
        try:
            with sqlite.transaction(self.db) as tx:
                if verdict is None:
                    self.engine.acknowledge(tx, incident, "Lee", self.now)
                else:
                    known = repository.load(tx, incident)
                    choices = find_answer_choices(known.kind if known else EventKind.VAPE)
                    cause = choices.causes[0] if verdict is choices.explained else ""
                    self.engine.record_feedback(tx, incident, "Lee", verdict, self.now, cause=cause)
        except UnknownIncidentError:
            assert incident == "none"
        except FeedbackError:
            assert verdict not in (*choices.verdicts, choices.explained)

    @rule(number=st.integers(1, 3), who=st.sampled_from(["p", "Lee"]))
    def arrive(self, number, who):
        incident = self.incident(number)
        if incident is None:
            return
        for _ in range(2):
            with sqlite.transaction(self.db) as tx:
                before = repository.load(tx, incident)
                after = self.engine.arrive(tx, incident, who, self.now)
        assert after == before  # the repeat changes nothing
        assert not after.is_open or after.acknowledged_by
        assert (after.arrived_at is not None) or not after.awaits_arrival

    @rule(number=st.integers(1, 3), action=st.sampled_from([None, *ActionClass]))
    def follow(self, number, action):
        incident = self.incident(number)
        if incident is None:
            return
        with sqlite.transaction(self.db) as tx:
            before = repository.load(tx, incident)
            try:
                after = self.engine.record_action(
                    tx, incident, "Lee", action, self.now, case_number="1"
                )
            except FeedbackError:
                assert before.verdict is None
            else:
                assert after == replace(before, action=action, case_number="1")

    def incident(self, number):
        """Return the id of one of the newest incidents; None if there are too few."""
        ids = stored.incidents(self.db, "id")
        return ids[-number] if number <= len(ids) else None

    @rule(number=st.integers(1, 3))
    def resolve(self, number):
        incident = self.incident(number)
        if incident is None:
            return
        with sqlite.transaction(self.db) as tx:
            self.engine.resolve(tx, incident, "Lee", self.now)

    @rule(seconds=st.sampled_from([60.0, 900.0]), later=st.sampled_from([0.0, 100.0]))
    def silence(self, seconds, later):
        with sqlite.transaction(self.db) as tx:
            begin = self.now + later
            stored.add_silence(tx, {"room": "a"}, begin, begin + seconds, now=self.now)

    @rule()
    def end_silences(self):
        with sqlite.transaction(self.db) as tx:
            for silence in silences.list_recent(tx, self.now):
                self.engine.end_silence(tx, silence.id, "Lee", self.now)

    @invariant()
    def never_two_open(self):
        twice = "SELECT 1 FROM incident WHERE status <> 'resolved' GROUP BY kind, room"
        assert self.db.execute(f"{twice} HAVING count(*) > 1").fetchone() is None

    @invariant()
    def one_alert_an_incident_and_one_notice_a_person(self):
        ids = [r.incident for r in self.alerted]
        assert len(ids) == len(set(ids))
        assert {r.kind for r in self.alerted} <= PAGING
        notices = stored.notices(self.db, "incident", "person", "target", "reason")
        assert len(notices) == len(set(notices))
        assert set(stored.incidents(self.db, "id", paged=True)) == set(ids)

    @invariant()
    def unregistered_sensors_and_late_updates_notify_nobody(self):
        assert set(stored.events(self.db, "incident", room=None)) <= {None}
        for incident in stored.incidents(self.db, paged=True):
            assert not self.live.isdisjoint(d.event_id for d in incident.detections)

    @invariant()
    def every_open_incident_has_a_deadline(self):
        """An incident that is over but not yet checked must have a next escalation step."""
        found = [incident for incident in stored.incidents(self.db) if incident.is_open]
        waiting = {incident.id for incident in found if incident.cleared_at is not None}
        assert waiting <= set(stored.steps(self.db, "incident", done_at=None))
        deadlines = [i.next_deadline() for i in found if i.id not in waiting]
        assert None not in deadlines
        assert self.db.execute("SELECT min(next_deadline) FROM incident").fetchone()[0] == min(
            deadlines, default=None
        )

    @invariant()
    def nobody_is_forgotten(self):
        """The check for stuck incidents never finds one, even without its repairs."""
        late = {StuckKind.LATE_NOTICE, StuckKind.LATE_STEP, StuckKind.LATE_DEFERRED}
        assert [f for f in find_stuck(self.db, self.now) if f.what not in late] == []

    @invariant()
    def steps_end_with_their_incident(self):
        open_ones = self.db.execute("SELECT id FROM incident WHERE status <> 'resolved'")
        running = {row["id"] for row in open_ones}
        assert set(stored.steps(self.db, "incident", done_at=None)) <= running

    @invariant()
    def what_is_held_says_so_and_for_how_long(self):
        assert set(stored.incidents(self.db, "held_until", suppressed_by=None)) <= {None}

    @invariant()
    def history_only_grows(self):
        count = len(stored.history(self.db))
        assert count >= self.history
        self.history = count

    @invariant()
    def the_last_word_of_each_event_is_kept(self):
        assert dict(stored.events(self.db, "id", "phase")) == self.last_word


TestIncidentMachine = IncidentMachine.TestCase
TestIncidentMachine.settings = settings(max_examples=60, stateful_step_count=30)
