"""Find incidents and notices that are stuck for any reason, every half minute.

An open incident must have a pending escalation step or a finished escalation, an acknowledged one
must have a pending reminder, and no notice may be overdue. Each check is one query over an index of
open rows. `AlertEngine.check_stuck` restarts incidents without a step.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from storage.sqlite import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections import Counter
    from collections.abc import Awaitable, Callable


log = logging.getLogger(__name__)

EVERY_S: Final = 30.0
LATE_S: Final = 60.0
"""How long something may be due before it counts as late."""


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


@dataclass(slots=True)
class StuckIncidentCheck:
    """Run a check regularly; log and count each stuck item once while it stays stuck."""

    find: Callable[[sqlite3.Connection, float], list[StuckItem]]
    clock: Callable[[], float]
    counter: Counter[str]
    run_until_stored: Callable[[Callable[[], list[StuckItem]]], Awaitable[list[StuckItem]]]
    on_found: Callable[[], None]
    _known: frozenset[StuckItem] = field(init=False, default=frozenset())

    async def run(self, state: sqlite3.Connection) -> None:
        """Check until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            self.report(await self.run_until_stored(lambda: self.check(state)))

    def check(self, state: sqlite3.Connection) -> list[StuckItem]:
        """Check once, in the thread of the database."""
        with transaction(state) as tx:
            return self.find(tx, self.clock())

    def report(self, found: list[StuckItem]) -> None:
        """Log and count what was not known yet."""
        fresh = [item for item in found if item not in self._known]
        self._known = frozenset(found)
        for item in fresh:
            log.error("stuck: %s, %s", item.what, item.subject)
            self.counter[item.what] += 1
        if fresh:
            self.on_found()
