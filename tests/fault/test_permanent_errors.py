"""Test that permanent errors end the service with a message, while a full disk is retried."""

import asyncio
import contextlib
import time

import pytest

from alerts.consumer.detection_consumer import CONSUMER
from plumewatch.cli.options import UNREACHABLE
from plumewatch.service.app import Service
from plumewatch.service.resources import ServiceError
from storage import sqlite
from storage.errors import StorageCorruptError
from storage.journal import load_cursor
from storage.reading import Reading
from storage.sqlite import connect
from tests.support.disk import Disk
from tests.support.in_process import running, state_database, store
from tests.support.recording_notifier import RecordingNotifier
from tests.support.service import ServiceProcess, run_command
from tests.support.waiting import until


def reading():
    now = time.time()
    return Reading("n2-boys-1", now, now, {"pm25": 4.0})


@contextlib.asynccontextmanager
async def ending(config, match):
    """Run a service that must end by itself with a message."""
    service = Service(config, notifier=RecordingNotifier())
    stop = asyncio.Event()
    task = asyncio.create_task(service.run(stop))
    try:
        async with asyncio.timeout(60):
            await service.ready.wait()
            yield service
            with pytest.raises(ServiceError, match=match):
                await task
    finally:
        stop.set()
        with contextlib.suppress(ServiceError):
            await task


def break_column(path):
    with contextlib.closing(connect(path)) as db:
        db.execute("ALTER TABLE consumer RENAME COLUMN position TO place")


async def test_a_missing_column(config):
    sentence = r"state\.db: no such column: .*does not fit this version of Plumewatch"
    async with ending(config, sentence) as service:
        break_column(service.paths.state)
        service.ingestion.commits.enqueue([reading()])  # this write must end the service


def test_a_process_with_a_newer_schema_reports_it_and_ends(tmp_path):
    service = ServiceProcess(tmp_path, 1)
    (tmp_path / "data").mkdir()
    with contextlib.closing(connect(tmp_path / "data/state.db")) as db:
        db.execute("CREATE TABLE component_version (component TEXT PRIMARY KEY, version INTEGER)")
        db.execute("INSERT INTO component_version VALUES ('state', 100)")
    done = run_command("run", "--config", str(service.config))
    assert done.returncode == UNREACHABLE
    assert "state.db was written by a newer version" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def overwrite(path):
    """Overwrite every page of a database in use, and of its log."""
    for file in (path, path.with_name(f"{path.name}-wal")):
        with file.open("r+b") as opened:
            opened.seek(0)
            opened.write(b"\xff" * file.stat().st_size)


async def test_a_journal_damaged_while_it_runs_is_rebuilt_and_that_is_shown(config):
    def rebuilt():  # the service notices at its next read, such as for metrics
        service.monitoring.meters.refresh()
        return "plumewatch_databases_rebuilt_total 1" in service.monitoring.meters.format_metrics()

    async with running(config) as service:
        await store(service, [reading()])
        await until(lambda: service.writers.readings.state.stored == 1)
        await until(lambda: service.detection.counts.readings == 1)
        overwrite(service.paths.journal)
        await store(service, [reading()])  # can still go to the damaged file and be lost
        await until(rebuilt)
        evaluated = service.detection.counts.readings
        await store(service, [reading()])
        await until(lambda: service.detection.counts.readings > evaluated)


async def test_a_journal_that_cannot_be_rebuilt(config, monkeypatch):
    def nothing_readable(path, *_):
        raise StorageCorruptError(f"{path}: nothing of it can be read")

    async with ending(config, r"journal\.db: nothing of it can be read") as service:
        await store(service, [reading()])
        monkeypatch.setattr(sqlite, "salvage", nothing_readable)
        overwrite(service.paths.journal)
        service.ingestion.commits.enqueue([reading()])


async def test_a_state_without_space_and_with_space_again(config, monkeypatch):
    disk = Disk(monkeypatch)

    def part():
        return {part.name: part for part in service.monitoring.health.check_parts()}["journal"]

    async with running(config) as service:
        await store(service, [reading()])
        await until(lambda: service.detection.position == 1)
        disk.lock("state.db")
        await store(service, [reading()])
        await until(lambda: "incidents: " in part().detail)
        assert not part().ok
        assert not service.monitoring.health.is_ready()
        disk.free("state.db")
        await until(lambda: part().ok)
        await until(lambda: service.detection.position == 2)
        with state_database(service) as db:
            assert load_cursor(db, CONSUMER) == 2
