"""Run the stored escalation steps: who is notified next if nobody responds.

When people are first notified, the whole chain is stored: when to notify each ring, in each round.
An acknowledgment ends the chain and adds two steps. The first reminds the responder; the second
restarts the chain if the responder does not answer. If the service was down, a late step runs once,
and later steps are delayed by the same amount. If nobody in a ring can be notified, the next ring
follows immediately.

If someone has responded in the room within `PRESENT_S`, they are paged first, with twice the time
to respond.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import msgspec

from alerts.duty.reasons import Reason, RingName
from alerts.duty.roster import Candidate, Ring
from alerts.duty.timetable import format_clock
from alerts.incidents import repository
from alerts.incidents.history import Happened
from alerts.incidents.incident import Status, find_labels, find_place
from alerts.incidents.repository import find_lasting_mute
from alerts.notify import outbox as outbox_rows
from alerts.notify.notice import Note, NoticeReason
from alerts.notify.notice_writer import has_deferred
from alerts.policy import PRESENT_S
from detection.events import EventKind
from language.messages import Fact, build_fact, to_json

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from alerts.incidents.incident import Incident
    from alerts.notify.notice_writer import NoticeWriter
    from alerts.policy import AlertPolicy, EscalationTimings, Severity
    from language.messages import Parameter
    from storage.registry import Registry


NOBODY: Final = Ring(RingName.NOBODY, ())
_WARN_AGAIN_S: Final = 900.0
"""Seconds until the people on duty are warned again that a sensor is unreliable."""
_MUTED_RECHECK_S: Final = 30.0
"""Seconds until a muted step is checked again."""


class Action(StrEnum):
    """What a step does."""

    NOTIFY = "tell"
    END = "end"
    REMIND = "remind"
    REOPEN = "reopen"


@dataclass(frozen=True, slots=True)
class EscalationStep:
    """One escalation step. `seq` and `round` count from 1. Only `NOTIFY` steps have a `ring`.

    `done_at` is when it ran or was stopped; None while it is pending.
    """

    incident: str
    seq: int
    round: int
    action: Action
    due_at: float
    ring: Ring
    done_at: float | None = None


def plan(
    incident: str,
    rings: Sequence[Ring],
    severity: Severity,
    at: float,
    timings: EscalationTimings,
    *,
    seq: int = 1,
    first_round: int = 1,
    first_wait_s: float | None = None,
    rounds: int | None = None,
) -> list[EscalationStep]:
    """Return the steps of a chain that starts at time `at`.

    The severity determines how long each ring has to respond, and the number of rounds.
    `first_wait_s` replaces the first ring's time, and `rounds` replaces the number of rounds.
    """
    wait = timings.find_wait_s(severity)
    steps: list[EscalationStep] = []
    due = at
    count = timings.count_rounds(severity) if rounds is None else rounds
    for round_ in range(first_round, first_round + count):
        if steps:
            due = max(due, steps[-1].due_at + timings.repeat_after_s)
        for ring in rings:
            number = seq + len(steps)
            steps.append(EscalationStep(incident, number, round_, Action.NOTIFY, due, ring))
            due += wait if steps[1:] or first_wait_s is None else first_wait_s
    number = seq + len(steps)
    return [*steps, EscalationStep(incident, number, round_, Action.END, due, NOBODY)]


def add_steps(tx: sqlite3.Connection, steps: Iterable[EscalationStep]) -> None:
    """Store steps."""
    tx.executemany(
        "INSERT INTO escalation_step (incident, seq, round, action, due_at, ring)"
        " VALUES (?,?,?,?,?,?)",
        [(s.incident, s.seq, s.round, s.action.value, s.due_at, to_json(s.ring)) for s in steps],
    )


def load_first_due(tx: sqlite3.Connection, now: float) -> EscalationStep | None:
    """Return the earliest step of any incident that is due by `now`, or None."""
    due = "done_at IS NULL AND due_at <= ? ORDER BY due_at, incident, seq LIMIT 1"
    return next(iter(_select(tx, due, now)), None)


def load_steps(tx: sqlite3.Connection, incident: str) -> list[EscalationStep]:
    """Return all steps of an incident, in order."""
    return _select(tx, "incident = ? ORDER BY seq", incident)


def _select(tx: sqlite3.Connection, which: str, argument: object) -> list[EscalationStep]:
    rows = tx.execute(f"SELECT * FROM escalation_step WHERE {which}", (argument,))  # noqa: S608 - ours
    return [
        msgspec.convert({**row, "ring": msgspec.json.decode(row["ring"])}, EscalationStep)
        for row in map(dict, rows.fetchall())
    ]


def shift_steps(tx: sqlite3.Connection, incident: str, by_s: float) -> None:
    """Move an incident's pending steps later, or earlier if `by_s` is negative."""
    tx.execute(
        "UPDATE escalation_step SET due_at = due_at + ? WHERE incident = ? AND done_at IS NULL",
        (by_s, incident),
    )


def finish_steps(tx: sqlite3.Connection, incident: str, now: float, seq: int | None = None) -> None:
    """End an incident's pending steps, or only step `seq`."""
    tx.execute(
        "UPDATE escalation_step SET done_at = ?1"
        " WHERE incident = ?2 AND seq = coalesce(?3, seq) AND done_at IS NULL",
        (now, incident, seq),
    )


def find_last_round(steps: Sequence[EscalationStep]) -> tuple[int, int]:
    """Return the highest step number and round of an incident, or zeros if it has no steps."""
    return (steps[-1].seq, steps[-1].round) if steps else (0, 0)


def _find_next(steps: Iterable[EscalationStep], *, after: int = 0) -> EscalationStep | None:
    """Return the first pending step after step number `after`, or None."""
    return next((s for s in steps if s.done_at is None and s.seq > after), None)


def _list_finished(steps: Iterable[EscalationStep]) -> list[EscalationStep]:
    """Return finished `NOTIFY` steps, including steps that were stopped before they ran."""
    return [s for s in steps if s.action is Action.NOTIFY and s.done_at is not None]


class Escalator:
    """Notifies people, ring by ring."""

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
        anew: bool = False,
        except_person: str = "",
        note: Fact | None = None,
    ) -> None:
        """Store the chain, or repeat it, leaving out `except_person`, and notify its first ring.

        With `anew`, the chain is planned again, because the incident's kind may have changed.
        """
        steps = load_steps(tx, incident.id)
        chain = (s.ring for s in steps if s.round == 1 and s.action is Action.NOTIFY)
        rings, responder = () if anew else tuple(chain), None
        if not rings:
            rings = self._policy.plan_rings(find_labels(incident, self._registry), now)
            responder = self.find_responder(tx, incident, now)
        if responder is not None:
            rings = (
                Ring(RingName.RESPONDER, (responder,)),
                *_remove_person(rings, responder.person),
            )
        rings = tuple(_remove_person(rings, except_person)) or rings
        seq, round_ = find_last_round(steps)
        timings = self._policy.timings
        planned = plan(
            incident.id,
            rings or (NOBODY,),
            incident.severity,
            now,
            timings,
            seq=seq + 1,
            first_round=round_ + 1,
            first_wait_s=(2 if responder else 1) * timings.find_wait_s(incident.severity),
        )
        add_steps(tx, planned)
        while (due := _find_next(load_steps(tx, incident.id))) is not None and due.due_at <= now:
            self.run(tx, incident, due, now, note)
        if not outbox_rows.has_notices(tx, incident.id) and not has_deferred(tx, incident.id):
            repository.note(tx, incident.id, now, Happened.NOBODY_NOTIFIED)

    def find_responder(
        self, tx: sqlite3.Connection, incident: Incident, at: float
    ) -> Candidate | None:
        """Return the reachable person who responded in the room within `PRESENT_S`, or None."""
        found = repository.find_last_response(tx, incident.kind, incident.room, at - PRESENT_S, at)
        member = None if found is None else self._policy.find_member(found[0])
        if found is None or member is None or not member.targets:
            return None
        if not self._policy.get_roster().serves(member.id, find_labels(incident, self._registry)):
            return None
        zone = find_place(self._registry, incident.room).zone or self._policy.zone
        return Candidate(
            member.id,
            build_fact(
                Reason.RESPONDED,
                time=format_clock(datetime.fromtimestamp(found[1], UTC), ZoneInfo(zone)),
            ),
        )

    def run(
        self,
        tx: sqlite3.Connection,
        incident: Incident,
        due: EscalationStep,
        now: float,
        note: Fact | None = None,
    ) -> None:
        """Run a due step and add `note` to its notices; later steps keep their spacing."""
        shift_steps(tx, incident.id, now - due.due_at)
        match due.action:
            case Action.NOTIFY:
                muted = find_lasting_mute(tx, incident, now, self._registry)
                if muted is None:
                    self._notify(tx, incident, due, now, note)
                else:
                    # check again before the mute ends, because people can end a silence early
                    shift_steps(tx, incident.id, min(muted.until - now, _MUTED_RECHECK_S))
            case Action.END:
                finish_steps(tx, incident.id, now, due.seq)
                delivered = outbox_rows.find_people_notified(tx, incident.id)
                what = Happened.NO_RESPONSE if delivered else Happened.UNDELIVERED
                repository.note(tx, incident.id, now, what)
                if not delivered:
                    outbox_rows.retry_refused(tx, incident.id, now)
            case Action.REMIND:
                finish_steps(tx, incident.id, now, due.seq)
                self._remind(tx, incident, now)
            case Action.REOPEN:
                finish_steps(tx, incident.id, now, due.seq)
                self.begin(tx, incident, now)

    def reschedule(
        self, tx: sqlite3.Connection, incident: Incident, before: Severity, now: float
    ) -> None:
        """Plan the pending steps again for a higher severity, with its extra rounds."""
        timings, steps = self._policy.timings, load_steps(tx, incident.id)
        more = timings.count_rounds(incident.severity) - timings.count_rounds(before)
        done = [step for step in steps if step.done_at is not None]
        is_over = done == steps
        if not steps or (is_over and not more):
            return
        asked = _list_finished(steps)
        round_ = asked[-1].round if asked else steps[0].round
        behind = sum(step.round == round_ for step in asked)
        planned = plan(
            incident.id,
            [s.ring for s in steps if s.round == round_ and s.action is Action.NOTIFY],
            incident.severity,
            now,
            timings,
            seq=len(done) + 1 - behind,
            first_round=round_,
            rounds=steps[-1].round - round_ + 1 + more,
        )
        due, rest = now, planned[behind:]
        if asked and not is_over:
            wait_s = rest[0].due_at - planned[behind - 1].due_at
            due = max(now, (asked[-1].done_at or now) + wait_s)
        later_s = due - rest[0].due_at
        pending = "DELETE FROM escalation_step WHERE incident = ? AND done_at IS NULL"
        tx.execute(pending, (incident.id,))
        add_steps(tx, [replace(step, due_at=step.due_at + later_s) for step in rest])

    def warn_on_duty(self, tx: sqlite3.Connection, incident: Incident, now: float) -> None:
        """Warn the people on duty that vaping in a room may go undetected.

        Unless somebody is responding, they are warned again, at most once every `_WARN_AGAIN_S`.
        """
        labels = find_labels(incident, self._registry) | {"kind": EventKind.VAPE.value}
        rings = self._policy.plan_rings(labels, now)
        is_muted = incident.held_until is not None or find_lasting_mute(
            tx, incident, now, self._registry
        )
        if not rings or is_muted:
            return
        warned = outbox_rows.find_last_pages(tx, incident.id)
        since = -math.inf if incident.status is Status.ACKNOWLEDGED else now - _WARN_AGAIN_S
        asked = tuple(c for c in rings[0].people if warned.get(c.person, -math.inf) <= since)
        for person in (candidate.person for candidate in asked):
            again = int(now) if person in warned else 1
            self._notices.page(tx, incident, [person], now, round_=again)
        if asked:
            ring = Ring(rings[0].name, asked)
            repository.note(tx, incident.id, now, Happened.PAGED, **_list_asked(ring))

    def await_answer(self, tx: sqlite3.Connection, incident: Incident, at: float) -> None:
        """Schedule the responder's reminder, and the restart of the chain."""
        seq, round_ = find_last_round(load_steps(tx, incident.id))
        remind = at + self._policy.timings.acknowledged_for_s
        reopen = remind + self._policy.timings.reminded_for_s
        due = ((Action.REMIND, remind), (Action.REOPEN, reopen))
        add_steps(
            tx,
            [
                EscalationStep(incident.id, seq + k, round_, action, due_at, NOBODY)
                for k, (action, due_at) in enumerate(due, start=1)
            ],
        )

    def advance_undelivered(self, tx: sqlite3.Connection, incident_id: str, now: float) -> None:
        """Notify the round's next ring now if a notice failed and no other is sent or pending.

        The next round keeps its scheduled time, so a brief provider outage uses up no rounds.
        """
        steps = load_steps(tx, incident_id)
        following, asked = _find_next(steps), _list_finished(steps)
        if following is None or following.action is not Action.NOTIFY or not asked:
            return
        is_same_round = following.round == asked[-1].round
        if is_same_round and not outbox_rows.has_notices(tx, incident_id, on_their_way=True):
            shift_steps(tx, incident_id, min(now - following.due_at, 0.0))

    def decline(
        self, tx: sqlite3.Connection, incident: Incident, by: str, now: float, *, responded: bool
    ) -> None:
        """Page the next people because `by` can't go. If `by` had `responded`, start over."""
        note = build_fact(Note.CANNOT_GO, name=self._policy.find_name(by))
        following = _find_next(load_steps(tx, incident.id))
        if responded:
            self.begin(tx, incident, now, except_person=by, note=note)
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
        note = note or (None if due.seq == 1 else self._build_no_response(incident))
        notified = self._notices.page(tx, incident, people, now, round_=due.round, note=note)
        following = _find_next(load_steps(tx, incident.id), after=due.seq)
        last = following is None or following.action is not Action.NOTIFY
        finish_steps(tx, incident.id, now, due.seq)
        if notified:
            what = Happened.PAGED if due.seq == 1 else Happened.ESCALATED
            repository.note(tx, incident.id, now, what, **_list_asked(due.ring))
            return
        if due.ring.people:
            repository.note(tx, incident.id, now, Happened.RING_SKIPPED, **_list_asked(due.ring))
        if following is not None and not last and following.round == due.round:
            shift_steps(tx, incident.id, now - following.due_at)

    def _build_no_response(self, incident: Incident) -> Fact:
        if not incident.acknowledged_by:
            return build_fact(Note.NO_RESPONSE)
        return build_fact(Note.NO_REPORT, name=self._policy.find_name(incident.acknowledged_by))

    def _remind(self, tx: sqlite3.Connection, incident: Incident, now: float) -> None:
        timings = self._policy.timings
        silent, left = round(timings.acknowledged_for_s / 60), round(timings.reminded_for_s / 60)
        note = build_fact(Note.REPORT_DUE, silent=silent, left=left)
        reminded = self._notices.notify_responder(tx, incident, now, NoticeReason.REMINDER, note)
        what = Happened.REMINDED if reminded else Happened.NOT_REMINDED
        repository.note(tx, incident.id, now, what, person=incident.acknowledged_by)


def _list_asked(ring: Ring) -> dict[str, Parameter]:
    asked = (Fact(c.why.code, {**c.why.params, "person": c.person}) for c in ring.people)
    return {"asked": tuple(asked), "ring": ring.name.value}


def _remove_person(rings: Iterable[Ring], person: str) -> Iterator[Ring]:
    for ring in rings:
        people = tuple(c for c in ring.people if c.person != person)
        if people:
            yield Ring(ring.name, people)
