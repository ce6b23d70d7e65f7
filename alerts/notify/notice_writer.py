"""Write the notices of an incident into the outbox, in the caller's transaction.

A person gets at most one notice per incident and occasion. If people share an address, only one of
their notices is sent there; the next one follows only if the first isn't delivered within
`fallback_after_s`. Only people who were notified of an incident learn who responds to it, or that
it is over.

A deferred notice is a row with a due time. All rows with the same person and cause are sent as one
notice:

- *quiet*: due when the person's quiet hours end.
- *budget*: due when the person is below the hourly limit of notices again.
- *storm*: many rooms on a floor or in a building alert at once. After the first few notices, the
  rest are sent together every `gather_s` seconds.

Critical incidents bypass quiet hours and the budget. An answer cancels the deferred rows of its
incident.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
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
    from alerts.policy import AlertPolicy, StaffMember
    from detection.events import Evidence
    from language.messages import Fact
    from storage.registry import Registry, Room

_HOUR_S: Final = 3600.0
_DETECTED: Final = (
    f"EXISTS (SELECT 1 FROM alert_event WHERE incident = {{}} AND {repository.IS_DETECTED})"  # noqa: S608 - a constant
)
"""SQL condition: the service detected the incident itself; it was not only reported by a device."""
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
    floors = {(r.site, r.building, r.floor) for r in rooms}
    if len(floors) == 1 and first.floor:
        building, floor = first.whole_building or first.site, first.floor
        return build_fact(Note.ROOMS_ON_FLOOR, n=n, kind=kind, building=building, floor=floor)
    if len({place[:2] for place in floors}) == 1 and first.building:
        return build_fact(Note.ROOMS_IN_BUILDING, n=n, kind=kind, building=first.whole_building)
    if len({site for site, *_ in floors}) == 1 and first.names_site:
        return build_fact(Note.ROOMS_IN_BUILDING, n=n, kind=kind, building=first.site)
    return build_fact(Note.ROOMS, n=n, kind=kind)


def write_lines(
    incidents: Sequence[Incident], rooms: Mapping[str, Room], usual_zone: str, now: float
) -> tuple[Fact, ...]:
    """Write a line for each incident: room, kind and time, with the day if `now` is on another."""
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
    ) -> int:
        """Page people once per round; return how many count as notified.

        A page deferred by a storm also counts, because it is sent soon.
        """
        notified = 0
        for member in filter(None, map(self._policy.find_member, people)):
            held = self._find_deferral(tx, member, incident, at) if member.targets else None
            if held is None:
                notified += self._page_now(tx, incident, member, at, round_, note)
                continue
            cause, until = held
            tx.execute(
                "INSERT INTO held_notice (person, incident, round, cause, held_at, due_at)"
                " VALUES (?,?,?,?,?,?) ON CONFLICT (person, incident, round) DO NOTHING",
                (member.id, incident.id, round_, cause.value, at, until),
            )
            notified += cause is Note.STORM
        return notified

    def _page_now(
        self,
        tx: sqlite3.Connection,
        incident: Incident,
        member: StaffMember,
        at: float,
        round_: int,
        note: Fact | None = None,
    ) -> bool:
        notice = self._build_notice(tx, incident, NoticeReason.OPENED, member, at, note=note)
        until = self._find_budget_end(tx, member.id, incident, at, also=round_ == 1)
        if until is not None:
            rest = build_fact(Note.BUDGET_USED, time=until, zone=notice.zone, now=at)
            notice = msgspec.structs.replace(notice, notes=(*notice.notes, rest))
        return self._notify(tx, notice, member, at, "" if round_ == 1 else str(round_))

    def page_deferred(self, tx: sqlite3.Connection, incident: Incident, at: float) -> None:
        """Send an incident's deferred notices that no longer have to wait.

        Others may get another cause and an earlier due time.
        """
        waiting = "incident = ? AND person = ? AND round = ?"
        rows = tx.execute(
            "SELECT incident, person, round FROM held_notice WHERE incident = ?"
            " AND done_at IS NULL",
            (incident.id,),
        )
        for row in rows.fetchall():
            member = self._policy.find_member(row["person"])
            if member is None:
                continue
            if held := self._find_deferral(tx, member, incident, at):
                cause, until = held
                tx.execute(
                    f"UPDATE held_notice SET cause = ?, due_at = ? WHERE {waiting} AND due_at > ?",  # noqa: S608 - a constant
                    (cause.value, until, *row, until),
                )
            else:
                tx.execute(f"UPDATE held_notice SET done_at = ? WHERE {waiting}", (at, *row))  # noqa: S608 - a constant
                self._page_now(tx, incident, member, at, row["round"])

    def flush(self, tx: sqlite3.Connection, now: float) -> None:
        """Send the deferred notices that are due, combined by person and cause."""
        while rows := _load_due(tx, now):
            person, cause = rows[0]["person"], Note(rows[0]["cause"])
            waiting = "person = ? AND cause = ? AND done_at IS NULL"
            member = self._policy.find_member(person)
            loaded = ((repository.load(tx, row["incident"]), row["round"]) for row in rows)
            left = [(incident, round_) for incident, round_ in loaded if incident is not None]
            urgent = any(i.severity is Severity.CRITICAL for i, _round in left)
            quiet = None if member is None or urgent else find_quiet_end(member.quiet, now)
            if quiet is not None and cause is not Note.QUIET:
                tx.execute(
                    f"UPDATE held_notice SET cause = 'quiet', due_at = ? WHERE {waiting}",  # noqa: S608 - a constant
                    (quiet, person, cause.value),
                )
                continue
            sent_with, sent_as = "", ""
            if member is not None and left:
                sent_with, sent_as = self._send_deferred(tx, member, left, cause, now)
            tx.execute(
                f"UPDATE held_notice SET done_at = ?, sent_with = ?, sent_as = ? WHERE {waiting}",  # noqa: S608 - a constant
                (now, sent_with, sent_as, person, cause.value),
            )

    def _send_deferred(
        self,
        tx: sqlite3.Connection,
        member: StaffMember,
        left: list[tuple[Incident, int]],
        cause: Note,
        now: float,
    ) -> tuple[str, str]:
        """Send a person's deferred notices as one; return its incident and outbox reason."""
        incident, round_ = left[0]
        if len(left) == 1 and incident.is_open:
            note = build_fact(Note.DEFERRED) if cause is Note.QUIET else None
            self._page_now(tx, incident, member, now, round_, note)
            return incident.id, "opened"
        incidents = list({i.id: i for i, _round in left}.values())
        notice = self._build_digest(incidents, cause, member.language or self._policy.language, now)
        occasion = f"{now:.0f} {cause}"
        self._notify(tx, notice, member, now, occasion)
        return notice.incident, f"{notice.reason.value}:{occasion}"

    def _build_digest(
        self, incidents: list[Incident], cause: Note, code: str, now: float
    ) -> Notice:
        last = incidents[-1]
        rooms = {i.room: find_place(self._registry, i.room) for i in incidents}
        url, zone = self._policy.page_url, self._policy.zone
        return Notice(
            incident=last.id,
            reason=NoticeReason.DIGEST,
            kind=last.kind.value,
            since=min(i.onset for i in incidents),
            lines=write_lines(incidents, rooms, zone, now),
            zone=zone,
            link=url,
            priority=_LOUDNESS[max((i.severity for i in incidents), key=lambda s: s.rank)],
            notes=(build_fact(cause),),
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
                then = find_channel(member.targets[place])
                params = {**found.recipient, "then": then}
                repository.note(tx, notice.incident, now, Happened.NEXT_CHANNEL, **params)

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
            responds = taken and person == incident.acknowledged_by
            address = self._policy.find_target(person, target)
            if responds or (only and person != only) or address is None:
                continue
            member = self._policy.find_member(person)
            outbox_rows.add_notice(
                tx,
                self._build_notice(tx, incident, reason, member, at, by=by),
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
        answer: Feedback,
        occasion: str,
    ) -> None:
        """Notify the author of an earlier answer that someone else has replaced it."""
        member = self._policy.find_member(before.by)
        if member is None:
            return
        name = self._policy.find_name(answer.by)
        given = {"answer": answer, "before": before}
        texts = {key: f"{one.verdict.value}:{one.cause}" for key, one in given.items()}
        note = build_fact(Note.REPLACED, name=name, **texts)
        reason = NoticeReason.REPLACED
        notice = self._build_notice(tx, incident, reason, member, answer.at, by=name, note=note)
        self._notify(tx, notice, member, answer.at, occasion)

    def _notify(
        self, tx: sqlite3.Connection, notice: Notice, member: StaffMember, at: float, occasion: str
    ) -> bool:
        if not member.targets:
            return False
        first, expires_at = member.targets[0], at + self._policy.expire_s
        shared = outbox_rows.was_sent_to_shared_address(tx, notice, occasion, member.id, first)
        if shared:
            return True
        wait_s = 0.0 if shared is None else self._policy.timings.fallback_after_s
        added = self._put(tx, notice, member, 0, at, occasion, expires_at, wait_s)
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
        wait_s: float = 0.0,
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
            wait_s=wait_s,
            fallback_at=at + wait_s + self._policy.timings.fallback_after_s if further else None,
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
        if recovered and (issue := self._find_open_issue(incident, evidence)):
            notes.append(issue)
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

    def _find_deferral(
        self, tx: sqlite3.Connection, member: StaffMember, incident: Incident, at: float
    ) -> tuple[Note, float] | None:
        """Return why and until when to defer a page, or None if it can be sent now."""
        person, room, gather_s = member.id, incident.room, self._policy.timings.gather_s
        if incident.severity is Severity.CRITICAL:
            if not self._is_storm(tx, person, room, at):
                return None
            sent_at = tx.execute(
                "SELECT max(done_at) FROM held_notice WHERE person = ? AND cause = 'storm'"
                " AND done_at > ?",
                (person, at - gather_s),
            ).fetchone()[0]
            return Note.STORM, at if sent_at is None else sent_at + gather_s
        if (until := find_quiet_end(member.quiet, at)) is not None:
            return Note.QUIET, until
        if (until := self._find_budget_end(tx, person, incident, at, also=False)) is not None:
            return Note.BUDGET, until
        return (Note.STORM, at + gather_s) if self._is_storm(tx, person, room, at) else None

    def _find_budget_end(
        self, tx: sqlite3.Connection, person: str, incident: Incident, at: float, *, also: bool
    ) -> float | None:
        """Return until when a used-up hourly budget defers notices about a room, or None.

        `also`: whether to count a notice that is sent now.

        Only the first notice of each incident, and digests, count. Each other room's notices count
        only up to one more than this room has had, so no single room can use up the budget for
        another. If the service detected the incident itself, notices about what only devices
        reported don't count.
        """
        is_own, counts = _DETECTED.format("?"), _DETECTED.format("i.id")
        rows = tx.execute(
            "SELECT min(o.created_at) AS at, i.room FROM outbox o"  # noqa: S608 - constants
            " JOIN incident i ON i.id = o.incident WHERE o.person = ? AND o.created_at > ?"
            " AND (o.reason = 'opened' OR o.reason GLOB 'digest*')"
            f" AND o.status NOT IN ('cancelled', 'failed') AND (NOT {is_own} OR {counts})"
            " GROUP BY o.incident, o.reason ORDER BY at DESC",
            (person, at - _HOUR_S, incident.id),
        ).fetchall()
        sent = [(incident.room, at)] * also + [(row["room"], row["at"]) for row in rows]
        most, by_room = self._policy.timings.notices_per_hour, Counter[str]()
        share = 1 + sum(room == incident.room for room, _at in sent)
        used: list[float] = []
        for room, sent_at in sent:
            by_room[room] += 1
            if by_room[room] <= share:
                used.append(sent_at)
        return used[most - 1] + _HOUR_S if len(used) >= most else None

    def _is_storm(self, tx: sqlite3.Connection, person: str, where: str, at: float) -> bool:
        room = find_place(self._registry, where)
        if room.id not in self._registry.rooms:
            return False
        rows = tx.execute(
            "SELECT DISTINCT i.room FROM outbox o JOIN incident i ON i.id = o.incident"
            " WHERE o.person = ? AND o.created_at > ? AND o.reason GLOB 'opened*' AND i.room <> ?"
            " AND o.status NOT IN ('cancelled', 'failed')",
            (person, at - STORM_S, room.id),
        )
        others = [find_place(self._registry, row["room"]) for row in rows]
        building = [o for o in others if (o.site, o.building) == (room.site, room.building)]
        floor = [o for o in building if o.floor == room.floor]
        most = self._policy.timings.storm_rooms
        return len(floor) >= most or len(building) >= 2 * most

    def _find_open_issue(self, incident: Incident, evidence: Evidence | None) -> Fact | None:
        """Return a note on a problem that may remain after an incident has ended, or None."""
        by = incident.resolved_by
        if incident.is_running and by != SYSTEM:
            return build_fact(Note.CLOSED_EARLY, name=self._policy.find_name(by))
        if incident.is_running:
            return build_fact(Note.NOTHING_MORE)
        is_unsettled = evidence and any(detail.code in UNSETTLED for detail in evidence.details)
        return build_fact(Note.STILL_SILENT) if is_unsettled else None

    def _describe_last_answer(
        self, tx: sqlite3.Connection, incident_id: str, now: float
    ) -> list[Fact]:
        before = repository.load(tx, incident_id)
        at = None if before is None else before.answered_at or before.acknowledged_at
        if before is None or at is None:
            return []
        return [
            build_fact(
                Note.RESPONDED_LAST,
                name=self._policy.find_name(before.acknowledged_by),
                time=at,
                zone=find_place(self._registry, before.room).zone or self._policy.zone,
                now=now,
            )
        ]


def find_quiet_end(quiet: Sequence[ClockHours], at: float) -> float | None:
    """Return when the quiet hours in effect at `at` end (the latest if they overlap), or None."""
    moment = datetime.fromtimestamp(at, UTC)
    spans = (span for hours in quiet for span in hours.find_spans(moment, moment))
    return max((span.end.timestamp() for span in spans if span.contains(moment)), default=None)


def _load_due(tx: sqlite3.Connection, now: float) -> list[sqlite3.Row]:
    """Return the deferred rows of the person and cause that are due first; empty if none are."""
    rows = tx.execute(
        "SELECT h.* FROM held_notice h JOIN (SELECT person, cause FROM held_notice"
        " WHERE done_at IS NULL AND due_at <= ? ORDER BY due_at, person LIMIT 1)"
        " USING (person, cause) WHERE done_at IS NULL ORDER BY held_at, incident, round",
        (now,),
    )
    return rows.fetchall()


def drop_deferred(tx: sqlite3.Connection, incident: str, now: float) -> None:
    """Drop an incident's deferred notices."""
    tx.execute(
        "UPDATE held_notice SET done_at = ? WHERE incident = ? AND done_at IS NULL",
        (now, incident),
    )


def has_deferred(tx: sqlite3.Connection, incident: str) -> bool:
    """Return whether an incident has deferred notices."""
    row = tx.execute(
        "SELECT 1 FROM held_notice WHERE incident = ? AND done_at IS NULL", (incident,)
    ).fetchone()
    return row is not None
