"""Everything from an event to a delivered notice, and to the other systems that learn of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from alerts.consumer.memory_alerts import MemoryAlerts
from alerts.incidents.change_feed import ChangeSignal
from alerts.incidents.engine import AlertEngine
from alerts.incidents.stuck_incidents import StuckIncidentCheck
from alerts.notify.answer_links import with_answer_link
from alerts.notify.channels.apprise_notifier import AppriseNotifier, NotifySettings
from alerts.notify.pictures import IncidentPictures, NoticePictures
from alerts.notify.pump import OutboxPump
from alerts.outbound.grafana_annotations import AnnotationCounters
from alerts.outbound.webhooks import WebhookNotifier
from plumewatch.config.settings import alert_policy, webhooks
from plumewatch.service.outbound_integrations import OutboundIntegrations
from plumewatch.service.pipeline_meters import Deliveries
from plumewatch.service.supervisor import Task, after

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from alerts.notify.channels.apprise_notifier import Notifier
    from alerts.notify.pump import DeliveryOutcome
    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.config.paths import DataPaths
    from plumewatch.service.detection_loop import DetectionLoop, Observer
    from plumewatch.service.ingestion import Ingestion
    from storage.journal import Journal
    from storage.retrying import RunUntilStored
    from storage.timeseries import Series
    from storage.timeseries.writer import InThread

T = TypeVar("T")


class Alerting:
    """Incidents, their notices, and the systems that learn of them.

    Parameters
    ----------
    notifier : Notifier, optional
        Apprise by default.
    in_detector : InThread
        Runs work in the thread of the state database.
    wake_records : asyncio.Event
        Set when incidents changed that the series has to learn of.
    clock : callable
        Unix seconds.

    Attributes
    ----------
    changes : ChangeSignal
        Notified whenever incidents, or what the staff page shows, change.
    stuck : Counter of str
        Incidents and notices that were found stuck, by what they are.
    """

    def __init__(
        self,
        config: PlumewatchConfig,
        paths: DataPaths,
        notifier: Notifier | None,
        ingestion: Ingestion,
        journal: Journal,
        series: Series,
        run_until_stored: RunUntilStored,
        in_detector: InThread,
        ready: asyncio.Event,
        wake_records: asyncio.Event,
        observer: Observer,
        clock: Callable[[], float],
    ) -> None:
        private = config.alerts.allow_private_targets
        registry, policy = (
            config.registry(),
            replace(alert_policy(config), webhooks=webhooks(config)),
        )
        self.engine = AlertEngine(registry, policy)
        self.notifier = notifier or AppriseNotifier(NotifySettings(allow_private=private))
        sender = self.notifier
        if policy.webhooks:
            sender = WebhookNotifier(sender, policy.webhooks, allow_private=private, clock=clock)
        self.deliveries = Deliveries()
        self.stuck: Counter[str] = Counter()
        self._run_until_stored = run_until_stored
        self._observer = observer
        self._clock = clock
        self._wake_outbox = asyncio.Event()
        self.changes = ChangeSignal(wakes=[self._wake_outbox, wake_records])
        self._state: sqlite3.Connection | None = None
        self._pictures: NoticePictures | None = None
        if config.alerts.pictures:
            source = IncidentPictures(paths.state, registry, series, config.timezone)
            self._pictures = NoticePictures(source)
        self._pump = OutboxPump(
            paths.state,
            self.engine,
            sender,
            self._wake_outbox,
            clock=clock,
            on_outcome=self._on_delivery,
            pictures=self._pictures,
            personal=with_answer_link,
        )
        self.memory = MemoryAlerts(
            engine=self.engine,
            notifier=sender,
            readings=ingestion.commits,
            read_journal=journal.read,
            state_failing=lambda: run_until_stored.failing.get("incidents", ""),
            in_detector=in_detector,
            clock=clock,
            on_alerts=observer.on_alerts,
        )
        self._listen = ingestion.unstored.listen
        self.outbound = OutboundIntegrations(
            config,
            self.engine,
            paths.state,
            self.changes,
            AnnotationCounters(),
            ready,
            self._wake_outbox,
            run_until_stored,
            clock,
        )
        self._stuck_check = StuckIncidentCheck(
            self.engine, clock, self.stuck, self.commit, self.changes.notify
        )

    def open(self, state: sqlite3.Connection) -> None:
        """Begin with an open state database."""
        self._state = state
        if self._pictures is not None:
            self._pictures.open()

    def close(self) -> None:
        """End what makes pictures."""
        if self._pictures is not None:
            self._pictures.close()

    def tasks(self, state: sqlite3.Connection, detection: DetectionLoop) -> Iterator[Task]:
        """Return what runs while the service does."""
        yield Task("outbox", self._pump.run(), stop=self._stop)
        yield Task(
            "memory",
            after(
                detection.ready, lambda: self.memory.run(detection, state, self._pump, self._listen)
            ),
        )
        yield Task(
            "stuck incident check", after(detection.ready, lambda: self._stuck_check.run(state))
        )
        yield Task("outbound integrations", self.outbound.run(state))

    async def commit(self, work: Callable[..., T], *arguments: object) -> T:
        """Commit a decision, behind everything that was decided in memory."""

        def committed() -> T:
            if self._state is not None:
                self.memory.write_back(self._state)
            return work(*arguments)

        return await self._run_until_stored("incidents", committed)

    def _stop(self) -> None:
        self.changes.close()
        self._pump.stop()

    def _on_delivery(self, outcome: DeliveryOutcome) -> None:
        self.deliveries.on_delivery(outcome, self._clock())
        self._observer.on_delivery(outcome)
        self.changes.notify()
