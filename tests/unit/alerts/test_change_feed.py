"""The change feed: nothing that happened to an incident is missed, or sent twice."""

import asyncio
import base64
import gzip
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from alerts.engine import AlertEngine
from alerts.incidents import change_feed
from alerts.incidents.change_feed import ChangeSignal
from alerts.incidents.incident import Status
from alerts.outbound import grafana_annotations, series_records, webhooks
from alerts.outbound.series_records import DueRecords
from alerts.policy import Webhook
from alerts.secrets import Secret
from detection.events import EventPhase
from plumewatch.service.data_folder import open_and_repair_state
from storage.sqlite import connect, transaction
from tests.support import alert_records as stored

NOW = 1_790_000_000.0
BEFORE = Path(__file__).parent / "data" / "before_change_feed.sql.gz"
"""A state database of the version before the feed, with pending webhooks and records."""
HOOK = Webhook(
    "vms",
    Secret("https://hooks.example/x"),
    Secret("whsec_" + base64.b64encode(b"k" * 32).decode()),
    frozenset(),
)


@pytest.fixture
def engine(registry, policy):
    return AlertEngine(registry, replace(policy, webhooks=(HOOK,)))


def happen(engine, tx, event, now):
    with transaction(tx):
        return engine.on_events(tx, [event], now)


def start(tx, *readers):
    with transaction(tx):
        for reader in readers:
            change_feed.advance(tx, reader, change_feed.head(tx))


def test_the_life_of_an_incident(engine, tx, make_event):
    start(tx, "r")
    event = make_event(NOW)
    (record,) = happen(engine, tx, event, NOW)
    with transaction(tx):
        engine.acknowledge(tx, record.incident, "ap", NOW + 5)
        engine.resolve(tx, record.incident, "ap", NOW + 9)
    changes = change_feed.read(tx, "r")
    assert [(c.what, c.at) for c in changes if c.what != "changed"] == [
        ("opened", NOW),
        ("acknowledged", NOW + 5),
        ("resolved", NOW + 9),
    ]
    assert {c.incident for c in changes} == {record.incident}
    assert {c.event for c in changes} == {None, event.id}
    assert [c.what for c in change_feed.read(tx, "r", ("resolved",))] == ["resolved"]


def test_a_change_that_is_rolled_back_leaves_no_entry(engine, tx, make_event):
    start(tx, "r")
    tx.execute("BEGIN")
    engine.on_events(tx, [make_event(NOW)], NOW)
    assert change_feed.read(tx, "r")
    tx.execute("ROLLBACK")
    assert change_feed.read(tx, "r") == []


def test_readers_go_on_at_their_own_pace(engine, tx, make_event):
    start(tx, "fast", "slow")
    happen(engine, tx, make_event(NOW), NOW)
    with transaction(tx):
        change_feed.advance(tx, "fast", change_feed.head(tx))
        change_feed.prune(tx, {"fast", "slow"})
    assert change_feed.read(tx, "fast") == []
    assert len(change_feed.read(tx, "slow")) > 0
    assert len(change_feed.read(tx, "slow", limit=1)) == 1


def kept(tx):
    """All entries, as a reader from the beginning gets them."""
    with transaction(tx):
        change_feed.advance(tx, "all", 0)
    return change_feed.read(tx, "all")


def test_pruning_waits_for_the_slowest_live_reader(engine, tx, make_event):
    start(tx, "fast", "slow", "gone")
    happen(engine, tx, make_event(NOW), NOW)
    with transaction(tx):
        change_feed.advance(tx, "fast", change_feed.head(tx))
        change_feed.prune(tx, {"fast"})
    assert kept(tx) == []
    assert change_feed.read(tx, "gone") is None
    happen(engine, tx, make_event(NOW, sensor="s3"), NOW)  # numbers never start again
    assert change_feed.read(tx, "fast")[0].seq > 1


def test_a_reader_behind_the_bound_starts_again_from_the_incidents(engine, tx, make_event):
    start(tx, "fast", "slow")
    happen(engine, tx, make_event(NOW), NOW)
    with transaction(tx):
        change_feed.advance(tx, "fast", change_feed.head(tx) - 1)
        change_feed.prune(tx, {"fast", "slow"}, max_entries=1)
    assert change_feed.read(tx, "slow") is None
    assert len(change_feed.read(tx, "fast")) == 1
    assert len(kept(tx)) == 1


def test_what_comes_while_a_reader_begins_is_kept_for_it(engine, tx, make_event):
    start(tx, "fast")
    assert change_feed.read(tx, "new") is None
    head = change_feed.head(tx)  # it looks at the incidents now, and stores its cursor later
    happen(engine, tx, make_event(NOW), NOW)
    with transaction(tx):
        change_feed.advance(tx, "fast", change_feed.head(tx))
        change_feed.prune(tx, {"fast", "new"})
        change_feed.advance(tx, "new", head)
    assert len(change_feed.read(tx, "new")) > 0
    with transaction(tx):
        change_feed.advance(tx, "new", head + 1)
        change_feed.prune(tx, {"fast", "new"})
    assert kept(tx)[0].seq == head + 2


@pytest.fixture
def upgraded(tmp_path):
    """Give the path and the connection of a database that the version before wrote."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(gzip.decompress(BEFORE.read_bytes()).decode())
    with closing(open_and_repair_state(path)) as db:
        yield path, db


def sent(db):
    sent = stored.notices(db, "notice", person="webhook/vms")
    bodies = [json.loads(json.loads(notice.note)["body"]) for notice in sent]
    return [(b["type"], b["data"]["incident"]) for b in bodies]


def test_pending_webhooks_of_the_version_before_are_sent_once(upgraded, engine):
    _, db = upgraded
    assert sent(db) == [("incident.opened", "20260921-001")]
    for _ in range(2):
        with transaction(db) as tx:
            webhooks.enqueue(tx, engine.policy, engine.registry, "North", NOW + 20)
    assert sent(db) == [
        ("incident.opened", "20260921-001"),
        ("incident.opened", "20260921-002"),
        ("incident.acknowledged", "20260921-001"),
    ]
    with transaction(db) as tx:  # a new change of the same kind is not taken for an old one
        stored.change_incidents(tx, "20260921-001", status=Status.NOTIFIED)
        engine.acknowledge(tx, "20260921-001", "ap", NOW + 21)
        webhooks.enqueue(tx, engine.policy, engine.registry, "North", NOW + 22)
    assert sent(db)[3:] == [("incident.acknowledged", "20260921-001")]


def test_pending_records_of_the_version_before_are_written_once(upgraded, engine, make_event):
    path, db = upgraded
    written = []

    class Series:
        def record(self, records):
            written.extend((r.measurement, r.id) for r in records)

    due = DueRecords(path, Series(), lambda *_: True)

    def drain():
        while (found := due.read(0, 100))[1]:
            due.write([entry.record for entry in found[0]], found[1])

    drain()
    assert written == [
        ("event", "s3:1"),
        ("incident", "20260921-002"),
        ("incident", "20260921-001"),
        ("pipeline", ""),
    ]
    written.clear()
    happen(engine, db, make_event(NOW + 30, sensor="s2", phase=EventPhase.ALERTED), NOW + 30)
    drain()
    due.close()
    assert sorted(kind for kind, _ in written) == ["event", "incident"]
    assert series_records.waiting(db) == 0


async def test_annotations_of_the_version_before_are_compared_once(upgraded, registry, policy):
    path, db = upgraded
    sent = []

    class Client:
        def annotate(self, annotations, *_span):
            for one in annotations:
                sent.append(one.incident)
                yield Done()

    class Done:
        outcome, detail = "created", ""

    class Counters:
        annotations = annotation_failures = annotations_waiting = 0
        annotations_refused = annotations_set_aside = 0
        annotations_failing = ""

    stored = asyncio.Event()

    async def run(_what, work, *arguments):
        work(*arguments)
        stored.set()

    changes = ChangeSignal()
    annotator = grafana_annotations.Annotator(
        Client(),
        path,
        registry.rooms,
        policy.page_url,
        changes,
        Counters(),
        run,
        lambda: NOW + 60,
        pace_s=0.0,
    )
    assert change_feed.read(db, grafana_annotations.READER) is None
    task = asyncio.create_task(annotator.run(db))
    async with asyncio.timeout(60):
        await stored.wait()
    task.cancel()
    assert change_feed.read(db, grafana_annotations.READER) == []
    assert sent == ["20260921-001", "20260921-002"]


async def test_the_signal_wakes_every_reader():
    signal, wake = ChangeSignal(), asyncio.Event()
    signal.wakes.append(wake)
    readers = [asyncio.create_task(signal.wait_beyond(0, 60.0)) for _ in range(3)]
    await asyncio.sleep(0)
    signal.notify()
    assert await asyncio.gather(*readers) == [1, 1, 1]
    assert wake.is_set()
    assert await signal.wait_beyond(0, 60.0) == 1  # it is late, and looks at once
    assert await signal.wait_beyond(1, 0.0) == 1


def test_a_folder_that_was_upgraded_is_not_upgraded_again(upgraded):
    path, db = upgraded
    before = "\n".join(db.iterdump())
    open_and_repair_state(path).close()
    with closing(connect(path, read_only=True)) as again:
        assert "\n".join(again.iterdump()) == before
