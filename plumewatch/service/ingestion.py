"""Everything that takes messages in: MQTT, HTTP, events of other detectors, up to the journal."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ingest.broker import Subscriptions
from ingest.canary import CanarySettings
from ingest.commit import GroupCommit
from ingest.errors import BrokerError
from ingest.event_messages import EVENT_TOPICS, EventIntake
from ingest.intake import Intake
from ingest.mqtt import MqttSource, live_messages
from ingest.states import States
from plumewatch.config.ingest_settings import http_sources, intake_config, topic_filters
from plumewatch.config.settings import broker_settings
from plumewatch.service.meters import Histogram
from plumewatch.service.supervisor import Task
from plumewatch.service.web_server import HttpServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from detection.events import Event
    from ingest.broker import BrokerSettings
    from ingest.intake import IntakeConfig
    from ingest.message import Message
    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.config.paths import DataPaths
    from storage.journal import DeadLetter, Journal
    from storage.reading import Reading
    from storage.timeseries.writer import InThread

_COMMIT_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_COMMIT_PACE_S: Final = 0.005
"""Readings that arrive one by one are gathered for so long: a commit costs much, a reading little.
After a quiet moment nothing waits."""
_DEDUPE_WINDOW: Final = 512
"""Above the broker's window (`max_inflight_messages`): all of it may come again after a crash."""
_TAP_AGAIN_S: Final = 5.0
_POLL_S: Final = 0.2
_RESTORED_READINGS: Final = 20_000
"""Newest readings of the journal in which duplicates are found after a start."""


class Ingestion:
    """Sources of messages, the intake that judges them, and the commit to the journal.

    Parameters
    ----------
    in_journal : InThread
        Runs work in the thread of the journal.
    on_stored : callable
        Called with the offset of the newest durable reading.
    admit : callable
        ``await admit(events)`` returns once events that were detected elsewhere are committed.
    on_unstored : callable
        Called with live readings that the disk refuses.
    clock : callable
        Unix seconds; asked once a message as it arrives.
    """

    def __init__(
        self,
        config: PlumewatchConfig,
        paths: DataPaths,
        journal: Journal,
        in_journal: InThread,
        on_stored: Callable[[int], None],
        admit: Callable[[Sequence[Event]], Awaitable[None]],
        on_unstored: Callable[[Sequence[Reading]], None],
        clock: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._in_journal = in_journal
        self._on_stored = on_stored
        self._admit = admit
        self.intake_config = intake_config(config, dedupe_window=_DEDUPE_WINDOW)
        topics = topic_filters(config, self.intake_config.mappings)
        self.intake = Intake(self.intake_config)
        self.commit_s = Histogram(_COMMIT_BOUNDS_S)
        self.commits = GroupCommit(self._commit, pace_s=_COMMIT_PACE_S)
        broker = broker_settings(config)
        self.source = MqttSource(
            broker,
            topics,
            self.intake,
            self.commits.commit,
            clock,
            CanarySettings() if config.broker.canary else None,
            Subscriptions(paths.subscriptions, config.broker.session),
        )
        self._events = EventIntake(config.registry(), self.intake_config.context.limits)
        self.event_source: MqttSource | None = None
        if config.ingest.events:
            self.event_source = MqttSource(
                replace(broker, client_id=f"{broker.client_id}-events"),
                EVENT_TOPICS,
                self._events,
                self._commit_events,
                clock,
            )
        sources = http_sources(config)
        self.unstored = UnstoredIntake(
            self.intake_config,
            broker,
            topics,
            lambda: bool(self.commits.failing),
            on_unstored,
            clock,
        )
        self.http = HttpServer(
            config.ingest.http, sources, self.intake, self.commits, clock, self.unstored.on_message
        )

    def restore(self) -> None:
        """Let the intake know the newest readings of an open journal."""
        self.intake.restore(self._journal.tail(_RESTORED_READINGS))

    def tasks(self, stop: asyncio.Event) -> Iterator[Task]:
        """Return what runs while the service does."""
        yield Task("mqtt", self.source.run())
        if self.event_source is not None:
            yield Task("events", self.event_source.run())
        yield Task("HTTP ingest", self.http.serve(stop), stop=self.http.stop, ends="drained")
        yield Task("commits", self.commits.run(), ends="last")

    async def bury(self, dead_letters: Sequence[DeadLetter]) -> None:
        """Commit dead letters in a commit of their own."""
        await self._commit([], dead_letters)

    async def _commit(
        self, readings: Sequence[Reading], dead_letters: Sequence[DeadLetter]
    ) -> None:
        began = time.monotonic()
        last = await self._in_journal(self._journal.commit, readings, dead_letters)
        self.commit_s.observe(time.monotonic() - began)
        self._on_stored(last)

    async def _commit_events(
        self, _readings: Sequence[Reading], dead_letters: Sequence[DeadLetter]
    ) -> None:
        """Commit events before their messages are acknowledged."""
        events = self._events.take()
        if dead_letters:
            await self.commits.commit((), dead_letters)
        if events:
            await self._admit(events)


class UnstoredIntake:
    """An intake beside the one that stores, for alerts from memory; acknowledges nothing.

    Parameters
    ----------
    config : IntakeConfig
        Of the intake that stores; the states of decoders are not shared with it.
    topics : sequence of str
        Filters of the tap, a session beside the one that acknowledges.
    is_failing : callable
        Whether the journal refuses readings.
    on_readings : callable
        Given what was decoded.
    """

    def __init__(
        self,
        config: IntakeConfig,
        broker: BrokerSettings,
        topics: Sequence[str],
        is_failing: Callable[[], bool],
        on_readings: Callable[[Sequence[Reading]], None],
        clock: Callable[[], float],
    ) -> None:
        self._intake = Intake(replace(config, context=replace(config.context, states=States())))
        self._broker = broker
        self._topics = topics
        self._is_failing = is_failing
        self._on_readings = on_readings
        self._clock = clock

    def on_message(
        self,
        message: Message,
        decoder: str = "",
        permits: Callable[[str, str | None], bool] | None = None,
    ) -> None:
        """Decode a message that cannot be stored. Parameters as in `Intake`."""
        self._on_readings(self._intake.on_message(message, decoder, permits).readings)
        self._on_readings(self._intake.on_time(message.received))

    async def listen(self) -> None:
        """Keep the tap open while the journal refuses, until cancelled."""
        while True:
            if self._is_failing():
                with suppress(BrokerError):  # the session that stores logs it
                    await live_messages(self._broker, self._topics, self.on_message, self._clock)
            await asyncio.sleep(_TAP_AGAIN_S if self._is_failing() else _POLL_S)
