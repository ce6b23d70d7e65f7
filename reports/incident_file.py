"""The file of one incident: history, evidence, notices and feedback.

Staff are named by id and role; a note is free text of theirs and is shown unchanged.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from language.dates import date_text
from language.facts import params_of
from language.messages import ENGLISH, _, gettext, language, mark
from language.plain_text import shown
from reports.text import LIMITS, duration, words_of
from reports.view import words

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping
    from zoneinfo import ZoneInfo

    from storage.registry import Registry

VERSION: Final = 1
_STAGES: Final = ((mark("decision"), "decided_"), (mark("end"), ""))
"""Stages of an event whose evidence is stored, and the prefix of their columns."""


@dataclass(frozen=True, slots=True)
class IncidentFile:
    """Everything stored about an incident; `started_with` says what ran then."""

    incident: dict[str, Any]
    events: tuple[dict[str, Any], ...]
    history: tuple[dict[str, Any], ...]
    notices: tuple[dict[str, Any], ...]
    feedback: tuple[dict[str, Any], ...]
    started_with: dict[str, Any] | None


_PARTS: Final = {
    "events": "SELECT * FROM alert_event WHERE incident = ? ORDER BY alerted, id",
    "history": "SELECT at, who, what, detail FROM incident_history WHERE incident = ? ORDER BY seq",
    "notices": "SELECT person, channel, reason, status, attempts, last_error, finished_at"
    " FROM outbox WHERE incident = ? ORDER BY id",
    "feedback": "SELECT at, who, verdict, cause, note FROM incident_feedback WHERE incident = ?"
    " ORDER BY seq",
}


def gather(
    db: sqlite3.Connection, registry: Registry, roles: Mapping[str, str], incident: str
) -> IncidentFile | None:
    """Read an incident from the state database; None if there is none of this id."""
    row = db.execute("SELECT * FROM incident WHERE id = ?", (incident,)).fetchone()
    if row is None:
        return None
    room = registry.rooms.get(row["room"])
    place = {key: getattr(room, key) if room else "" for key in ("site", "building", "floor")}
    found = {
        name: tuple(dict(each) for each in db.execute(sql, (incident,)))
        for name, sql in _PARTS.items()
    }
    for notice in found["notices"]:
        notice["role"] = roles.get(notice["person"], "left")
    started = db.execute(
        "SELECT detail FROM audit WHERE kind = 'start' AND at <= ? ORDER BY seq DESC LIMIT 1",
        (row["opened_at"],),
    ).fetchone()
    return IncidentFile(
        incident={**dict(row), "room_name": room.name if room else row["room"], **place},
        started_with=json.loads(started["detail"]) if started else None,
        **found,
    )


def view(
    found: IncidentFile,
    zone: ZoneInfo,
    picture: str,
    why: Callable[[Mapping[str, Any], str], str],
    say: Callable[[str, dict[str, Any]], tuple[str, str]],
) -> dict[str, Any]:
    """Return its document, with the evidence as SVG; `why` and `say` are for the reader."""
    row = found.incident

    def at(moment: float | None) -> str:
        if moment is None:
            return "—"
        return date_text(datetime.fromtimestamp(moment, zone), "exact")

    started = found.started_with or {}
    first_there = next((line["who"] for line in found.history if line["what"] == "arrived"), "")
    place = [
        row["room_name"],
        row["floor"] and _("floor %(floor)s", floor=row["floor"]),
        row["building"],
    ]
    outcome = row["verdict"] or "unknown: no feedback"
    facts = {
        _("Where"): ", ".join(part for part in (*place, row["site"]) if part),
        _(
            "Kind, confidence, severity"
        ): f"{words_of(row['kind'])}, {row['confidence']:.2f}, {words_of(row['severity'])}",
        _("First evidence"): at(row["onset"]),
        _("Opened"): _(
            "%(time)s, %(after)s later",
            time=at(row["opened_at"]),
            after=duration(row["opened_at"] - row["onset"]),
        ),
        _("First notice delivered"): at(row["notified_at"]),
        _("Acknowledged"): f"{at(row['acknowledged_at'])} {row['acknowledged_by']}",
        _("Arrived"): f"{at(row['arrived_at'])} {first_there}",
        _("Closed"): f"{at(row['resolved_at'])} {row['resolved_by']}",
        _("Outcome"): outcome if language() == ENGLISH else gettext(outcome.replace("_", " ")),
        _("Follow-up"): gettext(row["action"] or mark("unknown: no feedback")),
        _("Case number"): row["case_number"] or "—",
        _("Suppressed by"): words_of(row["suppressed_by"]) or "—",
        _("Detector"): ", ".join(sorted({e["model_version"] for e in found.events})) or "—",
        _("Program and configuration"): _started(started),
    }
    return {
        "schema": f"plumewatch.incident/{VERSION}",
        "title": _("Incident %(id)s", id=row["id"]),
        **words(),
        "school": shown(row["site"] or ""),
        "place": shown(row["room_name"]),
        "zone": zone.key,
        "facts": [[label, shown(str(value))] for label, value in facts.items()],
        "evidence": [shown(line) for e in found.events for line in _why(e, why)],
        "picture": picture,
        "tables": [
            {
                "title": _("Timeline"),
                "left": 9,
                "columns": [_("time"), _("who"), _("what"), _("detail")],
                "rows": [
                    [
                        at(line["at"]),
                        shown(line["who"]),
                        *map(shown, say(line["what"], params_of(line["detail"]))),
                    ]
                    for line in found.history
                ],
            },
            {
                "title": _("Notices"),
                "left": 9,
                "columns": [
                    _("person"),
                    _("channel"),
                    _("reason"),
                    _("status"),
                    _("time"),
                    _("attempts"),
                ],
                "rows": [
                    [
                        shown(f"{n['person']} ({n['role']})"),
                        *(shown(words_of(n[key])) for key in ("channel", "reason", "status")),
                        at(n["finished_at"]),
                        shown(f"{n['attempts']} {n['last_error']}".strip()),
                    ]
                    for n in found.notices
                ],
            },
            {
                "title": _("Feedback"),
                "left": 9,
                "columns": [_("time"), _("who"), _("verdict"), _("cause"), _("note")],
                "rows": [
                    [
                        at(f["at"]),
                        *(shown(words_of(f[key])) for key in ("who", "verdict", "cause", "note")),
                    ]
                    for f in found.feedback
                ],
            },
            {
                "title": _("Channels"),
                "left": 3,
                "columns": [
                    _("sensor"),
                    _("at"),
                    _("channel"),
                    _("baseline"),
                    _("peak excess"),
                    _("rise s"),
                    _("decay s"),
                ],
                "rows": [
                    [e["sensor"], gettext(when), key, *_moved(*values)]
                    for e in found.events
                    for when, prefix in _STAGES
                    for key, values in json.loads(e[f"{prefix}evidence"]).items()
                ],
            },
            {
                "title": _("Probabilities"),
                "left": 3,
                "columns": [_("sensor"), _("at"), _("kind"), _("probability")],
                "rows": [
                    [e["sensor"], gettext(when), words_of(kind), f"{p:.3f}"]
                    for e in found.events
                    for when, prefix in _STAGES
                    for kind, p in sorted(
                        json.loads(e[f"{prefix}probabilities"]).items(), key=lambda kp: -kp[1]
                    )
                ],
            },
        ],
        "alt": _("Air around the incident"),
        "limit": gettext(LIMITS[0]),
    }


def _why(event: Mapping[str, Any], why: Callable[[Mapping[str, Any], str], str]) -> list[str]:
    reasons = {when: why(event, prefix) for when, prefix in _STAGES}
    if len(set(reasons.values())) == 1:
        return [why(event, "")]
    decided, ended = reasons.values()
    return [
        _("At the decision: %(sentence)s", sentence=decided),
        _("At the end: %(sentence)s", sentence=ended),
    ]


def _started(started: Mapping[str, Any]) -> str:
    if not started:
        return _("not on record")
    return f"{started.get('version')}, SHA-256 {started.get('config_sha256')}"


def _moved(
    base: float, excess: float, rise_s: float | None, decay_s: float | None
) -> tuple[str, ...]:
    """Describe the change of a channel; one that did not rise has no times.

    >>> _moved(100.0, -0.04, 3.0, None), _moved(100.0, 52.3, 3.0, None)
    (('100', 'none', '—', '—'), ('100', '52.3', '3', 'not yet'))
    """
    if round(excess, 1) <= 0.0:
        return _figure(base), _figure(excess) if round(excess, 1) else _("none"), "—", "—"
    fell = _("not yet") if decay_s is None else _figure(decay_s)
    return _figure(base), _figure(excess), _figure(rise_s), fell


def _figure(value: float | None) -> str:
    return "—" if value is None else f"{value:.4g}"
