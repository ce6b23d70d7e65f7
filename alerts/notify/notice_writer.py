"""Write the notices of an incident into the outbox, in the caller's transaction.

A person gets at most one notice per incident and occasion. The outcome goes only to people who were
notified.

No notice is dropped. A deferred notice is a row with a due time. All rows with the same person and
cause are sent as one notice:

- *quiet*: when the person's quiet hours end.
- *budget*: when the person is below the hourly limit of notices again.
- *storm*: when many rooms on a floor or in a building alert at once. After the first few, the rest
  are sent together every `gather_s` seconds.

Critical incidents bypass quiet hours and the budget. An answer cancels the deferred rows of its
incident.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from alerts.incidents import repository
from alerts.incidents.history import Happened
from alerts.incidents.incident import SYSTEM, find_place
from alerts.notify import outbox as outbox_rows
from alerts.notify.notice import Note, Notice, NoticeReason, Priority
from alerts.policy import STORM_S, Severity
from alerts.secrets import find_channel, make_target_id
from detection.events import UNSETTLED, EventKind
from language.messages import build_fact

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping, Sequence

    from alerts.duty.shifts import ClockHours
    from alerts.incidents.incident import Incident
    from alerts.incidents.inputs import Feedback
    from alerts.policy import AlertPolicy, EscalationTimings, StaffMember
    from detection.events import Evidence
    from language.messages import Fact
    from storage.registry import Registry, Room

_HOUR_S: Final = 3600.0


class Cause(StrEnum):
    """Why a notice is deferred."""

    QUIET = "quiet"
    BUDGET = "budget"
    STORM = "storm"


@dataclass(frozen=True, slots=True)
class Deferral:
    """Why and until when a page is deferred."""

    cause: Cause
    until: float


_DIGEST_NOTES: Final = {
    Cause.QUIET: build_fact(Note.DURING_QUIET),
    Cause.BUDGET: build_fact(Note.COMBINED),
    Cause.STORM: build_fact(Note.MANY_ROOMS),
}
_LOUDNESS: Final = {
    Severity.INFO: Priority.NORMAL,
    Severity.WARNING: Priority.HIGH,
    Severity.CRITICAL: Priority.URGENT,
}


def write_headline(incidents: Sequence[Incident], rooms: Sequence[Room]) -> Fact:
    """Summarize several incidents in one line; `rooms` are all their rooms."""
    kinds, first, n = {i.kind.value for i in incidents}, rooms[0], len(rooms)
    kind = kinds.pop() if len(kinds) == 1 else ""
    if n == 1:
        return build_fact(
            Note.TIMES_IN_ROOM, n=len(incidents), room=first.short_name or "Plumewatch", kind=kind
        )
    if len({(r.site, r.building, r.floor) for r in rooms}) == 1 and first.floor:
        building, floor = first.whole_building, first.floor
        return build_fact(Note.ROOMS_ON_FLOOR, n=n, kind=kind, building=building, floor=floor)
    if len({(r.site, r.building) for r in rooms}) == 1 and first.building:
        return build_fact(Note.ROOMS_IN_BUILDING, n=n, kind=kind, building=first.whole_building)
    if len({r.site for r in rooms}) == 1 and first.names_site:
        return build_fact(Note.ROOMS_IN_BUILDING, n=n, kind=kind, building=first.site)
    return build_fact(Note.ROOMS, n=n, kind=kind)


def write_lines(
    incidents: Sequence[Incident], rooms: Mapping[str, Room], usual_zone: str, now: float
) -> tuple[Fact, ...]:
    """List incidents by room, kind and time, with the day if it is not today (`now`)."""
    uses = Counter(room.name for room in rooms.values())
    names = {
        key: room.short_name if uses[room.name] == 1 else f"{room.name} ({room.place or key})"
        for key, room in rooms.items()
    }
    return tuple(
        build_fact(
            Note.LINE if i.is_open else Note.LINE_RESOLVED,
            room=names[i.room] or "Plumewatch",
            kind=i.kind.value,
            time=i.onset,
            zone=rooms[i.room].zone or usual_zone,
            now=now,
        )
        for i in incidents
    )


class NoticeWriter:
    """Writes notices."""

    def __init__(self, registry: Registry, policy: AlertPolicy) -> None:
        self._registry = registry
        self._policy = policy

    def page(
        self,
        tx: sqlite3.Connection,
        incident: Incident,
        people: Collection[str],
        at: float,
        *,
        round_: int = 1,
        note: Fact | None = None,
        throttle: bool = True,
    ) -> int:
        """Page people once per round; return how many count as notified.

        A page deferred by a storm also counts, because it is sent soon.
        """
        notified = 0
        for member in filter(None, map(self._policy.find_member, people)):
            held = None
            if throttle and member.targets:
                timings, registry = self._policy.timings, self._registry
                held = find_deferral(tx, member, incident, at, timings, registry)
            if held is None:
                notified += self._page_now(tx, incident, member, at, round_, note)
            else:
                _defer(tx, member.id, incident.id, round_, held, at)
                notified += held.cause is Cause.STORM
        return notified

    def _page_now(
        self,
        tx: sqlite3.Connection,
        incident: Incident,
        member: StaffMember,
        at: float,
        round_: int,
        note: Fact | None,
    ) -> bool:
        notice = self._build_notice(tx, incident, NoticeReason.OPENED, member, at, note=note)
        return self._notify(tx, notice, member, at, "" if round_ == 1 else str(round_))

    def page_deferred(self, tx: sqlite3.Connection, incident: Incident, at: float) -> None:
        """Send the deferred notices of an incident now."""
        for person, round_ in release_deferred(tx, incident.id, at):
            self.page(tx, incident, (person,), at, round_=round_, throttle=False)

    def flush(self, tx: sqlite3.Connection, now: float) -> None:
        """Send the deferred notices that are due, combined by person and cause."""
        while (found := _load_due(tx, now)) is not None:
            person, cause, waiting = found
            member = self._policy.find_member(person)
            quiet = None if member is None else find_quiet_end(member.quiet, now)
            loaded = [(repository.load(tx, i), round_) for i, round_ in waiting]
            left = [(i, r) for i, r in loaded if i is not None]
            urgent = any(i.severity is Severity.CRITICAL for i, _ in left)
            if quiet is not None and not urgent and cause is not Cause.QUIET:
                _postpone(tx, person, cause, quiet)
                continue
            sent_with, sent_as = "", "nothing left"
            if member is not None and len(left) == 1 and left[0][0].is_open:
                incident, round_ = left[0]
                note = build_fact(Note.DEFERRED) if cause is Cause.QUIET else None
                self._page_now(tx, incident, member, now, round_, note)
                sent_with, sent_as = incident.id, "opened"
            elif member is not None and left:
                incidents = list({i.id: i for i, _ in left}.values())
                code = member.language or self._policy.language
                notice = self._build_digest(incidents, cause, code, now)
                occasion = f"{now:.0f} {cause}"
                self._notify(tx, notice, member, now, occasion)
                sent_with, sent_as = notice.incident, f"{notice.reason.value}:{occasion}"
            _mark_sent(tx, person, cause, now, sent_with=sent_with, sent_as=sent_as)

    def _build_digest(
        self, incidents: list[Incident], cause: Cause, code: str, now: float
    ) -> Notice:
        last = incidents[-1]
        rooms = {i.room: find_place(self._registry, i.room) for i in incidents}
        url, zone = self._policy.page_url, self._policy.zone
        return Notice(
            incident=last.id,
            reason=NoticeReason.DIGEST,
            kind=last.kind.value,
            room="",
            floor="",
            building="",
            since=min(i.onset for i in incidents),
            lines=write_lines(incidents, rooms, zone, now),
            zone=zone,
            link=url,
            priority=_LOUDNESS[max((i.severity for i in incidents), key=lambda s: s.rank)],
            notes=(_DIGEST_NOTES[cause],),
            headline=write_headline(incidents, list(rooms.values())),
            incidents=tuple(i.id for i in incidents),
            language=code,
        )

    def fall_back(self, tx: sqlite3.Connection, now: float, refused: int | None) -> None:
        """Try the next channel for undelivered notices that are due, and for notice `refused`."""
        for found in outbox_rows.take_fallbacks(tx, now, refused):
            member, notice = self._policy.find_member(found.person), found.notice
            names = [] if member is None else [make_target_id(target) for target in member.targets]
            place = names.index(found.target) + 1 if found.target in names else len(names)
            if member is None or place >= len(names):
                continue
            if self._put(tx, notice, member, place, now, found.occasion, found.expires_at):
                repository.note(
                    tx,
                    notice.incident,
                    now,
                    Happened.NEXT_CHANNEL,
                    person=member.id,
                    channel=found.channel,
                    then=find_channel(member.targets[place]),
                )

    def notify_responder(
        self,
        tx: sqlite3.Connection,
        incident: Incident,
        at: float,
        reason: NoticeReason,
        note: Fact,
        since: float | None = None,
    ) -> bool:
        """Notify the responder; return whether a notice was added."""
        member = self._policy.find_member(incident.acknowledged_by)
        if member is None:
            return False
        notice = self._build_notice(tx, incident, reason, member, at, note=note)
        if since is not None:
            notice = msgspec.structs.replace(notice, since=since, again=True)
        return self._notify(tx, notice, member, at, f"{at:.0f}")

    def notify_outcome(
        self,
        tx: sqlite3.Connection,
        incident: Incident,
        reason: NoticeReason,
        at: float,
        occasion: str,
        *,
        only: str = "",
    ) -> None:
        """Send the outcome to everyone who was paged, or to `only`, on the channel that paged them.

        The reason is `TAKEN` or `RECOVERED`.
        """
        taken = reason is NoticeReason.TAKEN
        by = self._policy.find_name(incident.acknowledged_by) if taken else ""
        for person, target in outbox_rows.find_people_notified(tx, incident.id):
            responds = by and by == self._policy.find_name(person)
            address = self._policy.find_target(person, target)
            if responds or (only and person != only) or address is None:
                continue
            outbox_rows.add_notice(
                tx,
                self._build_notice(
                    tx, incident, reason, self._policy.find_member(person), at, by=by
                ),
                person=person,
                address=address,
                now=at,
                expires_at=at + self._policy.expire_s,
                occasion=occasion if taken else "",
            )

    def notify_replaced(
        self,
        tx: sqlite3.Connection,
        incident: Incident,
        before: Feedback,
        now: Feedback,
        occasion: str,
    ) -> None:
        """Notify the author of an earlier answer that someone else has replaced it."""
        member = self._policy.find_member(before.by)
        if member is None:
            return
        name = self._policy.find_name(now.by)
        given = {"answer": now, "before": before}
        texts = {key: f"{one.verdict.value}:{one.cause}" for key, one in given.items()}
        note = build_fact(Note.REPLACED, name=name, **texts)
        reason = NoticeReason.REPLACED
        notice = self._build_notice(tx, incident, reason, member, now.at, by=name, note=note)
        self._notify(tx, notice, member, now.at, occasion)

    def _notify(
        self, tx: sqlite3.Connection, notice: Notice, member: StaffMember, at: float, occasion: str
    ) -> bool:
        if not member.targets:
            return False
        if outbox_rows.shares_target(tx, notice, member.id, make_target_id(member.targets[0])):
            return True
        added = self._put(tx, notice, member, 0, at, occasion, at + self._policy.expire_s)
        if added and notice.reason is NoticeReason.OPENED:
            outbox_rows.cancel_earlier_rounds(tx, notice, member.id, at)
        return added

    def _put(
        self,
        tx: sqlite3.Connection,
        notice: Notice,
        member: StaffMember,
        place: int,
        at: float,
        occasion: str,
        expires_at: float,
    ) -> bool:
        further = place + 1 < len(member.targets)
        return outbox_rows.add_notice(
            tx,
            notice,
            person=member.id,
            address=member.targets[place],
            now=at,
            expires_at=expires_at,
            occasion=occasion,
            fallback_at=at + self._policy.timings.fallback_after_s if further else None,
        )

    def _build_notice(
        self,
        tx: sqlite3.Connection,
        incident: Incident,
        reason: NoticeReason,
        member: StaffMember | None,
        now: float,
        *,
        by: str = "",
        note: Fact | None = None,
    ) -> Notice:
        room = find_place(self._registry, incident.room)
        url = self._policy.page_url
        notes = [] if note is None else [note]
        if reason.asks and repository.is_disputed(tx, incident):
            notes.append(build_fact(Note.DISPUTED))
        if reason is NoticeReason.OPENED and incident.again_of:
            notes[:0] = self._describe_last_answer(tx, incident.again_of, now)
        recovered = reason is NoticeReason.RECOVERED
        is_loud = reason.asks and incident.kind is not EventKind.POSSIBLE
        event_id = incident.detections[-1].event_id
        evidence = repository.load_evidence(tx, event_id, "" if recovered else "decided_")
        if recovered:
            notes += self._list_open_issues(incident, evidence)
        own = "" if member is None else member.language
        asked = f"?lang={own}" if own else ""
        return Notice(
            incident=incident.id,
            reason=reason,
            kind=incident.kind.value,
            room=room.name,
            floor=room.floor,
            building=room.building,
            site=room.shown_site,
            site_id=room.site_id if room.names_site else "",
            since=incident.onset,
            evidence=evidence,
            zone=room.zone or self._policy.zone,
            link=f"{url}/incidents/{incident.id}{asked}" if url else "",
            priority=_LOUDNESS[incident.severity] if is_loud else Priority.QUIET,
            by=by,
            notes=tuple(notes),
            again=bool(incident.again_of),
            over=incident.cleared_at is not None,
            language=own or self._policy.language,
            written=now,
        )

    def _list_open_issues(self, incident: Incident, evidence: Evidence | None) -> list[Fact]:
        """Return notes on problems that may remain after an incident has ended."""
        if incident.running and incident.resolved_by != SYSTEM:
            return [
                build_fact(Note.CLOSED_EARLY, name=self._policy.find_name(incident.resolved_by))
            ]
        if incident.running:
            return [build_fact(Note.NOTHING_MORE)]
        if evidence and any(detail.code in UNSETTLED for detail in evidence.details):
            return [build_fact(Note.STILL_SILENT)]
        return []

    def _describe_last_answer(
        self, tx: sqlite3.Connection, incident_id: str, now: float
    ) -> list[Fact]:
        before = repository.load(tx, incident_id)
        at = None if before is None else before.answered_at or before.acknowledged_at
        if before is None or at is None:
            return []
        return [
            build_fact(
                Note.ANSWERED_LAST if before.answered_at else Note.RESPONDED_LAST,
                name=self._policy.find_name(before.acknowledged_by),
                time=at,
                zone=find_place(self._registry, before.room).zone or self._policy.zone,
                now=now,
            )
        ]


def find_quiet_end(quiet: Sequence[ClockHours], at: float) -> Deferral | None:
    """Return the longest quiet-hours deferral that applies at a time, or None."""
    moment = datetime.fromtimestamp(at, UTC)
    spans = (span for hours in quiet for span in hours.find_spans(moment, moment))
    until = max((span.end.timestamp() for span in spans if span.contains(moment)), default=None)
    return None if until is None else Deferral(Cause.QUIET, until)


def find_deferral(
    tx: sqlite3.Connection,
    member: StaffMember,
    incident: Incident,
    at: float,
    timings: EscalationTimings,
    registry: Registry,
) -> Deferral | None:
    """Return why and until when to defer a page; None if it can be sent now."""
    person, critical = member.id, incident.severity is Severity.CRITICAL
    if not critical:
        held = find_quiet_end(member.quiet, at) or _find_budget_end(
            tx, person, incident.room, at, timings
        )
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
    tx: sqlite3.Connection, person: str, room: str, at: float, timings: EscalationTimings
) -> Deferral | None:
    """Return the deferral if the hourly budget is used up, or None.

    Notices about any one other room use up at most half of the budget.
    """
    rows = tx.execute(
        "SELECT min(o.created_at) AS at, i.room FROM outbox o JOIN incident i ON i.id = o.incident"
        " WHERE o.person = ? AND o.created_at > ? AND o.status NOT IN ('cancelled', 'failed')"
        " GROUP BY o.incident, o.reason ORDER BY at DESC",
        (person, at - _HOUR_S),
    )
    most, by_room, used = timings.notices_per_hour, Counter[str](), list[float]()
    for row in rows:
        by_room[row["room"]] += 1
        if row["room"] == room or by_room[row["room"]] <= most // 2:
            used.append(row["at"])
    return Deferral(Cause.BUDGET, used[most - 1] + _HOUR_S) if len(used) >= most else None


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


def _defer(
    tx: sqlite3.Connection, person: str, incident: str, round_: int, held: Deferral, now: float
) -> None:
    """Defer a page, unless it is already deferred."""
    tx.execute(
        "INSERT INTO held_notice (person, incident, round, cause, held_at, due_at)"
        " VALUES (?,?,?,?,?,?) ON CONFLICT (person, incident, round) DO NOTHING",
        (person, incident, round_, held.cause.value, now, held.until),
    )


def _load_due(
    tx: sqlite3.Connection, now: float
) -> tuple[str, Cause, list[tuple[str, int]]] | None:
    """Return the next due person and cause, with the incident and round of each row, or None."""
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


def _mark_sent(
    tx: sqlite3.Connection,
    person: str,
    cause: Cause,
    now: float,
    *,
    sent_with: str,
    sent_as: str,
) -> None:
    """Record which notice included the deferred rows of a person and cause."""
    tx.execute(
        "UPDATE held_notice SET done_at = ?, sent_with = ?, sent_as = ?"
        " WHERE person = ? AND cause = ? AND done_at IS NULL",
        (now, sent_with, sent_as, person, cause.value),
    )


def _postpone(tx: sqlite3.Connection, person: str, cause: Cause, held: Deferral) -> None:
    """Defer a person's rows again, with a new cause and due time."""
    tx.execute(
        "UPDATE held_notice SET cause = ?, due_at = ?"
        " WHERE person = ? AND cause = ? AND done_at IS NULL",
        (held.cause.value, held.until, person, cause.value),
    )


def release_deferred(
    tx: sqlite3.Connection, incident: str, now: float, sent_as: str = "at once"
) -> list[tuple[str, int]]:
    """Stop deferring an incident's notices; return the person and round of each notice."""
    rows = tx.execute(
        "UPDATE held_notice SET done_at = ?, sent_as = ?"
        " WHERE incident = ? AND done_at IS NULL RETURNING person, round",
        (now, sent_as, incident),
    ).fetchall()
    return [(r["person"], r["round"]) for r in rows]


def has_deferred(tx: sqlite3.Connection, incident: str) -> bool:
    """Return whether an incident has deferred notices."""
    row = tx.execute(
        "SELECT 1 FROM held_notice WHERE incident = ? AND done_at IS NULL", (incident,)
    ).fetchone()
    return row is not None


def find_next_deferral(tx: sqlite3.Connection) -> float | None:
    """Return when the next deferred notice is due; None if there is none."""
    row = tx.execute("SELECT min(due_at) AS at FROM held_notice WHERE done_at IS NULL").fetchone()
    return None if row["at"] is None else float(row["at"])
