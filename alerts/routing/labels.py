"""Labels by which an incident is routed, silenced and inhibited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from alerts.severity import Severity

if TYPE_CHECKING:
    from storage.registry import Room

LABELS: Final = ("site", "building", "floor", "room", "room_type", "kind", "severity", "sensor")
"""All labels; a matcher on another name is a mistake."""
SEVERITIES: Final = tuple(severity.value for severity in Severity)


def incident_labels(room: Room, *, kind: str, severity: str, sensor: str) -> dict[str, str]:
    """Return the labels of an incident; unknown ones are absent, which equals empty.

    >>> from storage.registry import Room
    >>> incident_labels(
    ...     Room("N2", "Boys", "", "North", ""), kind="vape", severity="warning", sensor="s1"
    ... )
    ... # doctest: +NORMALIZE_WHITESPACE
    {'building': 'North', 'room': 'N2', 'room_type': 'restroom', 'kind': 'vape',
     'severity': 'warning', 'sensor': 's1'}
    """
    values = (room.site, room.building, room.floor, room.id, room.kind, kind, severity, sensor)
    return {name: value for name, value in zip(LABELS, values, strict=True) if value}
