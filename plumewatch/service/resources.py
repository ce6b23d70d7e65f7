"""Shared resources of a service's parts: configuration, clock, and databases with their threads.

The connections kept here are used only in the thread of their database. A `Task` that fails, or
ends before the service is stopped, ends the service with a one-sentence error, so no part dies
unnoticed.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from alerts.consumer.detection_consumer import CONSUMER
from ingest.errors import BrokerError
from plumewatch.config.paths import DataPaths
from plumewatch.config.settings import build_series
from plumewatch.errors import UnreachableError
from plumewatch.service import data_folder
from plumewatch.service.stored_values import set_damage_aside
from storage.errors import StorageCorruptError, StorageError, StorageUnavailableError, is_transient
from storage.journal import Journal, load_cursor
from storage.reading import ClockSteps, assume_no_step
from storage.sqlite import RunUntilStored

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence
    from pathlib import Path

    from alerts.engine import AlertRecord
    from detection.events import Event
    from plumewatch.config.model import PlumewatchConfig

T = TypeVar("T")

HANGS_S: Final = 5.0
"""Time after which a database counts as hanging: no commit or batch of readings takes this long."""

_GRACE_S: Final = 2.0
_REMEMBERED: Final = 10_000
"""Number of newest readings that consumers get from memory, not from the journal: about 10 MB."""


@dataclass(slots=True)
class Observer:
    """Callbacks in the event loop, for the demo and tests."""

    on_events: Callable[[Sequence[Event]], None] = lambda _: None
    on_alerts: Callable[[Sequence[AlertRecord]], None] = lambda _: None


class ExternalEvents:
    """A queue of other detectors' events, which detection commits in order."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[tuple[Sequence[Event], asyncio.Future[None]]]
        self._waiting = asyncio.Queue(1)

    async def commit(self, events: Sequence[Event]) -> None:
        """Wait until detection has committed events."""
        committed = asyncio.get_running_loop().create_future()
        await self._waiting.put((events, committed))
        await committed

    async def take(self) -> tuple[Sequence[Event], asyncio.Future[None]]:
        """Return the next events, and the future to resolve once they are committed."""
        return await self._waiting.get()


class DatabaseThread:
    """The thread for one database, which measures how long its current work takes."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"plumewatch-{name}")
        self._since = math.inf

    async def __call__(self, work: Callable[..., T], *arguments: object) -> T:
        """Run ``work(*arguments)`` in the thread, and return its result."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._run, work, arguments)

    def measure_busy_s(self) -> float:
        """Return how long the current work has taken, seconds; 0.0 if there is none."""
        return max(0.0, time.monotonic() - self._since)

    def end(self) -> None:
        """Wait for the current work to finish, and end the thread."""
        self._thread.shutdown(wait=True)

    def _run(self, work: Callable[..., T], arguments: tuple[object, ...]) -> T:
        self._since = time.monotonic()
        try:
            return work(*arguments)
        finally:
            self._since = math.inf


class Resources:
    """Configuration, clock and databases of one service.

    - `on_stored`: functions to call in the event loop after each commit, with the journal's last
      offset.
    - `ready`: set once the state of the detectors is restored.
    - `in_journal`, `in_detector` (also for the state database), `in_series`: run blocking work in a
      database's thread. `run_until_stored` runs it in `in_detector` and retries it.
    - `step_reader`: makes readers of clock steps.
    - `state`: set by `open`.
    - `opening`: the file that is being opened; None once all files are open.
    """

    state: sqlite3.Connection
    is_open = False

    def __init__(
        self, config: PlumewatchConfig, clock: Callable[[], float], observer: Observer
    ) -> None:
        self.config = config
        self.clock = clock
        steps = ClockSteps(time.monotonic)
        self.step_reader = steps.make_reader if clock is time.time else lambda: assume_no_step
        self.observer = observer
        self.ready = asyncio.Event()
        self.on_stored: list[Callable[[int], None]] = []
        self.paths = DataPaths(config.data_dir)
        self.opening: Path | None = self.paths.root
        self.registry = config.build_registry()
        self.in_journal = DatabaseThread("journal")
        self.in_detector = DatabaseThread("detector")
        self.in_series = DatabaseThread("series")
        self.run_until_stored = RunUntilStored(self.in_detector, self.paths.state)
        self.journal = Journal(self.paths.journal, clock, _REMEMBERED)
        self.series = build_series(config, self.paths)

    def open(self) -> None:
        """Upgrade, repair and open the databases; raises `StorageError` or `sqlite3.Error`."""
        is_full = False
        while not self.is_open:
            try:
                self._open()
            except (StorageError, sqlite3.Error) as error:
                self.close()
                if not data_folder.use_reserved_space(self.paths.reserved, error):
                    raise
                is_full = True
        data_folder.reserve_space(self.paths.reserved, all_left=is_full)

    def _open(self) -> None:
        now = self.clock()
        paths = self.paths
        store = paths.influx if self.config.timeseries.url else paths.series
        absent = [path for path in (paths.state, store) if not path.exists()]
        data_folder.copy_before_upgrade(paths.root, now)
        before = data_folder.find_set_aside(paths.root)
        self.opening = paths.journal
        self.journal.open()
        self.opening = store
        self.series.open()
        self.opening = paths.state
        self.state = data_folder.open_and_repair_state(paths.state)
        self.is_open = True
        lost = data_folder.report_absent(self.journal, absent)
        damaged = data_folder.find_set_aside(paths.root) - before | set_damage_aside(self.state)
        data_folder.record_start(self.state, self.config, now, lost, damaged)
        cursor = max(self.series.get_cursor(), load_cursor(self.state, CONSUMER))
        data_folder.reconcile_journal(self.journal, cursor)

    def find_hanging(self) -> dict[str, str]:
        """Describe the databases that have not answered for some time."""
        if self.opening is not None:
            busy_s = self.in_detector.measure_busy_s()
            more = ": does its disk hang, or is it being repaired or copied?"
            return {"start": f"opening {self.opening} for {busy_s:.0f} s{more}"}
        threads = {"journal": self.in_journal, "state": self.in_detector}
        busy = {name: thread.measure_busy_s() for name, thread in threads.items()}
        return {
            name: f"{name}.db has not answered for {busy_s:.0f} s: does its disk hang?"
            for name, busy_s in busy.items()
            if self.ready.is_set() and busy_s > HANGS_S
        }

    def end_threads(self) -> None:
        """End the threads after their current work, so that only this thread uses the databases.

        If InfluxDB does not answer soon, it is abandoned; the next start writes the batch again.
        """
        abandon = threading.Timer(_GRACE_S, self.series.abandon)
        abandon.start()
        for thread in (self.in_journal, self.in_detector, self.in_series):
            thread.end()
        abandon.cancel()
        self.series.abandon()

    def close(self) -> None:
        """Close the databases."""
        if self.is_open:
            self.state.close()
        self.is_open = False
        self.series.close()
        self.journal.close()


log = logging.getLogger(__name__)

DRAIN_S: Final = 1.0
"""How long the tasks that end ``"last"`` continue while others drain."""
ENDS_S: Final = 4.0
"""How long tasks have to end on their own before they are canceled."""


class ServiceError(UnreachableError):
    """The service cannot start or continue; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task of the running service.

    `stop` asks `work` to end on its own; without it, `work` is canceled. Tasks that end ``"last"``
    do so once the ``"drained"`` ones have ended or `DRAIN_S` has passed.
    """

    name: str
    work: Coroutine[None, None, None]
    stop: Callable[[], None] | None = None
    ends: Literal["first", "drained", "last"] = "first"


async def supervise(tasks: Sequence[Task], stop: asyncio.Event) -> None:
    """Run tasks until `stop` is set, then end them in order; raises `ServiceError` if one fails."""
    try:
        async with asyncio.TaskGroup() as group:
            started = [(t, group.create_task(_run_task(t, stop), name=t.name)) for t in tasks]
            await stop.wait()
            await _end(started)
    except BaseExceptionGroup as errors:
        for error in _walk_leaves(errors):
            if isinstance(error, ServiceError | BrokerError):
                raise ServiceError(str(error)) from errors
            if isinstance(error, StorageError | sqlite3.Error):
                raise ServiceError(f"storage: {error}{_suggest_remedy(error)}") from errors
        raise


async def _end(started: Sequence[tuple[Task, asyncio.Task[None]]]) -> None:
    """Ask tasks to end, the ``"last"`` ones after the others; cancel tasks that take too long."""
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
        log.warning("%s does not end and is canceled", running.get_name())
        running.cancel()


async def _run_task(task: Task, stop: asyncio.Event) -> None:
    try:
        await task.work
    except Exception as error:
        log.critical("%s failed: %s: %s", task.name, type(error).__name__, error)
        raise
    if not stop.is_set():
        raise ServiceError(f"{task.name} ended unexpectedly")


def _suggest_remedy(error: StorageError | sqlite3.Error) -> str:
    """Suggest what to do about an error that does not go away on its own."""
    if isinstance(error, StorageCorruptError):
        return "; the next start repairs what can be read of it"
    if isinstance(error, StorageUnavailableError) and not is_transient(error):
        return (
            "; the database does not fit this version of Plumewatch: restore a backup"
            " (plumewatch restore), or report this"
        )
    return ""


def _walk_leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _walk_leaves(inner)
    else:
        yield error


async def run_after(ready: asyncio.Event, start: Callable[[], Coroutine[None, None, None]]) -> None:
    """Once `ready` is set, run the coroutine that `start` returns."""
    await ready.wait()
    await start()
