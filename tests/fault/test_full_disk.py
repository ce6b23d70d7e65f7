"""Test that nothing is acknowledged on a full disk, alerts continue, and everything recovers."""

import asyncio
import contextlib
import signal
import time

import pytest

from plumewatch.service.resources import ServiceError
from storage.journal import Journal
from storage.reading import Reading
from tests.support.alert_records import history, incidents, notices
from tests.support.broker import Mosquitto
from tests.support.disk import Disk
from tests.support.in_process import running, state_database, store
from tests.support.plumes import readings_of_puff
from tests.support.service import Publisher, Receiver, ServiceProcess
from tests.support.waiting import eventually, until


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


def of(service, read, *names, **given):
    with state_database(service) as db:
        return read(db, *names, **given)


@pytest.mark.parametrize("full", ["journal", "state", "both", "read-only"])
async def test_an_alert_leaves_from_memory_and_only_once(config, disk, full):
    async with running(config) as service:
        now = time.time() - 400
        await store(service, [Reading("n2-boys-1", now, now, {"pm25": 4.0})])
        await until(lambda: service.detection.position == 1)
        if full in ("journal", "both"):
            disk.fill("journal.db")
        if full == "read-only":
            disk.lock("journal.db")
        if full in ("state", "both", "read-only"):
            disk.lock("state.db")  # it could still write, because its pages have free space
        puff = readings_of_puff(start=time.time() - 300)
        settled = service.ingestion.commits.enqueue(puff)
        await until(lambda: service.alerting.notifier.sent)
        assert service.alerting.memory.active
        if full != "journal":  # the state database can still store the decisions made in memory
            assert of(service, incidents) == []
        if full != "state":
            assert not settled.done()
            assert service.journal.get_last_offset() == 1
            assert service.ingestion.commits.failing
        disk.free("journal.db")
        disk.free("state.db")
        async with asyncio.timeout(60):
            await settled
        await until(lambda: not service.alerting.memory.active)
        await until(lambda: service.detection.position == 1 + len(puff))
        await until(lambda: of(service, notices, status="sent"))
        await until(lambda: service.series.get_cursor() == 1 + len(puff))
        ((incident, status),) = of(service, incidents, "id", "status")
        assert status in ("notified", "resolved")
        assert of(service, history, "what").count("notified") == 1
        assert len(service.alerting.notifier.sent) == 1
        assert service.alerting.notifier.sent[0].notice.incident == incident
        assert len(service.series.read_between(0, 4e9)) == 1 + len(puff)


async def test_stopped_while_the_disk_is_full(config, disk):
    async with running(config) as service:
        disk.fill("journal.db")
        settled = service.ingestion.commits.enqueue(readings_of_puff(start=time.time() - 300))
        await until(lambda: service.alerting.memory.active)
    assert settled.cancelled()
    with Journal(service.paths.journal) as journal:
        assert journal.get_last_offset() == 0


def fill(folder):
    with (folder / "ballast").open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(b"\0" * 4096)


async def test_a_start_without_room(small_disk, config, caplog):
    """The disk filled up completely while the service was down; the service starts many times."""
    config = config.model_copy(update={"data_dir": small_disk})
    async with running(config) as service:
        now = time.time() - 400
        await store(service, [Reading("n2-boys-1", now, now, {"pm25": 4.0})])
        await until(lambda: service.detection.position == 1)
    for _ in range(6):
        fill(small_disk)
        async with running(config) as service:
            assert service.ready.is_set()
            fill(small_disk)
    told = next(r for r in caplog.records if "had reserved" in r.getMessage())
    assert told.levelname == "ERROR"
    assert str(small_disk) in told.getMessage()
    async with running(config) as service:
        puff = readings_of_puff(start=time.time() - 300)
        settled = service.ingestion.commits.enqueue(puff)
        await until(lambda: service.alerting.notifier.sent)
        (small_disk / "ballast").unlink()
        async with asyncio.timeout(60):
            await settled
        await until(lambda: service.series.get_cursor() == 1 + len(puff))
        await service.monitoring.deletion.delete(0)
    assert len(service.alerting.notifier.sent) == 1
    fill(small_disk)
    async with running(config) as service:  # the space was reserved again
        assert service.ready.is_set()


async def test_a_first_start_without_room_says_which_folder_is_full(small_disk, config):
    fill(small_disk)
    with pytest.raises(ServiceError, match=f"{small_disk}.* is full"):
        async with running(config.model_copy(update={"data_dir": small_disk})):
            pass


def test_a_file_system_without_room(small_disk, tmp_path):
    """With real ENOSPC, more messages arrive than fit the broker's window, ending with a puff."""
    window = "max_inflight_messages 50\nmax_queued_messages 100000"
    with (
        Mosquitto(window) as broker,
        Receiver() as receiver,
        ServiceProcess(tmp_path, broker.port, push_url=receiver.url) as service,
        Publisher(broker.port) as publisher,
    ):
        now = time.time()
        puff = readings_of_puff(start=now - 300)
        publisher.send_readings([puff[0]])
        eventually(lambda: len(service.journal()) == 1, lambda: service.log)
        fill(small_disk)
        ours = [Reading("n2-boys-2", now - k, 0, {"pm25": 4.0}, seq=k) for k in range(400, 0, -1)]
        publisher.send_readings(ours)
        eventually(lambda: "alerting from memory" in service.log, lambda: service.log)
        eventually(lambda: "-tap" in broker.log, lambda: broker.log)
        publisher.send_readings(puff[1:])
        publisher.settle()
        eventually(lambda: receiver.pushes, lambda: service.log)
        before = len(service.journal())
        assert before < 300  # readings stored before the file system was full
        (small_disk / "ballast").unlink()
        eventually(lambda: len(service.journal()) == len(puff) + len(ours), lambda: service.log)
        eventually(lambda: "works again" in service.log, lambda: service.log)
        stored = [(r.sensor, r.seq) for r in service.journal()]
        assert sorted(stored) == sorted(publisher.acknowledged)
        eventually(lambda: service.series().total() == len(puff) + 400, lambda: service.log)
        assert service.end(signal.SIGTERM) == 0
        assert len(receiver.pushes) == 1, receiver.pushes
        assert "Traceback" not in service.log
