"""Who gets which notice of an incident: rows of the outbox, in the caller's transaction.

A person gets at most one notice for an incident and an occasion. Only who was notified learns the
outcome.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from alerts.access import languages
from alerts.escalation import steps as escalation
from alerts.incidents import repository, throttling
from alerts.incidents.history import Happened
from alerts.incidents.incident import SYSTEM
from alerts.incidents.labels import place_of
from alerts.incidents.throttling import Cause
from alerts.notify import outbox as outbox_rows
from alerts.notify.notice import KIND_WORDS, Notice, NoticeReason, Priority, clock_text
from alerts.routing.targets import channel_of, target_id
from alerts.severity import Severity
from detection.details import UNSETTLED
from language.messages import NOTHING, Message, _, gettext, later, mark, ngettext, speaking
from storage.registry import Room, floor_name

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping, Sequence

    from alerts.incidents.incident import Incident
    from alerts.incidents.throttling import Deferral
    from alerts.policy import AlertPolicy, StaffMember
    from language.facts import Fact
    from storage.registry import Registry

_DIGEST_NOTES: Final = {
    Cause.QUIET: mark("During your quiet hours:"),
    Cause.BUDGET: mark("You had many notices within the hour, so these are combined:"),
    Cause.STORM: mark("Many rooms at once:"),
}
_DEFERRED: Final = later("Deferred until the end of your quiet hours.")
_RESPONDING: Final = later("You are responding.")
_DISPUTED: Final = mark("Another sender may use this sensor's name.")
_LOUDNESS: Final = {
    Severity.INFO: Priority.NORMAL,
    Severity.WARNING: Priority.HIGH,
    Severity.CRITICAL: Priority.URGENT,
}


def digest_headline(incidents: Sequence[Incident], rooms: Sequence[Room]) -> str:
    """Summarize several incidents, with all their rooms, in one line."""
    kinds = {i.kind.value for i in incidents}
    words = KIND_WORDS.get(kinds.pop(), _("alerts")) if len(kinds) == 1 else _("alerts")
    words = f"{words[0].lower()}{words[1:]}"
    if len(rooms) == 1:
        return ngettext(
            "%(room)s: %(kind)s",
            "%(room)s: %(n)d times %(kind)s",
            len(incidents),
            room=rooms[0].short_name,
            kind=words,
        )
    first = rooms[0]
    values = {"n": len(rooms), "kind": words, "building": first.whole_building}
    if len({(r.site, r.building, r.floor) for r in rooms}) == 1 and first.floor:
        floor = floor_name(first.floor)
        return _("%(n)d rooms on %(floor)s, %(building)s: %(kind)s", floor=floor, **values)
    if len({(r.site, r.building) for r in rooms}) == 1 and first.building:
        return _("%(n)d rooms in %(building)s: %(kind)s", **values)
    if len({r.site for r in rooms}) == 1 and first.names_site:
        return _("%(n)d rooms in %(building)s: %(kind)s", **values | {"building": first.site})
    return _("%(n)d rooms: %(kind)s", **values)


def digest_lines(incidents: Sequence[tuple[str, str, Incident]], now: float) -> str:
    """List incidents with room, kind and time; each has the name and the time zone of its room.

    What did not begin on the day of `now` has its day: quiet hours may last a weekend.
    """
    lines = []
    for room, zone, i in incidents:
        kind = KIND_WORDS.get(i.kind.value, i.kind.value).lower()
        time = clock_text(i.onset, zone, now)[:-3]
        values = {"room": room, "kind": kind, "time": time}
        lines.append(
            _("%(room)s %(kind)s %(time)s", **values)
            if i.is_open
            else _("%(room)s %(kind)s %(time)s (resolved)", **values)
        )
    return "; ".join(lines)


def _named(
    incidents: Sequence[Incident], rooms: Mapping[str, Room], usual_zone: str
) -> list[tuple[str, str, Incident]]:
    uses = Counter(room.name for room in rooms.values())
    names = {
        key: room.short_name if uses[room.name] == 1 else f"{room.name} ({room.place or key})"
        for key, room in rooms.items()
    }
    return [(names[i.room], rooms[i.room].zone or usual_zone, i) for i in incidents]


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
        note: Message = NOTHING,
        throttle: bool = True,
    ) -> int:
        """Notify people of an incident, each once a round; return how many of them right away."""
        notified = 0
        for member in filter(None, map(self._policy.member, people)):
            held = self._decide(tx, member, incident, at) if throttle and member.targets else None
            if held is None:
                notified += self._page_now(tx, incident, member, at, round_, note)
            elif not held.divert:
                throttling.defer(tx, member.id, incident.id, round_, held, at)
                notified += held.cause is Cause.STORM
        return notified

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
        note: Message,
    ) -> bool:
        notice = self._notice(tx, incident, NoticeReason.OPENED, member, at, note=note)
        return self._notify(tx, notice, member, at, "" if round_ == 1 else str(round_))

    def page_deferred(self, tx: sqlite3.Connection, incident: Incident, at: float) -> None:
        """Notify people at once whose notices of an incident are deferred."""
        for person, round_ in throttling.release(tx, incident.id, at):
            self.page(tx, incident, (person,), at, round_=round_, throttle=False)

    def flush(self, tx: sqlite3.Connection, now: float) -> None:
        """Send deferred notices that are due, one for each person and cause."""
        while (found := throttling.due(tx, now)) is not None:
            person, cause, waiting = found
            member = self._policy.member(person)
            quiet = None if member is None else throttling.quiet_until(member.quiet, now)
            loaded = [(repository.load(tx, i), round_) for i, round_ in waiting]
            left = [(i, r) for i, r in loaded if i is not None]
            urgent = any(i.severity is Severity.CRITICAL for i, _ in left)
            if quiet is not None and not urgent and cause is not Cause.QUIET:
                throttling.postpone(tx, person, cause, quiet)
                continue
            sent_with, sent_as = "", "nothing left"
            if member is not None and len(left) == 1 and left[0][0].is_open:
                incident, round_ = left[0]
                note = _DEFERRED if cause is Cause.QUIET else NOTHING
                self._page_now(tx, incident, member, now, round_, note)
                sent_with, sent_as = incident.id, "opened"
            elif member is not None and left:
                incidents = list({i.id: i for i, _ in left}.values())
                code = languages.notice_language(tx, member, self._policy)
                with speaking(code):
                    notice = self._digest(incidents, cause, code, now)
                occasion = f"{now:.0f} {cause}"
                self._notify(tx, notice, member, now, occasion)
                sent_with, sent_as = notice.incident, f"{notice.reason.value}:{occasion}"
            throttling.sent(tx, person, cause, now, sent_with=sent_with, sent_as=sent_as)

    def _digest(self, incidents: list[Incident], cause: Cause, code: str, now: float) -> Notice:
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
            evidence=digest_lines(_named(incidents, rooms, zone), now),
            zone=zone,
            link=url,
            priority=_LOUDNESS[max((i.severity for i in incidents), key=lambda s: s.rank)],
            note=gettext(_DIGEST_NOTES[cause]),
            headline=digest_headline(incidents, list(rooms.values())),
            incidents=tuple(i.id for i in incidents),
            language=code,
        )

    def fall_back(self, tx: sqlite3.Connection, row_id: int, now: float) -> None:
        """Notify the person of an outbox row on their next channel, if they have one."""
        found = outbox_rows.take_fallback(tx, row_id)
        member = self._policy.member(found.person) if found else None
        if found is None or member is None:
            return
        names = [target_id(target) for target in member.targets]
        place = names.index(found.target) + 1 if found.target in names else len(names)
        if place >= len(names):
            return
        occasion, notice = found.occasion, found.notice
        if self._put(tx, notice, member, place, now, occasion, found.expires_at):
            repository.note(
                tx,
                notice.incident,
                now,
                Happened.NEXT_CHANNEL,
                person=member.id,
                channel=found.channel,
                then=channel_of(member.targets[place]),
            )

    def hand_over(self, tx: sqlite3.Connection, incident: Incident, by: str, at: float) -> bool:
        """Notify the new responder of a hand-over."""
        previous = self._policy.name_of(by)
        return self._notify_responder(tx, incident, at, NoticeReason.HANDED_OVER, by=previous)

    def again(self, tx: sqlite3.Connection, incident: Incident, onset: float, at: float) -> bool:
        """Notify the responder of a further detection of the same incident."""
        return self._notify_responder(
            tx, incident, at, NoticeReason.AGAIN, note=_RESPONDING, since=onset
        )

    def remind(self, tx: sqlite3.Connection, incident: Incident, at: float, note: Message) -> bool:
        """Remind the responder; return whether they can be notified."""
        return self._notify_responder(tx, incident, at, NoticeReason.REMINDER, note=note)

    def _notify_responder(
        self,
        tx: sqlite3.Connection,
        incident: Incident,
        at: float,
        reason: NoticeReason,
        *,
        by: str = "",
        note: Message = NOTHING,
        since: float | None = None,
    ) -> bool:
        member = self._policy.member(incident.acknowledged_by)
        if member is None:
            return False
        notice = self._notice(tx, incident, reason, member, at, by=by, note=note)
        if since is not None:
            notice = msgspec.structs.replace(notice, since=since, again=True)
        return self._notify(tx, notice, member, at, f"{at:.0f}")

    def notify_outcome(
        self,
        tx: sqlite3.Connection,
        incident: Incident,
        reason: NoticeReason,
        at: float,
        *,
        only: str = "",
    ) -> None:
        """Notify people, or `only` one, of the outcome, on the channel that delivered the page.

        The reason is `TAKEN` or `RECOVERED`.
        """
        by, occasion = "", ""
        if reason is NoticeReason.TAKEN:
            by = self._policy.name_of(incident.acknowledged_by)
            occasion = str(escalation.last_round(tx, incident.id)[0])  # grows each time it is taken
        notified = outbox_rows.people_notified(tx, incident.id)
        for person, target, channel in notified:
            responds = by and by == self._policy.name_of(person)
            if responds or (only and person != only):
                continue
            outbox_rows.add_notice(
                tx,
                self._notice(tx, incident, reason, self._policy.member(person), at, by=by),
                person=person,
                target=target,
                channel=channel,
                now=at,
                expires_at=at + self._policy.expire_s,
                occasion=occasion,
            )

    def _notify(
        self, tx: sqlite3.Connection, notice: Notice, member: StaffMember, at: float, occasion: str
    ) -> bool:
        if not member.targets:
            return False
        if outbox_rows.shares_target(tx, notice, member.id, target_id(member.targets[0])):
            return True
        return self._put(tx, notice, member, 0, at, occasion, at + self._policy.expire_s)

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
        member: StaffMember | None,
        now: float,
        *,
        by: str = "",
        note: Message = NOTHING,
    ) -> Notice:
        room = place_of(self._registry, incident.room)
        url = self._policy.page_url
        code = languages.notice_language(tx, member, self._policy)
        with speaking(code):
            notes = [str(note)]
            if reason.asks and repository.is_disputed(tx, incident):
                notes.append(gettext(_DISPUTED))
            if reason is NoticeReason.OPENED and incident.again_of:
                notes.insert(0, self._last_answer(tx, incident.again_of, now))
            event_id = incident.detections[-1].event_id
            evidence = repository.sentence(tx, event_id)
            if reason is NoticeReason.RECOVERED:
                evidence, details = repository.last_words(tx, event_id)
                notes.append(self._unsettled(incident, details))
        own = languages.own_language(tx, member)
        asked = f"?lang={own}" if own else ""
        return Notice(
            incident=incident.id,
            reason=reason,
            kind=incident.kind.value,
            room=room.name,
            floor=room.floor,
            building=room.building,
            site=room.shown_site,
            site_id=self._registry.sites[room.site].id if room.names_site else "",
            since=incident.onset,
            evidence=evidence,
            zone=room.zone or self._policy.zone,
            link=f"{url}/incidents/{incident.id}{asked}" if url else "",
            priority=_LOUDNESS[incident.severity] if reason.asks else Priority.QUIET,
            by=by,
            note=" ".join(filter(None, notes)),
            again=bool(incident.again_of),
            language=code,
            written=now,
        )

    def _unsettled(self, incident: Incident, details: Collection[Fact]) -> str:
        """Say why the end of an incident does not mean that all is well; empty if it does."""
        if incident.running and incident.resolved_by != SYSTEM:
            name = self._policy.name_of(incident.resolved_by)
            return _("%(name)s closed it while it was still going on.", name=name)
        if incident.running:
            return _("The detector reported nothing more about it.")
        if any(detail.code in UNSETTLED for detail in details):
            return _("Sensors that are still silent get a notice of their own.")
        return ""

    def _last_answer(self, tx: sqlite3.Connection, incident_id: str, now: float) -> str:
        before = repository.load(tx, incident_id)
        at = None if before is None else before.answered_at or before.acknowledged_at
        if before is None or at is None:
            return ""
        name = (
            self._policy.name_of(before.acknowledged_by) if before.acknowledged_by else _("Someone")
        )
        zone = place_of(self._registry, before.room).zone or self._policy.zone
        time = clock_text(at, zone, now)[:-3]
        if before.answered_at:
            return _("%(name)s answered the last alert here at %(time)s.", name=name, time=time)
        return _("%(name)s responded to the last alert here at %(time)s.", name=name, time=time)
