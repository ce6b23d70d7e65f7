"""Monitoring of the service itself: health, meters, watchdog and maintenance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alerts.outbound.state_summary import StateRecorder
from alerts.page.settings import Pipeline, PipelineStatus
from ingest.validation import fold_id
from plumewatch.config.settings import read_ping_url
from plumewatch.sensor_status import build_statuses, count_for_records
from plumewatch.service import pipeline_meters as declared
from plumewatch.service.health import Health, Watchdog
from plumewatch.service.maintenance import Deletion, Maintenance
from plumewatch.service.meters import Meters
from plumewatch.service.resources import Task, run_after
from reports.rows import name_rooms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plumewatch.service.alerting import Alerting
    from plumewatch.service.consumers import DetectionLoop, SeriesWriters
    from plumewatch.service.ingestion import Ingestion
    from plumewatch.service.resources import Resources


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
        self._ingestion = ingestion
        self._intake = intake = ingestion.intake
        self._detection = detection
        self._closed = config.list_closed_names()
        self.health = health = Health(resources, ingestion, detection, writers)
        self.watchdog = Watchdog(
            health,
            read_ping_url(config),
            config.watchdog.ping_every_s,
            config.alerts.allow_private_targets,
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
        recorder = StateRecorder(
            registry.sensors,
            lambda: count_for_records(registry, intake.reading_counts),
            name_rooms((r.id, r.name, r.floor, r.whole_building) for r in registry.rooms.values()),
        )
        self.maintenance = Maintenance(
            resources,
            ingestion,
            detection,
            health,
            self.meters,
            recorder,
            writers,
            self.deletion,
        )

    def create_tasks(self) -> Iterator[Task]:
        """Return the tasks of monitoring."""
        yield Task(
            "maintenance", run_after(self._detection.ready, self.maintenance.run_maintenance)
        )
        yield Task("watchdog", self.watchdog.run())

    def get_intervals(self) -> dict[str, float]:
        """Return the reporting interval of each sensor in seconds, registered or learned."""
        return {name: life.interval_s for name, life in self._detection.get_liveness().items()}

    def get_status(self) -> PipelineStatus:
        """Return the status of sensors, and what could not be used."""
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
