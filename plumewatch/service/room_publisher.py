"""Publishes the state of every room, retained, whenever it changes.

States are read from the database each time and only what differs is sent, so nothing waits here
that a crash could lose: whoever connects again sends all of them, which says the same once more.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Final

from aiomqtt import MqttError, Will

from alerts.outbound.home_assistant import discovery
from alerts.outbound.room_states import AVAILABILITY, room_states, state_topic
from ingest.broker import connected, new_client
from ingest.errors import BrokerError
from storage.errors import StorageError
from storage.sqlite import connect

if TYPE_CHECKING:
    from pathlib import Path

    from aiomqtt import Client

    from alerts.page.changes import Changes
    from ingest.broker import BrokerSettings
    from storage.registry import Registry

log = logging.getLogger(__name__)

_LOOK_S: Final = 5.0
_FIRST_RETRY_S: Final = 1.0
_LAST_RETRY_S: Final = 30.0
_SEND_S: Final = 10.0


class RoomPublisher:
    """One connection of its own to the broker.

    Parameters
    ----------
    database : Path
        The state database.
    changes : Changes
        Told when incidents change.
    home_assistant : str
        Prefix of Home Assistant's discovery; empty for none.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        database: Path,
        registry: Registry,
        changes: Changes,
        home_assistant: str,
    ) -> None:
        self._settings = settings
        self._database = database
        self._registry = registry
        self._changes = changes
        self._prefix = home_assistant
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="plumewatch-rooms")

    async def run(self) -> None:
        """Connect, publish, connect again; until cancelled. Readings do not depend on it."""
        pause = _FIRST_RETRY_S
        try:
            while True:
                try:
                    await self._session()
                except (BrokerError, MqttError, TimeoutError) as error:
                    if pause == _FIRST_RETRY_S:
                        log.warning("room states are not published: %s", error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LAST_RETRY_S)
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _session(self) -> None:
        will = Will(AVAILABILITY, "offline", qos=1, retain=True)
        name = f"{self._settings.client_id}-rooms"
        client = new_client(self._settings, name, clean=True, will=will)
        async with connected(client, self._settings):
            sent: dict[str, str] = {}
            fixed = {AVAILABILITY: "online"}
            if self._prefix:
                fixed |= discovery(self._registry, self._prefix)
            await self._publish(client, fixed, sent)
            seen = -1
            try:
                while True:
                    await self._publish(client, await self._states(sent), sent)
                    seen = await self._changes.after(seen, _LOOK_S)
            except asyncio.CancelledError:
                await client.publish(AVAILABILITY, "offline", qos=1, retain=True, timeout=1.0)
                raise

    async def _publish(self, client: Client, wanted: dict[str, str], sent: dict[str, str]) -> None:
        for topic, payload in wanted.items():
            if sent.get(topic) != payload:
                await client.publish(topic, payload, qos=1, retain=True, timeout=_SEND_S)
                sent[topic] = payload

    async def _states(self, before: dict[str, str]) -> dict[str, str]:
        def read() -> dict[str, str]:
            with closing(connect(self._database, read_only=True)) as db:
                return room_states(db, self._registry)

        loop = asyncio.get_running_loop()
        try:
            states = await loop.run_in_executor(self._thread, read)
        except StorageError as error:
            log.warning("room states stay as they are: %s", error)
            return before
        return {state_topic(room): state for room, state in states.items()}
