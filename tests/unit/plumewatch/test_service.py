"""The composition: what is journalled is detected, stored and told, over faults and restarts."""

import asyncio
import contextlib
import sqlite3
import threading
import time
from functools import partial

import pytest

from alerts.notify.apprise_notifier import RecordingNotifier
from alerts.notify.pump import OutboxPump, PumpSettings
from plumewatch.service.app import Service
from plumewatch.service.maintenance import Housekeeping
from plumewatch.service.supervisor import ServiceError
from storage.errors import StorageUnavailableError
from storage.reading import Reading
from storage.sqlite import connect
from tests.support.in_process import running, until
from tests.support.plumes import readings_of_puff


def puff():
    return readings_of_puff(start=time.time() - 300)


async def test_a_puff_is_stored_and_told(config):
    async with running(config) as service:
        readings = puff()
        await service._commit(readings, [])
        await until(lambda: service.writer.state.stored == len(readings))
        await until(lambda: service._notifier.sent)
        assert service.counters.readings_detected == len(readings)
        assert service.counters.alerts == 1
    assert len(service._notifier.sent) == 1


async def test_restart_says_nothing_twice(config):
    async with running(config) as service:
        await service._commit(puff(), [])
        await until(lambda: service._notifier.sent)
    async with running(config) as service:
        await service._commit([Reading("n2-boys-1", time.time(), time.time(), {"pm25": 4.0})], [])
        await until(lambda: service.counters.readings_detected == 1)
        assert service._notifier.sent == []


async def test_readings_are_stored_while_the_detectors_return_to_where_they_were(
    config, monkeypatch
):
    """After a kill they step minutes of readings again; nobody's reading waits for that."""
    go_on, new_watch = threading.Event(), Service._new_watch

    def slow(self):
        assert go_on.wait(30)
        return new_watch(self)

    monkeypatch.setattr(Service, "_new_watch", slow)
    service = Service(config, notifier=RecordingNotifier())
    stop, readings = asyncio.Event(), puff()
    task = asyncio.create_task(service.run(stop))
    try:
        await until(lambda: service.counters.beat)  # it is open
        await service.commits.commit(readings)
        await until(lambda: service.series.position() == len(readings))
        assert not service.ready.is_set()
        assert service.health.lag()[0] == len(readings)
        assert service._notifier.sent == []
        go_on.set()
        await until(lambda: service._notifier.sent)
        assert service.counters.readings_detected == len(readings)
    finally:
        go_on.set()
        stop.set()
        async with asyncio.timeout(20):
            await task


async def test_a_stop_while_they_do_keeps_what_was_stored(config, monkeypatch):
    go_on, new_watch = threading.Event(), Service._new_watch

    def slow(self):
        assert go_on.wait(30)
        return new_watch(self)

    monkeypatch.setattr(Service, "_new_watch", slow)
    service = Service(config, notifier=RecordingNotifier())
    stop = asyncio.Event()
    task = asyncio.create_task(service.run(stop))
    await until(lambda: service.counters.beat)
    await service.commits.commit(puff())
    stop.set()
    go_on.set()
    async with asyncio.timeout(20):
        await task
    async with running(config) as again:
        await until(lambda: again._notifier.sent)


async def test_a_batch_of_corrupt_records_ends_nothing(config):
    async with running(config) as service:
        await until(lambda: service.series.position() == 0)
        service.journal.commit(puff()[:5])
        with contextlib.closing(sqlite3.connect(service.paths.journal)) as other, other:
            other.execute("UPDATE journal SET crc = 0")
        now = time.time()
        await service._commit([], [])  # wakes the consumers
        await until(lambda: service._watch.position == 5)
        await service._commit([Reading("n2-boys-1", now, now, {"pm25": 4.0})], [])
        await until(lambda: service.writer.state.stored == 1)
        assert service.journal.dead_letter_counts() == {"corrupt_record": 5}


async def test_a_new_journal_goes_on_behind_its_consumers(config):
    async with running(config) as service:
        readings = puff()
        await service._commit(readings, [])
        await until(lambda: service.writer.state.stored == len(readings))
        await until(lambda: service._watch.position == len(readings))
    for path in service.paths.root.glob("journal.db*"):
        path.unlink()
    now = time.time()
    async with running(config) as service:
        await service._commit([Reading("n2-boys-1", now, now, {"pm25": 4.0})], [])
        await until(lambda: service.writer.state.stored == 1)
        await until(lambda: service.counters.readings_detected == 1)
        assert service.series.count() == len(readings) + 1


async def test_incidents_resolve_while_readings_come_without_a_pause(config):
    """The clock runs a hundred times faster; a puff's quiet two minutes are over in no time."""
    began, base = time.monotonic(), time.time()

    def clock():
        return base + (time.monotonic() - began) * 100

    async def breathe(service):
        while True:
            now = clock()
            await service._commit([Reading("n2-boys-1", now, now, {"pm25": 4.0})], [])
            await asyncio.sleep(0.01)

    async with running(config, clock=clock) as service:
        await service._commit(
            [Reading("n2-boys-1", clock(), clock(), {"pm25": 4.0}, ("tamper",))], []
        )
        await until(lambda: service._notifier.sent)
        traffic = asyncio.create_task(breathe(service))
        with contextlib.closing(sqlite3.connect(service.paths.state)) as state:
            open_ones = "SELECT count(*) FROM incident WHERE status <> 'resolved'"
            await until(lambda: state.execute(open_ones).fetchone()[0] == 0)
        traffic.cancel()


async def test_two_services_on_one_folder(config):
    async with running(config):
        with pytest.raises(ServiceError, match="is in use by process"):
            await Service(config, notifier=RecordingNotifier()).run(asyncio.Event())


async def test_silence_is_told_once_and_survives_a_restart(config):
    """The service's clock runs twenty times faster: a minute of silence is three seconds."""
    began, base = time.monotonic(), time.time()

    def clock():
        return base + (time.monotonic() - began) * 20

    def reading(received):
        return Reading("n2-boys-1", received, received, {"pm25": 4.0})

    async with running(config, clock=clock) as service:
        await service._commit([reading(base - 5 * k) for k in range(5, 0, -1)], [])
        await until(lambda: service._notifier.sent)
        assert service.pipeline().sensors["n2-boys-1"].state == "offline"
    (told,) = service._notifier.sent
    assert told.notice.kind == "offline"
    assert told.notice.room == "Boys"
    assert "; the broker cannot be reached" in told.notice.evidence
    async with running(config, clock=clock) as service:
        assert service.pipeline().sensors["n2-boys-1"].state == "offline"
        await service._commit([reading(clock())], [])
        await until(lambda: service.pipeline().sensors["n2-boys-1"].state == "alive")
        assert service._notifier.sent == []


async def test_a_standby_takes_over(config):
    standby = Service(config, notifier=RecordingNotifier(), standby=True)
    stop = asyncio.Event()
    async with running(config) as active:
        await active._commit(puff(), [])
        await until(lambda: active._notifier.sent)
        waiting = asyncio.create_task(standby.run(stop))
        await asyncio.sleep(0.05)
        assert not standby.ready.is_set()
    async with asyncio.timeout(30):
        await standby.ready.wait()
    now = time.time()
    await standby._commit([Reading("n2-boys-1", now, now, {"pm25": 4.0})], [])
    await until(lambda: standby.writer.state.stored == 1)
    assert standby._notifier.sent == []
    stop.set()
    await waiting


async def test_a_standby_can_be_stopped(config):
    async with running(config):
        stop = asyncio.Event()
        waiting = asyncio.create_task(Service(config, standby=True).run(stop))
        await asyncio.sleep(0.05)
        stop.set()
        async with asyncio.timeout(10):
            await waiting


async def test_a_journal_that_cannot_be_read_for_a_while(config):
    async with running(config) as service:
        real, refusals = service.journal.read, [StorageUnavailableError("disk I/O error")] * 2

        def read(after, limit):
            if refusals:
                raise refusals.pop()
            return real(after, limit)

        service.journal.read = service.writer._read = read
        readings = puff()
        await service._commit(readings, [])
        await until(lambda: service.writer.state.stored == len(readings))
        await until(lambda: service._notifier.sent)
        await until(lambda: service.run_until_stored.failing == {})


async def test_the_start_goes_on_with_what_can_be_read_of_a_damaged_state(config):
    async with running(config) as service:
        await service._commit(puff(), [])
        await until(lambda: service._notifier.sent)
    path = service.paths.state
    with contextlib.closing(sqlite3.connect(path)) as state:
        state.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = state.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'outbox'"
        ).fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    async with running(config) as service:
        await service._commit(puff(), [])
        await until(lambda: service.writer.state.stored)
    with contextlib.closing(sqlite3.connect(path)) as state:
        assert state.execute("SELECT count(*) FROM incident").fetchone()[0] >= 1
    assert path.with_name("state.db.corrupt-1").exists()


async def test_the_journal_is_pruned_behind_all_its_readers(config, monkeypatch):
    monkeypatch.setattr(Housekeeping, "run", lambda *_: asyncio.Event().wait())  # not by itself
    async with running(config) as service:
        old = time.time() - 8 * 86_400
        readings = [Reading("n2-boys-1", old + k, old + k, {"pm25": 4.0}) for k in range(20)]
        await service._commit(readings, [])
        await until(lambda: service._watch.position == 20)
        await until(lambda: service.series.position() == 20)
        await service.house.delete(service._state, 15)
        assert service.journal.first_offset() == 16
        assert service.counters.deleted_unread == 0


async def test_what_time_alone_decides_is_sent_without_waiting_for_the_pump(config, monkeypatch):
    """The pump here would look again by itself after an hour."""
    patient = partial(OutboxPump, settings=PumpSettings(idle_s=3600.0))
    monkeypatch.setattr("plumewatch.service.app.OutboxPump", patient)
    async with running(config) as service:
        await service._commit(readings_of_puff(start=time.time() - 165.0, seconds=165.0), [])
        await until(lambda: service._notifier.sent)
        with contextlib.closing(connect(service.paths.state)) as state:
            state.execute("UPDATE escalation_step SET due_at = due_at - 1000 WHERE done_at IS NULL")
        await until(lambda: len(service._notifier.sent) == 2)
        assert service._notifier.sent[1].body.startswith("Nobody has responded yet.")
