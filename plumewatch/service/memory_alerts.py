"""Alerting from memory while the disk refuses.

Why
---
A full disk stops the journal: nothing more is acknowledged, and the senders keep what they have.
The school still wants to know of a plume now. So while the disk refuses, readings are shown to a
copy of the detectors and of the alerting state in memory, and notices leave from there.

Order of operations
-------------------
1. Journal or state have refused for `GRACE_S`: the detectors are forked, the state is copied
   (`alerts.consumer.memory_state`), the pump of the disk is held, one of the memory starts.
2. What the detectors had decided and could not commit is decided in memory. Then come the readings
   that wait for the disk, those of the journal that the detectors have not seen, and, as the
   broker's window is closed by then, live ones from a tap beside the session (QoS 0, nothing is
   acknowledged) and from HTTP ingest (which answers 503). A reading that comes both ways has one
   effect: the detectors pass over what is not newer.
3. The disk takes part again: before the detectors commit anything, what was decided in memory is
   carried over. The readings are then stored and detected as ever; their events are known already
   and tell nobody twice.
4. Notices that were in flight in memory are marked, and their outcome is carried over too.

What it is not
--------------
Not durable. A service that ends meanwhile forgets what it decided; the readings were never
acknowledged, so they come again and are decided again: one more notice an incident. Silence of
sensors is not followed.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from alerts.consumer.memory_state import apply_changes, copy_state, settle_changes, take_changes
from alerts.notify.pump import OutboxPump
from ingest.errors import BrokerError
from ingest.intake import Intake
from ingest.mqtt import tap
from ingest.states import States
from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from alerts.consumer.detection_consumer import DetectionConsumer
    from alerts.incidents.engine import AlertEngine, AlertRecord
    from alerts.notify.apprise_notifier import Notifier
    from detection.events import Event
    from ingest.broker import BrokerSettings
    from ingest.commit import GroupCommit
    from ingest.intake import IntakeConfig
    from ingest.message import Message
    from storage.journal import Journal
    from storage.reading import Reading
    from storage.timeseries.writer import InThread

log = logging.getLogger(__name__)

GRACE_S: Final = 2.0
_POLL_S: Final = 0.2
_TAP_AGAIN_S: Final = 5.0
_BATCH: Final = 2_000


class MemoryAlerts:
    """Watches over the disk; takes over alerting while it refuses.

    Parameters
    ----------
    topics : sequence of str
        Filters of the tap.
    heard : IntakeConfig
        What the tap's own intake is configured with.
    refusing : callable
        Why incidents cannot be stored at the moment; empty if they can.
    in_detector : InThread
        Runs work in the thread of the state database.
    clock : callable
        Unix seconds.
    on_alerts : callable
        Told of alerts, in the event loop.
    grace_s : float
        How long the disk may refuse before.

    Attributes
    ----------
    active : bool
        Whether alerts leave from memory at the moment.
    alerts : int
        Alerts decided in memory since the start.
    undecided : tuple of (events, position) or None
        What the detectors decided and could not commit yet; set by the service.
    """

    def __init__(
        self,
        *,
        engine: AlertEngine,
        notifier: Notifier,
        commits: GroupCommit,
        journal: Journal,
        broker: BrokerSettings,
        topics: Sequence[str],
        heard: IntakeConfig,
        refusing: Callable[[], str],
        in_detector: InThread,
        clock: Callable[[], float],
        on_alerts: Callable[[Sequence[AlertRecord]], None],
        grace_s: float = GRACE_S,
    ) -> None:
        self.active = False
        self.alerts = 0
        self.undecided: tuple[Sequence[Event], int] | None = None
        self._engine = engine
        self._notifier = notifier
        self._commits = commits
        self._journal = journal
        self._broker = broker
        self._topics = topics
        self._refusing = refusing
        self._in_detector = in_detector
        self._clock = clock
        self._on_alerts = on_alerts
        self._grace_s = grace_s
        self._thread: ThreadPoolExecutor | None = None
        self._memory: sqlite3.Connection | None = None
        self._twin: DetectionConsumer | None = None
        self._wake = asyncio.Event()
        self._live: list[Reading] = []
        self._intake = Intake(_apart(heard))

    async def run(
        self, watch: DetectionConsumer, disk: sqlite3.Connection, pump: OutboxPump
    ) -> None:
        """Stand by and take over, until cancelled.

        Parameters
        ----------
        disk : sqlite3.Connection
            The state database, used in the detector's thread.
        pump : OutboxPump
            Of the state database; held meanwhile.
        """
        loop = asyncio.get_running_loop()
        since: float | None = None
        while True:
            await asyncio.sleep(_POLL_S)
            why = self._why()
            since = (loop.time() if since is None else since) if why else None
            if since is None or loop.time() - since < self._grace_s:
                continue
            log.error("the disk refuses; alerts go on from memory, nothing is stored: %s", why)
            pump.held = True
            try:
                await self._take_over(watch, disk)
            finally:
                pump.held = False
            log.warning("the disk takes part again; %d alerts left from memory so far", self.alerts)
            since = None

    def ingest_unstored(
        self,
        message: Message,
        decoder: str = "",
        permits: Callable[[str, str | None], bool] | None = None,
    ) -> None:
        """Take a message that cannot be stored; nothing is promised. Parameters as in `Intake`."""
        if self.active:
            self._live += self._intake.on_message(message, decoder, permits).readings
            self._live += self._intake.on_time(message.received)

    def write_back(self, disk: sqlite3.Connection) -> None:
        """Carry over what was decided in memory, in the detector's thread.

        To be called before the detectors commit anything, so that the disk never decides again what
        memory has. While the journal still refuses, alerts go on from memory all the same.

        Raises
        ------
        sqlite3.OperationalError
            If the disk refuses.
        """
        if self._memory is not None and self.active:
            self._carry_over(disk)
            self.active = bool(self._commits.failing)

    def _why(self) -> str:
        return self._commits.failing or self._refusing()

    async def _take_over(self, watch: DetectionConsumer, disk: sqlite3.Connection) -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, thread_name_prefix="plumewatch-memory") as thread:
            self._thread = thread
            try:
                memory, self._twin = await self._in_detector(self._forked, watch, disk)
                self._memory, self.active = memory, True
                events, position = self.undecided or ((), watch.position)
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
                    listening = group.create_task(self._listen(), name="tap")
                    self._tell(await loop.run_in_executor(thread, self._decide, events))
                    await self._feed(thread, position)
                    listening.cancel()
                    if self.active:
                        await self._until_carried(disk)
                        self.active = False
                    pump.stop()
                    await sending
                    await self._until_carried(disk)
            finally:
                self.active = False
                if self._memory is not None:
                    thread.submit(self._memory.close).result()
                self._memory = self._twin = self._thread = None
                self._live.clear()

    @staticmethod
    def _forked(
        watch: DetectionConsumer, disk: sqlite3.Connection
    ) -> tuple[sqlite3.Connection, DetectionConsumer]:
        memory = copy_state(disk)
        return memory, watch.fork(memory)

    async def _feed(self, thread: ThreadPoolExecutor, position: int) -> None:
        """Show readings to the detectors in memory until the disk takes part again."""
        loop = asyncio.get_running_loop()
        fed = 0
        while self.active and self._why():
            waiting = self._commits.unsettled()
            fresh, fed = waiting[fed:], len(waiting)
            fresh += self._live
            self._live.clear()
            with suppress(StorageError):
                entries, position = await loop.run_in_executor(
                    thread, self._journal.read, position, _BATCH
                )
                fresh = [entry.reading for entry in entries] + fresh
            self._tell(await loop.run_in_executor(thread, self._show, fresh, self._clock()))
            await asyncio.sleep(_POLL_S)

    async def _listen(self) -> None:
        """Keep the tap open while the journal refuses."""
        while True:
            if self._commits.failing:
                with suppress(BrokerError):
                    await tap(self._broker, self._topics, self.ingest_unstored, self._clock)
            await asyncio.sleep(_TAP_AGAIN_S if self._commits.failing else _POLL_S)

    def _show(self, readings: Sequence[Reading], now: float) -> list[AlertRecord]:
        if self._twin is None or not self.active:
            return []
        if not readings:
            return self._twin.on_time(now)
        return self._twin.process(readings, self._twin.position, now).alerts

    def _decide(self, events: Sequence[Event]) -> list[AlertRecord]:
        if self._twin is None or not events:
            return []
        return self._twin.commit(events, self._twin.position, self._clock())

    def _tell(self, alerts: Sequence[AlertRecord]) -> None:
        self._wake.set()
        self.alerts += len(alerts)
        for alert in alerts:
            log.warning("alert from memory: %s by %s", alert.kind, alert.sensor)
        if alerts:
            self._on_alerts(alerts)

    async def _until_carried(self, disk: sqlite3.Connection) -> None:
        """Carry over, again and again while the disk refuses."""
        while True:
            try:
                await self._in_detector(self._carry_over, disk)
            except sqlite3.OperationalError as error:
                log.warning("what was decided in memory cannot be stored yet: %s", error)
                await asyncio.sleep(1.0)
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


def _apart(heard: IntakeConfig) -> IntakeConfig:
    """Return the configuration with states of its own: what is heard here changes nothing there."""
    return replace(heard, context=replace(heard.context, states=States()))
