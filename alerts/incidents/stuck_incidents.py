"""Find incidents and notices that are stuck for any reason.

An open incident whose paging has begun must have a pending escalation step or a finished
escalation. An acknowledged incident must have a pending reminder until it is answered. Notices and
steps must not be overdue. Each check is a single query over an index of open rows.
`AlertEngine.check_stuck` restarts incidents without a step or reminder.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import sqlite3

LATE_S: Final = 60.0
"""Seconds past its due time before something counts as late."""


class StuckKind(StrEnum):
    """What is stuck; the label of a metric."""

    NO_STEP = "incident without a next step"
    NO_REMINDER = "acknowledged incident without a reminder"
    LATE_NOTICE = "notice that is late"
    LATE_STEP = "step that is late"
    LATE_DEFERRED = "held notice that is late"


class StuckItem(NamedTuple):
    """One stuck incident or notice; `subject` is its id."""

    what: StuckKind
    subject: str


_PENDING: Final = (
    "EXISTS (SELECT 1 FROM escalation_step s WHERE s.incident = i.id AND s.done_at IS NULL)"
)
_ENDED: Final = (
    "(SELECT s.action = 'end' AND s.done_at IS NOT NULL FROM escalation_step s"
    " WHERE s.incident = i.id ORDER BY s.seq DESC LIMIT 1)"
)
QUERIES: Final = {
    StuckKind.NO_STEP: "SELECT i.id FROM incident i WHERE i.status <> 'resolved'"  # noqa: S608 - constants
    f" AND i.status <> 'acknowledged' AND i.paged AND NOT {_PENDING} AND NOT coalesce({_ENDED}, 0)",
    StuckKind.NO_REMINDER: "SELECT i.id FROM incident i WHERE i.status <> 'resolved'"  # noqa: S608
    f" AND i.status = 'acknowledged' AND i.verdict IS NULL AND NOT {_PENDING}",
    StuckKind.LATE_NOTICE: "SELECT id FROM outbox WHERE status IN ('due', 'leased')"
    " AND due_at < :late AND (status = 'due' OR lease_until < :late)",
    StuckKind.LATE_STEP: "SELECT incident FROM escalation_step"
    " WHERE done_at IS NULL AND due_at < :late",
    StuckKind.LATE_DEFERRED: "SELECT incident FROM held_notice"
    " WHERE done_at IS NULL AND due_at < :late",
}


def find_stuck(tx: sqlite3.Connection, now: float) -> list[StuckItem]:
    """Return everything that is stuck at `now`, Unix seconds, in the order of `StuckKind`."""
    return [
        StuckItem(what, str(row[0]))
        for what, query in QUERIES.items()
        for row in tx.execute(query, {"late": now - LATE_S})
    ]
