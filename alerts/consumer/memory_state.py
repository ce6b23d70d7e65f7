"""Copy the alerting state into memory, and copy changes back to the disk.

Rows that are new or changed only in memory are copied to the disk. If a row changed on both sides,
the disk's row stays, because somebody acted on it there. A new row that conflicts with the disk is
left out, and so are the rows that depend on it. Event ids are copied too, so detecting the same
events again has no effect. Notices that are being sent are not copied into memory; their sender
updates them on the disk.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from alerts.incidents import schema
from storage.journal import STATE_SCRIPTS
from storage.sqlite import migrate

if TYPE_CHECKING:
    from collections.abc import Iterable

log = logging.getLogger(__name__)

_TABLES: Final = (  # referenced tables come first
    "incident",
    "alert_event",
    "incident_history",
    "escalation_step",
    "held_notice",
    "cooldown",
    "outbox",
)

_OF_INCIDENT: Final = frozenset(_TABLES) - {"incident", "cooldown"}
"""Tables whose rows belong to an incident, named in their column ``incident``."""


class Change(NamedTuple):
    """A row before and after a change; `old` is None for a new row."""

    table: str
    old: tuple[Any, ...] | None
    new: tuple[Any, ...]


def copy_state(disk: sqlite3.Connection, memory: sqlite3.Connection) -> None:
    """Copy the state database into memory; if it cannot be read, start with empty tables."""
    try:
        disk.backup(memory)
    except sqlite3.Error as error:
        log.warning("cannot read the state; alerting from memory starts without it: %s", error)
    migrate(memory, "state", STATE_SCRIPTS)
    migrate(memory, schema.COMPONENT, schema.SCRIPTS)
    memory.execute("DELETE FROM outbox WHERE status = 'leased'")
    for table in _TABLES:
        memory.execute(f"CREATE TEMP TABLE before_{table} AS SELECT * FROM main.{table}")  # noqa: S608 - names of our schema


def take_changes(memory: sqlite3.Connection) -> list[Change]:
    """Return the rows that changed since `copy_state`, or since `mark_carried_over`."""
    changes: list[Change] = []
    for table in _TABLES:
        info = memory.execute(f"PRAGMA main.table_info({table})").fetchall()
        keys = [place for place, column in enumerate(info) if column["pk"]]
        old = {
            tuple(row[k] for k in keys): tuple(row)
            for row in memory.execute(f"SELECT * FROM before_{table}")  # noqa: S608 - names of our schema
        }
        rows = memory.execute(
            f"SELECT * FROM {table} EXCEPT SELECT * FROM before_{table} ORDER BY 1, 2"  # noqa: S608
        )
        changes += [Change(table, old.get(tuple(row[k] for k in keys)), tuple(row)) for row in rows]
    return changes


def mark_carried_over(memory: sqlite3.Connection, changes: Iterable[Change]) -> None:
    """Record that the disk has these changes."""
    for change in changes:
        _write(memory, change, f"before_{change.table}")


def apply_changes(tx: sqlite3.Connection, changes: Iterable[Change]) -> int:
    """Write changes to the disk; return how many were left out because of conflicts."""
    left_out = 0
    clashed: set[object] = set()
    for change in changes:
        applied, owner = False, None
        if change.table in _OF_INCIDENT:
            owner = change.new[_list_columns(tx, change.table).index("incident")]
        if owner not in clashed:
            with suppress(sqlite3.IntegrityError):
                applied = _write(tx, change, change.table)
        left_out += not applied
        if change.table == "incident" and not applied and change.old is None:
            clashed.add(change.new[0])
    return left_out


def _write(connection: sqlite3.Connection, change: Change, table: str) -> bool:
    """Insert a new row, or update a row if it is still unchanged; return whether that worked."""
    names = _list_columns(connection, table)
    if change.old is None:
        marks = ", ".join("?" * len(names))
        sql, values = f"INSERT INTO {table} VALUES ({marks})", change.new  # noqa: S608 - names of our schema
    else:
        columns = ", ".join(f'"{name}" = ?' for name in names)
        same = " AND ".join(f'"{name}" IS ?' for name in names)
        sql = f"UPDATE {table} SET {columns} WHERE {same}"  # noqa: S608 - names of our schema
        values = (*change.new, *change.old)
    return connection.execute(sql, values).rowcount == 1


def _list_columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row["name"] for row in connection.execute(f"PRAGMA table_info({table})")]
