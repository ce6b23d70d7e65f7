"""Incidents to other systems: webhooks, room states on the broker, annotations in a Grafana."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiomqtt import MqttError, Will

from alerts.incidents import change_feed
from alerts.outbound import grafana_annotations, series_records, webhooks
from alerts.outbound.grafana_annotations import Annotator
from alerts.outbound.room_publisher import RoomPublisher
from alerts.outbound.room_states import AVAILABILITY
from alerts.outbound.webhooks import WebhookWriter
from ingest.broker import connected, new_client
from ingest.errors import BrokerError
from plumewatch.config.settings import broker_settings, grafana_target
from storage.sqlite import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from alerts.incidents.change_feed import ChangeSignal
    from alerts.incidents.engine import AlertEngine
    from alerts.outbound.grafana_annotations import AnnotationCounters
    from alerts.outbound.room_publisher import Publish
    from ingest.broker import BrokerSettings
    from plumewatch.config.model import PlumewatchConfig
    from storage.retrying import Retrying

_PRUNE_EVERY_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class OutboundIntegrations:
    """The readers of the change feed that other systems hear of incidents by.

    Attributes
    ----------
    database : Path
        The state database.
    ready : asyncio.Event
        Set once the detectors are where they left off.
    wake_outbox : asyncio.Event
        Set when there is a webhook to send.
    run_until_stored : Retrying
        Runs work in the thread of the state database.
    """

    config: PlumewatchConfig
    engine: AlertEngine
    database: Path
    changes: ChangeSignal
    counters: AnnotationCounters
    ready: asyncio.Event
    wake_outbox: asyncio.Event
    run_until_stored: Retrying
    clock: Callable[[], float]

    async def run(self, state: sqlite3.Connection) -> None:
        """Publish every change until cancelled; `state` is used in its own thread."""
        live = {webhooks.READER, series_records.READER}
        async with asyncio.TaskGroup() as group:
            if self.config.outbound.mqtt.enabled:
                group.create_task(self._rooms().run(), name="room states")
            await self.ready.wait()
            writer = WebhookWriter(
                self.engine.policy,
                self.engine.registry,
                self.config.site,
                self.changes,
                self.wake_outbox,
                self.run_until_stored,
                self.clock,
            )
            group.create_task(writer.run(state), name="webhooks")
            annotator = self._annotator()
            if annotator is not None:
                live.add(grafana_annotations.READER)
                group.create_task(annotator.run(state), name="annotations")
            group.create_task(self._prune(state, live), name="change feed")

    def _rooms(self) -> RoomPublisher:
        settings = broker_settings(self.config)
        return RoomPublisher(
            lambda: _room_session(settings),
            self.database,
            self.engine.registry,
            self.changes,
            self.config.outbound.mqtt.home_assistant,
        )

    def _annotator(self) -> Annotator | None:
        target = grafana_target(self.config)
        if target is None:
            return None
        from dashboards.grafana import Grafana  # noqa: PLC0415 - an extra

        return Annotator(
            Grafana(target.url, target.token.reveal()),
            self.database,
            self.engine.registry.rooms,
            self.config.web.url,
            self.changes,
            self.counters,
            self.run_until_stored,
            self.clock,
        )

    async def _prune(self, state: sqlite3.Connection, live: set[str]) -> None:
        def prune() -> None:
            with transaction(state) as tx:
                change_feed.prune(tx, live)

        while True:
            await self.run_until_stored("change feed", prune)
            await asyncio.sleep(_PRUNE_EVERY_S)


@asynccontextmanager
async def _room_session(settings: BrokerSettings) -> AsyncIterator[Publish]:
    """Connect for room states; the broker publishes ``offline`` when the service is gone."""
    will = Will(AVAILABILITY, "offline", qos=1, retain=True)
    client = new_client(settings, f"{settings.client_id}-rooms", clean=True, will=will)

    async def publish(topic: str, payload: str, timeout_s: float) -> None:
        await client.publish(topic, payload, qos=1, retain=True, timeout=timeout_s)

    try:
        async with connected(client, settings):
            yield publish
    except (BrokerError, MqttError, TimeoutError) as error:
        raise ConnectionError(str(error)) from error
