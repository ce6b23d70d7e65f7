"""Rows of the state database as rows of reports. Reads, and never writes.

The one place that knows how incidents and notices are stored.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import msgspec

from reports.rows import IncidentRow, NoticeRow

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping

    from storage.registry import Registry

    _Troubles = Mapping[tuple[str, int], Iterable[tuple[float, float, str, str]]]

_ACKNOWLEDGED: Final = ("acknowledged", "handed over")
_DAY_S: Final = 86_400.0
_RUNNING: Final = ("alerted", "updated")


def deleted_before(db: sqlite3.Connection) -> float:
    """Return before when incidents were deleted by retention; -inf if none were."""
    row = db.execute(
        "SELECT max(detail ->> 'opened_before') AS at FROM audit"
        " WHERE kind = 'retention' AND detail ->> 'count' > 0"
    ).fetchone()
    return -math.inf if row["at"] is None else float(row["at"])


def recorded_from(db: sqlite3.Connection) -> float:
    """Return since when all incidents are on record; inf if there is no record.

    That is the first start of the service, or the first incident, or the last deletion.
    """
    row = db.execute(
        "SELECT (SELECT min(at) FROM audit WHERE kind = 'start') AS started,"
        " (SELECT min(opened_at) FROM incident) AS opened"
    ).fetchone()
    first = min((at for at in row if at is not None), default=math.inf)
    return max(first, deleted_before(db))


def incidents(
    db: sqlite3.Connection, registry: Registry, start: float, end: float
) -> list[IncidentRow]:
    """Return the incidents that were opened in ``[start, end)``, in that order.

    Parameters
    ----------
    db : sqlite3.Connection
        State database, with rows by name.
    registry : Registry
        Names of the places.
    start, end : float
        Unix seconds.

    Raises
    ------
    sqlite3.Error
    """
    window = (start, end)
    answered = _acknowledged(db, window)
    said = _causes(db, window)
    chains = _chains(db, window)
    heard = _detections(db, window)
    troubles = _troubles(db, window)
    found = []
    for row in db.execute(
        "SELECT * FROM incident WHERE opened_at >= ? AND opened_at < ? ORDER BY opened_at, id",
        window,
    ):
        key = row["id"]
        room = registry.rooms.get(row["room"])
        acknowledged = answered.get(key, (row["acknowledged_at"], row["acknowledged_by"]))
        level, chain_end = chains.get(key, (int(row["notified_at"] is not None), None))
        found.append(
            IncidentRow(
                id=key,
                kind=row["kind"],
                sensor=row["sensor"],
                room=room.name if room else row["room"],
                first_evidence_at=row["onset"],
                opened_at=row["opened_at"],
                floor=room.floor if room else "",
                building=room.building if room else "",
                site=room.site if room else "",
                notified_at=row["notified_at"],
                acknowledged_at=acknowledged[0],
                arrived_at=row["arrived_at"],
                closed_at=row["resolved_at"],
                chain_end_at=chain_end,
                level=level,
                verdict=row["verdict"] or "",
                cause=said.get(key, ""),
                suppressed_by=row["suppressed_by"],
                withdrawn=row["withdrawn_at"] is not None,
                confidence=row["confidence"],
                room_id=row["room"],
                location=room.kind if room else "",
                severity=row["severity"],
                responder=acknowledged[1] if acknowledged[0] is not None else "",
                action=row["action"],
                case_number=row["case_number"],
                sensor_health=_health(troubles, row["sensor"], row["opened_at"], key),
                **heard.get(key, {}),
            )
        )
    return found


def notices(
    db: sqlite3.Connection, roles: Mapping[str, str], start: float, end: float
) -> list[NoticeRow]:
    """Return the notices of the incidents that were opened in ``[start, end)``.

    Parameters
    ----------
    roles : mapping of str to str
        Role of each member of staff, by id; others have left.
    start, end : float
        Unix seconds.
    """
    rows = db.execute(
        "SELECT o.incident, o.person, o.channel, o.reason, o.created_at, o.status, o.finished_at"
        " FROM incident i JOIN outbox o ON o.incident = i.id"
        " WHERE i.opened_at >= ? AND i.opened_at < ? ORDER BY o.id",
        (start, end),
    )
    return [
        NoticeRow(
            incident=row["incident"],
            person=row["person"],
            role=roles.get(row["person"], "left"),
            channel=row["channel"],
            reason=row["reason"],
            created_at=row["created_at"],
            delivered_at=row["finished_at"] if row["status"] == "sent" else None,
        )
        for row in rows
    ]


def _acknowledged(
    db: sqlite3.Connection, window: tuple[float, float]
) -> dict[str, tuple[float, str]]:
    """First acknowledgement of each incident, with who."""
    found: dict[str, tuple[float, str]] = {}
    for incident, at, who in db.execute(
        "SELECT h.incident, h.at, h.who FROM incident i"
        " JOIN incident_history h ON h.incident = i.id"
        " WHERE i.opened_at >= ? AND i.opened_at < ? AND h.what IN (?, ?)"
        " ORDER BY h.incident, h.seq",
        (*window, *_ACKNOWLEDGED),
    ):
        found.setdefault(incident, (at, who))
    return found


def _causes(db: sqlite3.Connection, window: tuple[float, float]) -> dict[str, str]:
    """Cause that the last feedback of each incident gives."""
    rows = db.execute(
        "SELECT f.incident, f.cause FROM incident i"
        " JOIN incident_feedback f ON f.incident = i.id"
        " WHERE i.opened_at >= ? AND i.opened_at < ? ORDER BY f.incident, f.seq",
        window,
    )
    return {row["incident"]: row["cause"] for row in rows}


def _chains(
    db: sqlite3.Connection, window: tuple[float, float]
) -> dict[str, tuple[int, float | None]]:
    """Highest step carried out and end of the escalation of each incident that has one.

    Steps that an answer made needless are ended before they are due.
    """
    return {
        incident: (level, end)
        for incident, level, end in db.execute(
            "SELECT s.incident,"
            " coalesce(sum(s.action = 'tell' AND s.done_at >= s.due_at), 0),"
            " max(CASE s.action WHEN 'end' THEN s.due_at END)"
            " FROM incident i JOIN escalation_step s ON s.incident = i.id"
            " WHERE i.opened_at >= ? AND i.opened_at < ? GROUP BY s.incident",
            window,
        )
    }


def _troubles(db: sqlite3.Connection, window: tuple[float, float]) -> _Troubles:
    """Return what was the matter with each sensor on each day (UTC) of a window."""
    found: defaultdict[tuple[str, int], list[tuple[float, float, str, str]]] = defaultdict(list)
    for row in db.execute(
        "SELECT sensor, alerted, iif(phase IN ('alerted', 'updated'), 9e999, coalesce(\"end\","
        " last_heard)) AS until, kind, coalesce(incident, '') AS incident FROM alert_event"
        " WHERE kind IN ('offline', 'sensor_fault', 'tamper') AND phase <> 'withdrawn'"
        " AND alerted < ? AND until > ?",
        (window[1], window[0]),
    ):
        trouble = (row["alerted"], row["until"], row["kind"], row["incident"])
        first, last = max(trouble[0], window[0]), min(trouble[1], window[1])
        for day in range(int(first // _DAY_S), int(last // _DAY_S) + 1):
            found[row["sensor"], day].append(trouble)
    return found


def _health(troubles: _Troubles, sensor: str, at: float, incident: str) -> str:
    """Say what was the matter at a moment, other than what an incident is itself about."""
    today = troubles.get((sensor, int(at // _DAY_S)), ())
    what = {kind for begin, end, kind, own in today if begin <= at < end and own != incident}
    return " ".join(sorted(what)) or "ok"


def _detections(db: sqlite3.Connection, window: tuple[float, float]) -> dict[str, dict[str, Any]]:
    """Join what the detections of each incident say."""
    decode = msgspec.json.Decoder(dict[str, list[float | None]]).decode
    found: dict[str, dict[str, Any]] = {}
    for row in db.execute(
        'SELECT e.incident, e."end", e.phase, e.evidence, e.model_version, e.masked, e.thc_likely'
        " FROM incident i JOIN alert_event e ON e.incident = i.id"
        " WHERE i.opened_at >= ? AND i.opened_at < ? ORDER BY e.rowid",
        window,
    ):
        told = found.setdefault(
            row["incident"],
            {
                "model_version": row["model_version"],
                "masked": False,
                "thc_likely": False,
                "over_at": 0.0,
                "peaks": {},
            },
        )
        told["masked"] |= bool(row["masked"])
        told["thc_likely"] |= bool(row["thc_likely"])
        if row["phase"] in _RUNNING:
            told["over_at"] = None
        elif told["over_at"] is not None and row["end"] is not None:
            told["over_at"] = max(told["over_at"], row["end"])
        for channel, peak in _peaks(decode(row["evidence"])):
            told["peaks"][channel] = max(peak, told["peaks"].get(channel, peak))
    for told in found.values():
        told["over_at"] = told["over_at"] or None
    return found


def _peaks(evidence: Mapping[str, Iterable[float | None]]) -> Iterator[tuple[str, float]]:
    for channel, values in evidence.items():
        baseline, excess, *_ = values
        if baseline is not None and excess is not None:
            yield channel, baseline + excess
