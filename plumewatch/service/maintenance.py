"""Maintenance once a minute: save snapshots, sample the service, delete old data.

If the machine's clock were set years ahead by mistake, everything would be old at once. So age is
measured with a clock that follows the machine's at most `FASTEST` times as fast, across restarts. A
mistake that is corrected within a day costs nothing. After a summer without the service, deletion
catches up within days.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from alerts.outbound import series_records
from alerts.outbound.sensor_conditions import load_active_faults
from language.messages import count_noun
from plumewatch.sensor_status import save_counts
from plumewatch.service.data_folder import RETENTION_CLOCK, reserve_space
from storage.errors import StorageError, is_transient
from storage.journal import Snapshot, read_number, restore_snapshot, save_snapshot
from storage.sqlite import transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from alerts.outbound.sensor_conditions import ActiveFaults
    from alerts.outbound.state_summary import StateRecorder
    from detection.liveness import SensorLife
    from plumewatch.service.consumers import DetectionLoop, SeriesWriters
    from plumewatch.service.health import Health
    from plumewatch.service.ingestion import Ingestion
    from plumewatch.service.meters import Meters
    from plumewatch.service.resources import Resources
    from storage.timeseries.records import Record

log = logging.getLogger(__name__)

EVERY_S: Final = 60.0
FASTEST: Final = 10.0
MAX_WAITING: Final = 1_000_000
"""Maximum number of samples waiting for the series: a few days of samples in a large school."""
_REST: Final = 2.0
"""Pause after each slice of deletion, as a multiple of the slice's duration."""
_MAX_REST_S: Final = 0.1
"""Longest pause; a disk that can store 20,000 rows a second can still delete as many."""
_DAY_S: Final = 86_400.0
_WARN_DAYS: Final = 7
_RECORDED: Final = "recorded counts"


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
        """Delete in slices the readings that are old or exceeded the size limit at the start."""
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
                    spare=snapshot_offset,
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
                "the clock is %s ahead of when old readings were last deleted: if it is wrong,"
                " set it right; deletion follows it in %s",
                count_noun(days, "day"),
                count_noun(-(-days // (FASTEST - 1)), "day"),
            )
        self._warned = far


@dataclass(frozen=True, slots=True)
class Maintenance:
    """Maintenance once a minute."""

    resources: Resources
    ingestion: Ingestion
    detection: DetectionLoop
    health: Health
    meters: Meters
    recorder: StateRecorder
    writers: SeriesWriters
    deletion: Deletion

    def open(self) -> None:
        """Resume where the last service stopped."""
        self.deletion.open()
        self.meters.refresh()
        state, now = self.resources.state, self.resources.clock()
        self.recorder.begin(now)
        restore_snapshot(state, _RECORDED, self.recorder.restore)

    async def run_maintenance(self) -> None:
        """Run once a minute, starting now, until cancelled."""
        await self._add(self.recorder.collect_health)
        while True:
            snapshot_offset = await self.save()
            await self.deletion.try_delete(snapshot_offset)
            await asyncio.sleep(EVERY_S)
            await self.measure()

    async def save(self) -> int:
        """Save the detectors' state and the counts; return the state's journal offset."""
        run = self.resources.run_until_stored
        snapshot_offset = await run("snapshot", self.detection.save_snapshot)
        await run("counts", save_counts, self.resources.state, *self.ingestion.save_point())
        return snapshot_offset

    async def measure(self) -> None:
        """Queue samples of the sensors and the service for the series."""
        registered = self.resources.registry.sensors
        self.health.lateness.sample(registered, self.ingestion.intake.reading_counts)
        await self.resources.run_until_stored("measurements", self.meters.refresh)
        await self._add(self.recorder.collect)

    async def _add(
        self,
        sample: Callable[
            [float, Mapping[str, SensorLife], Mapping[str, ActiveFaults]], list[Record]
        ],
    ) -> None:
        base = self.resources
        active = await base.run_until_stored("measurements", load_active_faults, base.state)
        records = sample(base.clock(), self.detection.get_liveness(), active)
        dropped = await base.run_until_stored(
            "measurements", _append, base.state, records, self.recorder.export()
        )
        if dropped:
            log.warning(
                "the series has been unavailable for too long: the %d oldest samples are dropped",
                dropped,
            )
        self.writers.records.wake.set()


def _append(connection: sqlite3.Connection, records: list[Record], recorded: bytes) -> int:
    with transaction(connection) as tx:
        series_records.append_samples(tx, records)
        save_snapshot(tx, _RECORDED, Snapshot(0, "", recorded))
        return series_records.delete_excess(tx, MAX_WAITING)


def _save_clock(connection: sqlite3.Connection, at: float) -> None:
    with transaction(connection) as tx:
        save_snapshot(tx, RETENTION_CLOCK, Snapshot(0, "", b"%d" % at))
