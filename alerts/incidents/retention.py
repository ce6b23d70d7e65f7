"""Which incidents are old enough to be deleted, and their deletion with all that belongs to them.

Deletion drops the triggers that protect history and restores them in the same transaction. What
belongs to an incident follows from the foreign keys. Threshold adjustments stay: thresholds depend
on them.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from storage import audit, holds
from storage.sqlite import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from storage.holds import Hold

_BATCH: Final = 500
_UNLINKED: Final = ("action_token", "change_feed")
"""Tables that name an incident without a foreign key."""


class Due(NamedTuple):
    """Ids that may be deleted, oldest first; old incidents on hold or open."""

    old: tuple[str, ...]
    held: int
    open: int


def find_due(db: sqlite3.Connection, before: float, holds: Iterable[Hold]) -> Due:
    """Find the incidents that were opened before a moment."""
    active = list(holds)
    old: list[str] = []
    held = not_over = 0
    rows = db.execute(
        "SELECT id, room, opened_at, status FROM incident WHERE opened_at < ?"
        " ORDER BY opened_at, id",
        (before,),
    )
    for row in rows:
        if row["status"] != "resolved":
            not_over += 1
        elif any(
            h.room in ("", row["room"]) and h.start <= row["opened_at"] < h.end for h in active
        ):
            held += 1
        else:
            old.append(row["id"])
    return Due(tuple(old), held, not_over)


def delete_due(
    db: sqlite3.Connection, before: float, who: str, now: float
) -> Iterator[tuple[int, int]]:
    """Delete the incidents that are due, 500 in a transaction, each recorded in the audit log.

    Yields how many were looked at so far, and how many of the transaction were deleted.
    """
    planned = find_due(db, before, holds.active(db)).old
    for k in range(0, len(planned), _BATCH):
        batch = planned[k : k + _BATCH]
        with transaction(db) as tx:
            still_due = frozenset(find_due(tx, before, holds.active(tx)).old)
            chosen = [incident for incident in batch if incident in still_due]
            rows = delete(tx, chosen)
            detail: dict[str, str | float | None] = {
                "class": "incidents",
                "count": len(chosen),
                "first": chosen[0] if chosen else "",
                "last": chosen[-1] if chosen else "",
                "opened_before": before,
                "rows": json.dumps(rows),
            }
            audit.append(tx, audit.AuditKind.RETENTION, who, detail, now)
        yield k + len(batch), len(chosen)


def delete(tx: sqlite3.Connection, incidents: Iterable[str]) -> dict[str, int]:
    """Delete resolved incidents and all that belongs to them; return the rows by table."""
    chosen = json.dumps(list(incidents))
    deleted: dict[str, int] = {}

    def drop(table: str, where: str) -> None:
        sql = f"DELETE FROM {table} WHERE {where.format(ids='SELECT value FROM json_each(?)')}"  # noqa: S608 - names from the schema
        deleted[table] = tx.execute(sql, (chosen,)).rowcount

    with _allow_deletion(tx):
        for table, column in _list_children(tx, "incident"):
            for grandchild, key in _list_children(tx, table):
                rows = f"SELECT id FROM {table} WHERE {column} IN ({{ids}})"  # noqa: S608 - as above
                drop(grandchild, f"{key} IN ({rows})")
            drop(table, f"{column} IN ({{ids}})")
        for table in _UNLINKED:
            if tx.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
                drop(table, "incident IN ({ids})")
        drop("incident", "id IN ({ids})")
    return deleted


def _list_children(db: sqlite3.Connection, parent: str) -> list[tuple[str, str]]:
    tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return [
        (table["name"], key["from"])
        for table in tables
        for key in db.execute(f"PRAGMA foreign_key_list({table['name']})").fetchall()
        if key["table"] == parent and table["name"] != parent
    ]


@contextmanager
def _allow_deletion(tx: sqlite3.Connection) -> Iterator[None]:
    """Drop the triggers that refuse deletion of history, and restore them."""
    triggers = tx.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        " AND tbl_name LIKE 'incident%' AND sql LIKE '%BEFORE DELETE%'"
    ).fetchall()
    for trigger in triggers:
        tx.execute(f"DROP TRIGGER {trigger['name']}")
    yield
    for trigger in triggers:
        tx.execute(trigger["sql"])
