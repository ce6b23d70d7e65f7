"""Journal, series and the detecting consumer against a plain model, over crashes.

A crash is a process that ends without closing anything: the objects are dropped as they are and the
files are opened anew. The model is a dict of offsets to readings and two sets of what consumers
have taken in; the invariants are those of the journal's promise.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from alerts import schema
from alerts.engine import AlertEngine
from alerts.policy import AlertPolicy
from alerts.watch import CONSUMER, Watch
from ingest.validation import may_alert
from storage import state
from storage.journal import DeadLetter, Journal
from storage.reading import Reading
from storage.registry import Registry
from storage.sqlite import connect, migrate
from storage.timeseries.sqlite import SqliteSeries

START = 1_790_000_000.0
sensors = st.sampled_from(["a", "b"])


class JournalMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.crashed = []
        self.clock = 0
        self.kept: dict[int, Reading] = {}  # what the journal must hold
        self.all: dict[int, Reading] = {}  # everything ever accepted
        self.letters = 0
        self.stored = 0  # committed position of the series
        self.watched = 0  # committed position of the detecting consumer

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
        migrate(self.state, "state", state.SCRIPTS)
        migrate(self.state, "alerts", schema.SCRIPTS)
        self.watch = Watch(self.state, AlertEngine(Registry(), AlertPolicy()), may_alert)
        self.watch.open(self.journal.read)

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
        buried = [DeadLetter(START, "t", "malformed", "no", "", 1, b"x")] * letters
        last = self.journal.commit(readings, buried)
        assert last == len(self.all) + count
        for offset, reading in enumerate(readings, start=len(self.all) + 1):
            self.kept[offset] = self.all[offset] = reading
        self.letters += letters

    @rule(after=st.integers(0, 60), limit=st.integers(1, 10))
    def read(self, after, limit):
        entries, position = self.journal.read(after, limit)
        expected = [(o, r) for o, r in sorted(self.kept.items()) if o > after][:limit]
        assert [(e.offset, e.reading) for e in entries] == expected
        assert position == (expected[-1][0] if expected else after)

    @rule(limit=st.integers(1, 10))
    def store(self, limit):
        entries, position = self.journal.read(self.series.position(), limit)
        if position != self.stored:
            self.series.write([e.reading for e in entries], position)
            self.stored = position

    @rule(limit=st.integers(1, 10))
    def detect(self, limit):
        entries, position = self.journal.read(self.watch.position, limit)
        if position != self.watched:
            self.watch.process([e.reading for e in entries], position, None)
            self.watched = position

    @rule(limit=st.integers(1, 10))
    def detect_and_crash_before_the_commit(self, limit):
        entries, _ = self.journal.read(self.watch.position, limit)
        self.watch.step([e.reading for e in entries])
        self.watch.save_snapshot()
        self.crash()

    @rule()
    def snapshot(self):
        assert self.watch.save_snapshot() <= self.watched

    @precondition(lambda self: self.kept)
    @rule(share=st.floats(0, 1))
    def prune(self, share):
        read_by_all = min(self.stored, self.watched)
        before = START + share * (self.clock + 1)
        gone = [o for o, r in self.kept.items() if o <= read_by_all and r.received < before]
        assert self.journal.prune(read_by_all=read_by_all, received_before=before) == (len(gone), 0)
        for offset in gone:
            del self.kept[offset]

    @rule()
    def crash(self):
        self.crashed += [self.journal, self.series, self.state]  # as they are; closed at the end
        self.open()

    @rule()
    def restart(self):
        self.close()
        self.open()

    @invariant()
    def promises(self):
        if not hasattr(self, "journal"):
            return
        assert self.journal.last_offset() == len(self.all)
        assert self.journal.first_offset() == min(self.kept, default=len(self.all) + 1)
        assert self.journal.corrupt_records == 0
        assert sum(self.journal.dead_letter_counts().values()) == self.letters
        assert self.series.position() == self.stored
        assert self.watch.position == state.position(self.state, CONSUMER) == self.watched
        assert self.series.count() == self.stored  # each accepted reading once, none invented

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
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestJournal = JournalMachine.TestCase
