"""Read and write incidents and their events, in the caller's transaction."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from alerts.incidents.history import Happened, Record
from alerts.incidents.incident import (
    SYSTEM,
    ActionClass,
    Detection,
    Incident,
    Mute,
    Status,
    Suppression,
    Verdict,
    find_labels,
)
from alerts.incidents.inputs import Feedback
from alerts.incidents.silences import LONGEST_S, read_silence
from alerts.policy import LONGEST_COOLDOWN_S, REPEAT_WINDOW_S, VAPING, Severity
from detection.events import DEVICE_VERSION, ChannelEvidence, Event, EventKind, EventPhase, Evidence
from detection.quantities import QUANTITIES
from language.messages import build_fact, parse_fact, parse_facts, to_json

if TYPE_CHECKING:
    import asyncio
    import sqlite3
    from collections.abc import Callable, Collection, Mapping

    from alerts.incidents.silences import Silence
    from language.messages import Fact, Parameter
    from storage.registry import Registry


AGAIN: Final = "+"
ARRIVED: Final = (Happened.ARRIVED, Happened.ARRIVED_TOO)
IS_DETECTED: Final = f"model_version NOT LIKE '{DEVICE_VERSION}%'"
"""SQL condition: the service detected an event itself; no device reported it."""
_FIELDS: Final = tuple(
    f.name for f in fields(Incident) if f.name not in ("detections", "suppressed_by")
)
_READ: Final[Mapping[str, Callable[[Any], Any]]] = {
    "kind": EventKind,
    "status": Status,
    "severity": Severity,
    "paged": bool,
    "verdict": lambda value: Verdict(value) if value else None,
    "action": lambda value: ActionClass(value) if value else None,
}
"""Converters for columns that do not hold plain values."""
_LOOK_AGAIN_S: Final = 15.0
"""Seconds until an incident explained by another one is checked again."""


def load_open(tx: sqlite3.Connection, kind: EventKind, room: str) -> Incident | None:
    """Return the open incident of a kind in a room, or None; prefer likely over possible vaping."""
    kinds = VAPING if kind in VAPING else (kind, kind)
    where = "kind IN (?, ?) AND room = ? AND status <> 'resolved' ORDER BY kind DESC"
    return _select_first(tx, where, *kinds, room)


def load(tx: sqlite3.Connection, incident_id: str) -> Incident | None:
    """Return the incident with this id, or None."""
    return _select_first(tx, "id = ?", incident_id)


def is_disputed(tx: sqlite3.Connection, incident: Incident) -> bool:
    """Return whether an integrity incident of the same sensor is open."""
    row = tx.execute(
        "SELECT 1 FROM incident WHERE kind = ?1 AND ?1 <> ?2 AND status <> 'resolved'"
        " AND sensor = ?3",
        (EventKind.INTEGRITY.value, incident.kind.value, incident.sensor),
    ).fetchone()
    return row is not None


def find_event(tx: sqlite3.Connection, event_id: str) -> sqlite3.Row | None:
    """Return an event's id, onset, phase and incident, or None for an unknown event.

    Each time an event is reported again (`AlertEngine.report_lasting`), `AGAIN` is appended to its
    id. The latest report is returned.
    """
    found: sqlite3.Row | None = tx.execute(
        "SELECT id, onset, phase, incident FROM alert_event WHERE id >= ?1 AND id < ?1 || ','"
        " ORDER BY id DESC",
        (event_id,),
    ).fetchone()
    return found


def load_lasting(tx: sqlite3.Connection, answered_by: float) -> list[Event]:
    """Return the device events that still continue although people answered them by this time.

    A low battery does not count, because devices rarely report it.
    """
    return load_running(
        tx,
        "kind IN ('tamper', 'sensor_fault', 'offline') AND model_version NOT LIKE '%low_battery'"
        " AND incident IN (SELECT id FROM incident WHERE answered_at <= ?)",
        answered_by,
    )


def load_running(tx: sqlite3.Connection, where: str, *arguments: object) -> list[Event]:
    """Return the events that are not over and meet an SQL condition, oldest first."""
    rows = tx.execute(
        "SELECT * FROM alert_event WHERE phase IN ('alerted', 'updated') AND "  # noqa: S608 - our conditions
        f"{where} ORDER BY onset",
        arguments,
    )
    return [_read_event(row, read_evidence(row)) for row in rows.fetchall()]


def _read_event(row: sqlite3.Row, found: Evidence) -> Event:
    names = ("sensor", "onset", "alerted", "peak_time", "end", "confidence", "model_version", "id")
    return Event(
        kind=EventKind(row["kind"]),
        phase=EventPhase.UPDATED,
        probabilities=found.probabilities,
        evidence=found.channels,
        details=found.details,
        **{name: row[name] for name in names},
    )


def is_answered(tx: sqlite3.Connection, event_id: str) -> bool:
    """Return whether an event's incident is answered or resolved."""
    row = tx.execute(
        "SELECT 1 FROM alert_event e JOIN incident i ON i.id = e.incident WHERE e.id = ?"
        " AND (i.answered_at IS NOT NULL OR i.status = 'resolved')",
        (event_id,),
    )
    return row.fetchone() is not None


def load_evidence(
    tx: sqlite3.Connection, event_id: str, which: str = "decided_"
) -> Evidence | None:
    """Return an event's evidence (see `read_evidence`), or None for an unknown event."""
    row = tx.execute("SELECT * FROM alert_event WHERE id = ?", (event_id,)).fetchone()
    return None if row is None else read_evidence(row, which)


def read_evidence(row: sqlite3.Row | Mapping[str, Any], which: str = "") -> Evidence:
    """Return an event's latest evidence, or with ``decided_`` the evidence when it alerted."""
    channels = {
        key: ChannelEvidence(*values)
        for key, values in json.loads(row[f"{which}evidence"]).items()
        if key in QUANTITIES
    }
    return Evidence(
        json.loads(row[f"{which}probabilities"]), channels, parse_facts(row[f"{which}details"])
    )


def write_sentence(row: sqlite3.Row | Mapping[str, Any], which: str = "") -> str:
    """Describe an event's evidence in the reader's language; for `which`, see `read_evidence`."""
    return read_evidence(row, which).describe(row["kind"])


def load_suppressed(tx: sqlite3.Connection, mute: Fact) -> list[Incident]:
    """Return the incidents that this mute suppresses now."""
    return _select(tx, "held_until IS NOT NULL AND suppression = ? ORDER BY id", to_json(mute))


def load_first_due(tx: sqlite3.Connection, now: float) -> Incident | None:
    """Return the incident with the earliest deadline up to `now`, or None."""
    return _select_first(tx, "next_deadline <= ? ORDER BY next_deadline, id", now)


def save(tx: sqlite3.Connection, incident: Incident) -> None:
    """Insert or update an incident; at most one per kind and room can be open."""
    row = {name: getattr(incident, name) for name in _FIELDS}
    row |= {"action": incident.action or "", "next_deadline": incident.next_deadline()}
    mute = incident.suppressed_by
    row |= {
        "suppressed_by": mute.code if mute else "",
        "suppression": to_json(mute) if mute else None,
    }
    changed = ", ".join(f"{name} = :{name}" for name in row)
    if not tx.execute(f"UPDATE incident SET {changed} WHERE id = :id", row).rowcount:  # noqa: S608 - our names
        _insert(tx, "incident", row)


def save_event(
    tx: sqlite3.Connection,
    event: Event,
    room: str | None,
    received_at: float,
    incident: str | None = None,
) -> None:
    """Store an event's newest phase; keep its first receive time and its incident.

    The columns ``decided_...`` keep the evidence at the time of the alert.
    """
    evidence = {
        key: [e.baseline, e.peak_excess, e.rise_s, e.decay_s] for key, e in event.evidence.items()
    }
    based_on = {
        "confidence": float(event.confidence),
        "probabilities": json.dumps({k: float(v) for k, v in event.probabilities.items()}),
        "evidence": json.dumps(evidence),
        "details": to_json(event.details),
    }
    newest = {
        "phase": event.phase.value,
        "peak_time": float(event.peak_time),
        "end": None if event.end is None else float(event.end),
        "masked": int(event.masked),
        "thc_likely": int(event.thc_likely),
        "last_heard": received_at,
        **based_on,
    }
    first = {
        "id": event.id,
        "sensor": event.sensor,
        "room": room,
        "incident": incident,
        "kind": event.kind.value,
        "onset": float(event.onset),
        "alerted": float(event.alerted),
        "model_version": event.model_version,
        "first_heard": received_at,
        **{f"decided_{name}": value for name, value in based_on.items()},
    }
    changes = ", ".join(f'"{name}" = excluded."{name}"' for name in newest)
    kept = "incident = coalesce(incident, excluded.incident)"
    upsert = f"ON CONFLICT (id) DO UPDATE SET {kept}, {changes}"
    _insert(tx, "alert_event", {**newest, **first}, upsert)


def add_history(tx: sqlite3.Connection, incident: str, record: Record) -> None:
    """Append a line to the history of an incident."""
    tx.execute(
        "INSERT INTO incident_history SELECT ?, coalesce(max(seq), 0) + 1, ?, ?, ?, ?"
        " FROM incident_history WHERE incident = ?",
        (incident, record.at, record.who, record.what.value, to_json(record.params), incident),
    )


def note(
    tx: sqlite3.Connection, incident: str, at: float, what: Happened, **params: Parameter
) -> None:
    """Append a history line written by the program itself."""
    add_history(tx, incident, Record(at, SYSTEM, what, params))


def count_answers(
    tx: sqlite3.Connection, incident: str, person: str, answers: Collection[Happened]
) -> int:
    """Return how many times a person has given any of these answers."""
    count: int = tx.execute(
        "SELECT count(*) FROM incident_history WHERE incident = ? AND who = ?"
        " AND what IN (SELECT value FROM json_each(?))",
        (incident, person, json.dumps(list(answers))),
    ).fetchone()[0]
    return count


def has_declined(tx: sqlite3.Connection, incident: str, person: str) -> bool:
    """Return whether the person's latest answer is "I can't go"."""
    found = tx.execute(
        "SELECT what FROM incident_history WHERE incident = ? AND who = ?"
        " ORDER BY seq DESC LIMIT 1",
        (incident, person),
    ).fetchone()
    return found is not None and found["what"] == Happened.DECLINED


def add_feedback(tx: sqlite3.Connection, incident: str, feedback: Feedback) -> None:
    """Append a verdict, and keep earlier ones."""
    tx.execute(
        "INSERT INTO incident_feedback SELECT :incident, coalesce(max(seq), 0) + 1, :at, :by,"
        " :verdict, :cause, :note FROM incident_feedback WHERE incident = :incident",
        {"incident": incident, **asdict(feedback)},
    )


def load_last_feedback(tx: sqlite3.Connection, incident: str) -> tuple[int, Feedback] | None:
    """Return the latest verdict and its number, or None."""
    row = tx.execute(
        "SELECT seq, who, verdict, at, cause, note FROM incident_feedback WHERE incident = ?"
        " ORDER BY seq DESC LIMIT 1",
        (incident,),
    ).fetchone()
    if row is None:
        return None
    number, who, verdict, *more = row
    return number, Feedback(who, Verdict(verdict), *more)


def find_next_number(tx: sqlite3.Connection, day: str) -> int:
    """Return the number of the day's next incident, from 1."""
    row = tx.execute(
        "SELECT coalesce(max(CAST(substr(id, length(?1) + 2) AS INTEGER)), 0) + 1 AS number"
        " FROM incident WHERE id > ?1 || '-' AND id < ?1 || '.'",
        (day,),
    ).fetchone()
    return int(row["number"])


def count_repeats(tx: sqlite3.Connection, kind: EventKind, room: str, since: float) -> int:
    """Count the incidents of a kind in a room that opened at `since` or later."""
    row = tx.execute(
        "SELECT count(*) AS n FROM incident WHERE room = ? AND opened_at >= ? AND kind = ?",
        (room, since, kind.value),
    ).fetchone()
    return int(row["n"])


def find_last_answered(tx: sqlite3.Connection, kind: EventKind, room: str, since: float) -> str:
    """Return the id of the latest incident since `since` that people responded to, or ""."""
    row = tx.execute(
        "SELECT id FROM incident WHERE room = ? AND opened_at >= ? AND kind = ?"
        " AND coalesce(acknowledged_at, answered_at) IS NOT NULL"
        " ORDER BY opened_at DESC, id DESC LIMIT 1",
        (room, since, kind.value),
    ).fetchone()
    return "" if row is None else str(row["id"])


def find_last_response(
    tx: sqlite3.Connection, kind: EventKind, room: str, since: float, until: float
) -> tuple[str, float] | None:
    """Return the last person to respond to this kind of incident in a room, and when.

    Return None if nobody did. Expired acknowledgments, answers given long after an incident ended,
    and people who have since answered "I can't go" do not count.
    """
    row = tx.execute(
        "SELECT iif(i.acknowledged_by = '', h.who, i.acknowledged_by) AS person, h.at"
        " FROM incident i JOIN incident_history h ON h.incident = i.id"
        " AND (h.who = i.acknowledged_by OR (i.acknowledged_by = '' AND h.what = 'feedback'"
        " AND i.resolved_at >= ?4)) WHERE i.room = ?1 AND i.kind = ?2 AND i.opened_at >= ?3"
        " AND i.status <> 'notified' AND h.at BETWEEN ?4 AND ?5"
        " AND NOT EXISTS (SELECT 1 FROM incident j JOIN incident_history d ON d.incident = j.id"
        " WHERE j.room = ?1 AND j.opened_at >= ?3 AND d.what = ?6 AND d.at >= h.at AND d.who ="
        " iif(i.acknowledged_by = '', h.who, i.acknowledged_by))"
        " ORDER BY h.at DESC, h.seq DESC LIMIT 1",
        (room, kind.value, since - REPEAT_WINDOW_S, since, until, Happened.DECLINED),
    ).fetchone()
    return None if row is None else (row["person"], row["at"])


def find_mute(
    tx: sqlite3.Connection, incident: Incident, at: float, registry: Registry
) -> Mute | None:
    """Return what mutes an incident: a silence, an outage that explains a fault, or a cooldown.

    When the mute ends, the incident is checked again, and people are notified if it is still in
    progress. A cooldown does not mute a more severe incident.
    """
    lasting = find_lasting_mute(tx, incident, at, registry)
    if lasting is not None:
        return lasting
    row = tx.execute(
        "SELECT until, severity FROM cooldown WHERE kind = ? AND room = ? AND until > ?"
        " AND until <= ?",  # ignore implausible ends; doubled because readings can be late
        (incident.kind.value, incident.room, at, at + 2 * LONGEST_COOLDOWN_S),
    ).fetchone()
    if row is None or incident.grade_at(at).rank > Severity(row["severity"]).rank:
        return None
    return Mute(row["until"], build_fact(Suppression.COOLDOWN))


def find_lasting_mute(
    tx: sqlite3.Connection, incident: Incident, at: float, registry: Registry
) -> Mute | None:
    """Return the silence or outage that mutes an incident and its escalation, or None."""
    silence = find_silence(tx, find_labels(incident, registry), at)
    if silence is not None:
        return Mute(silence.ends_at, silence.suppression)
    if incident.kind is not EventKind.SENSOR_FAULT:
        return None
    row = tx.execute(
        "SELECT room FROM incident WHERE kind = ? AND sensor = ? AND status <> 'resolved'",
        (EventKind.OFFLINE.value, incident.sensor),
    ).fetchone()
    if row is None:
        return None
    by = build_fact(Suppression.INHIBITED, kind=EventKind.OFFLINE.value, room=row["room"])
    return Mute(at + _LOOK_AGAIN_S, by)


def find_silence(tx: sqlite3.Connection, labels: Mapping[str, str], at: float) -> Silence | None:
    """Return the silence that mutes these labels at a time, or None.

    If several do, return the one that ends last.
    """
    rows = tx.execute(
        "SELECT * FROM silence WHERE ends_at > ?1 AND starts_at <= ?1 AND ends_at <= ?1 + ?2"
        " ORDER BY ends_at DESC, id",
        (at, LONGEST_S),
    )
    return next((s for s in map(read_silence, rows) if s.mutes(labels)), None)


def _select(tx: sqlite3.Connection, where: str, *arguments: object) -> list[Incident]:
    rows = tx.execute(f"SELECT * FROM incident WHERE {where}", arguments).fetchall()  # noqa: S608 - our conditions
    return [_read_incident(tx, row) for row in rows]


def _select_first(tx: sqlite3.Connection, where: str, *arguments: object) -> Incident | None:
    return next(iter(_select(tx, f"{where} LIMIT 1", *arguments)), None)


def _read_incident(tx: sqlite3.Connection, row: sqlite3.Row) -> Incident:
    events = tx.execute(
        'SELECT id, sensor, phase, onset, alerted, "end", confidence, last_heard, first_heard'
        " FROM alert_event WHERE incident = ? ORDER BY rowid",
        (row["id"],),
    )
    detections = (
        Detection(event_id, sensor, EventPhase(phase), *times_and_confidence)
        for event_id, sensor, phase, *times_and_confidence in events
    )
    values = {name: _READ[name](row[name]) if name in _READ else row[name] for name in _FIELDS}
    mute = parse_fact(row["suppression"]) if row["suppression"] else None
    return Incident(detections=tuple(detections), suppressed_by=mute, **values)


def _insert(
    tx: sqlite3.Connection, table: str, row: Mapping[str, object], upsert: str = ""
) -> None:
    names = ", ".join(f'"{name}"' for name in row)
    tx.execute(
        f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))}) {upsert}",  # noqa: S608 - our names
        tuple(row.values()),
    )


@dataclass(frozen=True, slots=True)
class ChangeSignal:
    """Wakes tasks that act on incident changes."""

    wakes: tuple[asyncio.Event, ...] = ()

    def notify(self) -> None:
        """Wake all tasks after a change."""
        for wake in self.wakes:
            wake.set()
