"""Read the rows of reports from the state database."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import msgspec

from detection.events import is_device_alarm
from reports.rows import IncidentRow, NoticeRow

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping

    from storage.registry import Registry

    _Window = tuple[float, float, str | None, str | None]
    _Faults = Mapping[tuple[str, int], Iterable[tuple[float, float, str, str]]]

_DAY_S: Final = 86_400.0
_INSIDE: Final = (
    "i.opened_at >= ? AND i.opened_at < ?"
    " AND (? IS NULL OR i.room IN (SELECT value FROM json_each(?)))"
)
"""Condition on an incident `i`. Parameters: start and end of the window, and the rooms, twice."""
MISSED: Final = (
    "missed_at IS NOT NULL AND acknowledged_at IS NULL AND verdict IS NULL AND status = 'resolved'"
)
"""Condition on an incident that nobody responded to, and nobody has checked since."""
_FIRST_RESPONSE: Final = (
    "FROM incident_history h WHERE h.incident = i.id AND h.what = 'acknowledged'"
    " ORDER BY h.seq LIMIT 1"
)
_OF_STEPS: Final = "FROM escalation_step s WHERE s.incident = i.id"
_INCIDENTS: Final = (
    "SELECT id, kind, sensor, room AS room_id, onset AS first_evidence_at, opened_at, notified_at,"  # noqa: S608 - a constant
    f" coalesce((SELECT h.at {_FIRST_RESPONSE}), acknowledged_at) AS acknowledged_at,"
    f" coalesce((SELECT h.who {_FIRST_RESPONSE}), acknowledged_by) AS responder,"
    " coalesce((SELECT f.cause FROM incident_feedback f WHERE f.incident = i.id"
    " ORDER BY f.seq DESC LIMIT 1), '') AS cause,"
    " coalesce((SELECT coalesce(sum(s.action = 'tell' AND s.done_at >= s.due_at), 0)"
    f" {_OF_STEPS} GROUP BY s.incident), notified_at IS NOT NULL) AS level,"
    f" (SELECT max(s.due_at) {_OF_STEPS} AND s.action = 'end') AS chain_end_at,"
    " arrived_at, resolved_at AS closed_at, coalesce(verdict, '') AS verdict, suppressed_by,"
    " confidence, severity, action, case_number,"
    f" status = 'acknowledged' AS is_acknowledged, again_of FROM incident i WHERE {_INSIDE}"
)
_PLACE: Final = ("floor", "building", "site")
_RUNNING: Final = ("alerted", "updated")
"""Phases of a detection that continues."""


def read_deleted_before(db: sqlite3.Connection) -> float:
    """Return the time before which retention deleted incidents; -inf if it deleted none."""
    row = db.execute(
        "SELECT max(detail ->> 'opened_before') AS at FROM audit"
        " WHERE kind = 'retention' AND detail ->> 'count' > 0"
    ).fetchone()
    return -math.inf if row["at"] is None else float(row["at"])


def read_recorded_from(db: sqlite3.Connection) -> float:
    """Return the start of the record of incidents; inf if there is none."""
    row = db.execute(
        "SELECT (SELECT min(at) FROM audit WHERE kind = 'start') AS started,"
        " (SELECT min(opened_at) FROM incident) AS opened"
    ).fetchone()
    first = min((at for at in row if at is not None), default=math.inf)
    return max(first, read_deleted_before(db))


def read_incidents(
    db: sqlite3.Connection,
    registry: Registry,
    start: float,
    end: float,
    rooms: Iterable[str] | None = None,
) -> list[IncidentRow]:
    """Return the incidents opened in ``[start, end)`` (Unix seconds) in `rooms`, or everywhere."""
    window = _make_window(start, end, rooms)
    detections = _read_detections(db, registry, window)
    faults = _read_faults(db, window)
    found = []
    for row in map(dict, db.execute(f"{_INCIDENTS} ORDER BY opened_at, id", window)):
        key, room = row["id"], registry.get_room(row["room_id"])
        own = {
            **row,
            "is_acknowledged": bool(row["is_acknowledged"]),
            "room": room.name if room else row["room_id"] or "Plumewatch",
            "location": room.kind if room else "",
            **{name: getattr(room, name) if room else "" for name in _PLACE},
            "responder": "" if row["acknowledged_at"] is None else row["responder"],
            "sensor_health": _describe_health(faults, row["sensor"], row["opened_at"], key),
            **detections.get(key, {}),
        }
        found.append(IncidentRow(**own))
    return found


def count_missed(db: sqlite3.Connection, before: float, rooms: Iterable[str] | None = None) -> int:
    """Return the number of unchecked incidents opened before a time (Unix seconds)."""
    window = _make_window(-math.inf, before, rooms)
    row = db.execute(f"SELECT count(*) AS n FROM incident i WHERE {_INSIDE} AND {MISSED}", window)  # noqa: S608 - constants
    return int(row.fetchone()["n"])


def _make_window(start: float, end: float, rooms: Iterable[str] | None) -> _Window:
    chosen = None if rooms is None else json.dumps(list(rooms))
    return start, end, chosen, chosen


def read_notices(
    db: sqlite3.Connection,
    roles: Mapping[str, str],
    start: float,
    end: float,
    rooms: Iterable[str] | None = None,
) -> list[NoticeRow]:
    """Return the notices of incidents opened in ``[start, end)``; unknown people have role left."""
    rows = db.execute(
        "SELECT o.incident, o.person, o.channel, o.reason, o.created_at,"  # noqa: S608 - a constant
        " iif(o.status = 'sent', o.finished_at, NULL) AS delivered_at"
        " FROM incident i JOIN outbox o ON o.incident = i.id"
        f" WHERE {_INSIDE} ORDER BY o.id",
        _make_window(start, end, rooms),
    )
    return [NoticeRow(role=roles.get(row["person"], "left"), **dict(row)) for row in rows]


def _read_faults(db: sqlite3.Connection, window: _Window) -> _Faults:
    found: defaultdict[tuple[str, int], list[tuple[float, float, str, str]]] = defaultdict(list)
    for row in db.execute(
        "SELECT sensor, alerted, iif(phase IN ('alerted', 'updated'), 9e999, coalesce(\"end\","
        " last_heard)) AS until, kind, coalesce(incident, '') AS incident FROM alert_event"
        " WHERE kind IN ('offline', 'sensor_fault', 'tamper')"
        " AND alerted < ? AND until > ?"
        " AND (? IS NULL OR room IN (SELECT value FROM json_each(?)))",
        (window[1], window[0], *window[2:]),
    ):
        fault = (row["alerted"], row["until"], row["kind"], row["incident"])
        first, last = max(fault[0], window[0]), min(fault[1], window[1])
        for day in range(int(first // _DAY_S), int(last // _DAY_S) + 1):
            found[row["sensor"], day].append(fault)
    return found


def _describe_health(faults: _Faults, sensor: str, at: float, incident: str) -> str:
    today = faults.get((sensor, int(at // _DAY_S)), ())
    kinds = {kind for begin, end, kind, own in today if begin <= at < end and own != incident}
    return " ".join(sorted(kinds)) or "ok"


def _read_detections(
    db: sqlite3.Connection, registry: Registry, window: _Window
) -> dict[str, dict[str, Any]]:
    decode = msgspec.json.Decoder(dict[str, list[float | None]]).decode
    found: dict[str, dict[str, Any]] = {}
    for row in db.execute(
        'SELECT e.incident, e."end", e.phase, e.evidence, e.model_version, e.masked, e.thc_likely,'  # noqa: S608 - a constant
        " e.sensor"
        " FROM incident i JOIN alert_event e ON e.incident = i.id"
        f" WHERE {_INSIDE} ORDER BY e.rowid",
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
        else:
            own["is_detected_here"] = True
        own["masked"] |= bool(row["masked"])
        own["thc_likely"] |= bool(row["thc_likely"])
        if row["phase"] in _RUNNING:
            own["over_at"] = None
        elif own["over_at"] is not None and row["end"] is not None:
            own["over_at"] = max(own["over_at"], row["end"])
        for channel, peak in _find_peaks(decode(row["evidence"])):
            own["peaks"][channel] = max(peak, own["peaks"].get(channel, peak))
    for own in found.values():
        own["over_at"] = own["over_at"] or None
    return found


def _find_peaks(evidence: Mapping[str, Iterable[float | None]]) -> Iterator[tuple[str, float]]:
    for channel, values in evidence.items():
        baseline, excess, *_ = values
        if baseline is not None and excess is not None:
            yield channel, baseline + excess
