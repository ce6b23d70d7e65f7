"""The composition root: builds the parts of the service, opens them, runs them and closes them.

No part knows the service: each is given what it needs.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from functools import partial
from typing import TYPE_CHECKING

from alerts.consumer.detection_consumer import CONSUMER
from alerts.incidents.clock_step import ClockSteps
from plumewatch.config.paths import DataPaths
from plumewatch.config.timeseries_settings import series_kept_from
from plumewatch.doctor.check import log_notifier_problems
from plumewatch.service.alerting import Alerting
from plumewatch.service.data_folder import (
    StandbyEndedError,
    copy_before_upgrade,
    hold_lease,
    open_and_repair_state,
    reconcile_journal,
    record_start,
    take_lease,
)
from plumewatch.service.detection_loop import (
    DetectionHooks,
    DetectionLoop,
    Observer,
    new_consumer,
)
from plumewatch.service.ingestion import Ingestion
from plumewatch.service.monitoring import Monitoring
from plumewatch.service.sensor_status import restore_counts, save_counts
from plumewatch.service.series_writers import SeriesWriters
from plumewatch.service.staff_page import staff_page, suggestion_for
from plumewatch.service.supervisor import DatabaseThreads, ServiceError, Task, supervise
from storage import firmware, state
from storage.errors import StorageError
from storage.journal import Journal
from storage.lease import Lease
from storage.retrying import RunUntilStored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from alerts.notify.channels.apprise_notifier import Notifier
    from detection.events import Event
    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.service.web_server import WebServer
    from storage.reading import Reading

log = logging.getLogger(__name__)


class Service:
    """One service on one data folder, from start to stop.

    `receive_clock` is asked once a message as it arrives. A `standby` waits for the data folder
    while another service holds it. With `one_click` people on this machine sign in to the staff
    page without a password, for the demo. A given `lease` is released by whoever gave it.
    """

    def __init__(
        self,
        config: PlumewatchConfig,
        *,
        clock: Callable[[], float] = time.time,
        receive_clock: Callable[[], float] | None = None,
        notifier: Notifier | None = None,
        observer: Observer | None = None,
        standby: bool = False,
        one_click: bool = False,
        lease: Lease | None = None,
    ) -> None:
        self.config = config
        self.paths = paths = DataPaths(config.data_dir)
        self.registry = config.registry()
        self._clock = clock
        self._standby, self._one_click = standby, one_click
        self._own_lease = lease is None
        self._lease = lease or Lease(paths.lock)
        self._state: sqlite3.Connection | None = None
        self._threads = threads = DatabaseThreads("journal", "detector", "series")
        in_detector = threads.of("detector")
        observer = observer or Observer()
        self.ready = asyncio.Event()
        self.run_until_stored = run_until_stored = RunUntilStored(in_detector, paths.state)
        self.journal = Journal(paths.journal, clock)
        self.ingestion = ingestion = Ingestion(
            config,
            paths,
            self.journal,
            threads.of("journal"),
            self._on_stored,
            self._admit,
            self._ingest_unstored,
            receive_clock or clock,
        )
        self.writers = writers = SeriesWriters(
            config, paths, self.journal, ingestion.bury, threads.of("series"), clock
        )
        self.series = writers.series
        self.alerting = alerting = Alerting(
            config,
            paths,
            notifier,
            ingestion,
            self.journal,
            writers.series,
            run_until_stored,
            in_detector,
            self.ready,
            writers.records.wake,
            observer,
            clock,
        )
        self.detection = DetectionLoop(
            partial(new_consumer, config, alerting.engine),
            self.journal.read,
            run_until_stored,
            alerting.commit,
            in_detector,
            DetectionHooks(
                lambda: ingestion.source.state.connected and not ingestion.commits.failing,
                alerting.deliveries.on_alert,
                alerting.changes.notify,
                self._on_clock_set,
                ingestion.intake.reading_counts.add_skipped,
            ),
            observer,
            clock,
            ClockSteps() if clock is time.time else None,
            self.ready,
        )
        self.monitoring = Monitoring(
            config,
            paths,
            self.journal,
            ingestion,
            self.detection,
            alerting,
            writers,
            run_until_stored,
            threads,
            clock,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set.

        Raises
        ------
        ServiceError
            If something it cannot do without is missing or fails for good.
        """
        try:
            if not self._lease.held:
                await take_lease(self._lease, self.paths.root, stop, standby=self._standby)
        except StandbyEndedError:
            return
        except StorageError as error:
            raise ServiceError(str(error)) from error
        try:
            state = self._open()
            web = self._listen()
            log_notifier_problems(self.config, self.alerting.engine.policy)
            tasks = [
                *self.ingestion.tasks(stop),
                Task("detector", self.detection.run()),
                *self.writers.tasks(),
                *self.alerting.tasks(state, self.detection),
                *self.monitoring.tasks(),
                Task("staff page", web.serve(), stop=web.stop),
                Task("lease", hold_lease(self._lease, self.paths.root), ends="last"),
            ]
            await supervise(tasks, stop)
        finally:
            self._close()

    def _open(self) -> sqlite3.Connection:
        now = self._clock()
        intake = self.ingestion.intake
        try:
            copy_before_upgrade(self.paths.root, now, series_kept_from(self.config, now))
            self.journal.open()
            self.series.open()
            opened = self._state = open_and_repair_state(self.paths.state)
            record_start(opened, self.config, now)
            read = max(self.series.cursor(), state.cursor(opened, CONSUMER))
            reconcile_journal(self.journal, read)
            self.ingestion.restore()
            restore_counts(opened, intake.reading_counts, self.registry)
            intake.firmware.restore(firmware.versions(opened))
            self.detection.open(opened, self.journal.last_offset())
            self.alerting.open(opened)
            self.monitoring.maintenance.open(opened)
            self.writers.open(opened)
        except (StorageError, sqlite3.Error) as error:
            raise ServiceError(f"storage: {error}") from error
        return opened

    def _listen(self) -> WebServer:
        web = staff_page(
            self.config,
            self.alerting,
            self.monitoring,
            self.series,
            partial(suggestion_for, self.ingestion.intake),
            self._clock,
            one_click=self._one_click,
        )
        self.ingestion.http.open()
        log.info("staff page: http://%s:%d", self.config.web.host, web.port)
        return web

    def _on_stored(self, last_offset: int) -> None:
        self.detection.on_stored(last_offset)
        self.writers.readings.wake.set()

    def _on_clock_set(self, now: float) -> None:
        self.monitoring.deletion.clock_set(now)

    async def _admit(self, events: Sequence[Event]) -> None:
        await self.detection.admit(events)

    def _ingest_unstored(self, readings: Sequence[Reading]) -> None:
        self.alerting.memory.ingest_unstored(readings)

    def _close(self) -> None:
        self._threads.close()
        self.alerting.close()
        if self._state is not None:
            try:
                self.detection.save_snapshot()
                save_counts(self._state, self.ingestion.intake.reading_counts.snapshot())
            except sqlite3.Error as error:
                log.warning("some counts of the last minute are lost: %s", error)
            self._state.close()
        self.writers.close()
        self.journal.close()
        if self._own_lease:
            self._lease.release()
