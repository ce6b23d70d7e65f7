"""Runs the steps of an escalation: notify the next ring, remind, reopen or end.

Who responded in a room a short while ago is the first ring, with twice the time to respond.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alerts.duty.reasons import Reason, RingName
from alerts.duty.roster import Candidate, Ring
from alerts.escalation import steps as escalation
from alerts.escalation.steps import Action
from alerts.incidents import repository, throttling
from alerts.incidents.history import Happened
from alerts.incidents.incident import labels_of, place_of
from alerts.incidents.mutes import lasting_mute_of
from alerts.notify import outbox as outbox_rows
from alerts.notify.notice import Note, clock_text
from alerts.policy import PRESENT_S
from language.facts import Fact, fact

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from alerts.escalation.steps import EscalationStep
    from alerts.incidents.incident import Incident
    from alerts.notify.notice_writer import NoticeWriter
    from alerts.policy import AlertPolicy
    from language.facts import Parameter
    from storage.registry import Registry


class Escalator:
    """Notifies people, one ring after the other."""

    def __init__(self, registry: Registry, policy: AlertPolicy, notices: NoticeWriter) -> None:
        self._registry = registry
        self._policy = policy
        self._notices = notices

    def begin(
        self,
        tx: sqlite3.Connection,
        incident: Incident,
        now: float,
        *,
        without: str = "",
        note: Fact | None = None,
    ) -> None:
        """Store the chain, or repeat it without the person `without`, and notify its first ring."""
        rings, responder = escalation.chain(tx, incident.id), None
        if not rings:
            rings = self._policy.rings(labels_of(incident, self._registry), now)
            responder = self.responder(tx, incident, now)
        if responder is not None:
            rings = (Ring(RingName.RESPONDER, (responder,)), *_without(rings, responder.person))
        rings = tuple(_without(rings, without)) or rings
        seq, round_ = escalation.last_round(tx, incident.id)
        timings = self._policy.timings
        steps = escalation.plan(
            incident.id,
            rings or (escalation.NOBODY,),
            incident.severity,
            now,
            timings,
            seq=seq + 1,
            first_round=round_ + 1,
            first_wait_s=(2 if responder else 1) * timings.wait_s(incident.severity),
        )
        escalation.add(tx, steps)
        while (due := escalation.next_of(tx, incident.id)) is not None and due.due_at <= now:
            self.run(tx, incident, due, now, note)
        if _nobody_notified(tx, incident):
            repository.note(tx, incident.id, now, Happened.NOBODY_NOTIFIED)

    def responder(self, tx: sqlite3.Connection, incident: Incident, at: float) -> Candidate | None:
        """Return who responded in the room within `PRESENT_S` and has a channel; None if nobody."""
        found = repository.last_response(tx, incident.kind, incident.room, at - PRESENT_S, at)
        here = self._policy.serving(incident.room, self._registry)
        member = next((m for m in here if found and m.id == found[0]), None)
        if found is None or member is None or not member.targets:
            return None
        zone = place_of(self._registry, incident.room).zone or self._policy.zone
        return Candidate(member.id, fact(Reason.RESPONDED, time=clock_text(found[1], zone)))

    def run(
        self,
        tx: sqlite3.Connection,
        incident: Incident,
        due: EscalationStep,
        now: float,
        note: Fact | None = None,
    ) -> None:
        """Run a step that is due, with `note` in the notices; later ones keep their distance."""
        escalation.shift(tx, incident.id, now - due.due_at)
        match due.action:
            case Action.NOTIFY:
                muted = lasting_mute_of(tx, incident, now, self._registry)
                if muted is None:
                    self._notify(tx, incident, due, now, note)
                else:
                    escalation.shift(tx, incident.id, muted.until - now)
            case Action.END:
                escalation.finish(tx, due, now, "no response")
                repository.note(tx, incident.id, now, Happened.NO_RESPONSE)
            case Action.REMIND:
                escalation.finish(tx, due, now, "reminded")
                self._remind(tx, incident, now)
            case Action.REOPEN:
                escalation.finish(tx, due, now, "no answer")
                self.begin(tx, incident, now)

    def await_answer(self, tx: sqlite3.Connection, incident: Incident, at: float) -> None:
        """Schedule the reminder to the responder, and the reopening."""
        seq, round_ = escalation.last_round(tx, incident.id)
        timings = self._policy.timings
        steps = escalation.after_acknowledgment(
            incident.id, at, timings, seq=seq + 1, round_=round_
        )
        escalation.add(tx, steps)

    def undeliverable(self, tx: sqlite3.Connection, incident_id: str, now: float) -> None:
        """Notify the next ring now if a notice failed and no other is on its way."""
        following = escalation.next_of(tx, incident_id)
        if following is None or following.action is not Action.NOTIFY:
            return
        if not outbox_rows.is_on_its_way(tx, incident_id):
            escalation.shift(tx, incident_id, min(now - following.due_at, 0.0))

    def decline(
        self, tx: sqlite3.Connection, incident: Incident, by: str, now: float, *, responded: bool
    ) -> None:
        """Ask the next people, because `by` cannot go; if they had `responded`, start again."""
        note = fact(Note.CANNOT_GO, name=self._policy.name_of(by))
        following = escalation.next_of(tx, incident.id)
        if responded:
            self.begin(tx, incident, now, without=by, note=note)
        elif following is not None and following.action is Action.NOTIFY:
            self.run(tx, incident, following, now, note)

    def _notify(
        self,
        tx: sqlite3.Connection,
        incident: Incident,
        due: EscalationStep,
        now: float,
        note: Fact | None,
    ) -> None:
        people = [candidate.person for candidate in due.ring.people]
        note = note or (None if due.seq == 1 else self._no_response(incident))
        notified = self._notices.page(tx, incident, people, now, round_=due.round, note=note)
        following = escalation.next_of(tx, incident.id, after=due.seq)
        last = following is None or following.action is not Action.NOTIFY
        if not notified and last and _nobody_notified(tx, incident):
            # quiet hours of everyone never swallow an incident
            everyone = [c.person for ring in escalation.chain(tx, incident.id) for c in ring.people]
            notified = self._notices.page(tx, incident, everyone, now, note=note, throttle=False)
        escalation.finish(tx, due, now, "notified" if notified else "nobody notified")
        if notified:
            what = Happened.PAGED if due.seq == 1 else Happened.ESCALATED
            repository.note(tx, incident.id, now, what, **_asked(due.ring))
            return
        if due.ring.people:
            repository.note(tx, incident.id, now, Happened.RING_SKIPPED, **_asked(due.ring))
        if following is not None and not last and following.round == due.round:
            escalation.shift(tx, incident.id, now - following.due_at)

    def _no_response(self, incident: Incident) -> Fact:
        if not incident.acknowledged_by:
            return fact(Note.NO_RESPONSE)
        return fact(Note.NO_REPORT, name=self._policy.name_of(incident.acknowledged_by))

    def _remind(self, tx: sqlite3.Connection, incident: Incident, now: float) -> None:
        timings = self._policy.timings
        silent, left = round(timings.acknowledged_for_s / 60), round(timings.reminded_for_s / 60)
        note = fact(Note.REPORT_DUE, silent=silent, left=left)
        reminded = self._notices.remind(tx, incident, now, note)
        what = Happened.REMINDED if reminded else Happened.NOT_REMINDED
        repository.note(tx, incident.id, now, what, person=incident.acknowledged_by)


def _asked(ring: Ring) -> dict[str, Parameter]:
    asked = (Fact(c.why.code, {**c.why.params, "person": c.person}) for c in ring.people)
    return {"ring": ring.name.value, "asked": tuple(asked)}


def _without(rings: Iterable[Ring], person: str) -> Iterator[Ring]:
    for ring in rings:
        people = tuple(c for c in ring.people if c.person != person)
        if people:
            yield Ring(ring.name, people)


def _nobody_notified(tx: sqlite3.Connection, incident: Incident) -> bool:
    return not outbox_rows.has_notices(tx, incident.id) and not throttling.is_deferred(
        tx, incident.id
    )
