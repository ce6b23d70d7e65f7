"""Compare journal, cursors and outbox with a simple model, across crashes, damage and backups.

A crash ends the process without closing anything: objects are dropped, and the files are opened
again. The model has a dict of readings by offset, the consumers' positions, and a dict of notices
with their outcomes. The invariants are our promises.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from alerts.consumer.detection_consumer import CONSUMER, DetectionConsumer
from alerts.engine import AlertEngine
from alerts.incidents import repository
from alerts.incidents.incident import Status
from alerts.notify import outbox as outbox_rows
from alerts.policy import AlertPolicy, EscalationTimings, StaffMember
from alerts.secrets import Secret
from ingest.validation import may_alert
from plumewatch.service.data_folder import DATABASES, prepare_state
from storage.backup import back_up, verify
from storage.journal import DeadLetter, Journal, load_cursor
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.sqlite import connect, transaction
from storage.timeseries.sqlite import SqliteSeries
from tests.support.alert_records import incidents, notices
from tests.support.events import make_event
from tests.support.journals import gaps

START = 1_790_000_000.0
REGISTRY = Registry.build(
    (Room(f"room-{s}", s, "1", "Main", "S") for s in "ab"),
    (Sensor(s, f"room-{s}") for s in "ab"),
)
# one notice per detection: no reminders, repeats or digests
TIMINGS = EscalationTimings(
    rounds=1,
    escalate_after_s=3600.0,
    repeat_after_s=86_400.0,
    acknowledged_for_s=86_400.0,
    notices_per_hour=1000,
    storm_rooms=999,
)
POLICY = AlertPolicy(
    staff=(StaffMember("ap", "AP", targets=(Secret("json://127.0.0.1:9/x"),)),),
    expire_s=86_400.0,
    timings=TIMINGS,
)
sensors = st.sampled_from(["a", "b"])


class JournalMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.crashed = []
        self.clock = 0
        self.kept: dict[int, Reading] = {}  # expected content of the journal
        self.all: dict[int, Reading] = {}  # everything ever accepted
        self.letters = 0
        self.stored = 0  # committed position of the series
        self.watched = 0  # committed position of the detecting consumer
        self.gone: dict[int, str] = {}  # offsets without a reading, and the reasons
        self.notices: dict[tuple[str, str], str] = {}  # state of each notice by incident and reason
        self.sent: Counter[tuple[str, str]] = Counter()  # notices received by the provider
        self.may_repeat: Counter[tuple[str, str]] = (
            Counter()
        )  # sent notices that a crash left unmarked
        self.lost_to_series: set[int] = set()
        self.backups = 0

    @initialize()
    def begin(self):
        self.open()

    def open(self):
        root = Path(self.folder.name)
        self.journal = Journal(root / "journal.db")
        self.journal.open()
        self.series = SqliteSeries(root / "series.db")
        self.series.open()
        self.state = connect(root / "state.db")
        prepare_state(self.state)
        self.engine = AlertEngine(REGISTRY, POLICY)
        self.consumer = DetectionConsumer(self.state, self.engine, may_alert)
        self.consumer.open(self.journal.read)
        with transaction(self.state) as tx:  # as the pump does when it starts
            outbox_rows.release_leases(tx, "the next pump", self.now())

    def now(self):
        return START + self.clock

    def close(self):
        self.journal.close()
        self.series.close()
        self.state.close()

    @rule(count=st.integers(0, 5), letters=st.integers(0, 2), sensor=sensors)
    def commit(self, count, letters, sensor):
        readings = []
        for _ in range(count):
            self.clock += 1
            moment = START + self.clock
            readings.append(Reading(sensor, moment, moment, {"pm25": 4.0}, seq=self.clock))
        dead_letters = [DeadLetter(START, "t", "malformed", "no", "", 1, b"x")] * letters
        last = self.journal.commit(readings, dead_letters)
        assert last == len(self.all) + count
        for offset, reading in enumerate(readings, start=len(self.all) + 1):
            self.kept[offset] = self.all[offset] = reading
        self.letters += letters

    @rule(after=st.integers(0, 60), limit=st.integers(1, 10))
    def read(self, after, limit):
        entries, position = self.journal.read(after, limit)
        expected = [(o, r) for o, r in sorted(self.kept.items()) if o > after][:limit]
        assert [(e.offset, e.reading) for e in entries] == expected
        assert position == (expected[-1][0] if expected else max(after, len(self.all)))

    @rule(limit=st.integers(1, 10))
    def store(self, limit):
        entries, position = self.journal.read(self.series.get_cursor(), limit)
        if position != self.stored:
            self.series.write([e.reading for e in entries], position)
            self.stored = position

    @rule(limit=st.integers(1, 10))
    def detect(self, limit):
        entries, position = self.journal.read(self.consumer.position, limit)
        if position != self.watched:
            self.consumer.process([e.reading for e in entries], position, None)
            self.watched = position

    @rule(limit=st.integers(1, 10))
    def detect_and_crash_before_the_commit(self, limit):
        entries, _ = self.journal.read(self.consumer.position, limit)
        self.consumer.step([e.reading for e in entries])
        self.consumer.save_snapshot()
        self.crash()

    @rule()
    def snapshot(self):
        assert self.consumer.save_snapshot() <= self.watched

    @precondition(lambda self: self.kept)
    @rule(share=st.floats(0, 1))
    def prune(self, share):
        min_cursor = min(self.stored, self.watched)
        before = START + share * (self.clock + 1)
        gone = [o for o, r in self.kept.items() if o <= min_cursor and r.received < before]
        assert self.journal.prune(min_cursor=min_cursor, received_before=before)[:2] == (
            len(gone),
            0,
        )
        self.forget(gone)

    @precondition(lambda self: self.kept)
    @rule()
    def prune_for_size(self):
        """The limit cannot be met, so everything except the detector's unread part is deleted."""
        min_cursor = min(self.stored, self.watched)
        gone = [o for o in self.kept if o <= self.watched]
        unread = [o for o in gone if o > min_cursor]
        pruned = self.journal.prune(
            min_cursor=min_cursor,
            received_before=0.0,
            excess_bytes=1e9,
            last_deletable=self.watched,
        )
        assert pruned[:2] == (len(gone), len(unread))
        self.forget(gone)
        self.lost_to_series.update(unread)

    def forget(self, gone):
        for offset in gone:
            del self.kept[offset]
        if gone:
            self.gone.update(dict.fromkeys(range(1, max(gone) + 1), "retention"))

    @precondition(lambda self: self.kept)
    @rule(which=st.floats(0, 1, exclude_max=True))
    def a_record_rots(self, which):
        offset = sorted(self.kept)[int(which * len(self.kept))]
        self.journal.change(
            lambda tx: tx.execute("UPDATE journal SET crc = crc + 1 WHERE offset = ?", (offset,))
        )
        self.journal.read(offset - 1, 1)
        del self.kept[offset]
        self.gone[offset] = "corrupt"
        self.letters += 1
        if offset > self.stored:
            self.lost_to_series.add(offset)

    @rule(event=st.sampled_from(["a", "b"]))
    def open_incident(self, event):
        """An incident and its notice are committed together; the responder learns of later ones."""
        self.clock += 1000
        happened = make_event(self.now(), event)
        of_room = incidents(self.state, room=f"room-{event}", status=Status.ACKNOWLEDGED)
        joined = [incident.id for incident in of_room]
        with transaction(self.state) as tx:
            alerts = self.engine.on_events(tx, [happened], self.now())
        notices = {(alert.incident, "opened") for alert in alerts}
        notices |= {(incident, f"again:{self.now():.0f}") for incident in joined}
        assert not notices & set(self.notices)
        self.notices |= dict.fromkeys(notices, "due")

    @rule(crash=st.sampled_from(["", "leased", "sent"]))
    def pump(self, crash):
        """Lease, send and mark one notice, or crash between two of these steps."""
        self.clock += 100
        with transaction(self.state) as tx:
            rows = outbox_rows.lease(
                tx, self.now(), owner="pump", lease_s=60, limit=1, free=lambda _: 9
            )
        if not rows:
            assert "due" not in self.notices.values()
            return
        (row,) = rows
        (notice,) = notices(self.state, "incident", "reason", id=row.id)
        assert self.notices[notice] == "due"
        if crash == "leased":
            self.crash()
            return
        self.sent[notice] += 1
        if crash == "sent":
            self.may_repeat[notice] += 1
            self.crash()
            return
        with transaction(self.state) as tx:
            assert outbox_rows.mark_sent(tx, row, self.now())
            self.engine.record_delivery(tx, row, self.now())
        self.notices[notice] = "sent"

    @precondition(lambda self: self.notices)
    @rule(which=st.floats(0, 1, exclude_max=True))
    def acknowledge(self, which):
        """An acknowledgment cancels unsent notices."""
        incident, _ = sorted(self.notices)[int(which * len(self.notices))]
        with transaction(self.state) as tx:
            before = repository.load(tx, incident).status
            self.engine.acknowledge(tx, incident, "ap", self.now())
        if before in (Status.OPEN, Status.NOTIFIED) and self.notices[incident, "opened"] == "due":
            self.notices[incident, "opened"] = "cancelled"

    @precondition(lambda self: self.backups < 2)
    @rule()
    def backup(self):
        self.backups += 1
        target = Path(self.folder.name) / f"backup-{self.backups}"
        back_up(Path(self.folder.name), target, "now")
        assert [proof for proof in verify(target, DATABASES) if not proof.ok] == []

    @rule()
    def crash(self):
        self.crashed += [self.journal, self.series, self.state]  # left open; closed at the end
        self.open()

    @rule()
    def restart(self):
        self.close()
        self.open()

    @invariant()
    def promises(self):
        if not hasattr(self, "journal"):
            return
        assert self.journal.get_last_offset() == len(self.all)
        assert self.journal.get_first_offset() == min(self.kept, default=len(self.all) + 1)
        assert sum(self.journal.count_dead_letters().values()) == self.letters
        assert self.series.get_cursor() == self.stored
        assert self.consumer.position == load_cursor(self.state, CONSUMER) == self.watched
        passed = [o for o in self.lost_to_series if o <= self.stored]
        assert len(self.series.read_between(0, 4e9)) == self.stored - len(
            passed
        )  # each once, and no others
        held = {o for gap in gaps(self.journal) for o in range(gap.first, gap.last + 1)}
        assert held == set(self.gone)
        assert held | set(self.kept) == set(range(1, len(self.all) + 1))
        assert not held & set(self.kept)
        found = notices(self.state, "incident", "reason", "status")
        states = {tuple(notice): "due" if s == "leased" else s for *notice, s in found}
        assert states == self.notices
        for notice, state_of in self.notices.items():
            least = state_of == "sent"
            assert least <= self.sent[notice] <= 1 + self.may_repeat[notice]

    def teardown(self):
        if hasattr(self, "journal"):
            self.close()
        for left in self.crashed:
            with contextlib.suppress(Exception):
                left.close()
        self.folder.cleanup()


JournalMachine.TestCase.settings = settings(
    max_examples=15,
    stateful_step_count=25,
)
TestJournal = JournalMachine.TestCase
