"""Ingest messages from MQTT, HTTP and other detectors into the journal."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from alerts.operations import Operations
from ingest.commit import GroupCommit, JournalWriter
from ingest.decoding import States
from ingest.errors import BrokerError
from ingest.event_messages import EVENT_TOPICS, EventIntake
from ingest.http.poll import HttpPolls
from ingest.http.server import HttpIngest
from ingest.intake import Intake
from ingest.mqtt.connection import load_client_id, read_live_messages
from ingest.mqtt.intake_loop import CanarySettings
from ingest.mqtt.source import MqttSource
from plumewatch.config.ingest_settings import (
    build_intake_config,
    list_topic_filters,
    read_http_sources,
    read_polled_sensors,
)
from plumewatch.config.settings import read_broker_settings
from plumewatch.service.resources import Task
from plumewatch.service.web_server import WebServer, is_loopback
from storage.errors import translate_errors
from storage.reading import assume_no_step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from alerts.consumer.memory_alerts import UnstoredReadings
    from ingest.mqtt.connection import BrokerSettings
    from ingest.validation import Message
    from plumewatch.service.resources import ExternalEvents, Resources
    from storage.journal import DeadLetter
    from storage.reading import Reading

log = logging.getLogger(__name__)

_COMMIT_PACE_S: Final = 0.005
"""How long readings are collected for one commit, because commits are expensive. The first reading
after a pause does not wait."""
_DEDUPE_WINDOW: Final = 512
"""Number of readings per sensor that are remembered to find duplicates. It exceeds the broker's
`max_inflight_messages`, because the broker may resend that many after a crash. Older duplicates are
found in the journal."""
_EVENTS: Final = "-events"
"""Client id suffix of the session that receives other detectors' events."""
_RECONNECT_S: Final = 5.0
_POLL_S: Final = 0.2
_MAX_RECOUNTED: Final = 500_000
"""Maximum number of readings counted again at startup. Counts are saved every minute, and no minute
has this many readings."""
_RESTORED_READINGS: Final = 20_000
"""Number of newest journal readings that are searched for duplicates after startup."""


class Ingestion:
    """Sources of messages, their intake, and the commit to the journal."""

    def __init__(
        self,
        resources: Resources,
        external: ExternalEvents,
        unstored: UnstoredReadings,
        clock: Callable[[], float],
    ) -> None:
        config = resources.config
        self.operations = Operations(clock)
        report = self.operations.report

        step_of = resources.step_reader() if clock is resources.clock else assume_no_step
        self._journal = resources.journal
        self._external = external
        self.intake_config = build_intake_config(config, dedupe_window=_DEDUPE_WINDOW)
        topics = list_topic_filters(config, self.intake_config.mappings)
        self.intake = Intake(self.intake_config, report)
        self.writer = JournalWriter(
            resources.journal, resources.in_journal, self.intake, resources.on_stored
        )
        self.commits = GroupCommit(self.writer.write, pace_s=_COMMIT_PACE_S)
        broker = read_broker_settings(config)
        self.source = MqttSource(
            broker,
            topics,
            self.intake,
            self.commits.commit,
            clock,
            CanarySettings() if config.broker.canary else None,
            resources.paths.subscriptions,
            step_of,
            on_fault=report,
        )
        self._events = EventIntake(resources.registry, self.intake_config.context.limits)
        self.event_source: MqttSource | None = None
        if config.ingest.events:
            self.event_source = MqttSource(
                replace(broker, client_id=f"{broker.client_id}{_EVENTS}"),
                EVENT_TOPICS,
                self._events,
                self._commit_events,
                clock,
                subscriptions=resources.paths.event_subscriptions,
            )
        context = replace(self.intake_config.context, states=States())
        second = Intake(replace(self.intake_config, context=context))
        self.unstored = UnstoredIntake(
            second, broker, topics, lambda: bool(self.commits.failing), unstored, clock
        )
        self._http_config = config.ingest.http
        self._http_sources = read_http_sources(config)
        self.http_ingest = HttpIngest(
            self._http_sources,
            self.intake,
            self.commits,
            clock=clock,
            step_of=step_of,
            on_unstored=self.unstored.on_message,
        )
        self.polls = HttpPolls(read_polled_sensors(config), self.http_ingest, clock=clock)
        self._http_server: WebServer | None = None
        self._client_id_file = None if config.broker.client_id else resources.paths.client_id

    def open(self) -> None:
        """Resume the broker sessions of the previous run; raises `StorageUnavailableError`."""
        if self._client_id_file is not None:
            with translate_errors(self._client_id_file):
                client_id = load_client_id(self._client_id_file)
            self.source.use_client_id(client_id)
            if self.event_source is not None:
                self.event_source.use_client_id(f"{client_id}{_EVENTS}")

    def restore(self, counted: int | None) -> None:
        """Pass the journal's newest readings to the intake; count the readings after `counted`."""
        last = self.writer.stored_offset = self._journal.get_last_offset()
        counted = last - _RESTORED_READINGS if counted is None else counted
        counted = max(counted, last - _MAX_RECOUNTED, 0)
        at = max(0, min(last - _RESTORED_READINGS, counted))
        while at < last:
            entries, at = self._journal.read(at, _RESTORED_READINGS)
            self.intake.restore(e.reading for e in entries if e.offset <= counted)
            self.intake.restore([e.reading for e in entries if e.offset > counted], counted=False)

    def save_point(self) -> tuple[bytes, int]:
        """Return the counts of readings to save, and the journal offset that they reach."""
        return self.intake.reading_counts.snapshot(), self.writer.stored_offset

    def listen_for_http(self) -> None:
        """Bind the address of HTTP ingest if it has sources; raises `ServiceError`."""
        if not self._http_sources:
            return
        config, app = self._http_config, self.http_ingest.app
        proxies = config.trusted_proxies
        server = self._http_server = WebServer(
            "HTTP ingest", app, config.host, config.port, trusted_proxies=proxies
        )
        names = ", ".join(source.name for source in self._http_sources)
        log.info("HTTP ingest: http://%s:%d for %s", config.host, server.port, names)
        if not is_loopback(config.host):
            log.warning(
                "HTTP ingest is open to the network without TLS: tokens can be read on the way"
            )

    def create_tasks(self) -> Iterator[Task]:
        """Yield the tasks of ingestion."""
        yield Task("mqtt", self.source.run())
        if self.event_source is not None:
            yield Task("events", self.event_source.run())
        if self._http_server is not None:
            server = self._http_server
            yield Task("HTTP ingest", server.serve(), stop=server.stop, ends="drained")
        if self.polls.sensors:
            yield Task("polls", self.polls.run())
        yield Task("commits", self.commits.run(), ends="last")

    async def _commit_events(
        self, _readings: Sequence[Reading], dead_letters: Sequence[DeadLetter]
    ) -> None:
        events = self._events.take()
        if dead_letters:
            await self.commits.commit((), dead_letters)
        if events:
            await self._external.commit(events)


@dataclass(frozen=True, slots=True)
class UnstoredIntake:
    """A second intake, for alerts from memory; it acknowledges nothing."""

    intake: Intake
    broker: BrokerSettings
    topics: Sequence[str]
    is_failing: Callable[[], bool]
    readings: UnstoredReadings
    clock: Callable[[], float]

    def on_message(
        self,
        message: Message,
        decoder: str = "",
        permits: Callable[[str, str | None], bool] | None = None,
    ) -> None:
        """Decode a message that cannot be stored; parameters as for `Intake`."""
        self.readings.put(self.intake.on_message(message, decoder, permits).readings)
        self.readings.put(self.intake.on_time(message.received))

    async def listen(self) -> None:
        """While the journal refuses readings, receive live messages; run until canceled."""
        while True:
            if self.is_failing():
                with suppress(BrokerError):  # the session that stores messages logs it
                    await read_live_messages(self.broker, self.topics, self.on_message, self.clock)
            await asyncio.sleep(_RECONNECT_S if self.is_failing() else _POLL_S)
