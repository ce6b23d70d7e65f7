"""Mutes of incidents, and deferral of notices.

A silence, an outage that explains a fault, or a cooldown mutes an incident. When the mute ends, the
incident is checked again, and people are notified if it is still going on. Silences and outages
also mute its escalation. A cooldown does not mute a more severe incident.

No notice is dropped. A deferred notice is a row with a due time, and all rows of the same person
and cause are sent as one notice:

- *quiet*: at the end of the person's quiet hours; if those divert, the next ring is paged instead;
- *budget*: when the oldest of the person's notices in the last hour is an hour old;
- *storm*: many rooms of a floor or building; after the first few, combined every few seconds.

Critical incidents bypass quiet hours and the budget. An answer cancels the rows of its incident.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from alerts.incidents import repository
from alerts.incidents.incident import Mute, Suppression, find_labels, find_place
from alerts.incidents.silences import read_silence
from alerts.policy import STORM_S, Severity
from detection.events import EventKind
from language.messages import fact

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from alerts.duty.shifts import QuietHours
    from alerts.incidents.incident import Incident
    from alerts.incidents.silences import Silence
    from alerts.policy import EscalationTimings, StaffMember
    from storage.registry import Registry

HOUR_S: Final = 3600.0


_LOOK_AGAIN_S: Final = 15.0
"""How soon an incident that another one explains is checked again."""


def find_mute(
    tx: sqlite3.Connection, incident: Incident, at: float, registry: Registry
) -> Mute | None:
    """Return what mutes an incident; None if nothing does."""
    lasting = find_lasting_mute(tx, incident, at, registry)
    if lasting is not None:
        return lasting
    cooldown = repository.find_cooldown(tx, incident.kind, incident.room)
    if cooldown is None or cooldown[0] <= at or incident.grade_at(at).rank > cooldown[1].rank:
        return None
    return Mute(cooldown[0], fact(Suppression.COOLDOWN))


def find_lasting_mute(
    tx: sqlite3.Connection, incident: Incident, at: float, registry: Registry
) -> Mute | None:
    """Return the silence or outage that mutes an incident; None if none does."""
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
    by = fact(Suppression.INHIBITED, kind=EventKind.OFFLINE.value, room=row["room"])
    return Mute(at + _LOOK_AGAIN_S, by)


def find_silence(tx: sqlite3.Connection, labels: Mapping[str, str], at: float) -> Silence | None:
    """Return the silence that mutes these labels at a time and ends last, or None."""
    rows = tx.execute(
        "SELECT * FROM silence WHERE ends_at > ?1 AND starts_at <= ?1 ORDER BY ends_at DESC, id",
        (at,),
    )
    return next((s for s in map(read_silence, rows) if s.mutes(labels)), None)


class Cause(StrEnum):
    """Why a notice is deferred."""

    QUIET = "quiet"
    BUDGET = "budget"
    STORM = "storm"


@dataclass(frozen=True, slots=True)
class Deferral:
    """Why and until when a notice is deferred; with `divert`, other people are paged instead."""

    cause: Cause
    until: float
    divert: bool = False


def find_quiet_end(quiet: Sequence[QuietHours], at: float) -> Deferral | None:
    """Return the deferral by the quiet hours that contain a time, the last to end; or None."""
    moment = datetime.fromtimestamp(at, UTC)
    found: Deferral | None = None
    for one in quiet:
        for span in one.hours.find_spans(moment, moment):
            ends = span.end.timestamp()
            if span.contains(moment) and (found is None or ends > found.until):
                found = Deferral(Cause.QUIET, ends, one.divert)
    return found


def decide(
    tx: sqlite3.Connection,
    member: StaffMember,
    incident: Incident,
    at: float,
    timings: EscalationTimings,
    registry: Registry,
) -> Deferral | None:
    """Return what defers a page; None if it can be sent now."""
    person, critical = member.id, incident.severity is Severity.CRITICAL
    if not critical:
        held = find_quiet_end(member.quiet, at) or _find_budget_end(tx, person, at, timings)
        if held is not None:
            return held
    if not _is_storm(tx, person, incident.room, at, timings, registry):
        return None
    if not critical:
        return Deferral(Cause.STORM, at + timings.gather_s)
    row = tx.execute(
        "SELECT max(done_at) AS at FROM held_notice WHERE person = ? AND cause = 'storm'"
        " AND done_at > ?",
        (person, at - timings.gather_s),
    ).fetchone()
    return Deferral(Cause.STORM, at if row["at"] is None else row["at"] + timings.gather_s)


def _find_budget_end(
    tx: sqlite3.Connection, person: str, at: float, timings: EscalationTimings
) -> Deferral | None:
    rows = tx.execute(
        "SELECT min(created_at) AS at FROM outbox WHERE person = ? AND created_at > ?"
        " AND status NOT IN ('cancelled', 'failed') GROUP BY incident, reason"
        " ORDER BY at DESC LIMIT ?",
        (person, at - HOUR_S, timings.notices_per_hour),
    ).fetchall()
    if len(rows) < timings.notices_per_hour:
        return None
    return Deferral(Cause.BUDGET, rows[-1]["at"] + HOUR_S)


def _is_storm(
    tx: sqlite3.Connection,
    person: str,
    where: str,
    at: float,
    timings: EscalationTimings,
    registry: Registry,
) -> bool:
    room = find_place(registry, where)
    if not room.building:
        return False
    rows = tx.execute(
        "SELECT DISTINCT i.room FROM outbox o JOIN incident i ON i.id = o.incident"
        " WHERE o.person = ? AND o.created_at > ? AND o.reason GLOB 'opened*' AND i.room <> ?"
        " AND o.status NOT IN ('cancelled', 'failed')",
        (person, at - STORM_S, room.id),
    )
    others = [find_place(registry, row["room"]) for row in rows]
    building = [o for o in others if (o.site, o.building) == (room.site, room.building)]
    floor = [o for o in building if o.floor == room.floor]
    return len(floor) >= timings.storm_rooms or len(building) >= 2 * timings.storm_rooms


def defer(
    tx: sqlite3.Connection, person: str, incident: str, round_: int, held: Deferral, now: float
) -> None:
    """Defer a page; one that is already deferred stays as it is."""
    tx.execute(
        "INSERT INTO held_notice (person, incident, round, cause, held_at, due_at)"
        " VALUES (?,?,?,?,?,?) ON CONFLICT (person, incident, round) DO NOTHING",
        (person, incident, round_, held.cause.value, now, held.until),
    )


def load_due(tx: sqlite3.Connection, now: float) -> tuple[str, Cause, list[tuple[str, int]]] | None:
    """Return the next person and cause that are due, with the incident and round of each row."""
    row = tx.execute(
        "SELECT person, cause FROM held_notice WHERE done_at IS NULL AND due_at <= ?"
        " ORDER BY due_at, person LIMIT 1",
        (now,),
    ).fetchone()
    if row is None:
        return None
    rows = tx.execute(
        "SELECT incident, round FROM held_notice WHERE person = ? AND cause = ?"
        " AND done_at IS NULL ORDER BY held_at, incident, round",
        (row["person"], row["cause"]),
    )
    return row["person"], Cause(row["cause"]), [(r["incident"], r["round"]) for r in rows]


def mark_sent(
    tx: sqlite3.Connection,
    person: str,
    cause: Cause,
    now: float,
    *,
    sent_with: str,
    sent_as: str,
) -> None:
    """Record which notice carried the deferred rows of a person and cause."""
    tx.execute(
        "UPDATE held_notice SET done_at = ?, sent_with = ?, sent_as = ?"
        " WHERE person = ? AND cause = ? AND done_at IS NULL",
        (now, sent_with, sent_as, person, cause.value),
    )


def postpone(tx: sqlite3.Connection, person: str, cause: Cause, held: Deferral) -> None:
    """Defer the rows of a person and cause further, for another cause."""
    tx.execute(
        "UPDATE held_notice SET cause = ?, due_at = ?"
        " WHERE person = ? AND cause = ? AND done_at IS NULL",
        (held.cause.value, held.until, person, cause.value),
    )


def release(
    tx: sqlite3.Connection, incident: str, now: float, sent_as: str = "at once"
) -> list[tuple[str, int]]:
    """Stop deferring the notices of an incident; return person and round of each."""
    rows = tx.execute(
        "UPDATE held_notice SET done_at = ?, sent_as = ?"
        " WHERE incident = ? AND done_at IS NULL RETURNING person, round",
        (now, sent_as, incident),
    ).fetchall()
    return [(r["person"], r["round"]) for r in rows]


def is_deferred(tx: sqlite3.Connection, incident: str) -> bool:
    """Return whether an incident has deferred notices."""
    row = tx.execute(
        "SELECT 1 FROM held_notice WHERE incident = ? AND done_at IS NULL", (incident,)
    ).fetchone()
    return row is not None


def find_next_deadline(tx: sqlite3.Connection) -> float | None:
    """Return when the next deferred notice is due; None if there is none."""
    row = tx.execute("SELECT min(due_at) AS at FROM held_notice WHERE done_at IS NULL").fetchone()
    return None if row["at"] is None else float(row["at"])
