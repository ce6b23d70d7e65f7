"""Rows of incidents and their events, read and written inside the caller's transaction.

Functions on a `sqlite3.Connection` with `row_factory = sqlite3.Row`, as `storage.sqlite.connect`
gives it. None of them begins or commits.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from alerts.incidents.incident import (
    SYSTEM,
    ActionClass,
    Detection,
    Incident,
    Record,
    Status,
    Verdict,
)
from alerts.incidents.severity import Severity
from detection.events import EventKind, EventPhase, evidence_sentence

if TYPE_CHECKING:
    import sqlite3

    from alerts.incidents.incident import Feedback
    from detection.events import Event


ARRIVED: Final = ("arrived", "arrived as well")
"""History lines of a person who is on site."""


class Running(NamedTuple):
    """What labels need to know of an incident."""

    id: str
    kind: EventKind
    room: str
    sensor: str
    severity: Severity


def open_incident(tx: sqlite3.Connection, kind: EventKind, room: str) -> Incident | None:
    """Return the one incident of a key that is not resolved."""
    row = tx.execute(
        "SELECT * FROM incident WHERE kind = ? AND room = ? AND status <> 'resolved'",
        (kind.value, room),
    ).fetchone()
    return _incident(tx, row) if row else None


def load(tx: sqlite3.Connection, incident_id: str) -> Incident | None:
    """Return an incident by its id; None if there is none."""
    row = tx.execute("SELECT * FROM incident WHERE id = ?", (incident_id,)).fetchone()
    return _incident(tx, row) if row else None


def heard(tx: sqlite3.Connection, event_id: str) -> tuple[EventPhase, str | None] | None:
    """Last phase of an event and its incident; None if it was never heard of."""
    row = tx.execute("SELECT phase, incident FROM alert_event WHERE id = ?", (event_id,)).fetchone()
    return None if row is None else (EventPhase(row["phase"]), row["incident"])


def sentence(tx: sqlite3.Connection, event_id: str) -> str:
    """Why an event was decided, in one sentence; empty if the event is unknown."""
    row = tx.execute(
        "SELECT coalesce(decided_sentence, sentence) AS why FROM alert_event WHERE id = ?",
        (event_id,),
    ).fetchone()
    return "" if row is None else str(row["why"])


def held_by(tx: sqlite3.Connection, key: str) -> list[Incident]:
    """Incidents that something holds back, by how they name it."""
    rows = tx.execute(
        "SELECT * FROM incident WHERE held_until IS NOT NULL AND suppressed_by = ? ORDER BY id",
        (key,),
    ).fetchall()
    return [_incident(tx, row) for row in rows]


def first_due(tx: sqlite3.Connection, now: float) -> Incident | None:
    """Return the first incident that time alone changes by `now`; None if there is none."""
    row = tx.execute(
        "SELECT * FROM incident WHERE next_deadline IS NOT NULL AND next_deadline <= ?"
        " ORDER BY next_deadline, id LIMIT 1",
        (now,),
    ).fetchone()
    return _incident(tx, row) if row else None


def next_incident_deadline(tx: sqlite3.Connection) -> float | None:
    """When time alone changes an incident next."""
    row = tx.execute(
        "SELECT min(next_deadline) AS at FROM incident WHERE next_deadline IS NOT NULL"
    ).fetchone()
    return None if row["at"] is None else float(row["at"])


def save(tx: sqlite3.Connection, incident: Incident) -> None:
    """Insert or replace the row of an incident.

    Raises
    ------
    sqlite3.IntegrityError
        If another incident of the same kind and room is open.
    """
    i = incident
    tx.execute(
        "INSERT INTO incident (id, kind, room, sensor, status, onset, opened_at, confidence, paged,"
        " held_until, suppressed_by, notified_at, acknowledged_at, acknowledged_by, resolved_at,"
        " withdrawn_at, verdict, resolve_due, next_deadline, severity, repeats, arrived_at,"
        " resolved_by, action, case_number)"
        " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
        " ON CONFLICT (id) DO UPDATE SET status = excluded.status, onset = excluded.onset,"
        " confidence = excluded.confidence, paged = excluded.paged,"
        " held_until = excluded.held_until, suppressed_by = excluded.suppressed_by,"
        " notified_at = excluded.notified_at, acknowledged_at = excluded.acknowledged_at,"
        " acknowledged_by = excluded.acknowledged_by, resolved_at = excluded.resolved_at,"
        " withdrawn_at = excluded.withdrawn_at, verdict = excluded.verdict,"
        " resolve_due = excluded.resolve_due, next_deadline = excluded.next_deadline,"
        " severity = excluded.severity, arrived_at = excluded.arrived_at,"
        " resolved_by = excluded.resolved_by, action = excluded.action,"
        " case_number = excluded.case_number",
        (
            i.id,
            i.kind.value,
            i.room,
            i.sensor,
            i.status.value,
            i.onset,
            i.opened_at,
            i.confidence,
            int(i.paged),
            i.held_until,
            i.suppressed_by,
            i.notified_at,
            i.acknowledged_at,
            i.acknowledged_by,
            i.resolved_at,
            i.withdrawn_at,
            None if i.verdict is None else i.verdict.value,
            i.resolve_due,
            i.next_deadline(),
            i.severity.value,
            i.repeats,
            i.arrived_at,
            i.resolved_by,
            i.action or "",
            i.case_number,
        ),
    )


def save_event(
    tx: sqlite3.Connection,
    event: Event,
    *,
    room: str | None,
    incident: str | None,
    late: bool,
    heard_at: float,
) -> None:
    """Store the newest word of an event; its first hearing, lateness and incident stay.

    What the first word rested on stays beside it, in the columns ``decided_...``: it is why
    somebody was told, and what comes later may be of another puff. Rows of older versions have
    none.
    """
    evidence = json.dumps(
        {key: [e.baseline, e.peak_excess, e.rise_s, e.decay_s] for key, e in event.evidence.items()}
    )
    odds = json.dumps({k: float(v) for k, v in event.probabilities.items()})
    sentence = evidence_sentence(event)
    tx.execute(
        "INSERT INTO alert_event (id, sensor, room, incident, kind, phase, onset, alerted,"
        ' peak_time, "end", confidence, probabilities, evidence, sentence, model_version, masked,'
        " thc_likely, detail, late, first_heard, last_heard, decided_confidence,"
        " decided_probabilities, decided_evidence, decided_sentence)"
        " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
        " ON CONFLICT (id) DO UPDATE SET incident = coalesce(incident, excluded.incident),"
        ' phase = excluded.phase, peak_time = excluded.peak_time, "end" = excluded."end",'
        " confidence = excluded.confidence, probabilities = excluded.probabilities,"
        " evidence = excluded.evidence, sentence = excluded.sentence, masked = excluded.masked,"
        " thc_likely = excluded.thc_likely, detail = excluded.detail,"
        " last_heard = excluded.last_heard",
        (
            event.id,
            event.sensor,
            room,
            incident,
            event.kind.value,
            event.phase.value,
            float(event.onset),
            float(event.alerted),
            float(event.peak_time),
            None if event.end is None else float(event.end),
            float(event.confidence),
            odds,
            evidence,
            sentence,
            event.model_version,
            int(event.masked),
            int(event.thc_likely),
            event.detail,
            int(late),
            heard_at,
            heard_at,
            float(event.confidence),
            odds,
            evidence,
            sentence,
        ),
    )


def add_history(tx: sqlite3.Connection, incident: str, record: Record) -> None:
    """Append one line to the history of an incident."""
    tx.execute(
        "INSERT INTO incident_history SELECT ?, coalesce(max(seq), 0) + 1, ?, ?, ?, ?"
        " FROM incident_history WHERE incident = ?",
        (incident, record.at, record.who, record.what, record.detail, incident),
    )


def note(tx: sqlite3.Connection, incident: str, at: float, what: str, detail: str) -> None:
    """Append a line of our own to the history of an incident."""
    add_history(tx, incident, Record(at, SYSTEM, what, detail))


def arrived(tx: sqlite3.Connection, incident: str, person: str) -> bool:
    """Whether a person has said that they are there, and that counted."""
    said = tx.execute(
        "SELECT 1 FROM incident_history WHERE incident = ? AND who = ? AND what IN (?, ?)",
        (incident, person, *ARRIVED),
    )
    return said.fetchone() is not None


def running(tx: sqlite3.Connection) -> list[Running]:
    """Return all incidents that are not resolved, oldest first."""
    rows = tx.execute(
        "SELECT id, kind, room, sensor, severity FROM incident WHERE status <> 'resolved'"
        " ORDER BY opened_at, id"
    )
    return [
        Running(r["id"], EventKind(r["kind"]), r["room"], r["sensor"], Severity(r["severity"]))
        for r in rows
    ]


def add_feedback(tx: sqlite3.Connection, incident: str, feedback: Feedback) -> None:
    """Append one verdict; earlier ones stay."""
    tx.execute(
        "INSERT INTO incident_feedback SELECT ?, coalesce(max(seq), 0) + 1, ?, ?, ?, ?, ?"
        " FROM incident_feedback WHERE incident = ?",
        (
            incident,
            feedback.at,
            feedback.by,
            feedback.verdict.value,
            feedback.cause,
            feedback.note,
            incident,
        ),
    )


def next_number(tx: sqlite3.Connection, day: str) -> int:
    """Count the incidents of a day, from 1."""
    row = tx.execute(
        "INSERT INTO incident_number VALUES (?, 1)"
        " ON CONFLICT (day) DO UPDATE SET last = last + 1 RETURNING last",
        (day,),
    ).fetchone()
    return int(row["last"])


def repeats(tx: sqlite3.Connection, kind: EventKind, room: str, since: float) -> int:
    """Count the incidents of a key that opened since then and were not taken back."""
    row = tx.execute(
        "SELECT count(*) AS n FROM incident"
        " WHERE room = ? AND opened_at >= ? AND kind = ? AND withdrawn_at IS NULL",
        (room, since, kind.value),
    ).fetchone()
    return int(row["n"])


def cooldown(tx: sqlite3.Connection, kind: EventKind, room: str) -> tuple[float, Severity] | None:
    """End of the cooldown of a key and how severe was what it followed; None without one."""
    row = tx.execute(
        "SELECT until, severity FROM cooldown WHERE kind = ? AND room = ?", (kind.value, room)
    ).fetchone()
    return None if row is None else (float(row["until"]), Severity(row["severity"]))


def start_cooldown(
    tx: sqlite3.Connection, kind: EventKind, room: str, until: float, severity: Severity
) -> None:
    """Hold new incidents of a key until then; never shortens a cooldown."""
    tx.execute(
        "INSERT INTO cooldown (kind, room, until, severity) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (kind, room) DO UPDATE SET severity = excluded.severity,"
        " until = max(until, excluded.until)",
        (kind.value, room, until, severity.value),
    )


def end_cooldown(tx: sqlite3.Connection, kind: EventKind, room: str) -> None:
    """Let the next incident of a key speak at once."""
    tx.execute("DELETE FROM cooldown WHERE kind = ? AND room = ?", (kind.value, room))


def _incident(tx: sqlite3.Connection, row: sqlite3.Row) -> Incident:
    detections = tx.execute(
        'SELECT id, sensor, phase, onset, alerted, "end", confidence, last_heard FROM alert_event'
        " WHERE incident = ? ORDER BY rowid",
        (row["id"],),
    ).fetchall()
    return Incident(
        id=row["id"],
        kind=EventKind(row["kind"]),
        room=row["room"],
        status=Status(row["status"]),
        onset=row["onset"],
        opened_at=row["opened_at"],
        sensor=row["sensor"],
        confidence=row["confidence"],
        detections=tuple(
            Detection(
                event_id=d["id"],
                sensor=d["sensor"],
                phase=EventPhase(d["phase"]),
                onset=d["onset"],
                alerted=d["alerted"],
                end=d["end"],
                confidence=d["confidence"],
                heard_at=d["last_heard"],
            )
            for d in detections
        ),
        severity=Severity(row["severity"]),
        repeats=row["repeats"],
        paged=bool(row["paged"]),
        held_until=row["held_until"],
        suppressed_by=row["suppressed_by"],
        notified_at=row["notified_at"],
        acknowledged_at=row["acknowledged_at"],
        acknowledged_by=row["acknowledged_by"],
        arrived_at=row["arrived_at"],
        resolved_at=row["resolved_at"],
        resolved_by=row["resolved_by"],
        withdrawn_at=row["withdrawn_at"],
        verdict=None if row["verdict"] is None else Verdict(row["verdict"]),
        action=ActionClass(row["action"]) if row["action"] else None,
        case_number=row["case_number"],
        resolve_due=row["resolve_due"],
    )
