"""Test that the whole service evaluates, stores and notifies, despite faults and restarts."""

import asyncio
import contextlib
import threading
import time
from functools import partial

from prometheus_client.parser import text_string_to_metric_families

from alerts.escalation import escalator
from alerts.notify.pump import OutboxPump, PumpSettings
from plumewatch.config.paths import DataPaths
from plumewatch.service import resources
from plumewatch.service.app import Service
from plumewatch.service.consumers import build_consumer
from storage.errors import StorageUnavailableError
from storage.journal import DeadLetter, Journal
from storage.reading import ClockSteps, Reading
from storage.sqlite import connect
from tests.support.alert_records import incidents
from tests.support.in_process import running, store
from tests.support.plumes import readings_of_puff
from tests.support.recording_notifier import RecordingNotifier
from tests.support.waiting import until


def puff():
    return readings_of_puff(start=time.time() - 300)


async def test_counters_go_on_over_a_restart_or_begin_anew_as_declared(config):
    def counted(service):
        meters = service.monitoring.meters
        meters.refresh()
        families = text_string_to_metric_families(meters.format_metrics())
        return {
            family.name.removeprefix("plumewatch_"): sum(s.value for s in family.samples)
            for family in families
            if family.type == "counter"
        }

    paths = DataPaths(config.data_dir)
    async with running(config) as service:
        await store(service, puff())
        for reading in puff():
            service.ingestion.intake.reading_counts.add(reading)
        await until(lambda: service.alerting.deliveries.outcomes["sent"])
        with contextlib.closing(connect(paths.journal)) as db:
            db.execute("INSERT INTO gap VALUES ('unread', 1, 3, 0)")
        before = counted(service)
    async with running(config) as service:
        after = counted(service)
        declared = {m.name for m in service.monitoring.meters.meters if m.continues}
    assert before["readings_stored"] > after["readings_stored"] == 0
    assert {name for name, n in before.items() if n and after.get(name, 0.0) >= n} == {
        name for name in declared if before.get(name)
    }


async def test_a_stop_while_they_do_keeps_what_was_stored(config, monkeypatch):
    go_on = threading.Event()

    def slow(*arguments):
        assert go_on.wait(60)
        return build_consumer(*arguments)

    monkeypatch.setattr("plumewatch.service.consumers.build_consumer", slow)
    service = Service(config, notifier=RecordingNotifier())
    stop = asyncio.Event()
    task = asyncio.create_task(service.run(stop))
    await until(lambda: service.detection.beat)
    await service.ingestion.commits.commit(puff())
    stop.set()
    go_on.set()
    async with asyncio.timeout(60):
        await task
    async with running(config) as again:
        await until(lambda: again.alerting.notifier.sent)


async def test_the_event_loop_counts_no_rows_of_the_journal(config, monkeypatch):
    threads = []

    def recorded(work):
        def run(journal):
            threads.append(threading.current_thread())
            return work(journal)

        return run

    for name in ("count_dead_letters", "get_bytes_used"):
        monkeypatch.setattr(Journal, name, recorded(getattr(Journal, name)))
    async with running(config) as service:
        threads.clear()  # discard the threads used at startup
        assert service.monitoring.get_status().dead_letters == {}
        letter = DeadLetter(time.time(), "a/b", "malformed", "not JSON", "native", 1, b"{")
        await asyncio.to_thread(service.journal.commit, (), [letter])
        await asyncio.to_thread(
            service.monitoring.meters.refresh
        )  # as happens once a minute, or on request
        metrics = service.monitoring.meters.format_metrics()
        assert service.monitoring.get_status().dead_letters == {"malformed": 1}
    assert 'plumewatch_dead_letters{reason="malformed"} 1' in metrics
    assert threads
    assert threading.main_thread() not in threads


async def test_a_new_journal_goes_on_behind_its_consumers(config):
    async with running(config) as service:
        readings = puff()
        await store(service, readings)
        await until(lambda: service.writers.readings.state.stored == len(readings))
        await until(lambda: service.detection.position == len(readings))
    for path in service.paths.root.glob("journal.db*"):
        path.unlink()
    now = time.time()
    async with running(config) as service:
        await store(service, [Reading("n2-boys-1", now, now, {"pm25": 4.0})])
        await until(lambda: service.writers.readings.state.stored == 1)
        await until(lambda: service.detection.counts.readings == 1)
        assert len(service.series.read_between(0, 4e9)) == len(readings) + 1


async def test_incidents_resolve_while_readings_come_without_a_pause(config, monkeypatch):
    """The clock runs a hundred times faster, so a puff's two quiet minutes are over quickly."""
    began, base = time.monotonic(), time.time()

    def clock():
        return base + (time.monotonic() - began) * 100

    monkeypatch.setattr(resources, "ClockSteps", lambda _: ClockSteps(clock))  # no clock steps

    async def breathe(service):
        while True:
            now = clock()
            await store(service, [Reading("n2-boys-1", now, now, {"pm25": 4.0})])
            await asyncio.sleep(0.01)

    async with running(config, clock=clock) as service:
        await store(service, [Reading("n2-boys-1", clock(), clock(), {"pm25": 4.0}, ("tamper",))])
        await until(lambda: service.alerting.notifier.sent)
        traffic = asyncio.create_task(breathe(service))
        with contextlib.closing(connect(service.paths.state)) as state:
            await until(lambda: set(incidents(state, "status")) == {"resolved"})
        traffic.cancel()


async def test_silence_is_reported_once_and_survives_a_restart(config, monkeypatch):
    """The service's clock runs twenty times faster, so a minute of silence takes three seconds."""
    began, base = time.monotonic(), time.time()

    def clock():
        return base + (time.monotonic() - began) * 20

    monkeypatch.setattr(resources, "ClockSteps", lambda _: ClockSteps(clock))  # no clock steps

    def reading(received):
        return Reading("n2-boys-1", received, received, {"pm25": 4.0})

    async with running(config, clock=clock) as service:
        await store(service, [reading(base - 5 * k) for k in range(5, 0, -1)])
        await until(lambda: service.alerting.notifier.sent)
        assert service.monitoring.get_status().sensors["n2-boys-1"].state == "offline"
    (sent,) = service.alerting.notifier.sent
    assert sent.notice.kind == "offline"
    assert sent.notice.room == "Boys"
    assert "; the broker cannot be reached" in sent.notice.evidence.describe("offline")
    async with running(config, clock=clock) as service:
        assert service.monitoring.get_status().sensors["n2-boys-1"].state == "offline"
        await store(service, [reading(clock())])
        await until(lambda: service.monitoring.get_status().sensors["n2-boys-1"].state == "alive")
        assert service.alerting.notifier.sent == []


async def test_what_time_alone_decides_is_sent_without_waiting_for_the_pump(config, monkeypatch):
    """On its own, the pump would check again only after an hour."""
    patient = partial(OutboxPump, settings=PumpSettings(idle_s=3600.0))
    monkeypatch.setattr("plumewatch.service.alerting.OutboxPump", patient)
    async with running(config) as service:
        await store(service, readings_of_puff(start=time.time() - 165.0, seconds=165.0))
        await until(lambda: service.alerting.notifier.sent)
        with contextlib.closing(connect(service.paths.state)) as state:
            escalator.shift_steps(state, *incidents(state, "id"), -1000.0)
        await until(lambda: len(service.alerting.notifier.sent) == 2)
        assert service.alerting.notifier.sent[1].body.startswith("Nobody has responded to this one")


async def test_a_journal_that_cannot_be_read_for_a_while(config, monkeypatch):
    real, refusals = Journal.read, []

    def read(self, after, limit):
        if refusals:
            raise refusals.pop()
        return real(self, after, limit)

    monkeypatch.setattr(Journal, "read", read)
    async with running(config) as service:
        refusals += [StorageUnavailableError("disk I/O error")] * 2
        readings = puff()
        await store(service, readings)
        await until(lambda: service.writers.readings.state.stored == len(readings))
        await until(lambda: service.alerting.notifier.sent)
        await until(lambda: service.resources.run_until_stored.failing == {})
