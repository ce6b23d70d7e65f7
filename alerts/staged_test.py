"""Tests that people stage: recorded as such, and left out of figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alerts.incidents import repository
from alerts.incidents.history import Happened, Record
from alerts.incidents.incident import Incident, Status, Suppression, Verdict
from alerts.incidents.inputs import Feedback
from detection.events import EventKind
from language.facts import fact

if TYPE_CHECKING:
    import sqlite3

    from alerts.engine import AlertEngine


def marked(
    tx: sqlite3.Connection, engine: AlertEngine, room: str, start: float, end: float, who: str
) -> list[str]:
    """Answer "test" to all incidents of a room that opened in a span; return their ids."""
    rows = tx.execute(
        "SELECT id FROM incident WHERE room = ? AND opened_at BETWEEN ? AND ? ORDER BY opened_at",
        (room, start, end),
    ).fetchall()
    found = [str(row["id"]) for row in rows]
    for incident in found:
        engine.feedback(tx, incident, who, Verdict.TEST, end)
    return found


def staged(tx: sqlite3.Connection, sensor: str, room: str, at: float, who: str, day: str) -> str:
    """Record a test that the detector did not see as a resolved incident; return its id."""
    incident = Incident(
        id=f"{day}-{repository.next_number(tx, day):03d}",
        kind=EventKind.VAPE,
        room=room,
        status=Status.RESOLVED,
        onset=at,
        opened_at=at,
        sensor=sensor,
        confidence=0.0,
        detections=(),
        paged=True,
        suppressed_by=fact(Suppression.STAGED_TEST),
        resolved_at=at,
        verdict=Verdict.TEST,
    )
    repository.save(tx, incident)
    repository.add_history(
        tx, incident.id, Record(at, who, Happened.STAGED_TEST, {"sensor": sensor})
    )
    repository.add_feedback(tx, incident.id, Feedback(who, Verdict.TEST, at))
    return incident.id
