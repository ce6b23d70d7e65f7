"""Alerting from memory while the disk refuses.

A full disk stops the journal: nothing more is acknowledged, and the senders keep what they have.
The school still wants to know of a plume now, so alerting goes on from a copy in memory.

Order of operations
-------------------
1. Journal or state have refused for `GRACE_S`: the consumer is forked over a copy of the state
   database in memory (`memory_state`), the pump of the disk is held, and one of the memory starts.
2. What the detectors had decided and could not commit is decided in memory. Then come the readings
   that wait for the disk, those of the journal that were not yet detected, and live ones from
   `ingest_unstored` (nothing is acknowledged). A reading that comes both ways has one effect: the
   detectors skip what is not newer.
3. The disk works again: before the consumer commits anything, `write_back` carries over what was
   decided in memory. The readings are then stored and detected as ever; their events are known and
   notify nobody twice.
4. The outcomes of notices that were in flight in memory are carried over too.

It is not durable. A service that ends meanwhile forgets what it decided; the readings were never
acknowledged, so they come again: one more notice an incident. Liveness is not followed.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from alerts.consumer.memory_state import apply_changes, copy_state, settle_changes, take_changes
from alerts.notify.pump import OutboxPump
from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from alerts.consumer.detection_consumer import DetectionConsumer
    from alerts.incidents.engine import AlertEngine, AlertRecord
    from alerts.notify.channels.apprise_notifier import Notifier
    from detection.events import Event
    from storage.journal import JournalEntry
    from storage.reading import Reading
    from storage.timeseries.writer import InThread

    Listen = Callable[[], Coroutine[None, None, None]]

log = logging.getLogger(__name__)

GRACE_S: Final = 2.0
_POLL_S: Final = 0.2
_CARRY_OVER_AGAIN_S: Final = 1.0
_BATCH: Final = 2_000


class ReadingQueue(Protocol):
    """Readings on their way into the journal (`ingest.commit.GroupCommit`)."""

    @property
    def failing(self) -> str:
        """Why the journal refuses them; empty if it does not."""

    def unsettled(self) -> list[Reading]:
        """Return the readings that wait for the disk, in order of arrival."""


class Detection(Protocol):
    """What is taken over: detection over the state database on the disk."""

    undecided: tuple[Sequence[Event], int] | None
    """What was detected, up to which journal offset, and could not be committed yet."""

    @property
    def position(self) -> int:
        """Journal offset up to which readings are judged."""

    def fork(self, connection: sqlite3.Connection) -> DetectionConsumer:
        """Return a consumer that goes on from here over another state database."""


class MemoryAlerts:
    """Takes over alerting while the disk refuses.

    `read_journal`: `Journal.read`; `state_failing`: returns why incidents cannot be stored at the
    moment; empty if they can; `in_detector`: runs work in the thread of the state database;
    `on_alerts`: called with alerts, in the event loop; `grace_s`: how long the disk may refuse
    before. `active`: whether alerts leave from memory at the moment; `alerts`: alerts decided in
    memory since the start.
    """

    def __init__(
        self,
        *,
        engine: AlertEngine,
        notifier: Notifier,
        readings: ReadingQueue,
        read_journal: Callable[[int, int], tuple[list[JournalEntry], int]],
        state_failing: Callable[[], str],
        in_detector: InThread,
        clock: Callable[[], float],
        on_alerts: Callable[[Sequence[AlertRecord]], None],
        grace_s: float = GRACE_S,
    ) -> None:
        self.active = False
        self.alerts = 0
        self._engine = engine
        self._notifier = notifier
        self._readings = readings
        self._read_journal = read_journal
        self._state_failing = state_failing
        self._in_detector = in_detector
        self._clock = clock
        self._on_alerts = on_alerts
        self._grace_s = grace_s
        self._thread: ThreadPoolExecutor | None = None
        self._memory: sqlite3.Connection | None = None
        self._twin: DetectionConsumer | None = None
        self._wake = asyncio.Event()
        self._live: list[Reading] = []

    async def run(
        self,
        detection: Detection,
        disk: sqlite3.Connection,
        pump: OutboxPump,
        listen: Listen,
    ) -> None:
        """Stand by and take over, until cancelled.

        `disk`: the state database, used in the detector's thread; `pump`: of the state database;
        held meanwhile; `listen`: passes live messages to `ingest_unstored` until cancelled.
        """
        loop = asyncio.get_running_loop()
        since: float | None = None
        while True:
            await asyncio.sleep(_POLL_S)
            failing = self._failing()
            since = (loop.time() if since is None else since) if failing else None
            if since is None or loop.time() - since < self._grace_s:
                continue
            log.error("the disk refuses; alerts leave from memory, nothing is stored: %s", failing)
            pump.held = True
            try:
                await self._take_over(detection, disk, listen)
            finally:
                pump.held = False
            log.warning("the disk works again; %d alerts left from memory so far", self.alerts)
            since = None

    def ingest_unstored(self, readings: Sequence[Reading]) -> None:
        """Show live readings that cannot be stored to the detectors; nothing is promised."""
        if self.active:
            self._live += readings

    def write_back(self, disk: sqlite3.Connection) -> None:
        """Carry over what was decided in memory, in the detector's thread.

        Call it before the consumer commits anything, so that the disk never decides again what
        memory has. While the journal still refuses, alerts go on from memory all the same.
        """
        if self._memory is not None and self.active:
            self._carry_over(disk)
            self.active = bool(self._readings.failing)

    def _failing(self) -> str:
        return self._readings.failing or self._state_failing()

    async def _take_over(
        self, detection: Detection, disk: sqlite3.Connection, listen: Listen
    ) -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, thread_name_prefix="plumewatch-memory") as thread:
            self._thread = thread
            try:
                memory, self._twin = await self._in_detector(_fork, detection, disk)
                self._memory, self.active = memory, True
                events, position = detection.undecided or ((), detection.position)
                pump = OutboxPump(
                    memory,
                    self._engine,
                    self._notifier,
                    self._wake,
                    clock=self._clock,
                    thread=thread,
                )
                async with asyncio.TaskGroup() as group:
                    sending = group.create_task(pump.run(), name="outbox in memory")
                    listening = group.create_task(listen(), name="tap")
                    self._report(await loop.run_in_executor(thread, self._decide, events))
                    await self._feed(thread, position)
                    listening.cancel()
                    if self.active:
                        await self._until_carried_over(disk)
                        self.active = False
                    pump.stop()
                    await sending
                    await self._until_carried_over(disk)
            finally:
                self.active = False
                if self._memory is not None:
                    thread.submit(self._memory.close).result()
                self._memory = self._twin = self._thread = None
                self._live.clear()

    async def _feed(self, thread: ThreadPoolExecutor, position: int) -> None:
        """Show readings to the detectors in memory until the disk works again."""
        loop = asyncio.get_running_loop()
        fed = 0
        while self.active and self._failing():
            waiting = self._readings.unsettled()
            fresh, fed = waiting[fed:], len(waiting)
            fresh += self._live
            self._live.clear()
            with suppress(StorageError):  # the disk refuses: it was logged when this began
                entries, position = await loop.run_in_executor(
                    thread, self._read_journal, position, _BATCH
                )
                fresh = [entry.reading for entry in entries] + fresh
            self._report(await loop.run_in_executor(thread, self._detect, fresh, self._clock()))
            await asyncio.sleep(_POLL_S)

    def _detect(self, readings: Sequence[Reading], now: float) -> list[AlertRecord]:
        if self._twin is None or not self.active:
            return []
        if not readings:
            return self._twin.on_time(now).alerts
        return self._twin.process(readings, self._twin.position, now).alerts

    def _decide(self, events: Sequence[Event]) -> list[AlertRecord]:
        if self._twin is None or not events:
            return []
        return self._twin.commit(events, self._twin.position, self._clock())

    def _report(self, alerts: Sequence[AlertRecord]) -> None:
        self._wake.set()
        self.alerts += len(alerts)
        for alert in alerts:
            log.warning("alert from memory: %s by %s", alert.kind, alert.sensor)
        if alerts:
            self._on_alerts(alerts)

    async def _until_carried_over(self, disk: sqlite3.Connection) -> None:
        """Carry over, again and again while the disk refuses."""
        while True:
            try:
                await self._in_detector(self._carry_over, disk)
            except sqlite3.OperationalError as error:
                log.warning("what was decided in memory cannot be stored yet: %s", error)
                await asyncio.sleep(_CARRY_OVER_AGAIN_S)
            else:
                return

    def _carry_over(self, disk: sqlite3.Connection) -> None:
        if self._memory is None or self._thread is None:
            return
        changes = self._thread.submit(take_changes, self._memory).result()
        left_out = apply_changes(disk, changes)
        self._thread.submit(settle_changes, self._memory, changes).result()
        if left_out:
            log.warning("%d rows decided in memory were left out: the disk has others", left_out)


def _fork(
    detection: Detection, disk: sqlite3.Connection
) -> tuple[sqlite3.Connection, DetectionConsumer]:
    memory = copy_state(disk)
    return memory, detection.fork(memory)
