"""Send the notices in the outbox: lease, send, mark.

There are three steps and two commits: (1) due rows are leased and committed, (2) each notice is
sent, (3) its outcome is committed. After a crash between steps 2 and 3, the notice is sent again,
so it may arrive twice. A crash at any other point loses nothing. Leases are committed without
waiting for the disk, because leases of an earlier process expire at the next start anyway. Run only
one pump per database.

The pump wakes up when rows are committed, when a row is due, and when a notice has been sent.
Notices for full channels are not leased, so a provider that hangs never delays another. If a
channel refuses a notice or does not deliver it within seconds, the person's next channel is tried.
The first delivery cancels the other channels. A failed attempt is repeated after a wait that
doubles each time, with jitter, or after the provider's ``Retry-After`` if that is longer. Obsolete
or expired notices are not repeated. An alert does not expire while its incident waits for a
response. If the incident ended without one, the alert expires a day later than usual.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import sqlite3
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

from alerts.errors import NotifyError, NotifyReason, PermanentNotifyError, TransientNotifyError
from alerts.incidents import repository
from alerts.incidents.history import Happened
from alerts.incidents.incident import Status
from alerts.notify import outbox as outbox_rows
from alerts.notify.notice import NoticeReason
from storage import sqlite
from storage.reading import assume_no_step
from storage.sqlite import UntilStored

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from alerts.notify.channels.apprise_notifier import Notifier
    from alerts.notify.outbox import OutboxRow
    from alerts.notify.pictures import NoticePictures
    from alerts.policy import AlertPolicy
    from alerts.secrets import Secret
    from storage.reading import StepOf

    Personalize = Callable[[sqlite3.Connection, OutboxRow, float], OutboxRow]

_MISSED_FOR_S: Final = 86_400.0
"""Extra time to keep trying an alert that nobody responded to, in seconds."""
_AFTER_STEP_S: Final = 2.0
"""Pause after the clock was set, so that due times can be moved (`alerts.incidents.clock_step`)."""
_LOG: Final = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class PumpSettings:
    """Limits and wait times; `idle_s` limits each sleep, in case a wake-up is missed."""

    max_in_flight: int = 128
    per_channel: int = 4
    send_timeout_s: float = 15.0
    lease_s: float = 60.0
    first_retry_s: float = 2.0
    max_retry_s: float = 60.0
    idle_s: float = 15.0


class DeliveryOutcome(NamedTuple):
    """Outcome of one delivery attempt, for counters and the terminal."""

    incident: str
    channel: str
    error: NotifyReason | None
    final: bool


def compute_backoff_s(
    attempt: int, settings: PumpSettings, uniform: Callable[[float, float], float]
) -> float:
    """Return the seconds to wait after failed attempt number `attempt`, counted from 1.

    Up to half of the wait is random, so that notices that failed together are not retried together.

    >>> [compute_backoff_s(n, PumpSettings(), lambda low, high: high) for n in (1, 2, 3, 20)]
    [2.0, 4.0, 8.0, 60.0]
    """
    whole = min(settings.first_retry_s * 2.0 ** min(attempt - 1, 30), settings.max_retry_s)
    return whole / 2 + uniform(0.0, whole / 2)


class DeliveryEngine(Protocol):
    """Handles delivery outcomes, in the caller's transaction."""

    policy: AlertPolicy

    def record_delivery(self, tx: sqlite3.Connection, row: OutboxRow, now: float) -> None:
        """Record that a notice reached a person."""

    def fall_back(self, tx: sqlite3.Connection, now: float, refused: int | None = None) -> None:
        """Try the next channel for undelivered notices that are due, and for notice `refused`."""

    def escalate_undelivered(self, tx: sqlite3.Connection, incident_id: str, now: float) -> None:
        """Escalate after a notice has failed for good, unless another was sent or is pending."""


@dataclass(eq=False, repr=False)
class OutboxPump:
    """Sends the notices in the outbox.

    `database` is the path of the state database, or a shared connection that is used only in
    `thread` and stays open. Set `wake` after committing new rows. `pictures` draws the picture for
    an alert's first attempt. `personalize` changes a notice for its recipient, in the
    transaction that leases it.
    """

    database: Path | sqlite3.Connection
    engine: DeliveryEngine
    notifier: Notifier
    wake: asyncio.Event
    _: KW_ONLY
    clock: Callable[[], float] = time.time
    step_of: StepOf = assume_no_step
    rng: random.Random = field(default_factory=random.Random)
    settings: PumpSettings = field(default_factory=PumpSettings)
    on_outcome: Callable[[DeliveryOutcome], None] | None = None
    pictures: NoticePictures | None = None
    personalize: Personalize | None = None
    thread: ThreadPoolExecutor | None = None
    _db: sqlite3.Connection = field(init=False)
    _paused: bool = field(init=False, default=False)
    _owner: str = field(init=False, default_factory=lambda: uuid.uuid4().hex)
    _in_flight: Counter[str] = field(init=False, default_factory=Counter)
    _expiry: dict[int, float] = field(init=False, default_factory=dict)
    """When notices expire, on the monotonic clock, because the wall clock can be set."""
    _stopping: bool = field(init=False, default=False)
    _until_stored: UntilStored = field(init=False, default_factory=UntilStored)
    _released: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        """Start a thread unless one is given."""
        self._thread = self.thread or ThreadPoolExecutor(1, thread_name_prefix="plumewatch-outbox")

    def stop(self) -> None:
        """Stop leasing notices; `run` returns once all notices being sent have outcomes."""
        self._stopping = True
        self.wake.set()

    async def pause(self) -> None:
        """Stop leasing notices until `resume`; return when no lease is in progress."""
        self._paused = True
        await self._run_in_thread(lambda: None)

    def resume(self) -> None:
        """Lease notices again."""
        self._paused = False
        self.wake.set()

    async def run(self) -> None:
        """Send notices until `stop`; if canceled, leases expire at the next start.

        Raises StorageUnavailableError if the database cannot be opened, and
        sqlite3.OperationalError if it fails for good; temporary disk errors are retried.
        """
        try:
            await self._run_in_thread(self._open)
            async with asyncio.TaskGroup() as group:
                while not self._stopping:
                    self.wake.clear()
                    wait_s = await self._run_round(group)
                    if not self._stopping:
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(wait_s):
                                await self.wake.wait()
        finally:
            if self.thread is None:
                self._thread.submit(self._close)
                self._thread.shutdown(wait=True)

    async def _run_round(self, group: asyncio.TaskGroup) -> float:
        """Lease due notices and start sending them; return the seconds until the next round."""
        capacity = self.settings.max_in_flight - self._in_flight.total()
        if capacity <= 0 or self._paused:
            return self.settings.idle_s
        if self.step_of(self.clock()):
            return _AFTER_STEP_S
        try:
            now, rows, deadline = await self._run_stored("outbox", self._lease, capacity)
        except sqlite3.OperationalError:
            if self._stopping:
                return 0.0
            raise
        for row in rows:
            self._in_flight[row.channel] += 1
            self._expiry[row.id] = time.monotonic() + row.expires_at - now
            group.create_task(self._deliver(row), name=f"notice-{row.id}-{row.attempt}")
        if rows:
            return 0.0
        longest = 1.0 if self.notifier.find_busy_channels() else self.settings.idle_s
        if deadline is None:
            return longest
        return min(max(deadline - self.clock(), 0.0), longest)

    async def _deliver(self, row: OutboxRow) -> None:
        error: NotifyError | None = None
        try:
            await self._send(row)
        except NotifyError as caught:
            error = caught
        except Exception as caught:  # noqa: BLE001 - one bad notice must not stop the others
            error = TransientNotifyError(NotifyReason.LIBRARY, type(caught).__name__)
        try:
            final = await self._store_outcome(row, error)
        finally:
            self._in_flight[row.channel] -= 1
            self._expiry.pop(row.id, None)
            self.wake.set()
        if error is not None:
            _LOG.warning(
                "notice %d of incident %s to %s by %s: %s, attempt %d, %s",
                row.id,
                row.incident,
                row.person,
                row.channel,
                error,
                row.attempt,
                "failed" if final else "retry",
            )
        if self.on_outcome is not None:
            reason = None if error is None else error.reason
            self.on_outcome(DeliveryOutcome(row.incident, row.channel, reason, final))

    async def _send(self, row: OutboxRow) -> None:
        if time.monotonic() > self._expiry[row.id]:
            raise PermanentNotifyError(NotifyReason.EXPIRED)
        target = self.engine.policy.find_target(row.person, row.target)
        if target is None:
            raise PermanentNotifyError(NotifyReason.TARGET_GONE)
        picture = await self._draw_picture(row, target)
        await self.notifier.send(
            target, row.notice, timeout_s=self.settings.send_timeout_s, picture=picture
        )

    async def _draw_picture(self, row: OutboxRow, target: Secret) -> bytes | None:
        wanted = row.attempt == 1 and row.notice.reason is NoticeReason.OPENED
        if self.pictures is None or not wanted or not self.notifier.accepts_picture(target):
            return None
        return await self.pictures.draw_in_time(row.incident, row.notice.language)

    async def _store_outcome(self, row: OutboxRow, error: NotifyError | None) -> bool:
        """Commit the outcome; retry while the disk fails, to avoid sending the notice twice."""
        try:
            return await self._run_stored("outcomes of notices", self._write_outcome, row, error)
        except sqlite3.OperationalError:
            if not self._stopping:
                raise
            _LOG.error("outcome of notice %d is lost; it may be sent again", row.id)
            return False

    async def _run_stored(self, what: str, work: Callable[..., _T], *arguments: object) -> _T:
        """Repeat work on the database until it succeeds, or until it fails while stopping."""
        return await self._until_stored.repeat(
            what, lambda: self._run_in_thread(work, *arguments), lambda: self._stopping
        )

    def _open(self) -> None:
        given = self.database
        self._db = given if isinstance(given, sqlite3.Connection) else sqlite.connect(given)

    def _close(self) -> None:
        if hasattr(self, "_db"):
            self._db.close()

    def _lease(self, capacity: int) -> tuple[float, list[OutboxRow], float | None]:
        now = self.clock()  # read only once, because the clock may be set in between
        full = (name for name, n in self._in_flight.items() if n >= self.settings.per_channel)
        busy = self.notifier.find_busy_channels().union(full)
        if not self._released:  # expire the leases of an earlier process, once
            with sqlite.transaction(self._db) as tx:
                outbox_rows.release_leases(tx, self._owner, now)
            self._released = True
        sending = list(self._expiry)
        deadline = outbox_rows.find_next_deadline(self._db, busy, sending)
        if deadline is None or deadline > now:
            return now, [], deadline
        with sqlite.transaction(self._db, synced=False) as tx:
            if self._paused:  # may have changed while waiting for the database
                return now, [], deadline
            self.engine.fall_back(tx, now)
            rows = outbox_rows.lease(
                tx,
                now,
                owner=self._owner,
                lease_s=self.settings.lease_s,
                limit=capacity,
                sending=sending,
                free=lambda channel: (
                    0 if channel in busy else self.settings.per_channel - self._in_flight[channel]
                ),
            )
            rows = [self._extend_expiry(tx, row) for row in rows]
            if self.personalize is not None:
                rows = [self.personalize(tx, row, now) for row in rows]
        return now, rows, deadline

    def _extend_expiry(self, tx: sqlite3.Connection, row: OutboxRow) -> OutboxRow:
        """Extend an alert's expiry while its incident waits for a response, or if it got none."""
        if row.notice.reason is not NoticeReason.OPENED:
            return row
        incident = repository.load(tx, row.incident)
        if incident is None or incident.verdict is not None:
            return row
        if incident.status in (Status.OPEN, Status.NOTIFIED):
            return replace(row, expires_at=math.inf)
        more_s = 0.0 if incident.missed_at is None else _MISSED_FOR_S
        return replace(row, expires_at=row.expires_at + more_s)

    def _write_outcome(self, row: OutboxRow, error: NotifyError | None) -> bool:
        now = self.clock()
        with sqlite.transaction(self._db) as tx:
            if error is None:
                if outbox_rows.mark_sent(tx, row, now):
                    self.engine.record_delivery(tx, row, now)
                return True
            obsolete = self._is_obsolete(tx, row)
            if not obsolete:
                self.engine.fall_back(tx, now, row.id)
            if isinstance(error, TransientNotifyError) and not obsolete:
                pause = compute_backoff_s(row.attempt, self.settings, self.rng.uniform)
                wait = max(pause, error.retry_after_s or 0.0)
                if time.monotonic() + wait <= self._expiry[row.id]:
                    outbox_rows.mark_failed(tx, row, now, error, due_at=now + wait)
                    return False
            outbox_rows.mark_failed(tx, row, now, error)
            failed = {**row.recipient, "error": error.reason}
            repository.note(tx, row.incident, now, Happened.NOTICE_FAILED, **failed)
            if not obsolete and row.notice.reason is NoticeReason.OPENED:
                self.engine.escalate_undelivered(tx, row.incident, now)
            return True

    def _is_obsolete(self, tx: sqlite3.Connection, row: OutboxRow) -> bool:
        """Return whether an alert no longer needs to be sent."""
        if row.notice.reason is not NoticeReason.OPENED:
            return False
        incident = repository.load(tx, row.incident)
        return incident is None or incident.status is Status.ACKNOWLEDGED

    async def _run_in_thread(self, work: Callable[..., _T], *arguments: object) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, work, *arguments)
