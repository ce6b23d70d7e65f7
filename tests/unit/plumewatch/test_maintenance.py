"""Test the service's figures about itself, and that a wrong clock cannot speed up deletion."""

import asyncio
import logging
import time
from collections import defaultdict
from itertools import chain

import pytest

from plumewatch.service import monitoring
from plumewatch.service.deletion import FASTEST, RetentionClock
from storage.errors import StorageUnavailableError
from storage.reading import Reading
from storage.timeseries.records import check_record
from storage.timeseries.sqlite import SqliteSeries
from tests.support.in_process import running, store
from tests.support.plumes import readings_of_puff
from tests.support.waiting import until

DAY = 86_400.0


class TestRetentionClock:
    def test_a_jump_is_followed_slowly_and_put_right_at_once(self):
        clock = RetentionClock(1e9)
        ahead = 1e9 + 400 * DAY
        for k in range(1, 1441):  # a day of minutes
            at = clock.follow(ahead + 60.0 * k, 60.0)
        assert at - 1e9 == pytest.approx(FASTEST * DAY)
        assert clock.behind_s == pytest.approx((400 + 1 - FASTEST) * DAY)
        assert clock.follow(1e9 + DAY, 60.0) == 1e9 + DAY
        assert clock.behind_s == 0.0

    def test_after_a_summer_it_catches_up_in_days(self):
        clock, now, minutes = RetentionClock(1e9), 1e9 + 75 * DAY, 0
        while clock.follow(now := now + 60.0, 60.0) < now:
            minutes += 1
        assert minutes / 1440 == pytest.approx(75 / (FASTEST - 1), rel=0.01)


async def test_samples_events_and_incidents_are_written_to_the_series(config, monkeypatch):
    written = keep_records(monkeypatch)
    async with running(config) as service:
        await store(service, readings_of_puff(start=time.time() - 300))
        await until(lambda: service.alerting.notifier.sent)
        service.monitoring._recorder._health_due = 0.0
        await service.monitoring.measure()
        await until(lambda: len(written["sensor_health"]) == 2)
        health = written["sensor_health"][-1]
        assert (health.sensor, health.fields["state"]) == ("n2-boys-1", "alive")
        assert (health.fields["tamper"], health.fields["faults"]) == (0.0, 0.0)
        assert written["event"][0].kind == "vape"
        await until(lambda: written["incident"][-1].fields.get("notices"))
        await service.monitoring.measure()
        assert len(written["sensor_health"]) == 2  # the next ones are not due yet
        assert [check_record(record) for record in chain(*written.values())]


async def test_sensors_have_their_place_in_the_series_from_the_start_on(config, monkeypatch):
    """Dashboards get a room's building and floor from these records, even for silent sensors."""
    monkeypatch.setattr(
        monitoring.Monitoring, "measure", lambda *_: asyncio.Event().wait()
    )  # not due
    began = time.time()

    def known(service):
        return {r.sensor for r in service.series.read_health(began, time.time() + 1)}

    async with running(config) as service:
        await until(lambda: known(service) == {"n2-boys-1"})
    config.sensor.append(config.sensor[0].model_copy(update={"id": "n2-boys-2"}))
    async with running(config) as service:  # a reload also starts a new service
        await until(lambda: known(service) == {"n2-boys-1", "n2-boys-2"})


async def test_records_that_wait_over_a_restart(config, monkeypatch):
    def away(_):
        raise StorageUnavailableError("the series is away")

    async with running(config) as service:
        monkeypatch.setattr(service.series, "record", away)
        await store(service, readings_of_puff(start=time.time() - 300))
        await until(lambda: service.alerting.notifier.sent)
        await until(lambda: service.writers.records.state.failing)
        assert service.monitoring.health.check_parts()[-1].detail == "the series is away"
    written = keep_records(monkeypatch)
    async with running(config) as service:
        await until(lambda: written["incident"])
        assert service.writers.records.state.failing == ""


async def test_a_clock_that_is_set_ahead_deletes_nothing(config, caplog):
    ahead = [0.0]
    began = time.time()

    def clock():
        return time.time() + ahead[0]

    readings = [Reading("n2-boys-1", began - 9 + k, began, {"pm25": 4.0}) for k in range(5)]
    for jump in (0.0, 400 * DAY, 401 * DAY):
        ahead[0] = jump
        async with running(config, clock=clock) as service:
            if not jump:
                await store(service, readings)
                await until(lambda: service.writers.readings.state.stored == len(readings))
            snapshot = await service.monitoring.save()
            with caplog.at_level(logging.WARNING):
                await service.monitoring.deletion.delete(snapshot)
            assert len(service.series.read_between(0, 4e9)) == len(readings)
            assert service.journal.get_last_offset() - service.journal.get_first_offset() == 4
    assert sum("correct it;" in r.message for r in caplog.records) == 2


async def test_samples_are_dropped_while_the_series_is_away_for_too_long(
    config, monkeypatch, caplog
):
    monkeypatch.setattr(monitoring, "MAX_WAITING", 0)
    monkeypatch.setattr(SqliteSeries, "record", away)
    async with running(config) as service:
        await service.monitoring.measure()
    assert "oldest samples are dropped" in caplog.text


def away(*_):
    raise StorageUnavailableError("the store is away")


def keep_records(monkeypatch):
    """Return the records that services write from now on, by measurement."""
    written = defaultdict(list)

    def record(_, records):
        for one in records:
            written[one.measurement].append(one)

    monkeypatch.setattr(SqliteSeries, "record", record)
    return written
