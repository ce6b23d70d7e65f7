"""Move deadlines when the machine's clock is set while the service runs.

Silences keep their length. Times of past events do not change. The receive times of detections in
open incidents are an exception, because durations are counted from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3


def move_deadlines(tx: sqlite3.Connection, now: float, by_s: float) -> None:
    """Move all deadlines after the clock was set ahead by `by_s` seconds to `now`.

    The outbox pump keeps running and may have set some due times and leases by the new clock
    already. They therefore move only if they are closer to the old clock's time than to `now`.
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
    tx.execute(
        "UPDATE alert_event SET first_heard = first_heard + ?1, last_heard = last_heard + ?1"
        " WHERE incident IN (SELECT id FROM incident WHERE status <> 'resolved')",
        (by_s,),
    )
    tx.execute(
        "UPDATE silence SET starts_at = starts_at + ?2, ends_at = ends_at + ?2"
        " WHERE ends_at > min(?1, ?1 - ?2)",
        (now, by_s),
    )
    tx.execute("UPDATE escalation_step SET due_at = due_at + ? WHERE done_at IS NULL", (by_s,))
    tx.execute(
        "UPDATE held_notice SET due_at = due_at + ? WHERE done_at IS NULL AND cause <> 'quiet'",
        (by_s,),
    )
    tx.execute("UPDATE cooldown SET until = until + ?", (by_s,))
