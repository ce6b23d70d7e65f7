"""Run a service inside the test's process, with a notifier that records notices."""

from __future__ import annotations

import asyncio
import contextlib

from plumewatch.config.load import parse
from plumewatch.service.app import Service
from storage.sqlite import connect, transaction
from tests.support.broker import free_port
from tests.support.recording_notifier import RecordingNotifier


def one_room(base):
    """Return a configuration with one sensor."""
    (base / "ap-url").write_text("json://127.0.0.1:9/push")
    return parse(
        {
            "site": "S",
            "timezone": "UTC",
            "broker": {"port": free_port()},  # no broker answers here; tests add readings directly
            "web": {"port": free_port()},
            "alerts": {"allow_private_targets": True},
            "room": [{"id": "r", "name": "Boys", "building": "North", "floor": "2"}],
            "sensor": [{"id": "n2-boys-1", "room": "r"}],
            "staff": [{"id": "ap", "name": "AP", "notify": [{"url_file": "ap-url"}]}],
        },
        base=base,
    )


@contextlib.asynccontextmanager
async def running(config, *, wait=True, **options):
    """Run a service; with `wait`, first wait until its detectors are ready."""
    service = Service(config, **{"notifier": RecordingNotifier(), **options})
    stop = asyncio.Event()
    task = asyncio.create_task(service.run(stop))
    try:
        ready = asyncio.create_task(service.ready.wait())
        if wait:
            await asyncio.wait((task, ready), timeout=60, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        yield service
    finally:
        stop.set()
        async with asyncio.timeout(60):
            await task


async def store(service, readings):
    """Pass readings to a running service as if they had arrived; return once they are durable."""
    await service.ingestion.commits.commit(readings)


@contextlib.contextmanager
def state_database(service):
    """Open the running service's state database, for reading and short transactions."""
    with contextlib.closing(connect(service.paths.state)) as db:
        yield db


def decide(engine, connection, *events, now=1000.0):
    """Pass events to an engine in one transaction; return the alerts."""
    with transaction(connection) as tx:
        return engine.on_events(tx, events, now)
