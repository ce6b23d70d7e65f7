"""Looks every half minute whether anybody or anything was forgotten.

What has to hold, whatever happened before: an incident that nobody took has a step of its
escalation before it, or its end is on record; one that somebody has will be asked about; a notice
is final or due, and what is due is not late. Each is one query over an index of what is open, so
it costs the same however long the history is. `alerts.incidents.engine` mends what can be mended.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3

EVERY_S: Final = 30.0
LATE_S: Final = 60.0
"""What is due for longer than this is late."""


class Forgotten(StrEnum):
    """What was found."""

    NO_STEP = "incident without a next step"
    NO_REMINDER = "acknowledged incident without a reminder"
    LATE_NOTICE = "notice that is late"
    LATE_STEP = "step that is late"
    LATE_HELD = "held notice that is late"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was forgotten.

    Attributes
    ----------
    subject : str
        Id of the incident, or number of the notice.
    """

    what: Forgotten
    subject: str


_NEXT: Final = (
    "EXISTS (SELECT 1 FROM escalation_step s WHERE s.incident = i.id AND s.done_at IS NULL)"
)
_ENDED: Final = (
    "(SELECT s.action = 'end' AND s.done_at IS NOT NULL FROM escalation_step s"
    " WHERE s.incident = i.id ORDER BY s.seq DESC LIMIT 1)"
)
QUERIES: Final = {
    Forgotten.NO_STEP: "SELECT i.id FROM incident i WHERE i.status <> 'resolved'"  # noqa: S608 - constants
    f" AND i.status <> 'acknowledged' AND i.paged AND NOT {_NEXT} AND NOT coalesce({_ENDED}, 0)",
    Forgotten.NO_REMINDER: "SELECT i.id FROM incident i WHERE i.status <> 'resolved'"  # noqa: S608
    f" AND i.status = 'acknowledged' AND i.verdict IS NULL AND NOT {_NEXT}",
    Forgotten.LATE_NOTICE: "SELECT id FROM outbox WHERE status IN ('due', 'leased')"
    " AND due_at < :late AND (status = 'due' OR lease_until < :late)",
    Forgotten.LATE_STEP: "SELECT incident FROM escalation_step"
    " WHERE done_at IS NULL AND due_at < :late",
    Forgotten.LATE_HELD: "SELECT incident FROM held_notice"
    " WHERE done_at IS NULL AND due_at < :late",
}
"""What finds each; `late` is a moment, Unix seconds."""


def find_forgotten(tx: sqlite3.Connection, now: float) -> list[Finding]:
    """Return everything that is forgotten, in the order of `Forgotten`."""
    return [
        Finding(what, str(row[0]))
        for what, query in QUERIES.items()
        for row in tx.execute(query, {"late": now - LATE_S})
    ]
