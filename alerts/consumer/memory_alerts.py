"""Alert from memory while writing to the disk fails.

When the disk is full, the journal stops, and senders keep unacknowledged readings. Alerting
continues:

1. After the journal or the state database has failed for `GRACE_S`, the consumer is forked onto a
   copy of the state database in memory (`memory_state`). The disk's outbox pump is paused, and a
   pump on the memory database starts.
2. The consumer in memory first processes the events that were not committed yet. It then evaluates
   the readings that wait for the disk, the journal entries not yet evaluated, and the live readings
   from `UnstoredReadings`. The detectors skip readings that are not newer, so a reading that
   arrives twice counts once.
3. When the journal works again, one transaction copies the decisions made in memory to the state
   database, and alerting from memory stops. The readings are then stored and evaluated on the disk.
   Their events are already known, so nobody is notified twice.
4. The outcomes of notices that were still being sent from memory are copied afterward.

Alerts are never decided in memory and on the disk at the same time. `active` is set in the thread
that commits to the disk. While it is set, `require_disk` raises an error there. Likewise, only one
of the two pumps runs at a time.

Memory alerting is not durable. If the service stops before the disk works again, decisions made in
memory are lost, the readings are redelivered, and people are notified of each incident again.
Liveness is not tracked.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from alerts.consumer.memory_state import apply_changes, copy_state, mark_carried_over, take_changes
from alerts.notify.pump import OutboxPump
from storage.errors import StorageError, StorageUnavailableError
from storage.sqlite import connect, transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from alerts.consumer.detection_consumer import DetectionConsumer
    from alerts.consumer.memory_state import Change
    from alerts.engine import AlertEngine, AlertRecord
    from alerts.notify.channels.apprise_notifier import Notifier
    from detection.events import Event
    from storage.journal import JournalEntry
    from storage.reading import Reading
    from storage.sqlite import InThread

    Listen = Callable[[], Coroutine[None, None, None]]

log = logging.getLogger(__name__)

GRACE_S: Final = 2.0
"""How long the disk must fail before alerting continues from memory, in seconds."""
_POLL_S: Final = 0.2
_CARRY_OVER_AGAIN_S: Final = 1.0
_BATCH: Final = 2_000


class ReadingQueue(Protocol):
    """Readings on their way into the journal (`ingest.commit.GroupCommit`)."""

    @property
    def failing(self) -> str:
        """Why the journal cannot store the readings; empty if it can."""

    def list_unsettled(self) -> list[Reading]:
        """Return the readings that wait for the disk, in order of arrival."""


class Detection(Protocol):
    """Detection that commits to the state database on the disk and can be forked."""

    undecided: tuple[Sequence[Event], int] | None
    """Uncommitted events, and the journal offset that detection has reached."""

    @property
    def position(self) -> int:
        """Journal offset of the last evaluated reading."""

    def fork(self, connection: sqlite3.Connection) -> DetectionConsumer:
        """Return a consumer that continues from here on another state database."""


class Fork(NamedTuple):
    """The consumer in memory, its database, and the only thread that uses them."""

    thread: ThreadPoolExecutor
    memory: sqlite3.Connection
    consumer: DetectionConsumer


@dataclass(slots=True)
class UnstoredReadings:
    """Live readings that cannot be stored, for detection in memory; kept only while `wanted`."""

    wanted: bool = False
    _readings: list[Reading] = field(default_factory=list)

    def put(self, readings: Sequence[Reading]) -> None:
        """Add readings if they are `wanted`."""
        if self.wanted:
            self._readings += readings

    def take(self) -> list[Reading]:
        """Return the readings since the last call."""
        taken, self._readings = self._readings, []
        return taken


@dataclass(slots=True, kw_only=True)
class MemoryAlerts:
    """Takes over alerting while writing to the disk fails.

    `state_failing` returns why incidents cannot be stored, or an empty string if they can.
    `in_detector` runs work in the state database's thread. `on_alerts` is called in the event loop.
    `alerts` counts the alerts decided in memory.
    """

    engine: AlertEngine
    notifier: Notifier
    readings: ReadingQueue
    unstored: UnstoredReadings
    read_journal: Callable[[int, int], tuple[list[JournalEntry], int]]
    state_failing: Callable[[], str]
    in_detector: InThread
    clock: Callable[[], float]
    on_alerts: Callable[[Sequence[AlertRecord]], None]
    grace_s: float = GRACE_S
    active: bool = field(init=False, default=False)
    alerts: int = field(init=False, default=0)
    _wake: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    async def run(
        self, detection: Detection, disk: sqlite3.Connection, pump: OutboxPump, listen: Listen
    ) -> None:
        """Take over whenever the disk fails, and pause `pump` meanwhile; run until canceled."""
        loop = asyncio.get_running_loop()
        since: float | None = None
        while True:
            await asyncio.sleep(_POLL_S)
            failing = self._find_failure()
            since = (loop.time() if since is None else since) if failing else None
            if since is None or loop.time() - since < self.grace_s:
                continue
            log.error(
                "cannot write to the disk; alerting from memory, nothing is stored: %s", failing
            )
            await pump.pause()
            try:
                await self._take_over(detection, disk, listen)
            finally:
                pump.resume()
            log.warning("the disk works again; alerts sent from memory so far: %d", self.alerts)
            since = None

    def require_disk(self) -> None:
        """Raise a transient error while memory decides; call this before deciding on the disk."""
        if self.active:
            raise StorageUnavailableError("alerts are decided in memory")

    def _find_failure(self) -> str:
        return self.readings.failing or self.state_failing()

    async def _take_over(
        self, detection: Detection, disk: sqlite3.Connection, listen: Listen
    ) -> None:
        with (
            closing(connect(":memory:")) as memory,
            ThreadPoolExecutor(1, thread_name_prefix="plumewatch-memory") as thread,
        ):
            try:
                consumer, (events, position) = await self.in_detector(
                    self._begin, detection, disk, memory
                )
                fork = Fork(thread, memory, consumer)
                self.unstored.wanted = True
                pump = OutboxPump(
                    memory, self.engine, self.notifier, self._wake, clock=self.clock, thread=thread
                )
                async with asyncio.TaskGroup() as group:
                    sending = group.create_task(pump.run(), name="outbox in memory")
                    listening = group.create_task(listen(), name="tap")
                    if events:
                        await self._decide(
                            fork, consumer.commit, events, consumer.position, self.clock()
                        )
                    group.create_task(self._feed(fork, position), name="readings in memory")
                    await self._carry_over_until_stored(fork, disk)
                    listening.cancel()
                    pump.stop()
                    await sending
                    await self._carry_over_until_stored(fork, disk)
            finally:
                self.active = self.unstored.wanted = False
                self.unstored.take()

    def _begin(
        self, detection: Detection, disk: sqlite3.Connection, memory: sqlite3.Connection
    ) -> tuple[DetectionConsumer, tuple[Sequence[Event], int]]:
        """Copy the state; return a consumer of the copy, and the pending events and position."""
        copy_state(disk, memory)
        self.active = True
        return detection.fork(memory), detection.undecided or ((), detection.position)

    async def _feed(self, fork: Fork, position: int) -> None:
        loop = asyncio.get_running_loop()
        fed, unreadable = 0, False
        while self.active:
            waiting = self.readings.list_unsettled()
            fresh, fed = waiting[fed:], len(waiting)
            fresh += self.unstored.take()
            try:
                entries, position = await loop.run_in_executor(
                    fork.thread, self.read_journal, position, _BATCH
                )
                fresh = [entry.reading for entry in entries] + fresh
            except StorageError as error:
                if not unreadable:
                    log.warning("alerts from memory: the journal cannot be read: %s", error)
                unreadable = True
            await self._decide(fork, self._detect, fork.consumer, fresh, self.clock())
            await asyncio.sleep(_POLL_S)

    def _detect(
        self, consumer: DetectionConsumer, readings: Sequence[Reading], now: float
    ) -> list[AlertRecord]:
        if not self.active:
            return []
        if not readings:
            return consumer.on_time(now).alerts
        return consumer.process(readings, consumer.position, now).alerts

    async def _decide(
        self, fork: Fork, work: Callable[..., list[AlertRecord]], *given: object
    ) -> None:
        """Run work that decides alerts in the memory thread, and report the alerts."""
        alerts = await asyncio.get_running_loop().run_in_executor(fork.thread, work, *given)
        self._wake.set()
        self.alerts += len(alerts)
        for alert in alerts:
            log.warning("alert from memory: %s by %s", alert.kind, alert.sensor)
        if alerts:
            self.on_alerts(alerts)

    async def _carry_over_until_stored(self, fork: Fork, disk: sqlite3.Connection) -> None:
        while True:
            try:
                if not self.readings.failing:
                    await self.in_detector(self._carry_over, fork, disk)
                    return
            except sqlite3.OperationalError as error:
                log.warning("decisions from memory cannot be stored yet: %s", error)
            await asyncio.sleep(_CARRY_OVER_AGAIN_S)

    def _carry_over(self, fork: Fork, disk: sqlite3.Connection) -> None:
        """Stop deciding in memory, and store the decisions made there on the disk."""
        was_active = self.active
        try:
            with transaction(disk) as tx:
                changes = fork.thread.submit(self._end, fork.memory).result()
                left_out = apply_changes(tx, changes)
        except sqlite3.Error:
            self.active = was_active
            raise
        fork.thread.submit(mark_carried_over, fork.memory, changes).result()
        if left_out:
            log.warning("%d rows from memory were left out: the disk has newer ones", left_out)

    def _end(self, memory: sqlite3.Connection) -> list[Change]:
        """Stop deciding in memory and return the changes; call this in the memory thread."""
        self.active = False
        return take_changes(memory)
