"""Named tasks of the service, and the order in which they end.

A task that fails, or ends before the stop, ends the service with one sentence, so no part dies
unnoticed.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from ingest.errors import BrokerError
from plumewatch.errors import UnreachableError
from storage.errors import (
    StorageCorruptError,
    StorageError,
    StorageUnavailableError,
    is_transient,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

log = logging.getLogger(__name__)

DRAIN_S: Final = 1.0
"""How long the last tasks go on after the stop for those that drain."""
ENDS_S: Final = 4.0
"""How long tasks that end by themselves may take, before they are cancelled."""


class ServiceError(UnreachableError):
    """The service cannot start or go on; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Task:
    """One part of the service while it runs.

    `stop` asks `work` to end by itself; without it, `work` is cancelled. Parts that end ``"last"``
    do so when the ``"drained"`` ones have ended or `DRAIN_S` has passed.
    """

    name: str
    work: Coroutine[None, None, None]
    stop: Callable[[], None] | None = None
    ends: Literal["first", "drained", "last"] = "first"


async def supervise(tasks: Sequence[Task], stop: asyncio.Event) -> None:
    """Run tasks until `stop` is set, then end them in order; `ServiceError` if one fails."""
    try:
        async with asyncio.TaskGroup() as group:
            started = [(t, group.create_task(_run_task(t, stop), name=t.name)) for t in tasks]
            await stop.wait()
            await _end(started)
    except BaseExceptionGroup as errors:
        for error in _leaves(errors):
            if isinstance(error, ServiceError | BrokerError):
                raise ServiceError(str(error)) from errors
            if isinstance(error, StorageError | sqlite3.Error):
                raise ServiceError(f"storage: {error}{_remedy(error)}") from errors
        raise


async def _end(started: Sequence[tuple[Task, asyncio.Task[None]]]) -> None:
    """Ask tasks to end, those that are last after the others; cancel what takes too long."""
    for task, running in started:
        if task.ends != "last":
            task.stop() if task.stop else running.cancel()
    if draining := [running for task, running in started if task.ends == "drained"]:
        await asyncio.wait(draining, timeout=DRAIN_S)
    for task, running in started:
        if task.ends == "last":
            running.cancel()
    _, slow = await asyncio.wait([running for _, running in started], timeout=ENDS_S)
    for running in slow:
        log.warning("%s does not end, and is cancelled", running.get_name())
        running.cancel()


async def _run_task(task: Task, stop: asyncio.Event) -> None:
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


async def after(ready: asyncio.Event, start: Callable[[], Coroutine[None, None, None]]) -> None:
    """Wait until `ready` is set, then run what `start` returns."""
    await ready.wait()
    await start()
