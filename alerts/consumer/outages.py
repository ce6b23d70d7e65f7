"""Outages that are open on record but lost from the state of liveness.

Only the sensor's return ends the incident of a silent sensor. If the state of liveness is lost, or
a newer program cannot read it, nothing would ever end an open outage. It then ends when the service
opens; a sensor that is still silent opens a new one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from detection.events import Event, EventKind, EventPhase

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection


def lost_outages(connection: sqlite3.Connection, followed: Collection[str]) -> list[Event]:
    """Return the open outages whose event ids are not among `followed`, oldest first."""
    rows = connection.execute(
        "SELECT id, sensor, onset, alerted, model_version, detail FROM alert_event"
        " WHERE kind = ? AND phase IN (?, ?) ORDER BY onset",
        (EventKind.OFFLINE.value, EventPhase.ALERTED.value, EventPhase.UPDATED.value),
    ).fetchall()
    return [
        Event(
            kind=EventKind.OFFLINE,
            phase=EventPhase.UPDATED,
            peak_time=row["onset"],
            end=None,
            confidence=1.0,
            probabilities={EventKind.OFFLINE.value: 1.0},
            evidence={},
            time=row["alerted"],
            **row,
        )
        for row in map(dict, rows)
        if row["id"] not in followed
    ]


def end_outage(event: Event, at: float) -> Event:
    """Return the end of a lost outage."""
    detail = f"{event.detail}; its state was lost, the sensor is checked again"
    return replace(event, phase=EventPhase.ENDED, end=at, time=at, detail=detail)
