"""Disk and memory decide the same: one incident, and an outbox that goes on."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from alerts.consumer.detection_consumer import TimeResult
from alerts.consumer.memory_alerts import MemoryAlerts, UnstoredReadings
from alerts.consumer.memory_state import apply_changes, copy_state, take_changes
from storage import sqlite
from storage.errors import StorageUnavailableError
from tests.support.alert_records import attempts, deliver
from tests.support.in_process import decide, until
from tests.support.recording_notifier import RecordingNotifier


def send_all(engine, connection, now):
    """Return how many notices were due and sent."""
    with sqlite.transaction(connection) as tx:
        return len(deliver(tx, engine, now))


@pytest.mark.parametrize("onset", [994.0, 900.0], ids=["the same event", "another event"])
def test_the_outbox_goes_on_after_both_sides_decided(disk, engine, make_event, onset):
    memory = sqlite.connect(":memory:")
    copy_state(disk, memory)
    decide(engine, memory, make_event())
    decide(engine, disk, make_event(onset=onset))
    assert send_all(engine, memory, 1001.0) >= 1
    assert apply_changes(disk, take_changes(memory)) >= 1
    assert send_all(engine, disk, 1002.0) >= 1
    assert set(attempts(disk, "outcome")) == {"sent"}
    memory.close()


class Consumer:
    """A consumer of no readings, over a database in memory."""

    position = 0

    def __init__(self, engine, connection):
        self.engine, self.connection = engine, connection

    def commit(self, events, _position, now):
        return decide(self.engine, self.connection, *events, now=now)

    def on_time(self, _now):
        return TimeResult([], state_changed=False)


async def test_memory_is_carried_over_before_the_disk_decides_while_the_journal_still_waits(
    disk, engine, make_event
):
    """The state takes part again while the commit of readings still pauses before its next try."""
    commits = SimpleNamespace(failing="disk I/O error", unsettled=list)
    notifier = RecordingNotifier()

    async def inline(work, *arguments):
        return work(*arguments)

    def unreadable(*_):
        raise StorageUnavailableError("disk I/O error")

    memory = MemoryAlerts(
        engine=engine,
        notifier=notifier,
        readings=commits,
        unstored=UnstoredReadings(),
        read_journal=unreadable,
        state_failing=lambda: "",
        in_detector=inline,
        clock=lambda: 1000.0,
        on_alerts=lambda _: None,
        grace_s=0.0,
    )
    detection = SimpleNamespace(
        undecided=([make_event()], 0), position=0, fork=lambda copy: Consumer(engine, copy)
    )
    pump = SimpleNamespace(held=False)
    running = asyncio.create_task(memory.run(detection, disk, pump, asyncio.Event().wait))
    await until(lambda: notifier.sent and memory.read_failures)
    assert pump.held
    memory.write_back(disk)
    assert decide(engine, disk, make_event(), now=1002.0) == []
    assert memory.active  # readings are still refused, so alerts go on from memory
    commits.failing = ""
    memory.write_back(disk)
    assert not memory.active
    await until(lambda: not pump.held)
    assert send_all(engine, disk, 1003.0) == 0  # nobody is notified twice
    running.cancel()
    await asyncio.wait((running,))


async def test_memory_goes_on_from_the_moment_of_its_copy(disk, engine, make_event):
    """The detector's thread may judge the next batch before the event loop has the copy."""
    commits = SimpleNamespace(failing="disk I/O error", unsettled=list)
    detection = SimpleNamespace(
        undecided=None, position=0, fork=lambda copy: Consumer(engine, copy)
    )
    read = []

    async def in_detector(work, *arguments):
        found = work(*arguments)
        detection.undecided = ([make_event()], 7)
        return found

    def read_journal(position, _limit):
        read.append(position)
        return [], position

    memory = MemoryAlerts(
        engine=engine,
        notifier=RecordingNotifier(),
        readings=commits,
        unstored=UnstoredReadings(),
        read_journal=read_journal,
        state_failing=lambda: "",
        in_detector=in_detector,
        clock=lambda: 1000.0,
        on_alerts=lambda _: None,
        grace_s=0.0,
    )
    pump = SimpleNamespace(held=False)
    running = asyncio.create_task(memory.run(detection, disk, pump, asyncio.Event().wait))
    await until(lambda: read)
    assert read[0] == 0
    running.cancel()
    await asyncio.wait((running,))
