"""Monitoring of the service itself: health, meters, watchdog and maintenance."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from alerts.outbound import series_records
from alerts.outbound.sensor_conditions import load_active_faults
from alerts.outbound.state_summary import StateRecorder
from alerts.page.settings import Pipeline, PipelineStatus
from ingest.validation import fold_id
from plumewatch.config.settings import read_ping_url
from plumewatch.sensor_status import build_statuses, count_for_records, save_counts
from plumewatch.service import pipeline_meters as declared
from plumewatch.service.deletion import Deletion
from plumewatch.service.health import Health, Watchdog
from plumewatch.service.meters import Meters
from plumewatch.service.resources import Task, run_after
from reports.rows import name_rooms
from storage.journal import Snapshot, restore_snapshot, save_snapshot
from storage.sqlite import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator, Mapping

    from detection.alert_rules import ThresholdReport
    from plumewatch.service.alerting import Alerting
    from plumewatch.service.consumers import DetectionLoop, SeriesWriters
    from plumewatch.service.ingestion import Ingestion
    from plumewatch.service.resources import Resources
    from storage.timeseries.records import Record


log = logging.getLogger(__name__)

EVERY_S: Final = 60.0
"""How often maintenance runs."""
MAX_WAITING: Final = 1_000_000
"""Maximum number of samples waiting for the series: a few days of samples in a large school."""
_RECORDED: Final = "recorded counts"


class Monitoring(Pipeline):
    """Health, meters, watchdog and maintenance of one service."""

    def __init__(
        self,
        resources: Resources,
        ingestion: Ingestion,
        detection: DetectionLoop,
        alerting: Alerting,
        writers: SeriesWriters,
    ) -> None:
        config, registry = resources.config, resources.registry
        self._resources, self._ingestion, self._writers = resources, ingestion, writers
        self._intake = intake = ingestion.intake
        self._detection = detection
        self._closed = config.list_closed_names()
        self.health = health = Health(resources, ingestion, detection, writers)
        self.watchdog = Watchdog(
            health, read_ping_url(config), allow_private=config.alerts.allow_private_targets
        )
        self.deletion = Deletion(resources)
        self.meters = Meters(
            (
                *declared.declare_service(resources, detection, health),
                *declared.declare_ingestion(resources, ingestion),
                *declared.declare_storage(resources, ingestion, detection, writers),
                *declared.declare_alerts(resources, detection, alerting),
            )
        )
        self._recorder = StateRecorder(
            registry.sensors,
            lambda: count_for_records(registry, intake.reading_counts),
            name_rooms((r.id, r.name, r.floor, r.whole_building) for r in registry.rooms.values()),
        )

    def create_tasks(self) -> Iterator[Task]:
        """Yield the tasks of monitoring."""
        yield Task("maintenance", run_after(self._detection.ready, self._run_maintenance))
        yield Task("watchdog", self.watchdog.run())

    def get_intervals(self) -> dict[str, float]:
        """Return the reporting interval of each sensor in seconds, registered or learned."""
        return {name: life.interval_s for name, life in self._detection.get_liveness().items()}

    async def read_thresholds(self, sensors: Collection[str]) -> Mapping[str, ThresholdReport]:
        """Return the alert thresholds of these sensors; those not known yet are left out."""
        return await self._resources.in_detector(self._detection.explain_thresholds, sensors)

    def get_status(self) -> PipelineStatus:
        """Return the status of sensors, and the messages that could not be used."""
        intake, dead_letters = self._intake, self.meters.kept.get("dead_letters")
        return PipelineStatus(
            dead_letters=dead_letters if isinstance(dead_letters, dict) else {},
            quarantine=[*reversed(intake.quarantine.values())],
            unmatched=[*reversed(intake.unmatched.values())],
            closed={name for name in intake.quarantine if fold_id(name) in self._closed},
            sensors=build_statuses(
                intake.config.context.registry,
                self._detection.get_liveness(),
                intake.reading_counts,
                self._ingestion.polls.failing,
            ),
        )

    def open(self) -> None:
        """Resume where the last service stopped."""
        self.deletion.open()
        self.meters.refresh()
        state, now = self._resources.state, self._resources.clock()
        self._recorder.begin(now)
        restore_snapshot(state, _RECORDED, self._recorder.restore)

    async def _run_maintenance(self) -> None:
        """Run once a minute, starting now, until canceled."""
        await self._add_samples()
        while True:
            await self.deletion.try_delete(await self.save())
            await asyncio.sleep(EVERY_S)
            await self.measure()

    async def save(self) -> int:
        """Save the detectors' state and the counts; return the state's journal offset."""
        run = self._resources.run_until_stored
        snapshot_offset = await run("snapshot", self._detection.save_snapshot)
        await run("counts", save_counts, self._resources.state, *self._ingestion.save_point())
        return snapshot_offset

    async def measure(self) -> None:
        """Refresh the meters, and queue samples of the sensors for the series."""
        registered = self._resources.registry.sensors
        self.health.lateness.sample(registered, self._ingestion.intake.reading_counts)
        await self._resources.run_until_stored("measurements", self.meters.refresh)
        await self._add_samples()

    async def _add_samples(self) -> None:
        base = self._resources
        active = await base.run_until_stored("measurements", load_active_faults, base.state)
        records = self._recorder.collect(base.clock(), self._detection.get_liveness(), active)
        dropped = await base.run_until_stored(
            "measurements", _append, base.state, records, self._recorder.export()
        )
        if dropped:
            log.warning(
                "the series has been unavailable for too long: the %d oldest samples are dropped",
                dropped,
            )
        self._writers.records.wake.set()


def _append(connection: sqlite3.Connection, records: list[Record], recorded: bytes) -> int:
    with transaction(connection) as tx:
        series_records.append_samples(tx, records)
        save_snapshot(tx, _RECORDED, Snapshot(0, "", recorded))
        return series_records.delete_excess(tx, MAX_WAITING)
