"""Disk and memory decide the same: one incident, and an outbox that goes on."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from alerts.consumer.memory_alerts import Fork, MemoryAlerts
from alerts.consumer.memory_state import apply_changes, copy_state, take_changes
from alerts.incidents.engine import AlertEngine
from alerts.notify import outbox as outbox_rows
from storage import sqlite, state


@pytest.fixture
def disk(database):
    with contextlib.closing(sqlite.connect(database)) as connection:
        sqlite.migrate(connection, "state", state.SCRIPTS)
        yield connection


@pytest.fixture
def engine(registry, policy):
    return AlertEngine(registry, policy)


def decide(engine, connection, *events, now=1000.0):
    with sqlite.transaction(connection) as tx:
        return engine.on_events(tx, events, now)


def send_all(engine, connection, now):
    """Lease and mark as the pump does; return how many notices it was."""
    with sqlite.transaction(connection) as tx:
        rows = outbox_rows.lease(tx, now, owner="m", lease_s=60, limit=99, free=lambda _: 99)
        for row in rows:
            assert outbox_rows.sent(tx, row, now)
            engine.delivered(tx, row, now)
    return len(rows)


@pytest.mark.parametrize("onset", [994.0, 900.0], ids=["the same event", "another event"])
def test_the_outbox_goes_on_after_both_sides_decided(disk, engine, make_event, onset):
    memory = copy_state(disk)
    decide(engine, memory, make_event())
    decide(engine, disk, make_event(onset=onset))
    assert send_all(engine, memory, 1001.0) >= 1
    assert apply_changes(disk, take_changes(memory)) >= 1
    assert send_all(engine, disk, 1002.0) >= 1
    orphans = "SELECT count(*) FROM outbox_attempt WHERE outcome <> 'sent'"
    assert disk.execute(orphans).fetchone()[0] == 0
    memory.close()


def test_memory_is_carried_over_before_the_disk_decides_while_the_journal_still_waits(
    disk, engine, make_event
):
    """The state takes part again while the commit of readings still pauses before its next try."""
    commits = SimpleNamespace(failing="disk I/O error")
    memory = MemoryAlerts(
        engine=engine,
        notifier=None,
        readings=commits,
        read_journal=None,
        state_failing=lambda: "",
        in_detector=None,
        clock=lambda: 1000.0,
        on_alerts=lambda _: None,
    )
    with ThreadPoolExecutor(1) as thread:
        copy = copy_state(disk)
        memory._fork, memory.active = Fork(thread, copy, None), True
        decide(engine, copy, make_event())
        assert send_all(engine, copy, 1001.0) >= 1
        memory.write_back(disk)
        assert decide(engine, disk, make_event(), now=1002.0) == []
        assert send_all(engine, disk, 1003.0) == 0  # nobody is told twice
        assert memory.active  # readings are still refused, so alerts go on from memory
        commits.failing = ""
        memory.write_back(disk)
        assert not memory.active
        copy.close()
