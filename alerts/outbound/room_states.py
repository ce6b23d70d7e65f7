"""The state of every room, as machines in the building read it.

``plumewatch/v1/room/<room>/state``, retained, one flat JSON object a room::

    {"state": "open", "kind": "vape", "kinds": ["vape"], "severity": "warning",
     "incident": "20260907-001", "since": "2026-09-07T14:05:00+00:00"}

``state`` is ``clear``, ``open`` (nobody responds) or ``taken``; of several incidents the most
severe one without a response is described, and ``kinds`` has all.
``plumewatch/v1/room/availability`` is ``online``, or ``offline``
by the will of a service that is gone.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import sqlite3

    from storage.registry import Registry

_PREFIX: Final = "plumewatch/v1/room"
AVAILABILITY: Final = f"{_PREFIX}/availability"
"""Topic that says whether the states are current."""

_SEVERITY: Final = ("critical", "warning", "info")
_CLEAR: Final = {
    "state": "clear",
    "kind": "",
    "kinds": [],
    "severity": "",
    "incident": "",
    "since": "",
}


def state_topic(room: str) -> str:
    """Return the topic of a room's state."""
    return f"{_PREFIX}/{room}/state"


def room_states(db: sqlite3.Connection, registry: Registry) -> dict[str, str]:
    """Return the state of every registered room as JSON, by room id."""
    rows = db.execute(
        "SELECT id, kind, room, status, severity, onset FROM incident"
        " WHERE status <> 'resolved' AND paged ORDER BY onset, id"
    ).fetchall()
    return {
        room: json.dumps(_state([r for r in rows if r["room"] == room])) for room in registry.rooms
    }


def _state(rows: list[sqlite3.Row]) -> dict[str, Any]:
    if not rows:
        return _CLEAR
    first = min(rows, key=lambda r: (r["status"] == "acknowledged", _SEVERITY.index(r["severity"])))
    return {
        "state": "taken" if first["status"] == "acknowledged" else "open",
        "kind": first["kind"],
        "kinds": sorted({r["kind"] for r in rows}),
        "severity": first["severity"],
        "incident": first["id"],
        "since": datetime.fromtimestamp(first["onset"], UTC).isoformat(),
    }
