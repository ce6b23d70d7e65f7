"""Rows of reports from the state database, which is only read.

The one place in reports that knows how incidents and notices are stored.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import msgspec

from detection.device_events import is_device_alarm
from reports.rows import IncidentRow, NoticeRow

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping

    from storage.registry import Registry

    _Faults = Mapping[tuple[str, int], Iterable[tuple[float, float, str, str]]]

_ACKNOWLEDGED: Final = ("acknowledged", "handed over")
_DAY_S: Final = 86_400.0
_RUNNING: Final = ("alerted", "updated")


def deleted_before(db: sqlite3.Connection) -> float:
    """Return the time before which retention deleted incidents; -inf if it did not."""
    row = db.execute(
        "SELECT max(detail ->> 'opened_before') AS at FROM audit"
        " WHERE kind = 'retention' AND detail ->> 'count' > 0"
    ).fetchone()
    return -math.inf if row["at"] is None else float(row["at"])


def recorded_from(db: sqlite3.Connection) -> float:
    """Return the time since which all incidents are on record; inf if there is no record.

    It is the first start of the service, the first incident, or the last deletion.
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
    """Return the incidents opened in ``[start, end)``, Unix seconds, in that order."""
    window = (start, end)
    acknowledgements = _acknowledgements(db, window)
    causes = _causes(db, window)
    chains = _chains(db, window)
    detections = _detections(db, registry, window)
    faults = _faults(db, window)
    found = []
    for row in db.execute(
        "SELECT * FROM incident WHERE opened_at >= ? AND opened_at < ? ORDER BY opened_at, id",
        window,
    ):
        key = row["id"]
        room = registry.rooms.get(row["room"])
        acknowledged = acknowledgements.get(key, (row["acknowledged_at"], row["acknowledged_by"]))
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
                cause=causes.get(key, ""),
                suppressed_by=row["suppressed_by"],
                withdrawn=row["withdrawn_at"] is not None,
                confidence=row["confidence"],
                room_id=row["room"],
                location=room.kind if room else "",
                severity=row["severity"],
                responder=acknowledged[1] if acknowledged[0] is not None else "",
                action=row["action"],
                case_number=row["case_number"],
                is_acknowledged=row["status"] == "acknowledged",
                again_of=row["again_of"],
                sensor_health=_health(faults, row["sensor"], row["opened_at"], key),
                **detections.get(key, {}),
            )
        )
    return found


def notices(
    db: sqlite3.Connection, roles: Mapping[str, str], start: float, end: float
) -> list[NoticeRow]:
    """Return the notices of the incidents opened in ``[start, end)``, Unix seconds.

    `roles` has the role of each member of staff; others have left.
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


def _acknowledgements(
    db: sqlite3.Connection, window: tuple[float, float]
) -> dict[str, tuple[float, str]]:
    """Return time and person of the first acknowledgement of each incident."""
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
    """Return the cause in the last feedback of each incident."""
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
    """Return the highest step carried out and the end of each incident's escalation.

    Steps that an answer made unnecessary are done before they are due.
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


def _faults(db: sqlite3.Connection, window: tuple[float, float]) -> _Faults:
    """Return the faults of each sensor on each day (UTC) of a window."""
    found: defaultdict[tuple[str, int], list[tuple[float, float, str, str]]] = defaultdict(list)
    for row in db.execute(
        "SELECT sensor, alerted, iif(phase IN ('alerted', 'updated'), 9e999, coalesce(\"end\","
        " last_heard)) AS until, kind, coalesce(incident, '') AS incident FROM alert_event"
        " WHERE kind IN ('offline', 'sensor_fault', 'tamper') AND phase <> 'withdrawn'"
        " AND alerted < ? AND until > ?",
        (window[1], window[0]),
    ):
        fault = (row["alerted"], row["until"], row["kind"], row["incident"])
        first, last = max(fault[0], window[0]), min(fault[1], window[1])
        for day in range(int(first // _DAY_S), int(last // _DAY_S) + 1):
            found[row["sensor"], day].append(fault)
    return found


def _health(faults: _Faults, sensor: str, at: float, incident: str) -> str:
    """Return the faults of a sensor at a time, without that of the incident itself."""
    today = faults.get((sensor, int(at // _DAY_S)), ())
    kinds = {kind for begin, end, kind, own in today if begin <= at < end and own != incident}
    return " ".join(sorted(kinds)) or "ok"


def _detections(
    db: sqlite3.Connection, registry: Registry, window: tuple[float, float]
) -> dict[str, dict[str, Any]]:
    """Combine the detections of each incident."""
    decode = msgspec.json.Decoder(dict[str, list[float | None]]).decode
    found: dict[str, dict[str, Any]] = {}
    for row in db.execute(
        'SELECT e.incident, e."end", e.phase, e.evidence, e.model_version, e.masked, e.thc_likely,'
        " e.sensor"
        " FROM incident i JOIN alert_event e ON e.incident = i.id"
        " WHERE i.opened_at >= ? AND i.opened_at < ? ORDER BY e.rowid",
        window,
    ):
        own = found.setdefault(
            row["incident"],
            {
                "model_version": row["model_version"],
                "masked": False,
                "thc_likely": False,
                "over_at": 0.0,
                "peaks": {},
                "alarm_of": "",
                "is_detected_here": False,
            },
        )
        if is_device_alarm(row["model_version"]):
            sensor = registry.sensors.get(row["sensor"])
            own["alarm_of"] = (sensor.model or sensor.decoder if sensor else "") or row["sensor"]
        elif row["phase"] != "withdrawn":
            own["is_detected_here"] = True
        own["masked"] |= bool(row["masked"])
        own["thc_likely"] |= bool(row["thc_likely"])
        if row["phase"] in _RUNNING:
            own["over_at"] = None
        elif own["over_at"] is not None and row["end"] is not None:
            own["over_at"] = max(own["over_at"], row["end"])
        for channel, peak in _peaks(decode(row["evidence"])):
            own["peaks"][channel] = max(peak, own["peaks"].get(channel, peak))
    for own in found.values():
        own["over_at"] = own["over_at"] or None
    return found


def _peaks(evidence: Mapping[str, Iterable[float | None]]) -> Iterator[tuple[str, float]]:
    for channel, values in evidence.items():
        baseline, excess, *_ = values
        if baseline is not None and excess is not None:
            yield channel, baseline + excess
