"""What the service does once a minute: snapshots, measurements of itself, deletion of old data.

Deletion has a clock of its own
-------------------------------
A clock that is set years ahead by mistake would make everything old at once. So age is judged by a
clock that follows ours at most `FASTEST` times as fast, over restarts too: a mistake that is
corrected within a day costs nothing, and after a summer without the service deletion has caught up
in days. A clock that is set back is followed at once. For the series the deletion clock stops
before the first legal hold is old (`storage.holds`).
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from alerts.outbound import series_records
from plumewatch.service.sensor_status import save_counts
from plumewatch.service.state_summary import StateSummary
from storage import holds, state
from storage.errors import StorageError, is_transient
from storage.sqlite import transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.reading_counts import ReadingCounts
    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.service.detection_loop import DetectionLoop
    from plumewatch.service.state_summary import StateRecorder
    from storage.journal import Journal
    from storage.retrying import Retrying
    from storage.timeseries import Series
    from storage.timeseries.records import Record
    from storage.timeseries.writer import InThread

log = logging.getLogger(__name__)

EVERY_S: Final = 60.0
FASTEST: Final = 10.0
MAX_WAITING: Final = 1_000_000
"""Samples that wait for the series at most: some days of a large school."""
_DAY_S: Final = 86_400.0
_WARN_DAYS: Final = 7
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
        """Return its time when the other is at `now`, `elapsed_s` after the last call.

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


class Deletion:
    """Deletes what need not be kept of journal and series.

    Parameters
    ----------
    in_journal, in_series : InThread
        Run work in the threads of their databases.
    clock : callable
        Unix seconds.

    Attributes
    ----------
    unread : int
        Readings deleted from the journal before the series had them.
    failures : int
        Times that the disk or the store did not let it delete.
    """

    def __init__(
        self,
        config: PlumewatchConfig,
        journal: Journal,
        series: Series,
        run_until_stored: Retrying,
        in_journal: InThread,
        in_series: InThread,
        clock: Callable[[], float],
    ) -> None:
        self.unread = 0
        self.failures = 0
        self._config = config
        self._journal = journal
        self._series = series
        self._run_until_stored = run_until_stored
        self._in_journal = in_journal
        self._in_series = in_series
        self._clock = clock
        self._retention = RetentionClock(None)
        self._last = 0.0
        self._failing = False
        self._warned = False
        self._state: sqlite3.Connection

    @property
    def held_back_days(self) -> int:
        """Days that deletion is behind the clock."""
        return int(self._retention.behind_s / _DAY_S)

    def open(self, connection: sqlite3.Connection) -> None:
        """Begin where the last service left off."""
        stored = state.snapshot(connection, _CLOCK)
        self._retention = RetentionClock(None if stored is None else float(stored.body))
        self._last = time.monotonic()
        self._state = connection

    def clock_set(self, now: float) -> None:
        """Follow a clock set back at once: what it stamps is not old once the clock is right.

        A clock that is set ahead is followed as slowly as ever.
        """
        self._retention.follow(now, 0.0)

    async def try_delete(self, snapshot_at: int) -> None:
        """Delete as `delete` does; while disk or store refuse, count that and leave it."""
        try:
            await self.delete(snapshot_at)
        except (StorageError, sqlite3.Error) as error:
            if not is_transient(error):
                raise
            if not self._failing:
                log.warning("old data cannot be deleted, trying again every minute: %s", error)
            self._failing = True
            self.failures += 1
        else:
            self._failing = False

    async def delete(self, snapshot_at: int) -> None:
        """Delete what is old, slice by slice between the commits.

        Parameters
        ----------
        snapshot_at : int
            Journal offset of the detectors' stored snapshot; later readings are kept.
        """
        elapsed, self._last = time.monotonic() - self._last, time.monotonic()
        now = self._clock()
        old_at = self._retention.follow(now, elapsed)
        self._warn()
        await self._run_until_stored("retention clock", _save_clock, self._state, old_at)
        stored = await self._in_series(self._series.cursor)
        keep = self._config.journal
        prune = partial(
            self._journal.prune,
            min_cursor=min(snapshot_at, stored),
            received_before=old_at - keep.keep_days * _DAY_S,
            max_bytes=keep.max_mb * 1_000_000,
            spare=snapshot_at,
        )
        while (pruned := await self._in_journal(prune)).rows:
            self.unread += pruned.unread
        held = await self._run_until_stored("holds", holds.earliest, self._state)
        if held is not None:
            old_at = min(old_at, held + self._config.timeseries.raw_days * _DAY_S)
        while await self._in_series(self._series.tidy, now, old_at):
            pass

    def _warn(self) -> None:
        days = self.held_back_days
        far = days >= _WARN_DAYS  # a service that was off for a weekend is normal
        if far and not self._warned:
            log.warning(
                "the clock is %d days ahead of when old readings were last deleted: if it is wrong,"
                " set it right; deletion follows it in %d days",
                days,
                -(-days // (FASTEST - 1)),
            )
        self._warned = far


class Maintenance:
    """Runs the work of every minute.

    Parameters
    ----------
    sample : callable
        Called before each measurement, in the event loop.
    refresh : callable
        `Meters.refresh`.
    wake_records : callable
        Called when samples wait for the series.
    clock : callable
        Unix seconds.

    Attributes
    ----------
    samples_dropped : int
        Samples given up because the series was away for too long.
    """

    def __init__(
        self,
        detection: DetectionLoop,
        summary: StateRecorder,
        deletion: Deletion,
        tally: ReadingCounts,
        run_until_stored: Retrying,
        *,
        sample: Callable[[], None],
        refresh: Callable[[], None],
        wake_records: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self.samples_dropped = 0
        self._detection = detection
        self._summary = summary
        self._deletion = deletion
        self._tally = tally
        self._run_until_stored = run_until_stored
        self._sample = sample
        self._refresh = refresh
        self._wake_records = wake_records
        self._clock = clock
        self._state: sqlite3.Connection

    def open(self, connection: sqlite3.Connection) -> None:
        """Begin where the last service left off."""
        self._state = connection
        self._deletion.open(connection)
        counted = state.snapshot(connection, _DUTY)
        self._summary.begin(self._clock(), None if counted is None else float(counted.body))

    async def run_maintenance(self) -> None:
        """Do all of it once a minute, the first time at once, until cancelled."""
        stored = await self._run_until_stored("measurements", StateSummary.read, self._state)
        lives = self._detection.lives()
        await self._add(self._summary.introduced(self._clock(), lives, stored))
        while True:
            snapshot_at = await self.save()
            await self._deletion.try_delete(snapshot_at)
            await asyncio.sleep(EVERY_S)
            await self.measure()

    async def save(self) -> int:
        """Store the detectors' state and the counts; return the journal offset of the state."""
        snapshot_at = await self._run_until_stored("snapshot", self._detection.save_snapshot)
        await self._run_until_stored("counts", save_counts, self._state, self._tally.snapshot())
        return snapshot_at

    async def measure(self) -> None:
        """Let samples of sensors and service wait for the series."""
        self._sample()
        stored = await self._run_until_stored("measurements", StateSummary.read, self._state)
        await self._run_until_stored("measurements", self._refresh)
        lives = self._detection.lives()
        await self._add(self._summary.records(self._clock(), lives, stored))

    async def _add(self, records: list[Record]) -> None:
        until = self._summary.duty_until
        lost = await self._run_until_stored("measurements", _append, self._state, records, until)
        if lost:
            log.warning(
                "the series has been away too long: %d of the oldest samples are given up", lost
            )
            self.samples_dropped += lost
        self._wake_records()


def _append(connection: sqlite3.Connection, records: list[Record], duty_until: float) -> int:
    with transaction(connection) as tx:
        series_records.append(tx, records)
        state.set_snapshot(tx, _DUTY, state.Snapshot(0, "", repr(duty_until).encode()))
        return series_records.bound(tx, MAX_WAITING)


def _save_clock(connection: sqlite3.Connection, at: float) -> None:
    with transaction(connection) as tx:
        state.set_snapshot(tx, _CLOCK, state.Snapshot(0, "", b"%d" % at))
