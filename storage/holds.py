"""Legal holds: data that must not be deleted, whatever the retention.

A hold covers a time span, in one room or everywhere, until somebody releases it. Placing and
releasing stay on record. Readings are deleted only by time, so a hold keeps all readings since its
start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from storage.sqlite import load_scripts

if TYPE_CHECKING:
    import sqlite3

COMPONENT: Final = "holds"
SCRIPTS: Final = load_scripts(__package__, COMPONENT)


class Hold(NamedTuple):
    """An active hold; an empty `room` means everywhere."""

    id: int
    room: str
    start: float
    end: float
    reason: str
    placed_by: str
    placed_at: float


def place(
    tx: sqlite3.Connection, room: str, span: tuple[float, float], reason: str, who: str, at: float
) -> int:
    """Place a hold and return its number."""
    row = tx.execute(
        'INSERT INTO legal_hold (room, start, "end", reason, placed_by, placed_at)'
        " VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
        (room, *span, reason, who, at),
    ).fetchone()
    return int(row["id"])


def release(tx: sqlite3.Connection, number: int, who: str, at: float) -> bool:
    """Release a hold; return whether it was active."""
    return (
        tx.execute(
            "UPDATE legal_hold SET released_by = ?, released_at = ?"
            " WHERE id = ? AND released_at IS NULL",
            (who, at, number),
        ).rowcount
        == 1
    )


def active(db: sqlite3.Connection) -> list[Hold]:
    """Return the active holds, by number."""
    rows = db.execute(
        'SELECT id, room, start, "end", reason, placed_by, placed_at FROM legal_hold'
        " WHERE released_at IS NULL ORDER BY id"
    )
    return [Hold(*row) for row in rows]


def earliest(db: sqlite3.Connection) -> float | None:
    """Return since when readings are on hold, Unix seconds, or None."""
    row = db.execute(
        "SELECT min(start) AS start FROM legal_hold WHERE released_at IS NULL"
    ).fetchone()
    return None if row["start"] is None else float(row["start"])
