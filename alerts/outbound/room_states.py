"""Publish the state of every room over MQTT, retained, whenever it changes.

``plumewatch/v1/room/<room>/state`` has one JSON object::

    {"state": "open", "kinds": ["vape"], "id": "20260907-001", "kind": "vape", "status": "open",
     "severity": "warning", "confidence": 0.97, "onset": "2026-09-07T14:05:00+00:00", "room": ...}

``state`` is ``clear``, ``open`` (nobody is responding) or ``taken``. The fields are those of the
most severe incident, preferably one without a response; ``kinds`` lists all incidents.
``plumewatch/v1/room/availability`` is ``online``, or ``offline`` by the will of a service that has
gone. States are read from the database. Only changes are sent, and a new connection sends all.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from alerts.incidents.incident_json import build_incident_json
from storage.bounded_call import BoundedCallError, BoundedThreads
from storage.errors import StorageError
from storage.sqlite import connect

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from alerts.incidents.repository import ChangeSignal
    from storage.registry import Registry, Room

log = logging.getLogger(__name__)

_LOOK_S: Final = 5.0
_READ_S: Final = 60.0
_FIRST_RETRY_S: Final = 1.0
_LAST_RETRY_S: Final = 30.0
_SEND_S: Final = 10.0
_PREFIX: Final = "plumewatch/v1/room"
AVAILABILITY: Final = f"{_PREFIX}/availability"
"""Topic that says whether the states are current."""

_SEVERITY: Final = ("critical", "warning", "info")
_CLEAR: Final = {"state": "clear", "kinds": []}


def make_state_topic(room: str) -> str:
    """Return the topic of a room's state."""
    return f"{_PREFIX}/{room}/state"


def load_room_states(db: sqlite3.Connection, registry: Registry) -> dict[str, str]:
    """Return the state of every registered room as JSON, by room id."""
    rows = db.execute(
        "SELECT * FROM incident WHERE status <> 'resolved' AND paged ORDER BY onset, id"
    ).fetchall()
    return {
        room.id: json.dumps(_build_state(room, [r for r in rows if r["room"] == room.id]))
        for room in registry.rooms.values()
    }


def _build_state(room: Room, rows: list[sqlite3.Row]) -> dict[str, Any]:
    if not rows:
        return _CLEAR
    first = min(rows, key=lambda r: (r["status"] == "acknowledged", _SEVERITY.index(r["severity"])))
    return {
        "state": "taken" if first["status"] == "acknowledged" else "open",
        "kinds": sorted({r["kind"] for r in rows}),
        **build_incident_json(first, room),
    }


class Publish(Protocol):
    """Publishes retained messages at QoS 1."""

    async def __call__(self, topic: str, payload: str, timeout_s: float) -> None:
        """Return once the broker has it."""


@dataclass(slots=True)
class RoomPublisher:
    """Publishes room states over its own broker connection.

    The connection's will publishes ``offline``; a lost connection raises `OSError`.
    """

    connect_broker: Callable[[], AbstractAsyncContextManager[Publish]]
    database: Path
    registry: Registry
    changes: ChangeSignal
    _threads: BoundedThreads = field(
        init=False, default_factory=lambda: BoundedThreads("room states", 1)
    )

    async def run(self) -> None:
        """Publish until cancelled, reconnecting after errors."""
        pause = _FIRST_RETRY_S
        while True:
            try:
                await self._run_session()
            except OSError as error:
                if pause == _FIRST_RETRY_S:
                    log.warning("room states are not published: %s", error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LAST_RETRY_S)

    async def _run_session(self) -> None:
        async with self.connect_broker() as publish:
            sent: dict[str, str] = {}
            await _publish(publish, {AVAILABILITY: "online"}, sent)
            seen = -1
            try:
                while True:
                    await _publish(publish, await self._load_states(), sent)
                    seen = await self.changes.wait_beyond(seen, _LOOK_S)
            except asyncio.CancelledError:
                await publish(AVAILABILITY, "offline", 1.0)
                raise

    async def _load_states(self) -> dict[str, str]:
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
