"""Delete old data once a minute.

If the machine's clock were set years ahead by mistake, everything would be old at once. So age is
measured with a clock that follows the machine's at most `FASTEST` times as fast, across restarts.
If the mistake is corrected within a day, data is deleted at most nine days too early. After a
summer without the service, deletion catches up within days.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from language.plain_text import pluralize
from plumewatch.service.data_folder import RETENTION_CLOCK, reserve_space
from storage.errors import StorageError, is_transient
from storage.journal import Snapshot, read_number, restore_snapshot, save_snapshot
from storage.sqlite import transaction

if TYPE_CHECKING:
    from plumewatch.service.resources import Resources

log = logging.getLogger(__name__)

FASTEST: Final = 10.0
_REST: Final = 2.0
"""Pause after each slice of deletion, as a multiple of the slice's duration."""
_MAX_REST_S: Final = 0.1
"""Longest pause; a disk that can store 20,000 rows a second can still delete as many."""
_DAY_S: Final = 86_400.0
_WARN_DAYS: Final = 7


class RetentionClock:
    """A clock that follows another, at most `FASTEST` times as fast."""

    def __init__(self, at: float | None) -> None:
        self._at = at
        self.behind_s = 0.0

    def follow(self, now: float, elapsed_s: float) -> float:
        """Return this clock's time when the other is at `now`, `elapsed_s` after the last call.

        >>> clock = RetentionClock(1000.0)
        >>> clock.follow(1060.0, 60.0), clock.follow(9e9, 60.0), clock.follow(900.0, 60.0)
        (1060.0, 1660.0, 900.0)
        """
        at = now if self._at is None else min(now, self._at + FASTEST * elapsed_s)
        self.behind_s = now - at
        self._at = at
        return at


class Deletion:
    """Deletes old data."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._retention = RetentionClock(None)
        self._last = 0.0
        self._failing = False
        self._warned = False

    def open(self) -> None:
        """Continue the retention clock of the last service."""
        stored = restore_snapshot(self._resources.state, RETENTION_CLOCK, read_number)
        self._retention = RetentionClock(stored)
        self._last = time.monotonic()

    async def try_delete(self, snapshot_offset: int) -> None:
        """Call `delete`; warn if the disk or the store is temporarily unavailable."""
        try:
            await self.delete(snapshot_offset)
        except (StorageError, sqlite3.Error) as error:
            if not is_transient(error):
                raise
            if not self._failing:
                log.warning("old data cannot be deleted, trying again every minute: %s", error)
            self._failing = True
        else:
            self._failing = False

    async def delete(self, snapshot_offset: int) -> None:
        """Delete old data between commits; keep readings after `snapshot_offset`."""
        base = self._resources
        elapsed, self._last = time.monotonic() - self._last, time.monotonic()
        await asyncio.to_thread(reserve_space, base.paths.reserved)
        now = base.clock()
        old_at = self._retention.follow(now, elapsed)
        self._warn()
        await base.run_until_stored("retention clock", _save_clock, base.state, old_at)
        await self._prune_journal(snapshot_offset, old_at)
        while await base.in_series(base.series.tidy, now, old_at):
            pass

    async def _prune_journal(self, snapshot_offset: int, old_at: float) -> None:
        """Delete, in slices, readings that are too old or that exceed the size limit."""
        base, keep = self._resources, self._resources.config.journal
        stored = await base.in_series(base.series.get_cursor)
        excess = await base.in_journal(base.journal.get_bytes_used) - keep.max_mb * 1_000_000
        while True:
            began = time.monotonic()
            pruned = await base.in_journal(
                partial(
                    base.journal.prune,
                    min_cursor=min(snapshot_offset, stored),
                    received_before=old_at - keep.keep_days * _DAY_S,
                    excess_bytes=excess,
                    last_deletable=snapshot_offset,
                )
            )
            if not pruned.rows:
                return
            excess -= pruned.freed_bytes
            await asyncio.sleep(min(_REST * (time.monotonic() - began), _MAX_REST_S))

    def _warn(self) -> None:
        days = int(self._retention.behind_s / _DAY_S)
        far = days >= _WARN_DAYS  # a service that is off for a weekend is normal
        if far and not self._warned:
            log.warning(
                "deletion of old readings is %s behind the clock: if the clock is wrong, correct"
                " it; if not, deletion catches up within %s",
                pluralize(days, "day"),
                pluralize(-(-days // (FASTEST - 1)), "day"),
            )
        self._warned = far


def _save_clock(connection: sqlite3.Connection, at: float) -> None:
    with transaction(connection) as tx:
        save_snapshot(tx, RETENTION_CLOCK, Snapshot(0, "", b"%d" % at))
