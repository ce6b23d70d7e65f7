"""Named tasks of the service, the order in which they end, and the threads of its databases.

A task that fails, or ends before the stop, ends the service with one sentence, so no part dies
unnoticed. Each database has one thread, so it is only ever used from one thread at a time.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from ingest.errors import BrokerError
from storage.errors import (
    StorageCorruptError,
    StorageError,
    StorageUnavailableError,
    is_transient,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from storage.timeseries.writer import InThread

log = logging.getLogger(__name__)
T = TypeVar("T")

DRAIN_S: Final = 1.0
"""How long the last tasks go on after the stop for those that drain."""


class ServiceError(Exception):
    """The service cannot start or go on; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Task:
    """One part of the service while it runs.

    Attributes
    ----------
    stop : callable, optional
        Asks `work` to end by itself; without it, `work` is cancelled.
    ends : str
        ``"first"`` at the stop; ``"drained"`` too, and the last ones wait for it; ``"last"`` when
        these have ended or `DRAIN_S` has passed.
    """

    name: str
    work: Coroutine[None, None, None]
    stop: Callable[[], None] | None = None
    ends: Literal["first", "drained", "last"] = "first"


async def supervise(tasks: Sequence[Task], stop: asyncio.Event) -> None:
    """Run tasks until `stop` is set, then end them in order.

    Raises
    ------
    ServiceError
        If one of them ends before, or fails for a reason that operators can act on.
    """
    try:
        async with asyncio.TaskGroup() as group:
            started = [(t, group.create_task(_watched(t, stop), name=t.name)) for t in tasks]
            await stop.wait()
            for task, running in started:
                if task.ends != "last":
                    task.stop() if task.stop else running.cancel()
            if draining := [running for task, running in started if task.ends == "drained"]:
                await asyncio.wait(draining, timeout=DRAIN_S)
            for task, running in started:
                if task.ends == "last":
                    running.cancel()
    except BaseExceptionGroup as errors:
        for error in _leaves(errors):
            if isinstance(error, ServiceError | BrokerError):
                raise ServiceError(str(error)) from errors
            if isinstance(error, StorageError | sqlite3.Error):
                raise ServiceError(f"storage: {error}{_remedy(error)}") from errors
        raise


async def _watched(task: Task, stop: asyncio.Event) -> None:
    try:
        await task.work
    except Exception as error:
        log.critical("%s failed: %s: %s", task.name, type(error).__name__, error)
        raise
    if not stop.is_set():
        raise ServiceError(f"{task.name} ended by itself")


def _remedy(error: StorageError | sqlite3.Error) -> str:
    """Return what to do about an error that no waiting repairs."""
    if isinstance(error, StorageCorruptError):
        return "; the next start repairs what can be read of it"
    if isinstance(error, StorageUnavailableError) and not is_transient(error):
        return (
            "; the database does not fit this version of Plumewatch: restore a backup"
            " (plumewatch restore), or report this"
        )
    return ""


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


class DatabaseThreads:
    """One thread a database, by name."""

    def __init__(self, *names: str) -> None:
        self._threads = {
            name: ThreadPoolExecutor(1, thread_name_prefix=f"plumewatch-{name}") for name in names
        }

    def of(self, name: str) -> InThread:
        """Return what runs blocking work in the thread of a database."""
        return partial(self._run, name)

    async def _run(self, name: str, work: Callable[..., T], *arguments: object) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads[name], work, *arguments)

    def close(self) -> None:
        """Wait for work under way and end the threads."""
        for thread in self._threads.values():
            thread.shutdown(wait=True)


async def after(ready: asyncio.Event, start: Callable[[], Coroutine[None, None, None]]) -> None:
    """Wait until `ready` is set, then run what `start` returns."""
    await ready.wait()
    await start()
