"""The state of every room, for other systems in the building.

``plumewatch/v1/room/<room>/state``, retained, one JSON object a room::

    {"state": "open", "kinds": ["vape"], "id": "20260907-001", "kind": "vape", "status": "open",
     "severity": "warning", "confidence": 0.97, "onset": "2026-09-07T14:05:00+00:00", "room": ...}

``state`` is ``clear``, ``open`` (nobody is responding) or ``taken``. The fields are those of the
most severe incident, preferably one without a response; ``kinds`` lists all incidents.
``plumewatch/v1/room/availability`` is ``online``, or ``offline`` by the will of a service that has
gone.

In Home Assistant each room is a device, discovered by retained JSON messages, one for each entity,
under ``<prefix>/<component>/<object>/config``; see
https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery. Templates contain no room names.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final

from alerts.incidents.incident_json import build_incident_json

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from storage.registry import Registry, Room

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


_ORDINARY: Final = re.compile(r"[A-Za-z0-9_-]+")
_BINARY: Final = (
    ("vape", "Vaping", "problem"),
    ("smoke", "Smoke", "smoke"),
    ("tamper", "Tampering", "tamper"),
)


def build_discovery(registry: Registry, prefix: str = "homeassistant") -> dict[str, str]:
    """Return discovery messages by topic."""
    return {
        topic: json.dumps(content, ensure_ascii=False)
        for room in registry.rooms.values()
        for topic, content in _discover_room(room, prefix)
    }


def _discover_room(room: Room, prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    own = _make_object_id(room.id)
    shared = {
        "state_topic": make_state_topic(room.id),
        "availability_topic": AVAILABILITY,
        "device": {
            "identifiers": [own],
            "name": f"{room.name} ({room.place})" if room.place else room.name,
            "manufacturer": "Plumewatch",
            "model": "Room",
        },
        "origin": {"name": "Plumewatch"},
    }
    for kind, name, device_class in _BINARY:
        yield (
            f"{prefix}/binary_sensor/{own}_{kind}/config",
            {
                **shared,
                "name": name,
                "unique_id": f"{own}_{kind}",
                "device_class": device_class,
                "value_template": f"{{{{ 'ON' if '{kind}' in value_json.kinds else 'OFF' }}}}",
            },
        )
    yield (
        f"{prefix}/sensor/{own}_incident/config",
        {
            **shared,
            "name": "Incident",
            "unique_id": f"{own}_incident",
            "device_class": "enum",
            "options": ["clear", "open", "taken"],
            "value_template": "{{ value_json.state }}",
            "json_attributes_topic": make_state_topic(room.id),
        },
    )


def _make_object_id(room: str) -> str:
    """Return a unique name for a room that Home Assistant accepts."""
    if _ORDINARY.fullmatch(room):
        return f"plumewatch_{room}"
    digest = hashlib.sha256(room.encode()).hexdigest()[:8]
    return f"plumewatch_{re.sub('[^A-Za-z0-9_-]', '_', room)}_{digest}"
