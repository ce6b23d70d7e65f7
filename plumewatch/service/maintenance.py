"""What the service does once a minute: snapshots, measurements of itself, deletion of what is old.

Deletion has a clock of its own
-------------------------------
A clock that is set years ahead by mistake would make everything old at once. So what is old enough
is judged by a clock that follows ours at most `FASTEST` times as fast, over restarts too: a mistake
that is put right within a day costs nothing, and after a summer without the service deletion has
caught up in days. A clock that is set back is followed at once. For the series it stands still
before the first legal hold is old (`storage.holds`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from alerts.outbound import series_records as series_due
from plumewatch.service.sensor_counts import save_counts
from plumewatch.service.state_summary import Measured, Stored
from storage import holds, state
from storage.errors import StorageError
from storage.sqlite import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from alerts.consumer.detection_consumer import DetectionConsumer
    from plumewatch.service.app import Service
    from storage.retrying import Retrying
    from storage.timeseries.records import Record

log = logging.getLogger(__name__)

EVERY_S: Final = 60.0
FASTEST: Final = 10.0
MAX_WAITING: Final = 1_000_000
"""Samples that wait for the series at most: some days of a large school."""
_DAY_S: Final = 86_400.0
_TOLD_DAYS: Final = 7
_CLOCK: Final = "retention clock"
_DUTY: Final = "hours on duty"


class RetentionClock:
    """A clock that follows another, at most `FASTEST` times as fast.

    Parameters
    ----------
    at : float or None
        Where it stood, Unix seconds; None to begin with the other.

    Attributes
    ----------
    behind_s : float
        How far it is behind the other.
    """

    def __init__(self, at: float | None) -> None:
        self._at = at
        self.behind_s = 0.0

    def follow(self, now: float, elapsed_s: float) -> float:
        """Return what it says when the other says `now`, `elapsed_s` after the last time.

        Examples
        --------
        >>> clock = RetentionClock(1000.0)
        >>> clock.follow(1060.0, 60.0), clock.follow(9e9, 60.0), clock.follow(900.0, 60.0)
        (1060.0, 1660.0, 900.0)
        """
        at = now if self._at is None else min(now, self._at + FASTEST * elapsed_s)
        self.behind_s = now - at
        self._at = at
        return at


class Housekeeping:
    """Keeps the house of a service.

    Parameters
    ----------
    run_until_stored : Retrying
        Runs work on the state database.
    clock : callable
        Unix seconds.
    """

    def __init__(
        self, service: Service, run_until_stored: Retrying, clock: Callable[[], float]
    ) -> None:
        self._service = service
        self._run_until_stored = run_until_stored
        self._clock = clock
        self._measured = Measured(service, service.on_duty)
        self._retention = RetentionClock(None)
        self._beat = 0.0
        self._told = False

    @property
    def held_back_days(self) -> int:
        """Days that deletion is behind the clock."""
        return int(self._retention.behind_s / _DAY_S)

    def open(self, connection: sqlite3.Connection) -> None:
        """Begin where the last service left off."""
        stored = state.snapshot(connection, _CLOCK)
        self._retention = RetentionClock(None if stored is None else float(stored.body))
        counted = state.snapshot(connection, _DUTY)
        self._measured.begin(self._clock(), None if counted is None else float(counted.body))
        self._beat = time.monotonic()

    def clock_set(self, now: float) -> None:
        """Follow a clock set back at once: what it stamps is not to be old once it is right.

        A clock that is set ahead is followed as slowly as ever.
        """
        self._retention.follow(now, 0.0)

    async def run(self, watch: DetectionConsumer, connection: sqlite3.Connection) -> None:
        """Do all of it once a minute, the first time at once, until cancelled."""
        service = self._service
        stored = await self._run_until_stored("measurements", Stored.read, connection)
        await self._add(connection, self._measured.introduced(self._clock(), watch.lives(), stored))
        while True:
            snapshot_at = await self._run_until_stored("snapshot", watch.save_snapshot)
            counts = service.intake.reading_counts.snapshot()
            await self._run_until_stored("counts", save_counts, connection, counts)
            with contextlib.suppress(StorageError):
                await self.delete(connection, snapshot_at)
            await asyncio.sleep(EVERY_S)
            await self.measure(watch, connection)

    async def measure(self, watch: DetectionConsumer, connection: sqlite3.Connection) -> None:
        """Let samples of sensors and service wait for the series."""
        service = self._service
        service.health.lateness.sample(service.registry.sensors, service.intake.reading_counts)
        stored = await self._run_until_stored("measurements", Stored.read, connection)
        outbox: dict[str, Any] = dict(
            await self._run_until_stored("measurements", self._service.health.outbox)
        )
        records = self._measured.records(self._clock(), watch.lives(), stored, outbox)
        await self._add(connection, records)

    async def _add(self, connection: sqlite3.Connection, records: list[Record]) -> None:
        until = self._measured.duty_until
        lost = await self._run_until_stored("measurements", self._wait, connection, records, until)
        if lost:
            log.warning("the series is away for long: %d samples of before are given up", lost)
            self._service.counters.samples_dropped += lost
        self._service.records.wake.set()

    @staticmethod
    def _wait(connection: sqlite3.Connection, records: list[Record], duty_until: float) -> int:
        with transaction(connection) as tx:
            series_due.append(tx, records)
            state.set_snapshot(tx, _DUTY, state.Snapshot(0, "", repr(duty_until).encode()))
            return series_due.bound(tx, MAX_WAITING)

    async def delete(self, connection: sqlite3.Connection, snapshot_at: int) -> None:
        """Delete what need not be kept, slice by slice between the commits."""
        service = self._service
        elapsed, self._beat = time.monotonic() - self._beat, time.monotonic()
        now = self._clock()
        old_at = self._retention.follow(now, elapsed)
        self._tell()
        await self._run_until_stored("retention clock", _save_clock, connection, old_at)
        stored = await service.in_thread("series", service.series.position)
        keep = service.config.journal
        prune = partial(
            service.journal.prune,
            read_by_all=min(snapshot_at, stored),
            received_before=old_at - keep.keep_days * _DAY_S,
            max_bytes=keep.max_mb * 1_000_000,
            spare=snapshot_at,
        )
        while (pruned := await service.in_thread("journal", prune)).rows:
            service.counters.deleted_unread += pruned.unread
        held = await self._run_until_stored("holds", holds.earliest, connection)
        if held is not None:
            old_at = min(old_at, held + service.config.timeseries.raw_days * _DAY_S)
        while await service.in_thread("series", service.series.tidy, now, old_at):
            pass

    def _tell(self) -> None:
        days = self.held_back_days
        far = days >= _TOLD_DAYS  # a service that was off for a weekend is nothing to tell
        if far and not self._told:
            log.warning(
                "the clock is %d days ahead of when old readings were last deleted: if it is wrong,"
                " set it right; deletion follows it in %d days",
                days,
                -(-days // (FASTEST - 1)),
            )
        self._told = far


def _save_clock(connection: sqlite3.Connection, at: float) -> None:
    with transaction(connection) as tx:
        state.set_snapshot(tx, _CLOCK, state.Snapshot(0, "", b"%d" % at))
