"""Home Assistant discovery of the rooms, one device a room.

Retained JSON under ``<prefix>/<component>/<object>/config``, one entity a message; see
https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery. No template contains a room name.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final

from alerts.outbound.room_states import AVAILABILITY, state_topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from storage.registry import Registry, Room

_ORDINARY: Final = re.compile(r"[A-Za-z0-9_-]+")
_BINARY: Final = (
    ("vape", "Vaping", "problem"),
    ("smoke", "Smoke", "smoke"),
    ("tamper", "Tampering", "tamper"),
)


def discovery(registry: Registry, prefix: str = "homeassistant") -> dict[str, str]:
    """Return discovery messages by topic."""
    return {
        topic: json.dumps(content, ensure_ascii=False)
        for room in registry.rooms.values()
        for topic, content in _of_room(room, prefix)
    }


def _of_room(room: Room, prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    own = _object_id(room.id)
    shared = {
        "state_topic": state_topic(room.id),
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
            "json_attributes_topic": state_topic(room.id),
        },
    )


def _object_id(room: str) -> str:
    """Return a name that Home Assistant takes and that no other room has."""
    if _ORDINARY.fullmatch(room):
        return f"plumewatch_{room}"
    digest = hashlib.sha256(room.encode()).hexdigest()[:8]
    return f"plumewatch_{re.sub('[^A-Za-z0-9_-]', '_', room)}_{digest}"
