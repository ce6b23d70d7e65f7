"""A service inside the test's own process, with a notifier that remembers."""

from __future__ import annotations

import asyncio
import contextlib

from alerts.notify import RecordingNotifier
from plumewatch.service import Service

__all__ = ["running", "until"]


@contextlib.asynccontextmanager
async def running(config, **options):
    service = Service(config, notifier=RecordingNotifier(), **options)
    stop = asyncio.Event()
    task = asyncio.create_task(service.run(stop))
    try:
        ready = asyncio.create_task(service.ready.wait())
        await asyncio.wait((task, ready), timeout=60, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        yield service
    finally:
        stop.set()
        async with asyncio.timeout(60):
            await task


async def until(met):
    async with asyncio.timeout(60):
        while not met():  # noqa: ASYNC110 - what is waited for is in other threads
            await asyncio.sleep(0.01)
