"""Steps of an escalation: who is notified next if nobody responds, as rows with deadlines.

The whole chain is stored when people are first notified: which ring is notified when, round after
round. An acknowledgment ends it and adds two steps: a reminder to the responder, then, without an
answer, the same chain again. A step that is late because the program was down runs once, and later
ones move back by as much. A ring in which nobody can be notified does not wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from alerts.duty.reasons import RingName
from alerts.duty.roster import Ring
from language.facts import to_json

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from alerts.policy import EscalationTimings
    from alerts.severity import Severity


NOBODY: Final = Ring(RingName.NOBODY, ())


class Action(StrEnum):
    """What a step does."""

    NOTIFY = "tell"
    END = "end"
    REMIND = "remind"
    REOPEN = "reopen"


@dataclass(frozen=True, slots=True)
class EscalationStep:
    """One step of an escalation; `seq` and `round` count from 1; only a `NOTIFY` has a `ring`."""

    incident: str
    seq: int
    round: int
    action: Action
    due_at: float
    ring: Ring


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
) -> list[EscalationStep]:
    """Return the steps of a chain that begins `at`; the first of its rings has `first_wait_s`."""
    wait = timings.wait_s(severity)
    steps: list[EscalationStep] = []
    due = at
    for round_ in range(first_round, first_round + timings.rounds_of(severity)):
        if steps:
            due = max(due, steps[-1].due_at + timings.repeat_after_s)
        for ring in rings:
            number = seq + len(steps)
            steps.append(EscalationStep(incident, number, round_, Action.NOTIFY, due, ring))
            due += wait if steps[1:] or first_wait_s is None else first_wait_s
    number = seq + len(steps)
    return [*steps, EscalationStep(incident, number, round_, Action.END, due, NOBODY)]


def after_acknowledgment(
    incident: str, at: float, timings: EscalationTimings, *, seq: int, round_: int
) -> list[EscalationStep]:
    """Return the reminder and the reopening, in case the responder gives no answer."""
    remind = at + timings.acknowledged_for_s
    reopen = remind + timings.reminded_for_s
    return [
        EscalationStep(incident, seq, round_, Action.REMIND, remind, NOBODY),
        EscalationStep(incident, seq + 1, round_, Action.REOPEN, reopen, NOBODY),
    ]


def add(tx: sqlite3.Connection, steps: Iterable[EscalationStep]) -> None:
    """Store steps."""
    tx.executemany(
        "INSERT INTO escalation_step (incident, seq, round, action, due_at, ring)"
        " VALUES (?,?,?,?,?,?)",
        [(s.incident, s.seq, s.round, s.action.value, s.due_at, to_json(s.ring)) for s in steps],
    )


def first_due(tx: sqlite3.Connection, now: float) -> EscalationStep | None:
    """Return the first step that is due by `now`; None without one."""
    return _first(tx, "due_at <= ? ORDER BY due_at, incident, seq", now)


def next_of(tx: sqlite3.Connection, incident: str, *, after: int = 0) -> EscalationStep | None:
    """Return the next step of an incident after a number; None without one."""
    return _first(tx, "incident = ? AND seq > ? ORDER BY seq", incident, after)


def _first(tx: sqlite3.Connection, which: str, *arguments: object) -> EscalationStep | None:
    sql = f"SELECT * FROM escalation_step WHERE done_at IS NULL AND {which} LIMIT 1"  # noqa: S608 - a constant
    row = tx.execute(sql, arguments).fetchone()
    if row is None:
        return None
    action, ring = Action(row["action"]), _ring(row["ring"])
    return EscalationStep(row["incident"], row["seq"], row["round"], action, row["due_at"], ring)


def next_deadline(tx: sqlite3.Connection) -> float | None:
    """Return when the next step is due; None without one."""
    sql = "SELECT min(due_at) FROM escalation_step WHERE done_at IS NULL"
    found: float | None = tx.execute(sql).fetchone()[0]
    return found


def finish(tx: sqlite3.Connection, step: EscalationStep, now: float, outcome: str) -> None:
    """Mark a step as run, with its outcome."""
    tx.execute(
        "UPDATE escalation_step SET done_at = ?, outcome = ?"
        " WHERE incident = ? AND seq = ? AND done_at IS NULL",
        (now, outcome, step.incident, step.seq),
    )


def shift(tx: sqlite3.Connection, incident: str, by_s: float) -> None:
    """Move the pending steps of an incident, later or earlier."""
    tx.execute(
        "UPDATE escalation_step SET due_at = due_at + ? WHERE incident = ? AND done_at IS NULL",
        (by_s, incident),
    )


def stop(tx: sqlite3.Connection, incident: str, why: str, now: float) -> int:
    """End the pending steps of an incident; return their number."""
    return tx.execute(
        "UPDATE escalation_step SET done_at = ?, outcome = ?"
        " WHERE incident = ? AND done_at IS NULL",
        (now, why, incident),
    ).rowcount


def last_round(tx: sqlite3.Connection, incident: str) -> tuple[int, int]:
    """Return the highest step number and round of an incident; zeros without steps."""
    sql = "SELECT coalesce(max(seq), 0), coalesce(max(round), 0) FROM escalation_step"
    seq, round_ = tx.execute(f"{sql} WHERE incident = ?", (incident,)).fetchone()
    return seq, round_


def chain(tx: sqlite3.Connection, incident: str) -> tuple[Ring, ...]:
    """Return the stored rings of an incident; empty if none are stored."""
    rows = tx.execute(
        "SELECT ring FROM escalation_step WHERE incident = ? AND round = 1 AND action = 'tell'"
        " ORDER BY seq",
        (incident,),
    )
    return tuple(_ring(row["ring"]) for row in rows)


def _ring(text: str) -> Ring:
    return msgspec.json.decode(text, type=Ring)
