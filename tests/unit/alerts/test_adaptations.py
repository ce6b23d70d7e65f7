"""Adaptations are numbered, audited and reversible, and change only what comes after them."""

import pytest

from alerts.consumer.detection_consumer import DetectionConsumer
from alerts.engine import AlertEngine
from alerts.errors import AdaptationError
from alerts.incidents import adaptations, schema
from detection.adaptation import Correction
from detection.model import Model
from ingest.validation import may_alert
from storage import audit, state
from storage.journal import Journal
from storage.sqlite import connect, migrate, transaction
from tests.support.alert_records import assert_append_only
from tests.support.plumes import START, readings_of_puff

MODEL = Model.shipped()
AWAY = Correction(("rh_rise",), (0.0,), (1.0,), (0.0,), -1.5)
CLOSER = Correction(("rh_rise",), (0.0,), (1.0,), (0.0,), 1.0)
FACTS = {"confirmed": 5, "false": 4}


def opened(path):
    connection = connect(path)
    migrate(connection, "state", state.SCRIPTS)
    migrate(connection, schema.COMPONENT, schema.SCRIPTS)
    migrate(connection, audit.COMPONENT, audit.SCRIPTS)
    return connection


@pytest.fixture
def db(tmp_path):
    connection = opened(tmp_path / "state.db")
    yield connection
    connection.close()


def propose(db, correction=AWAY, model=MODEL):
    with transaction(db) as tx:
        return adaptations.propose(tx, model, correction, FACTS, "ap", 10.0)


def apply(db, number, at=20.0):
    with transaction(db) as tx:
        adaptations.apply(tx, number, "ap", at, "fewer false alarms")


def undo(db, at=30.0):
    with transaction(db) as tx:
        return adaptations.undo(tx, "fm", at, "new spray")


def test_a_proposal_is_ready_until_it_is_applied_and_undo_returns_to_what_was_before(db):
    assert adaptations.ready(db, MODEL) is None
    assert adaptations.active_model(db, MODEL) is MODEL
    first, second = propose(db), propose(db, CLOSER)
    assert adaptations.ready(db, MODEL).number == second
    apply(db, first)
    assert adaptations.ready(db, MODEL).backtest == FACTS
    apply(db, second)
    assert adaptations.ready(db, MODEL) is None
    active = adaptations.active_model(db, MODEL)
    assert (active.version, active.correction) == (f"{MODEL.version}+adapted-2", CLOSER)
    assert undo(db).after == first
    assert undo(db).after is None
    assert adaptations.active_model(db, MODEL) is MODEL
    with pytest.raises(AdaptationError, match="no adaptation is active"):
        undo(db)
    assert [(c.before, c.after, c.who) for c in adaptations.history(db)] == [
        (first, None, "fm"),
        (second, first, "fm"),
        (first, second, "ap"),
        (None, first, "ap"),
    ]


def test_every_change_is_in_the_audit_log(db):
    apply(db, propose(db))
    undo(db)
    found = [(entry.kind, entry.actor) for entry in audit.entries(db)]
    assert found == [("adaptation", "fm"), ("adaptation", "ap")]
    assert not audit.verify(db).fault


def test_nothing_is_changed_or_deleted(db):
    apply(db, propose(db))
    assert_append_only(db, "adaptation", "adaptation_change")


def test_what_is_not_there_or_active_already_cannot_be_applied(db):
    with pytest.raises(AdaptationError, match="no adaptation 7"):
        apply(db, 7)
    apply(db, propose(db))
    with pytest.raises(AdaptationError, match="active already"):
        apply(db, 1)


def test_another_model_is_used_without_it(db):
    other = Model("plume-0")
    apply(db, propose(db, model=other))
    assert adaptations.active_model(db, MODEL) is MODEL
    assert adaptations.model_of(db, MODEL, "plume-0+adapted-1") is MODEL
    assert adaptations.model_of(db, other, "plume-0+adapted-1").correction == AWAY
    assert adaptations.model_of(db, other, "plume-0") is other


class Site:
    """A consumer over journal and state, which can be started again."""

    def __init__(self, folder, registry, policy):
        folder.mkdir()
        self.folder, self.engine = folder, AlertEngine(registry, policy)
        self.journal = Journal(folder / "journal.db")
        self.journal.open()
        puffs = [
            readings_of_puff("s1", START + 900.0 * k, seconds=900.0, top=60.0 + 20.0 * k)
            for k in range(3)
        ]
        self.journal.commit([reading for puff in puffs for reading in puff])
        self.db = None
        self.start()

    def start(self):
        if self.db is not None:
            self.db.close()
        self.db = opened(self.folder / "state.db")
        self.consumer = DetectionConsumer(self.db, self.engine, may_alert)
        self.consumer.open(self.journal.read)

    def process(self, readings):
        """Process readings in small batches; return events as (onset, phase, model, confidence)."""
        found, until = [], self.consumer.position + readings
        while self.consumer.position < until:
            entries, position = self.journal.read(self.consumer.position, 50)
            if not entries:
                break
            now = entries[-1].reading.received
            events = self.consumer.step([entry.reading for entry in entries])
            self.consumer.commit(events, position, now)
            self.consumer.on_time(now)
            found += [(e.onset, e.phase, e.model_version, e.confidence, e.id) for e in events]
        return found

    def close(self):
        self.db.close()
        self.journal.close()


@pytest.fixture
def site(tmp_path, registry, policy):
    made = []

    def site(name):
        made.append(Site(tmp_path / name, registry, policy))
        return made[-1]

    yield site
    for one in made:
        one.close()


def test_the_consumer_uses_what_is_applied_and_after_undo_its_events_are_as_ever(site):
    plain, changed = site("plain"), site("changed")
    expected = plain.process(1350)
    found = changed.process(450)
    apply(changed.db, propose(changed.db, CLOSER))
    changed.process(50)
    assert changed.consumer.model_version == f"{MODEL.version}+adapted-1"
    middle = changed.process(400)
    assert middle
    assert all(model.endswith("+adapted-1") for _, _, model, _, _ in middle)
    undo(changed.db)
    last = changed.process(450)
    assert changed.consumer.model_version == MODEL.version
    assert found + last == [one for one in expected if one[0] not in {m[0] for m in middle}]
    assert {one[4] for one in middle} <= {one[4] for one in expected}, "the same ids"


@pytest.mark.parametrize("snapshot", [False, True])
def test_a_restart_continues_with_the_adaptation_of_its_snapshot(site, snapshot):
    steady, restarted = site("steady"), site("restarted")
    for one in (steady, restarted):
        one.process(300)
        apply(one.db, propose(one.db, CLOSER))
        one.process(300)
    if snapshot:
        restarted.consumer.save_snapshot()
    restarted.start()
    assert restarted.consumer.model_version == steady.consumer.model_version
    assert restarted.process(900) == steady.process(900)


def test_an_adaptation_applied_while_the_service_was_off_counts_from_the_start(site):
    one = site("off")
    one.process(300)
    one.consumer.save_snapshot()
    apply(one.db, propose(one.db))
    one.start()
    assert one.consumer.model_version == f"{MODEL.version}+adapted-1"
    one.process(50)
    assert state.snapshot(one.db, "detector").model_version == f"{MODEL.version}+adapted-1"


def test_a_twin_and_a_given_model_do_not_follow(site, tmp_path):
    one = site("twin")
    apply(one.db, propose(one.db))
    one.process(50)
    empty = opened(tmp_path / "empty.db")
    twin = one.consumer.fork(empty)
    twin.on_time(START)
    assert twin.model_version == f"{MODEL.version}+adapted-1"
    empty.close()
