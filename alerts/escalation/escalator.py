"""Runs the steps of an escalation: tell the next ring, remind, begin anew, or say it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alerts.duty.roster import Ring
from alerts.escalation import steps as escalation
from alerts.escalation.steps import Action
from alerts.incidents import repository, throttling
from alerts.notify import outbox as outbox_rows
from alerts.notify.notice_writer import labels_of

if TYPE_CHECKING:
    import sqlite3

    from alerts.escalation.steps import EscalationStep
    from alerts.incidents.incident import Incident
    from alerts.incidents.mutes import Mutes
    from alerts.notify.notice_writer import NoticeWriter
    from alerts.policy import AlertPolicy
    from storage.registry import Registry


class Escalator:
    """Asks people, one ring after the other."""

    def __init__(
        self, registry: Registry, policy: AlertPolicy, notices: NoticeWriter, mutes: Mutes
    ) -> None:
        self._registry = registry
        self._policy = policy
        self._notices = notices
        self._mutes = mutes

    def begin(self, tx: sqlite3.Connection, incident: Incident, now: float) -> None:
        """Write the chain down and tell its first ring; a chain that was written down is kept."""
        rings = escalation.chain(tx, incident.id) or self._policy.rings(
            labels_of(incident, self._registry), now
        )
        seq, round_ = escalation.last_round(tx, incident.id)
        steps = escalation.plan(
            incident.id,
            rings or (Ring("nobody", ()),),
            incident.severity,
            now,
            self._policy.timings,
            seq=seq + 1,
            first_round=round_ + 1,
        )
        escalation.add(tx, steps)
        while (due := escalation.next_of(tx, incident.id)) is not None and due.due_at <= now:
            self.run(tx, incident, due, now)
        if _unheard_of(tx, incident):
            repository.note(tx, incident.id, now, "nobody to tell", "nobody has a channel")

    def run(
        self, tx: sqlite3.Connection, incident: Incident, due: EscalationStep, now: float
    ) -> None:
        """Run a step that is due; those behind it keep their distance."""
        escalation.shift(tx, incident.id, now - due.due_at)
        match due.action:
            case Action.TELL:
                muted = self._mutes.muted(tx, incident, now)
                if muted is None:
                    self._tell(tx, incident, due, now)
                else:
                    escalation.shift(tx, incident.id, muted.until - now)
            case Action.END:
                escalation.finish(tx, due, now, "nobody answered")
                repository.note(tx, incident.id, now, "nobody answered", "everybody was told")
            case Action.REMIND:
                escalation.finish(tx, due, now, "reminded")
                self._remind(tx, incident, now)
            case Action.REOPEN:
                escalation.finish(tx, due, now, "no word")
                self.begin(tx, incident, now)

    def await_word(self, tx: sqlite3.Connection, incident: Incident, at: float) -> None:
        """Write down when whoever has an incident is reminded, and when the others are asked."""
        seq, round_ = escalation.last_round(tx, incident.id)
        timings = self._policy.timings
        escalation.add(
            tx,
            escalation.after_acknowledgement(incident.id, at, timings, seq=seq + 1, round_=round_),
        )

    def undeliverable(self, tx: sqlite3.Connection, incident_id: str, now: float) -> None:
        """Ask the next people now if a notice was given up and nobody else hears of it."""
        following = escalation.next_of(tx, incident_id)
        if following is None or following.action is not Action.TELL:
            return
        if not outbox_rows.is_on_its_way(tx, incident_id):
            escalation.shift(tx, incident_id, min(now - following.due_at, 0.0))

    def _tell(
        self, tx: sqlite3.Connection, incident: Incident, due: EscalationStep, now: float
    ) -> None:
        people = [candidate.person for candidate in due.ring.people]
        waited = "" if due.seq == 1 else self._waited(incident)
        heard = self._notices.page(tx, incident, people, now, round_=due.round, note=waited)
        following = escalation.next_of(tx, incident.id, after=due.seq)
        last = following is None or following.action is not Action.TELL
        if not heard and last and _unheard_of(tx, incident):
            # everybody is away by their own wish: that never swallows an incident
            everyone = [c.person for ring in escalation.chain(tx, incident.id) for c in ring.people]
            heard = self._notices.page(tx, incident, everyone, now, note=waited, throttle=False)
        escalation.finish(tx, due, now, f"{heard} told")
        if heard:
            what = "paged" if due.seq == 1 else "escalated"
            reasons = "; ".join(f"{c.person} ({c.why})" for c in due.ring.people)
            repository.note(tx, incident.id, now, what, f"{due.ring.name}: {reasons}")
            return
        if due.ring.people:
            passed = f"{due.ring.name}: {', '.join(people)} (quiet hours, budget or no address)"
            repository.note(tx, incident.id, now, "nobody told now", passed)
        if following is not None and not last and following.round == due.round:
            escalation.shift(tx, incident.id, now - following.due_at)

    def _waited(self, incident: Incident) -> str:
        if not incident.acknowledged_by:
            return "Nobody has answered yet."
        holder = self._policy.name_of(incident.acknowledged_by)
        return f"{holder} took it and has not said what it was."

    def _remind(self, tx: sqlite3.Connection, incident: Incident, now: float) -> None:
        timings = self._policy.timings
        silent, left = round(timings.acknowledged_for_s / 60), round(timings.reminded_for_s / 60)
        note = (
            f"No word for {silent} min: what did you find? If it goes on, others are told again in"
            f" {left} min."
        )
        reminded = self._notices.remind(tx, incident, now, note)
        what = "reminded" if reminded else "nobody to remind"
        repository.note(tx, incident.id, now, what, incident.acknowledged_by)


def _unheard_of(tx: sqlite3.Connection, incident: Incident) -> bool:
    return not outbox_rows.has_notices(tx, incident.id) and not throttling.is_deferred(
        tx, incident.id
    )
