"""Incidents as annotations of a Grafana."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alerts.notify.notice import KIND_WORDS
from dashboards.grafana import Mark

if TYPE_CHECKING:
    import sqlite3

    from plumewatch.config.model import PlumewatchConfig


def incident_marks(config: PlumewatchConfig, db: sqlite3.Connection, since: float) -> list[Mark]:
    """Return the incidents that were opened since a moment, Unix seconds; no person is named."""
    rooms = config.registry().rooms
    found = []
    for row in db.execute(
        "SELECT id, kind, room, opened_at, resolved_at, verdict FROM incident"
        " WHERE opened_at >= ? ORDER BY opened_at",
        (since,),
    ):
        room = rooms.get(row["room"])
        verdict = (row["verdict"] or "no feedback").replace("_", " ")
        found.append(
            Mark(
                row["id"],
                row["opened_at"],
                row["resolved_at"] or row["opened_at"],
                f"{KIND_WORDS.get(row['kind'], row['kind'])}: {room.name if room else row['room']}"
                f" ({verdict}) {config.web.url}/incidents/{row['id']}",
                (row["kind"], f"room:{row['room']}"),
            )
        )
    return found
