"""Labels of an incident, by which it is routed, silenced and muted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alerts.routing.labels import incident_labels
from storage.registry import Room

if TYPE_CHECKING:
    from alerts.incidents.incident import Incident
    from alerts.incidents.repository import Running
    from storage.registry import Registry


def labels_of(incident: Incident | Running, registry: Registry) -> dict[str, str]:
    """Return the labels by which an incident is routed and silenced."""
    return incident_labels(
        place_of(registry, incident.room),
        kind=incident.kind.value,
        severity=incident.severity.value,
        sensor=incident.sensor,
    )


def place_of(registry: Registry, room: str) -> Room:
    """Return the room of an incident; an outage of several sensors is its own place."""
    return registry.rooms.get(room) or Room(room, room, "", "", "", kind="")
