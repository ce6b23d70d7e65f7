"""The composition root: build the parts of the service, open, run and close them.

No part gets the service object; each gets only what it needs.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from typing import TYPE_CHECKING, Final

from alerts.consumer.memory_alerts import UnstoredReadings
from plumewatch.sensor_status import restore_counts, save_counts
from plumewatch.service.alerting import Alerting
from plumewatch.service.consumers import DetectionLoop, SeriesWriters
from plumewatch.service.data_folder import make_data_folder, refuse_read_only, watch_lock
from plumewatch.service.ingestion import Ingestion
from plumewatch.service.jobs import WeeklySummary
from plumewatch.service.monitoring import Monitoring
from plumewatch.service.resources import (
    HANGS_S,
    ExternalEvents,
    Observer,
    Resources,
    ServiceError,
    Task,
    run_after,
    supervise,
)
from plumewatch.service.staff_page import build_staff_page, build_starting_page
from plumewatch.service.web_server import Listening
from storage.errors import StorageError
from storage.files import FolderLock

if TYPE_CHECKING:
    from collections.abc import Callable

    from alerts.notify.channels.apprise_notifier import Notifier
    from alerts.page.config_file import ConfigFile
    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.service.web_server import WebServer

log = logging.getLogger(__name__)

_QUICK_S: Final = 1.0
"""If opening takes longer, health requests are answered in the meantime."""


class Service:
    """One service on one data folder, from start to stop.

    With `one_click`, people on this machine sign in to the staff page without a password (for the
    demo). A given `lock` is released by its owner. The next service reuses the socket of
    `listening`.
    """

    def __init__(
        self,
        config: PlumewatchConfig,
        *,
        clock: Callable[[], float] = time.time,
        receive_clock: Callable[[], float] | None = None,
        notifier: Notifier | None = None,
        observer: Observer | None = None,
        one_click: bool = False,
        banner: Callable[[], str] = lambda: "",
        lock: FolderLock | None = None,
        config_file: ConfigFile | None = None,
        listening: Listening | None = None,
    ) -> None:
        self.config = config
        self._one_click, self._banner = one_click, banner
        self._config_file, self._listening = config_file, listening or Listening()
        self.resources = resources = Resources(config, clock, observer or Observer())
        self.paths, self.ready = resources.paths, resources.ready
        self.journal, self.series = resources.journal, resources.series
        self._own_lock = lock is None
        self._lock = lock or FolderLock(self.paths.lock)
        external, unstored = ExternalEvents(), UnstoredReadings()
        self.ingestion = ingestion = Ingestion(
            resources, external, unstored, receive_clock or clock
        )
        self.writers = writers = SeriesWriters(resources, ingestion)
        self.alerting = alerting = Alerting(
            resources, notifier, ingestion, unstored, writers.records.wake
        )
        self.detection = DetectionLoop(resources, ingestion, alerting, external)
        self.monitoring = Monitoring(resources, ingestion, self.detection, alerting, writers)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set; raises `ServiceError` if a required part fails for good."""
        try:
            await self._open_in_thread()
            web = self._listen()
            tasks = [
                *self.ingestion.create_tasks(),
                Task("detector", self.detection.run()),
                Task("external events", self.detection.run_external()),
                *self.writers.create_tasks(),
                *self.alerting.create_tasks(self.detection),
                *self.monitoring.create_tasks(),
                Task("staff page", web.serve(), stop=web.stop),
                Task("lock", watch_lock(self._lock, self.paths.root), ends="last"),
            ]
            if self.config.reports.weekly_file:
                summary = WeeklySummary(self.resources)
                tasks.append(Task("weekly summary", run_after(self.ready, summary.run)))
            await supervise(tasks, stop)
        finally:
            self._close()

    async def _open_in_thread(self) -> None:
        """Open everything; if that takes long, health and log show which file is being opened."""
        opening = asyncio.ensure_future(self.resources.in_detector(self._open))
        if not (await asyncio.wait([opening], timeout=_QUICK_S))[0]:
            page = build_starting_page(self.config, self.monitoring, self._listening)
            serving = asyncio.create_task(page.serve(), name="starting page")
            if not (await asyncio.wait([opening], timeout=HANGS_S))[0]:
                log.warning("not ready: %s", self.resources.find_hanging()["start"])
            await asyncio.wait([opening])
            page.stop()
            await serving
        await opening

    def _open(self) -> None:
        intake, resources = self.ingestion.intake, self.resources
        try:
            make_data_folder(self.paths.root)
            refuse_read_only(self.paths.root)
            if not self._lock.is_held:
                self._lock.take()
        except StorageError as error:
            raise ServiceError(str(error)) from error
        try:
            resources.open()
            self.ingestion.open()
            counted = restore_counts(resources.state, intake.reading_counts, resources.registry)
            self.ingestion.restore(counted)
            self.detection.open(self.journal.get_last_offset())
            self.alerting.open()
            self.monitoring.open()
            self.writers.open()
        except (StorageError, sqlite3.Error, OSError) as error:
            raise ServiceError(f"storage: {error}") from error
        resources.opening = None

    def _listen(self) -> WebServer:
        web = build_staff_page(
            self.resources,
            self.alerting,
            self.monitoring,
            one_click=self._one_click,
            banner=self._banner,
            config_file=self._config_file,
            listening=self._listening,
        )
        self.ingestion.listen_for_http()
        log.info("staff page: http://%s:%d", self.config.web.host, web.port)
        return web

    def _close(self) -> None:
        self.resources.end_threads()
        self.alerting.close()
        if self.resources.is_open:
            try:
                self.detection.save_snapshot()
                save_counts(self.resources.state, *self.ingestion.save_point())
            except sqlite3.Error as error:
                log.warning("some counts of the last minute are lost: %s", error)
        self.writers.close()
        self.resources.close()
        if self._own_lock:
            self._lock.release()
            self._listening.close()
