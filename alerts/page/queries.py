"""Read the state database for the staff page, in the form that templates and JSON need."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from alerts.duty.roster import build_labels
from alerts.incidents import repository, silences
from alerts.incidents.history import Happened
from alerts.incidents.silences import Silence, SilenceState
from alerts.notify import outbox
from alerts.notify.evidence_picture import PANELS
from alerts.page.rendering import write_headline
from alerts.page.settings import STALE_INTERVALS, STALE_S
from alerts.policy import HEALTH, PRESENCE
from detection.events import KIND_NAMES
from detection.quantities import QUANTITIES, QUANTITY_WORDS
from language.messages import Words, _, mark, parse_params
from reports.read import MISSED
from reports.rows import determine_state

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from storage.registry import Registry, Room
    from storage.timeseries import LatestReading

_SHORT: Final = Words({"rh": mark("RH"), "voc_index": mark("VOC")})
_EVENT_SHOWN_S: Final = 180.0
_URGENT: Final = frozenset({"vape", "smoke"})
LEVELS: Final = (
    *("alarm", "attention", "responding", "unanswered", "silenced", "notable", "done"),
    *("silent", "none", "ok"),
)
"""How rooms and incidents are shown (`reports.look.STATES`), most urgent first."""
_NEEDED: Final = frozenset({"alarm", "attention"})
_MASKS: Final = frozenset({"spray", "steam", "voc"})
_MASKS_FROM: Final = 0.05
"""Lowest probability at which one of `_MASKS` is reported as possibly hiding vaping."""
_MUCH_UG_M3: Final = 100.0
"""PM2.5 at or above this level is notable, whatever the cause; standards are for 24-hour means."""


_INCIDENT: Final = (
    "SELECT i.*,"
    " (SELECT count(*) FROM alert_event e WHERE e.incident = i.id) AS detections,"
    " (SELECT cause FROM incident_feedback f WHERE f.incident = i.id"
    "  ORDER BY seq DESC LIMIT 1) AS cause,"
    " coalesce((SELECT max(at) FROM incident_history h WHERE h.incident = i.id), i.opened_at)"
    " AS updated_at,"
    " i.paged AND i.status = 'open' AND NOT EXISTS (SELECT 1 FROM outbox o"
    "  WHERE o.incident = i.id AND o.status IN ('due', 'leased', 'sent')) AS not_notified"
    " FROM incident i"
)
_MAX_HISTORY: Final = 500
_MAX_MISSED: Final = 200
_OPEN_STATUSES: Final = ("open", "notified", "acknowledged")
_OPEN: Final = "i.id IN (SELECT id FROM incident WHERE status <> 'resolved')"


@dataclass(frozen=True, slots=True)
class RoomState:
    """The state of a room, as the board shows it.

    `level` is one of `LEVELS`. `air` contains label, value and unit of one quantity for each of
    `PANELS`, from the newest reading, taken at `seen`. `incident` is the id of the room's open or
    missed incident. `kind` is that of the open incident or of a recent event, and empty for a
    missed incident. `silences` are active now, and `planned` ones begin later. `is_stale` means
    that no readings arrive.
    """

    room: Room
    level: str
    text: str
    since: float | None
    incident: str
    air: tuple[tuple[str, str, str], ...]
    seen: float | None
    responder: str = ""
    kind: str = ""
    silences: tuple[Silence, ...] = ()
    planned: tuple[Silence, ...] = ()
    is_stale: bool = False

    @property
    def needs_person(self) -> bool:
        """Return whether somebody has to go to the room now."""
        return self.level in _NEEDED and self.kind in PRESENCE

    @property
    def is_faulty(self) -> bool:
        """Return whether no readings arrive, or a fault of a sensor needs attention."""
        return self.is_stale or (self.level == "attention" and self.kind in HEALTH)

    @property
    def hides_outage(self) -> bool:
        """Return whether the level is about something other than the missing readings."""
        return self.is_stale and self.level != "silent" and self.kind not in HEALTH


def load_rooms(
    db: sqlite3.Connection,
    registry: Registry,
    latest: Mapping[str, LatestReading],
    now: float,
    intervals: Mapping[str, float],
    only: Collection[Room] | None = None,
) -> list[RoomState]:
    """Return the state of all registered rooms, or of `only`.

    `intervals` maps sensors to the seconds between their readings.
    """
    opened = sorted(
        find_open_incidents(db, limit=-1), key=lambda i: (-LEVELS.index(i["level"]), i["onset"])
    )
    event_rows = _fetch(
        db,
        "SELECT '' AS id, room, kind, onset, 'notable' AS level, '' AS state,"
        " NULL AS verdict, NULL AS cleared_at"
        " FROM alert_event WHERE onset > ? AND last_heard > ?"
        " AND phase IN ('alerted', 'updated') AND incident IS NULL ORDER BY onset",
        now - 3600.0,
        now - _EVENT_SHOWN_S,
    )
    incidents = {row["room"]: row for row in opened}
    events = {row["room"]: row for row in reversed(event_rows)}
    unchecked = find_incidents(db, answer="missed", limit=-1)
    missed = {row["room"]: row for row in reversed(unchecked)}
    known = [(s.find_state(now), s) for s in reversed(silences.list_current(db, now))]
    states = []
    for room in registry.rooms.values() if only is None else only:
        sensors = registry.list_sensors(room.id)
        # readings with only battery or signal values contain nothing about the air
        found = (latest[s.id] for s in sensors if s.id in latest)
        newest = max(
            (r for r in found if _format_air(r.values)), key=lambda r: r.time, default=None
        )
        longest = max((intervals.get(s.id, s.interval_s) for s in sensors), default=0.0)
        level, text, since, leads_to = "ok", _("OK"), None, ""
        shown = incidents.get(room.id)
        age = math.inf if newest is None else now - newest.time
        is_stale = bool(sensors) and age > max(STALE_S, STALE_INTERVALS * longest)
        if shown is None:
            if not sensors:
                level, text = "none", _("No sensor")
            elif newest is None:
                level, text = "silent", _("No reading yet")
            elif is_stale:
                level, text, since = "silent", _("No readings"), newest.time
            else:
                shown = events.get(room.id)
                if shown is None and newest.values.get("pm25", 0.0) >= _MUCH_UG_M3:
                    level, text = "notable", _("Many fine particles, no detection")
        own, planned = (
            tuple(s for found, s in known if found is state and s.covers(room, sensors))
            for state in (SilenceState.ACTIVE, SilenceState.PENDING)
        )
        if shown is not None:
            (level, text), since = _describe(shown, room, own), shown["onset"]
            leads_to = shown["id"]
        elif level == "ok" and any(s.kind in {"", *PRESENCE} for s in own):
            level, text = "silenced", _("Silenced")
        if room.id in missed and LEVELS.index(level) > LEVELS.index("unanswered"):
            level, text = "unanswered", _("Nobody responded")
            since, leads_to = missed[room.id]["onset"], missed[room.id]["id"]
        states.append(
            RoomState(
                room=room,
                level=level,
                text=text,
                since=since,
                incident=leads_to,
                air=_format_air(newest.values) if newest else (),
                seen=newest.time if newest else None,
                responder=shown["acknowledged_by"] if level == "responding" and shown else "",
                kind=shown["kind"] if shown else "",
                silences=own,
                planned=planned,
                is_stale=is_stale,
            )
        )
    return states


def _describe(
    incident: Mapping[str, Any], room: Room, active: Iterable[Silence]
) -> tuple[str, str]:
    """Return an incident's level and text; silences also cover incidents that began earlier."""
    level, text = incident["level"], write_headline(incident)
    if incident["cleared_at"] and not incident["verdict"]:
        text = _("%(what)s (over, not yet checked)", what=text)
    if level in _NEEDED and incident["kind"] in PRESENCE:
        labels = build_labels(
            room,
            kind=incident["kind"],
            severity=incident["severity"],
            sensor=incident["sensor"],
        )
        if any(silence.mutes(labels) for silence in active):
            level = "silenced"
    return level, text


def _format_air(values: Mapping[str, float]) -> tuple[tuple[str, str, str], ...]:
    shown = []
    for group in PANELS:
        for key in group:
            if key in values:
                q = QUANTITIES[key]
                digits = 1 if q.resolution < 1 and values[key] < 100 else 0
                label = _SHORT.get(key) or QUANTITY_WORDS[key]
                shown.append((label, f"{values[key]:,.{digits}f}", q.unit))
                break
    return tuple(shown)


def group_rooms(states: Sequence[RoomState]) -> dict[str, dict[str, dict[str, list[RoomState]]]]:
    """Group rooms by site, building and floor, in registry order; a single site is unnamed."""
    sites: dict[str, dict[str, dict[str, list[RoomState]]]] = {}
    for state in states:
        room = state.room
        floors = sites.setdefault(room.shown_site, {}).setdefault(room.building, {})
        floors.setdefault(room.floor, []).append(state)
    return sites


def write_position(incident: Mapping[str, Any]) -> str:
    """Return an incident's position in the list, after which the next page begins."""
    return f"{incident['opened_at']!r} {incident['id']}"


def parse_position(text: str) -> tuple[float, str]:
    """Parse a position, or return that of the first page if empty; raise ValueError if invalid."""
    at, _space, last = text.partition(" ")
    return float(at or math.inf), last


def find_incidents(
    db: sqlite3.Connection,
    *,
    statuses: Sequence[str] = (),
    kinds: Sequence[str] = (),
    room: str = "",
    rooms: str | None = None,
    answer: str = "",
    number: str = "",
    start: float = -math.inf,
    end: float = math.inf,
    updated: float | None = None,
    before: tuple[float, str] = (math.inf, ""),
    limit: int = 50,
) -> list[dict[str, Any]]:
    """Return incidents opened in ``[start, end)`` and before `before`, newest first.

    `rooms` is a JSON list of ids. With `updated`, only incidents that changed at that time or later
    are returned. `answer` is a verdict, ``none`` for incidents without one, or ``missed`` for
    resolved ones that nobody responded to either. `number` is part of the id. None and empty
    arguments do not filter.
    """
    is_open = statuses and "resolved" not in statuses
    few = MISSED if answer == "missed" else _OPEN if is_open else "1"  # uses an index
    found = db.execute(
        f"{_INCIDENT} WHERE {few} AND opened_at >= :start AND opened_at < :end"  # noqa: S608 - constants
        " AND (:room = '' OR room = :room)"
        " AND (:rooms IS NULL OR room IN (SELECT value FROM json_each(:rooms)))"
        " AND (:statuses = '[]' OR status IN (SELECT value FROM json_each(:statuses)))"
        " AND (:kinds = '[]' OR kind IN (SELECT value FROM json_each(:kinds)))"
        " AND (:updated IS NULL"
        "  OR i.id IN (SELECT incident FROM incident_history WHERE at >= :updated))"
        " AND CASE :answer WHEN '' THEN 1 WHEN 'none' THEN verdict IS NULL"
        " WHEN 'missed' THEN 1 ELSE verdict = :answer END"
        " AND instr(id, :number) > 0"
        " AND (opened_at < :last_at OR (opened_at = :last_at AND id < :last))"
        " ORDER BY opened_at DESC, id DESC LIMIT :limit",
        {
            "start": start,
            "end": end,
            "room": room,
            "rooms": rooms,
            "answer": answer,
            "number": number,
            "statuses": json.dumps(statuses),
            "kinds": json.dumps(kinds),
            "updated": updated,
            "last_at": before[0],
            "last": before[1],
            "limit": limit,
        },
    )
    return [_add_state(dict(row)) for row in found]


def find_open_incidents(
    db: sqlite3.Connection, *, rooms: str | None = None, limit: int = 50
) -> list[dict[str, Any]]:
    """Return open incidents: unacknowledged first, then the most urgent kinds, then the newest."""
    found = find_incidents(db, statuses=_OPEN_STATUSES, rooms=rooms, limit=limit)
    return sorted(found, key=_rank)


def find_missed_incidents(
    db: sqlite3.Connection, *, rooms: str | None = None
) -> list[dict[str, Any]]:
    """Return incidents that nobody has responded to or reported on, newest first."""
    return find_incidents(db, answer="missed", rooms=rooms, limit=_MAX_MISSED)


def find_last_delivery(db: sqlite3.Connection, *, rooms: str | None = None) -> float | None:
    """Return when a notice was last delivered, or None; only recent notices are considered."""
    row = db.execute(
        "SELECT max(o.finished_at) FROM (SELECT incident, finished_at, status FROM outbox"
        " ORDER BY id DESC LIMIT 500) o"
        " JOIN incident i ON i.id = o.incident"
        " WHERE o.status = 'sent' AND (?1 IS NULL OR i.room IN (SELECT value FROM json_each(?1)))",
        (rooms,),
    ).fetchone()
    return None if row[0] is None else float(row[0])


def _rank(row: Mapping[str, Any]) -> tuple[bool, bool, float]:
    return row["status"] == "acknowledged", row["kind"] not in _URGENT, -row["onset"]


def _add_state(row: dict[str, Any]) -> dict[str, Any]:
    """Add an incident's state and display level."""
    state = determine_state(
        row["kind"],
        is_open=row["status"] != "resolved",
        is_acknowledged=row["status"] == "acknowledged",
        was_acknowledged=row["acknowledged_at"] is not None or row["arrived_at"] is not None,
        verdict=row["verdict"],
        suppressed_by=row["suppressed_by"],
    ).value
    needed = "alarm" if row["kind"] in _URGENT else "attention"
    by_state = {
        "needs_responder": needed,
        "responding": "responding",
        "nobody_responded": "unanswered",
        "responded": "none",
        "noted": "done" if row["status"] == "resolved" else "notable",
        "suppressed": "silenced" if row["suppressed_by"] == "silence" else "notable",
    }
    level = by_state.get(state, "done")
    return {**row, "state": state, "level": level}


def load_incident(db: sqlite3.Connection, incident_id: str) -> dict[str, Any] | None:
    """Return one incident with its detections, history and notices, or None.

    Of a long history, only the newest `_MAX_HISTORY` lines and all responses are returned.
    """
    known = repository.load(db, incident_id)
    if known is None:
        return None
    (found,) = _fetch(db, f"{_INCIDENT} WHERE id = ?", incident_id)
    events = _fetch(
        db,
        "SELECT * FROM alert_event WHERE incident = ? ORDER BY kind <> ?, alerted, id LIMIT 100",
        incident_id,
        found["kind"],
    )
    history = [
        {**line, "params": parse_params(line.pop("detail"))}
        for line in _fetch(
            db,
            "SELECT *, count(*) OVER () AS n, max(seq) OVER () AS last FROM incident_history"
            " WHERE incident = ?1 AND (what IN ('acknowledged', 'arrived', 'arrived_too') OR"
            " seq > (SELECT max(seq) FROM incident_history WHERE incident = ?1) - ?2)"
            " ORDER BY at, seq",
            *(incident_id, _MAX_HISTORY),
        )
    ]
    notices = _fetch(
        db,
        "SELECT person, channel, reason, status, attempts, last_error, created_at, finished_at,"
        " last_detail AS error_detail FROM outbox WHERE incident = ? ORDER BY id",
        incident_id,
    )
    for event in events:
        event["now"] = _read_evidence(event)
        event["why"] = _read_evidence(event, "decided_")
    _number, answer = repository.load_last_feedback(db, incident_id) or (0, None)
    taken = [r["at"] for r in history if r["what"] == Happened.ACKNOWLEDGED]
    arrived = [r["who"] for r in history if r["what"] in repository.ARRIVED]
    return {
        **_add_state(found),
        "answered_by": answer.by if answer else "",
        "last_answer_at": answer.at if answer else None,
        "events": events,
        "history": history,
        "omitted": history[0]["last"] - history[0]["n"] if history else 0,
        "notices": notices,
        "taken_at": taken[-1] if taken else found["acknowledged_at"],
        "there": list(dict.fromkeys(arrived)),
        "awaited": known.awaits_arrival,
    }


def _read_evidence(event: Mapping[str, Any], which: str = "") -> dict[str, Any]:
    """Return an event's evidence at its last update, or with ``decided_`` when it alerted."""
    odds = json.loads(event[f"{which}probabilities"])
    evidence = json.loads(event[f"{which}evidence"])
    masks = {kind: p for kind, p in odds.items() if kind in _MASKS and p >= _MASKS_FROM}
    return {
        "sentence": repository.write_sentence(event, which),
        "masked_by": KIND_NAMES[max(masks, key=masks.__getitem__)] if masks else "",
        "odds": sorted(((k, p) for k, p in odds.items() if p >= 0.005), key=lambda kp: -kp[1]),
        "channels": [(QUANTITIES[k], *values) for k, values in evidence.items() if k in QUANTITIES],
    }


def find_room_events(
    db: sqlite3.Connection, room: str, start: float, end: float
) -> list[dict[str, Any]]:
    """Return a room's events that overlap a time window, for marks in a chart."""
    return _fetch(
        db,
        'SELECT kind, phase, onset, coalesce("end", last_heard) AS "end", incident'
        " FROM alert_event WHERE room = ? AND onset <= ?"
        ' AND coalesce("end", last_heard) >= ? ORDER BY onset LIMIT 200',
        room,
        end,
        start,
    )


def measure_waiting(db: sqlite3.Connection, now: float) -> tuple[float, int]:
    """Return the age of the oldest waiting notice, and the number of open incidents."""
    _, oldest = outbox.measure_backlog(db)
    (count,) = db.execute("SELECT count(*) FROM incident WHERE status <> 'resolved'").fetchone()
    return 0.0 if oldest is None else max(now - oldest, 0.0), count


def _fetch(db: sqlite3.Connection, sql: str, *arguments: object) -> list[dict[str, Any]]:
    return [dict(r) for r in db.execute(sql, arguments)]
