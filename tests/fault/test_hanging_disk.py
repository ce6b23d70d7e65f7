"""A disk that does not answer: the event loop goes on, and health says what hangs."""

import os
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from plumewatch.service import data_folder, resources
from plumewatch.service.app import Service
from storage.reading import Reading
from storage.sqlite import connect
from tests.support.broker import Mosquitto
from tests.support.in_process import running, until

TOUCHED = []
"""Files below a folder that a thread opened, made or looked at, while both are `watched`."""
watched = None


def touched(what, path):
    if watched is not None:
        thread, folder = watched
        if threading.get_ident() == thread and str(path).startswith(folder):
            TOUCHED.append((what, os.path.basename(str(path))))  # noqa: PTH119


def note(event, arguments):
    if event in ("open", "os.rename", "os.remove", "os.mkdir"):
        touched(event, arguments[0])


sys.addaudithook(note)


async def answer(service, path):
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"http://127.0.0.1:{service.config.web.port}{path}", timeout=5)


@pytest.mark.parametrize("name", ["journal", "state"])
async def test_health_answers_and_says_what_hangs(config, monkeypatch, name):
    monkeypatch.setattr(resources, "HANGS_S", 0.2)
    async with running(config) as service:
        now = time.time()
        with closing(connect(config.data_dir / f"{name}.db")) as other:
            other.execute("BEGIN IMMEDIATE")  # whoever writes waits for ten seconds
            service.ingestion.commits.enter([Reading("n2-boys-1", now, now, {"pm25": 4.0})])
            health = service.monitoring.health
            await until(lambda: "has not answered" in health.describe_failing())
            assert (await answer(service, "/healthz")).status_code == 200
            found = await answer(service, "/readyz")
            assert found.status_code == 503
            assert f"{name}.db has not answered" in found.text
            other.execute("ROLLBACK")
        await until(lambda: service.detection.position == 1)
        await until(lambda: "has not answered" not in health.describe_failing())


async def test_the_event_loop_touches_no_file_of_the_data_folder(config, monkeypatch):
    """From when its databases are open, with a broker and all that is periodic."""
    listen = Service._listen

    def begin(service):
        global watched  # noqa: PLW0603 - an audit hook cannot be removed
        web = listen(service)
        watched = threading.get_ident(), str(config.data_dir)
        return web

    def end(service):
        global watched  # noqa: PLW0603
        watched = None
        close(service)

    def look(path, *arguments, **options):
        if "subscriptions" not in str(path):  # the test itself looks for it
            touched("stat", path)
        return stat(path, *arguments, **options)

    close, stat = Service._close, Path.stat
    monkeypatch.setattr(Path, "stat", look)
    monkeypatch.setattr(Service, "_listen", begin)
    monkeypatch.setattr(Service, "_close", end)
    monkeypatch.setattr(data_folder, "_LOOK_S", 0.01)
    with Mosquitto() as broker:
        port = config.broker.model_copy(update={"port": broker.port})
        config = config.model_copy(update={"broker": port})
        del TOUCHED[:]
        async with running(config) as service:
            await until((config.data_dir / "subscriptions.json").exists)
            await until(lambda: service.ingestion.source.state.connected)
            await service.monitoring.maintenance.measure()
            await service.monitoring.maintenance.save()
            await service.monitoring.deletion.delete(0)
            for path in ("/healthz", "/readyz", "/metrics"):
                await answer(service, path)
    assert sorted(set(TOUCHED)) == []
