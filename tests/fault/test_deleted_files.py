"""Test that a deleted database is reported at the start and rebuilt from the journal."""

import time

import pytest

from storage import audit
from tests.support.in_process import running, state_database, store
from tests.support.plumes import readings_of_puff
from tests.support.waiting import until

DAY = 86_400.0


def delete(config, name):
    for suffix in ("", "-wal", "-shm"):
        (config.data_dir / f"{name}{suffix}").unlink(missing_ok=True)


def last_start(service):
    with state_database(service) as db:
        return next(e for e in audit.read_entries(db) if e.kind == audit.AuditKind.START).detail


@pytest.mark.parametrize("name", ["state.db", "series.db"])
async def test_a_deleted_database_is_reported_and_the_series_is_whole(config, caplog, name):
    """Nobody is paged again for yesterday's plume."""
    readings = readings_of_puff(start=time.time() - DAY)
    async with running(config) as service:
        await store(service, readings)
        await until(lambda: service.series.get_cursor() == len(readings))
        await until(lambda: service.detection.position == len(readings))
        assert "missing" not in last_start(service)
    assert "was it deleted" not in caplog.text
    delete(config, name)
    async with running(config) as service:
        await until(lambda: service.series.get_cursor() == len(readings))
        await until(lambda: service.detection.position == len(readings))
        assert len(service.series.read_between(0, 4e9)) == len(readings)
        assert f'"missing": "{name}"' in last_start(service)
        assert service.alerting.notifier.sent == []
    (message,) = [r.getMessage() for r in caplog.records if "was it deleted" in r.getMessage()]
    assert name in message
    assert str(len(readings)) in message
    assert "plumewatch restore" in message
