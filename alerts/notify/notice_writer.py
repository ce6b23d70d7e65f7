"""Who gets which notice of an incident: rows of the outbox, in the caller's transaction.

One notice for a person, an incident and an occasion, whatever happens: the occasion is the reason
for telling and, where that can come again, its number or its moment. Those who were told hear what
became of it; nobody else does.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from alerts.escalation import steps as escalation
from alerts.incidents import repository, throttling
from alerts.incidents.severity import Severity
from alerts.incidents.throttling import Cause
from alerts.notify import outbox as outbox_rows
from alerts.notify.notice import KIND_WORDS, Notice, NoticeReason, Priority, clock_text
from alerts.policy import channel_of, target_id
from alerts.routing.labels import incident_labels
from storage.registry import Room, floor_name

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Sequence

    from alerts.incidents.incident import Incident
    from alerts.incidents.repository import Running
    from alerts.incidents.throttling import Deferral
    from alerts.policy import AlertPolicy, StaffMember
    from storage.registry import Registry

_BECAUSE: Final = {
    Cause.QUIET: "During your quiet hours:",
    Cause.BUDGET: "You had many notices within the hour, so these come together:",
    Cause.STORM: "Many rooms at a time:",
}
_LOUDNESS: Final = {
    Severity.INFO: Priority.NORMAL,
    Severity.WARNING: Priority.HIGH,
    Severity.CRITICAL: Priority.URGENT,
}


def labels_of(incident: Incident | Running, registry: Registry) -> dict[str, str]:
    """Labels by which an incident is routed and silenced."""
    return incident_labels(
        place_of(registry, incident.room),
        kind=incident.kind.value,
        severity=incident.severity.value,
        sensor=incident.sensor,
    )


def place_of(registry: Registry, room: str) -> Room:
    """Room of an incident; an outage of several sensors is a place of its own."""
    return registry.rooms.get(room) or Room(room, room, "", "", "", kind="")


def digest_headline(incidents: Sequence[Incident], rooms: Sequence[Room]) -> str:
    """Say in one line what several incidents have in common.

    Parameters
    ----------
    rooms : sequence of Room
        The rooms of all of them, each once.
    """
    kinds = {i.kind.value for i in incidents}
    words = KIND_WORDS.get(kinds.pop(), "alerts") if len(kinds) == 1 else "alerts"
    if len(rooms) == 1:
        return f"{rooms[0].name}: {len(incidents)} times {words[0].lower()}{words[1:]}"
    buildings = {(r.site, r.building) for r in rooms}
    floors = {(r.site, r.building, r.floor) for r in rooms}
    where = f" in {rooms[0].building}" if len(buildings) == 1 and rooms[0].building else ""
    if len(floors) == 1 and rooms[0].floor:
        where = f" on {floor_name(rooms[0].floor)}, {rooms[0].building}"
    return f"{len(rooms)} rooms{where}: {words[0].lower()}{words[1:]}"


def digest_lines(incidents: Sequence[tuple[str, Incident]], zone: str) -> str:
    """Name each incident with its room, kind and time; those that are over say so."""
    return "; ".join(
        f"{room} {KIND_WORDS.get(i.kind.value, i.kind.value).lower()}"
        f" {clock_text(i.onset, zone)[:5]}" + ("" if i.is_open else " (over)")
        for room, i in incidents
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
        note: str = "",
        throttle: bool = True,
    ) -> int:
        """Tell people of an incident, each once a round.

        Parameters
        ----------
        at : float
            Unix seconds.
        round_ : int
            How often the chain has begun.
        note : str
            What comes before the evidence.
        throttle : bool
            Let what is in `alerts.incidents.throttling` decide when; else all are told now.

        Returns
        -------
        int
            How many of them will have heard within moments.
        """
        heard = 0
        for member in filter(None, map(self._policy.member, people)):
            held = self._decide(tx, member, incident, at) if throttle and member.targets else None
            if held is None:
                heard += self._page_now(tx, incident, member, at, round_, note)
            elif not held.divert:
                throttling.defer(tx, member.id, incident.id, round_, held, at)
                heard += held.cause is Cause.STORM
        return heard

    def _decide(
        self, tx: sqlite3.Connection, member: StaffMember, incident: Incident, at: float
    ) -> Deferral | None:
        place = partial(place_of, self._registry)
        room, timings = place(incident.room), self._policy.timings
        return throttling.decide(
            tx, member.id, member.quiet, room, incident.severity, at, timings, place
        )

    def _page_now(
        self,
        tx: sqlite3.Connection,
        incident: Incident,
        member: StaffMember,
        at: float,
        round_: int,
        note: str,
    ) -> bool:
        notice = self._notice(tx, incident, NoticeReason.OPENED, note=note)
        return self._tell(tx, notice, member, at, "" if round_ == 1 else str(round_))

    def page_deferred(self, tx: sqlite3.Connection, incident: Incident, at: float) -> None:
        """Tell those at once who would hear of an incident later."""
        for person, round_ in throttling.release(tx, incident.id, at):
            self.page(tx, incident, (person,), at, round_=round_, throttle=False)

    def flush(self, tx: sqlite3.Connection, now: float) -> None:
        """Tell what has waited long enough, one notice a person and cause."""
        while (found := throttling.due(tx, now)) is not None:
            person, cause, waiting = found
            member = self._policy.member(person)
            quiet = None if member is None else throttling.quiet_until(member.quiet, now)
            loaded = [(repository.load(tx, i), round_) for i, round_ in waiting]
            left = [(i, r) for i, r in loaded if i is not None and i.withdrawn_at is None]
            urgent = any(i.severity is Severity.CRITICAL for i, _ in left)
            if quiet is not None and not urgent and cause is not Cause.QUIET:
                throttling.postpone(tx, person, cause, quiet)
                continue
            sent_with, sent_as = "", "nothing left"
            if member is not None and len(left) == 1 and left[0][0].is_open:
                incident, round_ = left[0]
                note = "It waited for the end of your quiet hours." if cause is Cause.QUIET else ""
                self._page_now(tx, incident, member, now, round_, note)
                sent_with, sent_as = incident.id, "opened"
            elif member is not None and left:
                incidents = list({i.id: i for i, _ in left}.values())
                notice, occasion = self._digest(incidents, cause), f"{now:.0f} {cause}"
                self._tell(tx, notice, member, now, occasion)
                sent_with, sent_as = notice.incident, f"{notice.reason.value}:{occasion}"
            throttling.sent(tx, person, cause, now, sent_with=sent_with, sent_as=sent_as)

    def _digest(self, incidents: list[Incident], cause: Cause) -> Notice:
        last = incidents[-1]
        rooms = {i.room: place_of(self._registry, i.room) for i in incidents}
        url, zone = self._policy.page_url, self._policy.zone
        return Notice(
            incident=last.id,
            reason=NoticeReason.DIGEST,
            kind=last.kind.value,
            room="",
            floor="",
            building="",
            since=min(i.onset for i in incidents),
            evidence=digest_lines([(rooms[i.room].name, i) for i in incidents], zone),
            zone=zone,
            link=url,
            priority=_LOUDNESS[max((i.severity for i in incidents), key=lambda s: s.rank)],
            note=_BECAUSE[cause],
            headline=digest_headline(incidents, list(rooms.values())),
            incidents=tuple(i.id for i in incidents),
        )

    def fall_back(self, tx: sqlite3.Connection, row_id: int, now: float) -> None:
        """Tell the person of a row of the outbox on their next channel, if they have one."""
        found = outbox_rows.take_fallback(tx, row_id)
        member = None if found is None else self._policy.member(found.person)
        if found is None or member is None:
            return
        names = [target_id(target) for target in member.targets]
        place = names.index(found.target) + 1 if found.target in names else len(names)
        if place >= len(names):
            return
        occasion, notice = found.occasion, found.notice
        if self._put(tx, notice, member, place, now, occasion, expires_at=found.expires_at):
            detail = f"{member.id}: {found.channel}, then {channel_of(member.targets[place])}"
            repository.note(tx, notice.incident, now, "next channel", detail)

    def hand_over(self, tx: sqlite3.Connection, incident: Incident, by: str, at: float) -> bool:
        """Tell whoever has it now that it was handed over by somebody."""
        giver = self._policy.name_of(by)
        notice = self._notice(tx, incident, NoticeReason.HANDED_OVER, by=giver)
        return self._tell(tx, notice, self._holder(incident), at, f"{at:.0f}")

    def remind(self, tx: sqlite3.Connection, incident: Incident, at: float, note: str) -> bool:
        """Remind whoever has it; whether they can be."""
        notice = self._notice(tx, incident, NoticeReason.REMINDER, note=note)
        return self._tell(tx, notice, self._holder(incident), at, f"{at:.0f}")

    def _holder(self, incident: Incident) -> StaffMember | None:
        return self._policy.member(incident.acknowledged_by)

    def notify_outcome(
        self,
        tx: sqlite3.Connection,
        incident: Incident,
        reason: NoticeReason,
        at: float,
        *,
        only: str = "",
    ) -> None:
        """Tell those who were told what became of it, on the channel that reached them.

        Parameters
        ----------
        reason : NoticeReason
            `TAKEN`, `WITHDRAWN` or `RECOVERED`.
        only : str
            Just this person of them; empty for all. Who has it is never told that they have.
        """
        by, occasion = "", ""
        if reason is NoticeReason.TAKEN:
            by = self._policy.name_of(incident.acknowledged_by)
            occasion = str(escalation.last_round(tx, incident.id)[0])  # grows each time it is taken
        told = outbox_rows.people_notified(tx, incident.id)
        notice = self._notice(tx, incident, reason, by=by)
        for person, target, channel in told:
            has_it = by and by == self._policy.name_of(person)
            if has_it or (only and person != only):
                continue
            outbox_rows.add_notice(
                tx,
                notice,
                person=person,
                target=target,
                channel=channel,
                now=at,
                expires_at=at + self._policy.expire_s,
                occasion=occasion,
            )

    def _tell(
        self,
        tx: sqlite3.Connection,
        notice: Notice,
        member: StaffMember | None,
        at: float,
        occasion: str,
    ) -> bool:
        """Tell a person on their first channel; whether they will hear of it."""
        if member is None or not member.targets:
            return False
        if outbox_rows.shares_target(tx, notice, member.id, target_id(member.targets[0])):
            return True
        expires_at = at + self._policy.expire_s
        return self._put(tx, notice, member, 0, at, occasion, expires_at=expires_at)

    def _put(
        self,
        tx: sqlite3.Connection,
        notice: Notice,
        member: StaffMember,
        place: int,
        at: float,
        occasion: str,
        *,
        expires_at: float,
    ) -> bool:
        target = member.targets[place]
        further = place + 1 < len(member.targets)
        return outbox_rows.add_notice(
            tx,
            notice,
            person=member.id,
            target=target_id(target),
            channel=channel_of(target),
            now=at,
            expires_at=expires_at,
            occasion=occasion,
            fallback_at=at + self._policy.timings.fallback_after_s if further else None,
        )

    def _notice(
        self,
        tx: sqlite3.Connection,
        incident: Incident,
        reason: NoticeReason,
        *,
        by: str = "",
        note: str = "",
    ) -> Notice:
        room = place_of(self._registry, incident.room)
        url = self._policy.page_url
        return Notice(
            incident=incident.id,
            reason=reason,
            kind=incident.kind.value,
            room=room.name,
            floor=room.floor,
            building=room.building,
            since=incident.onset,
            evidence=repository.sentence(tx, incident.detections[-1].event_id),
            zone=self._policy.zone,
            link=f"{url}/incidents/{incident.id}" if url else "",
            priority=_LOUDNESS[incident.severity] if reason.asks else Priority.QUIET,
            by=by,
            note=note,
        )
