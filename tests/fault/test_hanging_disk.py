"""Test a disk that does not respond: the event loop keeps running, and health checks name it."""

import os
import signal
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from plumewatch.service import app, data_folder, resources
from plumewatch.service.app import Service
from storage.reading import Reading
from storage.sqlite import connect
from tests.support.broker import Mosquitto, free_port
from tests.support.in_process import running
from tests.support.launcher import ForkedService
from tests.support.waiting import eventually, until

TOUCHED = []
"""Files in the watched folder that the watched thread opened, created or inspected."""
watched = None


def touched(what, path):
    if watched is not None:
        thread, folder = watched
        if threading.get_ident() == thread and str(path).startswith(folder):
            TOUCHED.append((what, os.path.basename(str(path))))  # noqa: PTH119


held, go_on = None, threading.Event()
"""Suffix of file names; opening such a file blocks until `go_on` is set."""


def note(event, arguments):
    if event in ("open", "os.rename", "os.remove", "os.mkdir"):
        touched(event, arguments[0])
    if held is not None and event in ("open", "sqlite3.connect"):
        path = str(arguments[0]).partition("?")[0]
        if path.endswith(f"/{held}"):
            go_on.wait(60)


sys.addaudithook(note)


async def answer(service, path):
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        return await client.get(f"http://127.0.0.1:{service.config.web.port}{path}")


@pytest.mark.parametrize("name", ["journal", "state"])
async def test_health_answers_and_says_what_hangs(config, monkeypatch, name):
    monkeypatch.setattr(resources, "HANGS_S", 0.2)
    async with running(config) as service:
        now = time.time()
        with closing(connect(config.data_dir / f"{name}.db")) as other:
            other.execute("BEGIN IMMEDIATE")  # writers wait for ten seconds
            service.ingestion.commits.enqueue([Reading("n2-boys-1", now, now, {"pm25": 4.0})])
            health = service.monitoring.health
            await until(lambda: "has not answered" in str(health.check_parts()))
            assert (await answer(service, "/healthz")).status_code == 200
            found = await answer(service, "/readyz")
            assert found.status_code == 503
            assert f"{name}.db has not answered" in found.text
            other.execute("ROLLBACK")
        await until(lambda: service.detection.position == 1)
        await until(lambda: "has not answered" not in str(health.check_parts()))


@pytest.mark.parametrize(
    "name", ["service.lock", "journal.db", "state.db", "series.db", "client-id", "web-push.pem"]
)
async def test_a_disk_that_hangs_during_the_start(config, monkeypatch, caplog, name):
    if name != "service.lock":  # only a second start opens this file
        async with running(config):
            pass
    monkeypatch.setattr(app, "_QUICK_S", 0.05)
    monkeypatch.setattr(app, "HANGS_S", 0.1)
    monkeypatch.setitem(globals(), "held", name)
    go_on.clear()
    async with running(config, wait=False) as service:
        try:
            health = service.monitoring.health
            await until(lambda: "not ready: opening" in caplog.text)
            assert not go_on.is_set()
            assert (await answer(service, "/healthz")).status_code == 200
            found = await answer(service, "/readyz")
            assert found.status_code == 503
            assert f"opening {config.data_dir}" in found.text
            assert (await answer(service, "/")).status_code == 503
            assert (await answer(service, "/metrics")).status_code == 503
        finally:
            go_on.set()
        await until(service.ready.is_set)
        await until(lambda: "journal" not in health.find_failing())
        assert (await answer(service, "/metrics")).status_code == 200


def test_a_service_whose_disk_hangs_ends_all_the_same(tmp_path):
    (tmp_path / "data").mkdir()
    os.mkfifo(tmp_path / "data/client-id")  # there is no writer, so readers wait
    service = ForkedService(tmp_path, free_port())
    service.start(connected=False)
    eventually(lambda: "not ready: opening" in service.log, lambda: service.log)
    service.send_signal(signal.SIGTERM)
    assert service.wait() == 3
    assert "killing the process" in service.log.splitlines()[-1]


async def test_the_event_loop_touches_no_file_of_the_data_folder(config, monkeypatch):
    """This holds from startup, with a broker and all periodic tasks."""
    listen = Service._open_in_thread

    async def begin(service):
        global watched  # noqa: PLW0603 - an audit hook cannot be removed
        watched = threading.get_ident(), str(config.data_dir)
        await listen(service)

    def end(service):
        global watched  # noqa: PLW0603
        watched = None
        close(service)

    def look(path, *arguments, **options):
        if "subscriptions" not in str(path):  # the test itself checks for it
            touched("stat", path)
        return stat(path, *arguments, **options)

    close, stat = Service._close, Path.stat
    monkeypatch.setattr(Path, "stat", look)
    monkeypatch.setattr(Service, "_open_in_thread", begin)
    monkeypatch.setattr(Service, "_close", end)
    monkeypatch.setattr(data_folder, "_CHECK_EVERY_S", 0.01)
    with Mosquitto() as broker:
        port = config.broker.model_copy(update={"port": broker.port})
        config = config.model_copy(update={"broker": port})
        del TOUCHED[:]
        async with running(config) as service:
            await until((config.data_dir / "subscriptions.json").exists)
            await until(lambda: service.ingestion.source.state.connected)
            await service.monitoring.measure()
            await service.monitoring.save()
            await service.monitoring.deletion.delete(0)
            for path in ("/healthz", "/readyz", "/metrics"):
                await answer(service, path)
    assert sorted(set(TOUCHED)) == []
