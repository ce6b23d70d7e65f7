"""Test the service's figures about itself, and that a wrong clock cannot speed up deletion."""

import asyncio
import logging
import time

import pytest

from plumewatch.config.load import parse
from plumewatch.service import maintenance
from plumewatch.service.maintenance import FASTEST, Maintenance, RetentionClock
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


async def test_samples_of_sensors_and_service_reach_the_series(config):
    async with running(config) as service:
        began = time.time()
        readings = readings_of_puff(start=began - 300)
        await store(service, readings)
        await until(lambda: service.writers.readings.state.stored == len(readings))
        await until(lambda: service.alerting.notifier.sent)
        await service.monitoring.maintenance.measure()
        await until(lambda: service.series.records("pipeline", began, time.time() + 1))
        (sample,) = service.series.records("pipeline", began, time.time() + 1)
        fields = sample.fields
        assert fields["detected"] == fields["stored"] == len(readings)
        assert (fields["alerts"], fields["sensors"]) == (1.0, 1.0)
        assert fields["ready_broker"] == fields["ready"] == 0.0
        assert fields["ready_store"] == 1.0
        assert "broker" in fields["failing"]
        assert fields["commits"] >= 1
        _, health = service.series.records("sensor_health", began, time.time() + 1)
        assert (health.sensor, health.fields["state"]) == ("n2-boys-1", "alive")
        assert (health.fields["tamper"], health.fields["faults"]) == (0.0, 0.0)
        assert check_record(health) == health
        end = time.time() + 1
        (event,) = service.series.records("event", began - 300, end)
        assert event.kind == "vape"
        assert len(service.series.records("incident", began - 300, end)) == 1
        await until(
            lambda: service.series.records("incident", began - 300, end)[0].fields.get("notices")
        )
        await service.monitoring.maintenance.measure()
        await until(lambda: len(service.series.records("pipeline", began, time.time() + 1)) == 2)
        second = service.series.records("pipeline", began, time.time() + 1)[1].fields
        assert (second["detected"], second["alerts"]) == (0.0, 0.0)  # only this period counts
        assert len(service.series.records("sensor_health", began, time.time() + 1)) == 2


async def test_sensors_have_their_place_in_the_series_from_the_start_on(config, monkeypatch):
    """Dashboards get a room's building and floor from these records, even for silent sensors."""
    monkeypatch.setattr(Maintenance, "measure", lambda *_: asyncio.Event().wait())  # not due
    began = time.time()

    def known(service):
        return {r.sensor for r in service.series.records("sensor_health", began, time.time() + 1)}

    async with running(config) as service:
        await until(lambda: known(service) == {"n2-boys-1"})
    config.sensor.append(config.sensor[0].model_copy(update={"id": "n2-boys-2"}))
    async with running(config) as service:  # a reload also starts a new service
        await until(lambda: known(service) == {"n2-boys-1", "n2-boys-2"})


async def test_hours_on_duty_are_counted_while_nothing_runs(config, tmp_path):
    """Hours are counted by the minute while the service runs, and by the hour for downtime."""
    monday, began = 1_789_387_200.0, time.monotonic()  # 2026-09-14T12:00:00Z
    shift = {"id": "s", "receiver": "staff", "people": ["ap"], "start": "08:00", "end": "16:30"}
    config = parse(
        config.model_dump(mode="json", by_alias=True) | {"shift": [shift]}, base=tmp_path
    )

    def clock(hours):
        return lambda: monday + 3600.0 * hours + time.monotonic() - began

    async def counted(hours):
        async with running(config, clock=clock(hours)) as service:
            now = clock(hours)()
            await service.monitoring.maintenance.measure()
            await until(lambda: service.series.records("pipeline", now, now + 999.0))
            return service.series.records("pipeline", monday, now + 999.0), now

    (first,), since = await counted(0.25)
    assert 0.0 <= first.fields["duty_s"] <= first.time - monday
    records, _ = await counted(6.0)  # 18:00: duty ended at 16:30
    assert sum(r.fields["duty_s"] for r in records) == pytest.approx(
        monday + 4.5 * 3600 - since, abs=60.0 + first.time - since
    )
    hours = [r for r in records if r.fields.keys() == {"duty_s"}]
    assert [(r.time - monday) / 3600 for r in hours] == [1.0, 2.0, 3.0, 4.0, 5.0]


async def test_records_that_wait_over_a_restart(config, monkeypatch):
    def away(_):
        raise StorageUnavailableError("the series is away")

    began = time.time()
    async with running(config) as service:
        monkeypatch.setattr(service.series, "record", away)
        await store(service, readings_of_puff(start=began - 300))
        await until(lambda: service.alerting.notifier.sent)
        await until(lambda: service.writers.records.state.failing)
        assert service.monitoring.health.check_parts()[-1].detail == "the series is away"
    async with running(config) as service:
        await until(lambda: service.series.records("incident", began - 300, time.time()))
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
            snapshot = await service.monitoring.maintenance.save()
            with caplog.at_level(logging.WARNING):
                await service.monitoring.deletion.delete(snapshot)
            assert len(service.series.between(0, 4e9)) == len(readings)
            assert service.journal.last_offset() - service.journal.first_offset() == 4
    assert sum("set it right" in r.message for r in caplog.records) == 2


async def test_samples_are_dropped_while_the_series_is_away_for_too_long(
    config, monkeypatch, caplog
):
    monkeypatch.setattr(maintenance, "MAX_WAITING", 0)
    monkeypatch.setattr(SqliteSeries, "record", away)
    async with running(config) as service:
        await service.monitoring.maintenance.measure()
    assert "oldest samples are dropped" in caplog.text


def away(*_):
    raise StorageUnavailableError("the store is away")
