"""The composition root: one process that takes in, detects, stores, alerts and shows.

Every long-running part is a named task of one group; one that fails ends the service with a line
that says which, so nothing dies silently. Blocking work runs in one thread per database, so a
database is only ever used from one thread at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from alerts.consumer.detection_consumer import CONSUMER, DetectionConsumer
from alerts.consumer.memory_alerts import MemoryAlerts
from alerts.incidents.change_feed import ChangeSignal
from alerts.incidents.clock_step import ClockSteps
from alerts.incidents.engine import AlertEngine
from alerts.incidents.stuck_incidents import StuckIncidentCheck
from alerts.notify.answer_links import with_answer_link
from alerts.notify.apprise_notifier import AppriseNotifier, NotifySettings
from alerts.notify.pictures import IncidentPictures, NoticePictures
from alerts.notify.pump import OutboxPump
from alerts.outbound.series_records import DueRecords, mark_all
from alerts.outbound.webhooks import WebhookNotifier
from detection.class_samples import ClassSampler
from detection.liveness import LivenessSettings
from ingest.broker import Subscriptions
from ingest.canary import CanarySettings
from ingest.commit import GroupCommit
from ingest.errors import BrokerError
from ingest.event_messages import EVENT_TOPICS, EventIntake
from ingest.intake import Intake
from ingest.mqtt import MqttSource
from ingest.validation import may_alert
from plumewatch.cli.audit_command import note_start
from plumewatch.config.ingest_settings import http_sources, intake_config, topic_filters
from plumewatch.config.paths import DataPaths
from plumewatch.config.report_settings import school_of
from plumewatch.config.settings import (
    alert_budgets,
    alert_policy,
    broker_settings,
    ping_url,
    webhooks,
)
from plumewatch.config.timeseries_settings import series_kept_from, series_of
from plumewatch.doctor.check import warn_of_silence
from plumewatch.service.data_folder import (
    StandbyEndedError,
    hold_lease,
    meet_journal,
    open_state,
    take_lease,
)
from plumewatch.service.health import Health, Latencies
from plumewatch.service.http_server import HttpServer
from plumewatch.service.maintenance import Housekeeping
from plumewatch.service.observer import Counters, Observer
from plumewatch.service.outbound_integrations import OutboundIntegrations
from plumewatch.service.pipeline_status import pipeline_status
from plumewatch.service.sensor_counts import restore_counts, save_counts
from plumewatch.service.staff_page import staff_page
from plumewatch.service.supervisor import ServiceError, lasting
from plumewatch.service.unstored_intake import UnstoredIntake
from plumewatch.service.upgrade import copy_before_upgrade
from plumewatch.service.watchdog import Watchdog
from plumewatch.service.web_server import PortInUseError
from storage import firmware, state
from storage.errors import StorageError
from storage.journal import Journal
from storage.lease import Lease
from storage.retrying import RunUntilStored
from storage.sqlite import transaction
from storage.timeseries.writer import RECORD_REASON, SeriesWriter, WriterSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from alerts.incidents.engine import AlertRecord
    from alerts.notify.apprise_notifier import Notifier
    from alerts.notify.pump import DeliveryOutcome
    from alerts.page.settings import PipelineStatus
    from detection.events import Event
    from plumewatch.config.model import PlumewatchConfig
    from storage.journal import DeadLetter, JournalEntry
    from storage.reading import Reading

log = logging.getLogger(__name__)
T = TypeVar("T")

_BATCH: Final = 2000
_TICK_S: Final = 1.0
_LAST_ANSWERS_S: Final = 1.0
"""How long the commits go on after the stop, for HTTP requests that wait for their answer."""
_COMMIT_PACE_S: Final = 0.005
_DETECT_PACE_S: Final = 0.02
_SERIES_PACE_S: Final = 0.05
"""Readings that come one by one all the time are gathered for so long by each stage: a batch costs
much and a reading in it little. After a quiet moment nothing waits."""
_RECORDS_WAIT_S: Final = 1.0
"""An incident changes several times in its first second, and its notice goes first."""
_ENDED_FIRST: Final = (
    "watchdog",
    "mqtt",
    "events",
    "detector",
    "series",
    "series records",
    "housekeeping",
    "memory",
    "stuck incident check",
    "outbound integrations",
)
_DEDUPE_WINDOW: Final = 512
"""Above the broker's window (`max_inflight_messages`): all of it may come again after a crash."""


class Service:
    """The whole service.

    Parameters
    ----------
    clock : callable
        Unix seconds.
    receive_clock : callable, optional
        Unix seconds, asked once a message as it arrives; `clock` by default.
    notifier : Notifier, optional
        Apprise by default.
    standby : bool
        Wait for the data folder while another service holds it, instead of refusing to start.
    one_click : bool
        Let people on this machine sign in to the staff page without a password; for the demo.
    lease : Lease, optional
        Of the data folder, to be given back by whoever gave it; one of its own by default.

    Attributes
    ----------
    changes : ChangeSignal
        Notified whenever incidents, or what the staff page shows, change.
    ready : asyncio.Event
        Set once the detectors are where they left off, and readings are judged as they come.
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
        self.one_click = one_click
        self.changes = ChangeSignal()
        self.paths = DataPaths(config.data_dir)
        self.registry = config.registry()
        self.counters = Counters(started=clock())
        self.ready = asyncio.Event()
        self._clock = clock
        self._observer = observer or Observer()
        private = config.alerts.allow_private_targets
        policy = replace(alert_policy(config), webhooks=webhooks(config))
        self.engine = AlertEngine(self.registry, policy)
        self._notifier = notifier or AppriseNotifier(NotifySettings(allow_private=private))
        if policy.webhooks:
            self._notifier = WebhookNotifier(
                self._notifier, policy.webhooks, allow_private=private, clock=clock
            )
        heard = intake_config(config, dedupe_window=_DEDUPE_WINDOW)
        self.intake = Intake(heard)
        self.journal = Journal(self.paths.journal, clock)
        self.series = series_of(config, self.paths)
        self.commits = GroupCommit(self._commit, pace_s=_COMMIT_PACE_S)
        self.memory = MemoryAlerts(
            engine=self.engine,
            notifier=self._notifier,
            readings=self.commits,
            read_journal=self.journal.read,
            state_failing=lambda: self.run_until_stored.failing.get("incidents", ""),
            in_detector=partial(self.in_thread, "detector"),
            clock=clock,
            on_alerts=self._observer.on_alerts,
        )
        self.unstored = UnstoredIntake(
            heard,
            broker_settings(config),
            topic_filters(config, heard.mappings),
            lambda: bool(self.commits.failing),
            self.memory.ingest_unstored,
            clock,
        )
        self.source = MqttSource(
            broker_settings(config),
            topic_filters(config, heard.mappings),
            self.intake,
            self.commits.commit,
            receive_clock or clock,
            CanarySettings() if config.broker.canary else None,
            Subscriptions(self.paths.subscriptions, config.broker.session),
        )
        self.events = EventIntake(self.registry, heard.context.limits)
        self.event_source = MqttSource(
            replace(broker_settings(config), client_id=f"{config.broker.client_id}-events"),
            EVENT_TOPICS,
            self.events,
            self._commit_events,
            receive_clock or clock,
        )
        self.http = HttpServer(
            config.ingest.http,
            http_sources(config),
            self.intake,
            self.commits,
            receive_clock or clock,
            self.unstored.on_message,
        )
        self._own_lease = lease is None
        self._lease = lease or Lease(self.paths.lock)
        self._standby = standby
        self._state: sqlite3.Connection | None = None
        self._watch: DetectionConsumer | None = None
        self._steps = ClockSteps()
        self._committed = asyncio.Event()
        self._wake_outbox = asyncio.Event()
        self._threads = {
            name: ThreadPoolExecutor(1, thread_name_prefix=f"plumewatch-{name}")
            for name in ("journal", "detector", "series")
        }
        self.run_until_stored = RunUntilStored(partial(self.in_thread, "detector"))
        self.writer = SeriesWriter(
            "the series",
            self.series,
            self.journal.read,
            partial(self._commit, []),
            partial(self.in_thread, "series"),
            clock,
            settings=WriterSettings(pace_s=_SERIES_PACE_S),
        )
        school = school_of(config)
        self.school_day = school.has_school
        self._due = DueRecords(self.paths.state, self.series, self.school_day)
        self.records = SeriesWriter(
            "records of the series",
            self._due,
            self._due.read,
            partial(self._commit, []),
            partial(self.in_thread, "series"),
            clock,
            settings=WriterSettings(
                batch=500, gather_s=_RECORDS_WAIT_S, origin="record", reason=RECORD_REASON
            ),
        )
        self.latencies = Latencies()
        self.health = Health(
            clock=clock,
            monotonic=time.monotonic,
            source=self.source,
            commits=self.commits,
            intake=self.intake,
            journal=self.journal,
            writer=self.writer,
            records=self.records,
            counters=self.counters,
            retrying=self.run_until_stored,
            latencies=self.latencies,
            watch=lambda: self._watch,
            database=self.paths.state,
            queue_limit=config.broker.max_queued_messages,
        )
        self.watchdog = Watchdog(
            self.health,
            ping_url(config),
            config.watchdog.ping_every_s,
            config.alerts.allow_private_targets,
        )
        shifts = policy.roster.shifts if policy.roster else ()
        self.on_duty = partial(school.duty, shifts)
        self.house = Housekeeping(self, self.run_until_stored, clock)
        self.outbound = OutboundIntegrations(
            config,
            self.engine,
            self.paths.state,
            self.changes,
            self.counters,
            self.ready,
            self._wake_outbox,
            self.run_until_stored,
            clock,
        )
        self.changes.wakes += [self._wake_outbox, self.records.wake]
        self.stuck_check = StuckIncidentCheck(
            self.engine,
            clock,
            self.counters.forgotten,
            partial(self.run_until_stored, "audit", self._decided),
            self.changes.notify,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set.

        Raises
        ------
        ServiceError
            If something it cannot do without is missing or fails for good.
        """
        pictures = self._pictures() if self.config.alerts.pictures else None
        try:
            if not self._lease.held:
                await take_lease(self._lease, self.paths.root, stop, standby=self._standby)
        except StandbyEndedError:
            return
        except StorageError as error:
            raise ServiceError(str(error)) from error
        try:
            self._open()
            if pictures is not None:
                pictures.open()
            pump = OutboxPump(
                self.paths.state,
                self.engine,
                self._notifier,
                self._wake_outbox,
                clock=self._clock,
                on_outcome=self._on_delivery,
                pictures=pictures,
                personal=with_answer_link,
            )
            await self._serve(stop, pump)
        finally:
            if pictures is not None:
                pictures.close()
            self._close()

    def _pictures(self) -> NoticePictures:
        zone = self.config.timezone
        return NoticePictures(IncidentPictures(self.paths.state, self.registry, self.series, zone))

    async def _serve(self, stop: asyncio.Event, pump: OutboxPump) -> None:
        try:
            web = staff_page(
                self,
                on_change=self.changes.notify,
                intervals=self._intervals,
                clock=self._clock,
            )
        except PortInUseError as error:
            raise ServiceError(f"staff page: {error}") from error
        try:
            self.http.open()
        except PortInUseError as error:
            raise ServiceError(f"HTTP ingest: {error}") from error
        log.info("staff page: http://%s:%d", self.config.web.host, web.port)
        warn_of_silence(self.config, self.engine.policy)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {
                    name: group.create_task(lasting(name, work, stop), name=name)
                    for name, work in (
                        ("mqtt", self.source.run()),
                        ("events", self._take_events_in()),
                        ("detector", self._detect()),
                        ("series", self.writer.run()),
                        ("series records", self.records.run()),
                        ("housekeeping", self._keep_house()),
                        ("http door", self.http.serve(stop)),
                        ("commits", self.commits.run()),
                        ("outbox", pump.run()),
                        ("staff page", web.serve()),
                        ("lease", hold_lease(self._lease, self.paths.root)),
                        ("watchdog", self.watchdog.run()),
                        ("memory", self._stand_by_in_memory(pump)),
                        ("stuck incident check", self._check_stuck()),
                        ("outbound integrations", self._publish_outbound()),
                    )
                }
                await stop.wait()
                self.changes.close()
                web.stop()
                self.http.stop()
                pump.stop()
                for name in _ENDED_FIRST:
                    tasks[name].cancel()
                await asyncio.wait((tasks["http door"],), timeout=_LAST_ANSWERS_S)
                tasks["commits"].cancel()
                tasks["lease"].cancel()
        except* ServiceError as errors:
            raise ServiceError(str(errors.exceptions[0])) from errors
        except* BrokerError as errors:
            raise ServiceError(str(errors.exceptions[0])) from errors
        except* StorageError as errors:
            raise ServiceError(f"storage: {errors.exceptions[0]}") from errors
        except* sqlite3.DatabaseError as errors:
            raise ServiceError(
                f"{self.paths.state}: {errors.exceptions[0]}; if it is damaged, the next start goes"
                " on with what can be read of it"
            ) from errors

    def _open(self) -> None:
        now = self._clock()
        try:
            copy_before_upgrade(self.paths.root, now, series_kept_from(self.config, now))
            self.journal.open()
            self.series.open()
            self._state = open_state(self.paths.state)
            note_start(self._state, self.config, self._clock())
            read = max(self.series.position(), state.position(self._state, CONSUMER))
            meet_journal(self.journal, read)
            self.intake.restore(self.journal.tail(20_000))
            self.counters.last_offset = self.journal.last_offset()
            self.counters.detected_received = self._clock()
            self.counters.beat = time.monotonic()
            restore_counts(self._state, self.intake.reading_counts, self.registry)
            self.intake.firmware.restore(firmware.versions(self._state))
            self.house.open(self._state)
            if self.series.position() == 0:  # it has none of them
                with transaction(self._state) as tx:
                    mark_all(tx)
        except (StorageError, sqlite3.Error) as error:
            raise ServiceError(f"storage: {error}") from error

    def _new_watch(self) -> DetectionConsumer:
        """Return to where the last one left off: some seconds of work after a kill."""
        if self._state is None:
            raise ServiceError("the service is not open")
        liveness = LivenessSettings(missed=self.config.alerts.offline_after)
        watch = DetectionConsumer(
            self._state,
            self.engine,
            may_alert,
            liveness,
            alert_budgets(self.config),
            ClassSampler(),
            record_firmware=True,
        )

        def read(after: int, limit: int) -> tuple[list[JournalEntry], int]:
            self.counters.beat = time.monotonic()
            return self.journal.read(after, limit)

        watch.open(read)
        return watch

    def _close(self) -> None:
        for thread in self._threads.values():
            thread.shutdown(wait=True)
        if self._watch is not None:
            with contextlib.suppress(sqlite3.Error):
                self._watch.save_snapshot()
                if self._state is not None:
                    save_counts(self._state, self.intake.reading_counts.snapshot())
        if self._state is not None:
            self._state.close()
        self._due.close()
        self.series.close()
        self.journal.close()
        if self._own_lease:
            self._lease.release()

    async def in_thread(self, name: str, work: Callable[..., T], *arguments: object) -> T:
        """Run blocking work in the thread ``journal``, ``detector`` or ``series``."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads[name], work, *arguments)

    async def _commit(
        self, readings: Sequence[Reading], dead_letters: Sequence[DeadLetter]
    ) -> None:
        counters, began = self.counters, time.monotonic()
        last = await self.in_thread("journal", self.journal.commit, readings, dead_letters)
        self.latencies.commit.observe(time.monotonic() - began)
        if self._watch is not None and self._watch.position >= counters.last_offset:
            counters.behind_since = self._clock()
        counters.last_offset = last
        self._committed.set()
        self.writer.wake.set()

    async def _take_events_in(self) -> None:
        """Take in what was detected elsewhere, if that is asked for."""
        if not self.config.ingest.events:
            await asyncio.Event().wait()
        await self._opened()
        await self.event_source.run()

    async def _commit_events(
        self, _readings: Sequence[Reading], dead_letters: Sequence[DeadLetter]
    ) -> None:
        """Commit events that came by message, before these are acknowledged."""
        watch, events = await self._opened(), self.events.take()
        if dead_letters:
            await self.commits.commit((), dead_letters)
        if events:
            alerts = await self.run_until_stored(
                "incidents", self._decided, watch.commit_external, events, self._clock()
            )
            self._tell(events, alerts)

    async def _detect(self) -> None:
        """Consumer of the journal: detectors, incidents, outbox.

        Readings are taken in meanwhile, from the first moment on.
        """
        watch = await self.run_until_stored("state of the detectors", self._new_watch)
        self._watch, committed = watch, self._committed
        self.ready.set()
        ticked = time.monotonic()
        while True:
            committed.clear()
            self.counters.beat = began = time.monotonic()
            await self._followed_clock(watch)
            entries, position = await self.run_until_stored(
                "journal for the detector", self.journal.read, watch.position, _BATCH
            )
            if position == watch.position:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_TICK_S):
                        await committed.wait()
                if not committed.is_set():
                    await self._pass_time(watch)
                continue
            step = partial(watch.step, broker_healthy=self._broker_healthy())
            events = await self.in_thread("detector", step, [e.reading for e in entries])
            self.memory.undecided = (events, position)
            alerts = await self.run_until_stored(
                "incidents", self._decided, watch.commit, events, position, self._clock()
            )
            self.memory.undecided = None
            self.intake.reading_counts.add_skipped(watch.drain_skipped_counts())
            self.counters.readings_detected += len(entries)
            if entries:  # none if all were corrupt
                self.counters.detected_received = entries[-1].reading.received
                self.counters.latency_s.append(self._clock() - entries[-1].reading.received)
                for alert in alerts:
                    self.latencies.on_alert(alert, entries[0].reading.received)
            self._tell(events, alerts)
            if time.monotonic() - ticked >= _TICK_S:  # readings may come without a pause
                ticked, now = time.monotonic(), await self._followed_clock(watch)
                await self._apply_time(watch, now)
            if len(entries) < _BATCH:
                await asyncio.sleep(max(began + _DETECT_PACE_S - time.monotonic(), 0.0))

    async def _followed_clock(self, watch: DetectionConsumer) -> float:
        """Return the time, after deadlines were moved along if the machine's clock was set."""
        now = self._clock()
        if self._clock is not time.time:
            return now  # one that runs at a pace of its own
        step = self._steps.look(now, time.monotonic())
        if step:
            log.warning(
                "the clock was set %s by %.0f s: what waits for a time moves along",
                "ahead" if step > 0 else "back",
                abs(step),
            )
            self.house.clock_set(now)
            await self.run_until_stored("incidents", self._decided, watch.move_deadlines, now, step)
            self.changes.notify()
        return now

    async def _pass_time(self, watch: DetectionConsumer) -> None:
        """Nothing arrives: notice who is silent, resolve what is over."""
        now = await self._followed_clock(watch)
        check = partial(watch.check_silence, broker_healthy=self._broker_healthy())
        events = await self.in_thread("detector", check, now)
        if events:
            alerts = await self.run_until_stored(
                "incidents", self._decided, watch.commit, events, watch.position, now
            )
            self._tell(events, alerts)
        else:
            await self._apply_time(watch, now)

    async def _apply_time(self, watch: DetectionConsumer, now: float) -> None:
        result = await self.run_until_stored("incidents", self._decided, watch.on_time, now)
        self._tell([], result.alerts, state_changed=result.state_changed)

    def _broker_healthy(self) -> bool:
        """Whether readings can arrive and be stored."""
        return self.source.state.connected and not self.commits.failing

    def _decided(self, work: Callable[..., T], *arguments: object) -> T:
        """Carry over what was decided in memory before anything else is."""
        if self._state is not None:
            self.memory.write_back(self._state)
        return work(*arguments)

    async def _stand_by_in_memory(self, pump: OutboxPump) -> None:
        if self._state is not None:
            await self.memory.run(await self._opened(), self._state, pump, self.unstored.listen)

    def _tell(
        self,
        events: Sequence[Event],
        alerts: Sequence[AlertRecord],
        *,
        state_changed: bool = False,
    ) -> None:
        if not events and not alerts and not state_changed:
            return
        self.changes.notify()
        self.counters.events += len(events)
        self.counters.alerts += len(alerts)
        for alert in alerts:
            log.info("alert: %s by %s, incident %s", alert.kind, alert.sensor, alert.incident)
        self._observer.on_events(events)
        self._observer.on_alerts(alerts)

    def _on_delivery(self, outcome: DeliveryOutcome) -> None:
        self.latencies.on_delivery(outcome, self._clock())
        self._observer.on_delivery(outcome)
        self.changes.notify()

    async def _publish_outbound(self) -> None:
        if self._state is not None:
            await self.outbound.run(self._state)

    async def _check_stuck(self) -> None:
        await self._opened()
        if self._state is not None:
            await self.stuck_check.run(self._state)

    async def _keep_house(self) -> None:
        if self._state is not None:
            await self.house.run(await self._opened(), self._state)

    async def _opened(self) -> DetectionConsumer:
        await self.ready.wait()
        if self._watch is None:
            raise ServiceError("the service is not open")
        return self._watch

    def pipeline(self) -> PipelineStatus:
        """Return what ingest and the consumers count, for the staff page."""
        return pipeline_status(self, self._watch)

    def _intervals(self) -> dict[str, float]:
        """Seconds between the reports of each sensor, registered or learnt."""
        lives = self._watch.lives() if self._watch else {}
        return {name: life.interval_s for name, life in lives.items()}
