"""What watches the service itself: health, meters, the watchdog and the work of every minute."""

from __future__ import annotations

import logging
import sqlite3
import time
from functools import partial
from typing import TYPE_CHECKING

from alerts.page.settings import PipelineStatus, QuarantinedSensor, UnmatchedTopic
from plumewatch.config.report_settings import school_of
from plumewatch.config.settings import grafana_target, ping_url
from plumewatch.service import pipeline_meters as declared
from plumewatch.service.health import Health, OutboxState
from plumewatch.service.maintenance import Deletion, Maintenance
from plumewatch.service.meters import Meters
from plumewatch.service.sensor_status import sensor_statuses
from plumewatch.service.state_summary import StateRecorder
from plumewatch.service.supervisor import Task, after
from plumewatch.service.watchdog import Watchdog
from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ingest.intake import Intake
    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.config.paths import DataPaths
    from plumewatch.service.alerting import Alerting
    from plumewatch.service.detection_loop import DetectionLoop
    from plumewatch.service.ingestion import Ingestion
    from plumewatch.service.meters import Meter
    from plumewatch.service.series_writers import SeriesWriters
    from plumewatch.service.supervisor import DatabaseThreads
    from storage.journal import Journal
    from storage.retrying import RunUntilStored

log = logging.getLogger(__name__)


class Monitoring:
    """Health, meters, watchdog and maintenance of one service.

    Parameters
    ----------
    clock : callable
        Unix seconds.
    """

    def __init__(
        self,
        config: PlumewatchConfig,
        paths: DataPaths,
        journal: Journal,
        ingestion: Ingestion,
        detection: DetectionLoop,
        alerting: Alerting,
        writers: SeriesWriters,
        run_until_stored: RunUntilStored,
        threads: DatabaseThreads,
        clock: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._intake = ingestion.intake
        self._detection = detection
        self.health = Health(
            monotonic=time.monotonic,
            source=ingestion.source,
            commits=ingestion.commits,
            writer=writers.readings,
            records=writers.records,
            retrying=run_until_stored,
            detection=detection,
            queue_limit=config.broker.max_queued_messages,
        )
        self.watchdog = Watchdog(
            self.health,
            ping_url(config),
            config.watchdog.ping_every_s,
            config.alerts.allow_private_targets,
        )
        self.deletion = Deletion(
            config,
            journal,
            writers.series,
            run_until_stored,
            threads.of("journal"),
            threads.of("series"),
            clock,
        )
        started, registry, tally = clock(), config.registry(), ingestion.intake.reading_counts
        outbox = OutboxState(paths.state, clock)

        def meters() -> Iterator[Meter]:
            yield from declared.service_meters(
                self.health, started, lambda: detection.model_version
            )
            queue_limit = config.broker.max_queued_messages
            yield from declared.broker_meters(ingestion.source, self.health, queue_limit)
            yield from declared.intake_meters(
                ingestion.source, ingestion.intake, ingestion.http.answers
            )
            yield from declared.storage_meters(
                journal=journal,
                series=writers.series,
                writer=writers.readings,
                records=writers.records,
                detection=detection,
                deletion=self.deletion,
                samples_dropped=lambda: self.maintenance.samples_dropped,
                commits=ingestion.commit_s,
            )
            yield from declared.alert_meters(
                detection, alerting.memory, alerting.stuck, alerting.deliveries
            )
            yield from declared.annotation_meters(
                alerting.outbound.counters, shown=grafana_target(config) is not None
            )
            yield from declared.outbox_meters(outbox)

        self.meters = Meters(meters(), outbox.refresh)
        roster = alerting.engine.policy.roster
        summary = StateRecorder(
            registry.sensors,
            tally,
            self.meters,
            self.health.parts,
            partial(school_of(config).duty, roster.shifts if roster else ()),
        )
        self.maintenance = Maintenance(
            detection,
            summary,
            self.deletion,
            tally,
            run_until_stored,
            sample=lambda: self.health.lateness.sample(registry.sensors, tally),
            refresh=self.meters.refresh,
            wake_records=writers.records.wake.set,
            clock=clock,
        )

    def tasks(self) -> Iterator[Task]:
        """Return what runs while the service does."""
        yield Task("maintenance", after(self._detection.ready, self.maintenance.run_maintenance))
        yield Task("watchdog", self.watchdog.run())

    def intervals(self) -> dict[str, float]:
        """Return the seconds between the reports of each sensor, registered or learnt."""
        return {name: life.interval_s for name, life in self._detection.lives().items()}

    def pipeline(self) -> PipelineStatus:
        """Return what the staff page shows of ingest and of the journal's consumers."""
        intake = self._intake
        try:
            dead_letters = self._journal.dead_letter_counts()
        except (StorageError, sqlite3.Error) as error:
            log.warning("dead letters cannot be read: %s", error)
            dead_letters = {}
        return PipelineStatus(
            counters=self.meters.page(),
            dead_letters=dead_letters,
            quarantine=[
                QuarantinedSensor(q.name, q.first_seen, q.last_seen, q.count, q.decoder)
                for q in reversed(intake.quarantine.values())
            ],
            unmatched=unmatched_topics(intake),
            sensors=sensor_statuses(
                intake.config.context.registry,
                self._detection.lives(),
                intake.reading_counts,
                intake.firmware.known,
            ),
        )


def unmatched_topics(intake: Intake) -> list[UnmatchedTopic]:
    """Return the topics that nothing reads, heard last first."""
    newest = reversed(intake.unmatched.values())
    return [UnmatchedTopic(q.name, q.first_seen, q.last_seen, q.count) for q in newest]
