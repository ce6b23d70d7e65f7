"""Publish the state of every room over MQTT, retained, whenever it changes.

States are read from the database. Only changes are sent, and a new connection sends all of them.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from alerts.outbound.room_states import (
    AVAILABILITY,
    build_discovery,
    load_room_states,
    make_state_topic,
)
from storage.bounded_call import BoundedCallError, BoundedThreads
from storage.errors import StorageError
from storage.sqlite import connect

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from alerts.incidents.repository import ChangeSignal
    from storage.registry import Registry

log = logging.getLogger(__name__)

_LOOK_S: Final = 5.0
_READ_S: Final = 60.0
_FIRST_RETRY_S: Final = 1.0
_LAST_RETRY_S: Final = 30.0
_SEND_S: Final = 10.0


class Publish(Protocol):
    """Publishes retained messages at QoS 1."""

    async def __call__(self, topic: str, payload: str, timeout_s: float) -> None:
        """Return once the broker has it."""


@dataclass(slots=True)
class RoomPublisher:
    """Publishes room states over its own broker connection.

    `home_assistant` is the prefix for discovery; empty for none. The connection's will publishes
    ``offline``; a lost connection raises `OSError`.
    """

    connect_broker: Callable[[], AbstractAsyncContextManager[Publish]]
    database: Path
    registry: Registry
    changes: ChangeSignal
    home_assistant: str
    _threads: BoundedThreads = field(
        init=False, default_factory=lambda: BoundedThreads("room states", 1)
    )

    async def run(self) -> None:
        """Publish until cancelled, reconnecting after errors."""
        pause = _FIRST_RETRY_S
        while True:
            try:
                await self._session()
            except OSError as error:
                if pause == _FIRST_RETRY_S:
                    log.warning("room states are not published: %s", error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LAST_RETRY_S)

    async def _session(self) -> None:
        async with self.connect_broker() as publish:
            sent: dict[str, str] = {}
            fixed = {AVAILABILITY: "online"}
            if self.home_assistant:
                fixed |= build_discovery(self.registry, self.home_assistant)
            await _publish(publish, fixed, sent)
            seen = -1
            try:
                while True:
                    await _publish(publish, await self._states(), sent)
                    seen = await self.changes.wait_beyond(seen, _LOOK_S)
            except asyncio.CancelledError:
                await publish(AVAILABILITY, "offline", 1.0)
                raise

    async def _states(self) -> dict[str, str]:
        try:
            states = await self._threads.run(self._read, _READ_S)
        except (StorageError, BoundedCallError) as error:
            log.warning("room states are not updated: %s", error)
            return {}
        return {make_state_topic(room): state for room, state in states.items()}

    def _read(self) -> dict[str, str]:
        with closing(connect(self.database, read_only=True)) as db:
            return load_room_states(db, self.registry)


async def _publish(publish: Publish, wanted: dict[str, str], sent: dict[str, str]) -> None:
    for topic, payload in wanted.items():
        if sent.get(topic) != payload:
            await publish(topic, payload, _SEND_S)
            sent[topic] = payload
