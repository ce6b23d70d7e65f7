"""Test that decisions in memory are carried over once, and never overwrite people's changes."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from alerts.consumer.memory_state import apply_changes, copy_state, mark_carried_over, take_changes
from alerts.incidents import repository
from alerts.notify import outbox as outbox_rows
from storage import sqlite
from tests.support.alert_records import everything, notices, steps
from tests.support.in_process import decide


def copied(disk):
    memory = sqlite.connect(":memory:")
    copy_state(disk, memory)
    return memory


def carry(memory, disk):
    changes = take_changes(memory)
    with sqlite.transaction(disk) as tx:
        left_out = apply_changes(tx, changes)
    mark_carried_over(memory, changes)
    return left_out


def test_what_is_decided_in_memory_is_as_if_decided_on_the_disk(disk, engine, make_event):
    memory = copied(disk)
    assert len(decide(engine, memory, make_event())) == 1
    assert carry(memory, disk) == 0
    assert everything(disk) == everything(memory)
    assert len(notices(disk)) >= 1
    assert (
        decide(engine, disk, make_event()) == []
    )  # the event is already known, so nobody is notified twice
    assert take_changes(memory) == []
    memory.close()


def test_what_somebody_did_on_the_disk_stays(disk, engine, make_event):
    (alert,) = decide(engine, disk, make_event())
    memory = copied(disk)
    with sqlite.transaction(disk) as tx:
        engine.acknowledge(tx, alert.incident, "ap", 1100.0)
    with sqlite.transaction(memory) as tx:
        engine.on_time(tx, 1e6)
    assert carry(memory, disk) >= 1
    assert repository.load(disk, alert.incident).acknowledged_at == 1100.0
    memory.close()


def test_a_disk_that_refuses_keeps_nothing_and_can_be_asked_again(disk, engine, make_event):
    memory = copied(disk)
    decide(engine, memory, make_event())
    before = everything(disk)
    disk.execute("PRAGMA query_only = ON")
    with pytest.raises(sqlite3.OperationalError):
        carry(memory, disk)
    disk.execute("PRAGMA query_only = OFF")
    assert everything(disk) == before
    assert carry(memory, disk) == 0
    assert everything(disk) == everything(memory)
    memory.close()


def test_notices_in_flight_are_left_to_who_sends_them(disk, engine, make_event):
    decide(engine, disk, make_event())
    with sqlite.transaction(disk) as tx:
        assert outbox_rows.lease(tx, 1001.0, owner="d", lease_s=60, limit=1, free=lambda _: 9)
    memory = copied(disk)
    assert len(notices(memory)) == len(notices(disk)) - 1
    assert take_changes(memory) == []
    memory.close()


def test_a_state_that_cannot_be_read_is_begun_anew(engine, make_event):
    closed = sqlite.connect(":memory:")
    closed.close()
    memory = copied(closed)
    assert len(decide(engine, memory, make_event())) == 1
    memory.close()


@pytest.fixture
def ahead(disk, engine, make_event):
    """Return an alert and a copy in memory that has paged the next people."""
    (alert,) = decide(engine, disk, make_event())
    with contextlib.closing(copied(disk)) as memory:
        with sqlite.transaction(memory) as tx:
            engine.on_time(tx, 2000.0)
        yield alert, memory


def test_steps_taken_in_memory_are_taken(disk, engine, ahead):
    """Memory paged the next people, so the chain on disk continues after them."""
    alert, memory = ahead
    assert carry(memory, disk) == 0
    assert everything(disk) == everything(memory)
    assert "opened:2" in notices(disk, "reason", incident=alert.incident)
    assert engine.check_stuck(disk, 2000.0) == engine.check_stuck(memory, 2000.0)


def test_an_answer_on_the_disk_outlives_steps_in_memory(disk, engine, ahead):
    alert, memory = ahead
    with sqlite.transaction(disk) as tx:
        engine.acknowledge(tx, alert.incident, "ap", 2001.0)
    assert carry(memory, disk) > 0
    assert steps(disk, "action", done_at=None) == ["remind", "reopen"]
    assert repository.load(disk, alert.incident).acknowledged_by == "ap"
