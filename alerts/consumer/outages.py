"""Outages that are on record and of which nobody knows any more.

An incident of a silent sensor ends by the sensor's return alone. If the state of liveness is lost,
or a newer program cannot read it, the record says that an outage goes on and nobody would ever end
it. Then it ends when the service opens; a sensor that is still silent is told anew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from detection.events import Event, EventKind, EventPhase

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection


def forgotten(connection: sqlite3.Connection, standing: Collection[str]) -> list[Event]:
    """Return the outages that are running on record and not among `standing`, oldest first.

    Parameters
    ----------
    connection : sqlite3.Connection
        State database.
    standing : collection of str
        Event ids of the outages that `detection.liveness` follows.
    """
    rows = connection.execute(
        "SELECT id, sensor, onset, alerted, model_version, detail FROM alert_event"
        " WHERE kind = ? AND phase IN (?, ?) ORDER BY onset",
        (EventKind.OFFLINE.value, EventPhase.ALERTED.value, EventPhase.UPDATED.value),
    ).fetchall()
    return [
        Event(
            sensor=row["sensor"],
            kind=EventKind.OFFLINE,
            phase=EventPhase.UPDATED,
            onset=row["onset"],
            alerted=row["alerted"],
            peak_time=row["onset"],
            end=None,
            confidence=1.0,
            probabilities={EventKind.OFFLINE.value: 1.0},
            evidence={},
            model_version=row["model_version"],
            detail=row["detail"],
            time=row["alerted"],
            id=row["id"],
        )
        for row in rows
        if row["id"] not in standing
    ]


def ended(event: Event, at: float) -> Event:
    """End an outage of which nothing more is known."""
    detail = f"{event.detail}; its state was lost, it is judged anew"
    return replace(event, phase=EventPhase.ENDED, end=at, time=at, detail=detail)
