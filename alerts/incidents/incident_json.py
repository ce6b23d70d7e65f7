"""An incident as JSON, with the same fields in the API, webhooks and room states."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from storage.registry import Room


def build_incident_json(row: Mapping[str, Any] | sqlite3.Row, room: Room) -> dict[str, Any]:
    """Return an incident without the people involved; callers add those for their readers.

    `row` has at least ``id``, ``kind``, ``status``, ``severity``, ``confidence`` and ``onset``.
    """
    return {
        "id": row["id"],
        "kind": row["kind"],
        "status": row["status"],
        "severity": row["severity"],
        "confidence": row["confidence"],
        "onset": format_iso(row["onset"]),
        "room": {
            "id": room.id,
            "name": room.name,
            "floor": room.floor,
            "building": room.building,
            "site": room.site_id,
            "site_name": room.site,
        },
    }


def format_iso(at: float) -> str:
    """Write Unix seconds as ISO 8601 in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat()
