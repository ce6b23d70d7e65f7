"""Move deadlines when the clock of the machine is set while the service runs.

Otherwise a notice due in four seconds would wait for an hour after the clock is set back by one, or
be too old after it is set ahead. Times of what has happened stay as they were written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3

STEP_S: Final = 5.0
"""Less is left alone: a clock that is slewed, a process that waited between two looks."""


@dataclass(slots=True)
class ClockSteps:
    """Notice that a wall clock was set.

    >>> steps = ClockSteps()
    >>> [steps.look(*at) for at in ((100.0, 1.0), (101.0, 2.0), (3702.0, 3.0), (3703.0, 4.0))]
    [0.0, 0.0, 3600.0, 0.0]
    """

    _ahead: float | None = None

    def look(self, wall: float, monotonic: float) -> float:
        """Return by how many seconds the clock was set since the last look; 0 if it was not."""
        before, self._ahead = self._ahead, wall - monotonic
        if before is None or abs(self._ahead - before) < STEP_S:
            return 0.0
        return self._ahead - before


def move_deadlines(tx: sqlite3.Connection, now: float, by_s: float) -> None:
    """Move all deadlines, as the clock was set ahead by `by_s` seconds to `now`.

    A notice may be due by the new time already, as the pump does not wait for this. So due times
    move only where they are nearer to the old time than to the new one.
    """
    moved = "iif(abs({0} - ?1 + ?2) < abs({0} - ?1), {0} + ?2, {0})"
    tx.execute(
        "UPDATE outbox SET expires_at = expires_at + ?2,"  # noqa: S608 - names of columns
        " fallback_at = fallback_at + ?2,"
        f" due_at = {moved.format('due_at')}, lease_until = {moved.format('lease_until')}"
        " WHERE status IN ('due', 'leased')",
        (now, by_s),
    )
    tx.execute(
        "UPDATE incident SET held_until = held_until + ?1, resolve_due = resolve_due + ?1,"
        " next_deadline = next_deadline + ?1 WHERE status <> 'resolved'",
        (by_s,),
    )
    tx.execute("UPDATE escalation_step SET due_at = due_at + ? WHERE done_at IS NULL", (by_s,))
    tx.execute(
        "UPDATE held_notice SET due_at = due_at + ? WHERE done_at IS NULL AND cause <> 'quiet'",
        (by_s,),
    )
    tx.execute("UPDATE cooldown SET until = until + ?", (by_s,))
