"""Test that memory and disk never decide at the same time: one incident, each notice once."""

from __future__ import annotations

import asyncio
import sqlite3
from types import SimpleNamespace

import pytest

from alerts.consumer.detection_consumer import TimeResult
from alerts.consumer.memory_alerts import MemoryAlerts, UnstoredReadings
from alerts.consumer.memory_state import apply_changes, copy_state, take_changes
from storage import sqlite
from storage.errors import StorageUnavailableError
from tests.support.alert_records import deliver, notices
from tests.support.in_process import decide
from tests.support.recording_notifier import RecordingNotifier
from tests.support.waiting import until


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
    with sqlite.transaction(disk) as tx:
        assert apply_changes(tx, take_changes(memory)) >= 1
    assert send_all(engine, disk, 1002.0) >= 1
    assert set(notices(disk, "status", "attempts")) == {("sent", 1)}
    memory.close()


class Consumer:
    """A consumer without readings on a database in memory."""

    position = 0

    def __init__(self, engine, connection):
        self.engine, self.connection = engine, connection

    def commit(self, events, _position, now):
        return decide(self.engine, self.connection, *events, now=now)

    def on_time(self, _now):
        return TimeResult([], state_changed=False)


class Service:
    """Simulates a disk that fails, and a commit that waits in its thread."""

    def __init__(self, engine, disk, event):
        self.engine, self.disk, self.event = engine, disk, event
        self.state, self.readings = "locked", SimpleNamespace(failing="", list_unsettled=list)
        self.notifier, self.decided, self.calls = RecordingNotifier(), [], 0
        self.releases = 0
        self.lock_ends_at_call = 0
        self.memory = MemoryAlerts(
            engine=engine,
            notifier=self.notifier,
            readings=self.readings,
            unstored=UnstoredReadings(),
            read_journal=self.read_journal,
            state_failing=lambda: self.state,
            in_detector=self.in_detector,
            clock=lambda: 1000.0,
            on_alerts=self.decided.extend,
            grace_s=0.0,
        )

    def read_journal(self, *_):
        raise StorageUnavailableError("disk I/O error")

    async def in_detector(self, work, *arguments):
        """Run work, and then the work queued after it, as the detector's thread does."""
        if self.state and work.__name__ != "_begin" and self.calls < self.lock_ends_at_call:
            self.calls += 1
            raise sqlite3.OperationalError("database is locked")
        found = work(*arguments)
        self.calls += 1
        if self.calls >= self.lock_ends_at_call:
            self.commit()
        return found

    def commit(self):
        """Decide on the disk as `Alerting.commit` does; retry at the next call."""
        try:
            self.memory.require_disk()
        except StorageUnavailableError:
            return
        self.state = ""
        self.decided += decide(self.engine, self.disk, self.event)

    async def pause(self):
        """Pause the pump of the state on disk."""

    def resume(self):
        self.releases += 1

    async def run(self):
        detection = SimpleNamespace(
            undecided=([self.event], 0), position=0, fork=lambda copy: Consumer(self.engine, copy)
        )
        await self.memory.run(detection, self.disk, self, asyncio.Event().wait)


@pytest.mark.parametrize("calls", [1, 2, 3])
async def test_a_lock_may_end_at_any_moment(disk, engine, make_event, calls):
    """The lock ends during the copy, before memory has decided, or during the transfer back."""
    service = Service(engine, disk, make_event())
    service.lock_ends_at_call = calls
    running = asyncio.create_task(service.run())
    await until(lambda: service.releases)
    running.cancel()
    await asyncio.wait((running,))
    service.commit()
    assert len(service.decided) == 1
    assert len(service.notifier.sent) + send_all(engine, disk, 1003.0) == 1


async def test_memory_goes_on_while_the_journal_waits_though_the_state_is_written(
    disk, engine, make_event, caplog
):
    service = Service(engine, disk, make_event())
    service.readings.failing, service.state = "disk I/O error", ""
    running = asyncio.create_task(service.run())
    await until(lambda: service.notifier.sent and "cannot be read" in caplog.text)
    service.commit()
    assert service.memory.active
    assert len(service.decided) == 1
    service.readings.failing = ""
    await until(lambda: service.releases)
    service.commit()
    assert len(service.decided) == 1
    assert send_all(engine, disk, 1003.0) == 0  # nobody is notified twice
    running.cancel()
    await asyncio.wait((running,))
