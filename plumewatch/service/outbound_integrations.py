"""Out to the building: webhooks by the outbox, room states to the broker, marks to the Grafana."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from alerts.outbound.webhooks import enqueue, webhooks_waiting
from plumewatch.config.settings import broker_settings, grafana_target
from plumewatch.service.room_publisher import RoomPublisher
from storage.sqlite import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from plumewatch.service.app import Service
    from storage.retrying import Retrying

_LOOK_AGAIN_S: Final = 5.0


class Outward:
    """What other systems of the building are told.

    Parameters
    ----------
    service : Service
        Whose configuration, engine, rooms and changes these are.
    run_until_stored : callable
        Runs blocking work in the detector's thread, again and again while the disk refuses.
    wake_outbox : asyncio.Event
        Set when there is something to send.
    clock : callable
        Unix seconds.
    """

    def __init__(
        self,
        service: Service,
        run_until_stored: Retrying,
        wake_outbox: asyncio.Event,
        clock: Callable[[], float],
    ) -> None:
        self._service = service
        self._run_until_stored = run_until_stored
        self._wake_outbox = wake_outbox
        self._clock = clock

    async def run(self, state: sqlite3.Connection) -> None:
        """Tell of every change, until cancelled.

        Parameters
        ----------
        state : sqlite3.Connection
            The state database, used in the detector's thread.
        """
        service = self._service
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell_webhooks(state), name="webhooks")
            out = service.config.outbound.mqtt
            if out.enabled:
                publisher = RoomPublisher(
                    broker_settings(service.config),
                    service.paths.state,
                    service.registry,
                    service.changes,
                    out.home_assistant,
                )
                group.create_task(publisher.run(), name="room states")
            target = grafana_target(service.config)
            if target is not None:
                from plumewatch.service.annotator import Annotator  # noqa: PLC0415 - an extra

                annotator = Annotator(service, target, self._run_until_stored, self._clock)
                group.create_task(annotator.run(state), name="annotations")

    async def _tell_webhooks(self, state: sqlite3.Connection) -> None:
        await self._service.ready.wait()
        seen = -1
        while True:
            if await self._run_until_stored("webhooks", lambda: self._enqueue(state)):
                self._wake_outbox.set()
            seen = await self._service.changes.after(seen, _LOOK_AGAIN_S)

    def _enqueue(self, state: sqlite3.Connection) -> int:
        if not webhooks_waiting(state):
            return 0
        service = self._service
        with transaction(state) as tx:
            return enqueue(
                tx, service.engine.policy, service.registry, service.config.site, self._clock()
            )
