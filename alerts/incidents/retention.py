"""Find incidents that are old enough to be deleted, and delete them.

When an incident is deleted, foreign keys delete everything that belongs to it. Threshold
adjustments stay, because thresholds depend on them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from storage import audit
from storage.sqlite import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator


_BATCH: Final = 500


class Due(NamedTuple):
    """Ids of incidents to delete, oldest first, and how many old ones are still open."""

    old: tuple[str, ...]
    open: int


def find_due(db: sqlite3.Connection, before: float) -> Due:
    """Find the incidents that were opened before a time."""
    rows = db.execute(
        "SELECT id, status FROM incident WHERE opened_at < ? ORDER BY opened_at, id", (before,)
    ).fetchall()
    old = tuple(row["id"] for row in rows if row["status"] == "resolved")
    return Due(old, len(rows) - len(old))


def delete_due(db: sqlite3.Connection, before: float, who: str, now: float) -> Iterator[int]:
    """Delete old resolved incidents in batches; record each batch in the audit log.

    Yields the number of incidents deleted in each batch.
    """
    while True:
        with transaction(db) as tx:
            chosen = find_due(tx, before).old[:_BATCH]
            if not chosen:
                return
            delete(tx, chosen)
            detail: dict[str, str | float | None] = {
                "class": "incidents",
                "count": len(chosen),
                "first": chosen[0],
                "last": chosen[-1],
                "opened_before": before,
            }
            audit.append(tx, audit.AuditKind.RETENTION, who, detail, now)
        yield len(chosen)


def delete(tx: sqlite3.Connection, incidents: Iterable[str]) -> None:
    """Delete resolved incidents with everything that belongs to them.

    The triggers that protect history from deletion are dropped first and restored afterward.
    """
    chosen = json.dumps(list(incidents))
    triggers = tx.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        " AND tbl_name LIKE 'incident%' AND sql LIKE '%BEFORE DELETE%'"
    ).fetchall()
    for trigger in triggers:
        tx.execute(f"DROP TRIGGER {trigger['name']}")
    for table, column in (("action_token", "incident"), ("incident", "id")):
        sql = f"DELETE FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))"  # noqa: S608 - our names
        tx.execute(sql, (chosen,))
    for trigger in triggers:
        tx.execute(trigger["sql"])
