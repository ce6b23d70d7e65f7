"""What was last written of each incident as an annotation; in the state database.

An incident changes while it goes on and when staff answer. What is to be written is found by
comparison, so nothing that happened while the Grafana was away, or the service, is missed, and
what is written already is not written again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

__all__ = ["COMPONENT", "SCRIPTS", "forget", "note", "written"]

COMPONENT: Final = "annotations"

_V1: Final = """
CREATE TABLE annotation (
    incident TEXT PRIMARY KEY,
    opened_at REAL NOT NULL,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""

SCRIPTS: Final[tuple[str, ...]] = (_V1,)
"""Script k leads from schema k to k + 1. Published scripts never change."""


def written(db: sqlite3.Connection) -> dict[str, str]:
    """Return what was last written, by incident."""
    return dict(db.execute("SELECT incident, body FROM annotation").fetchall())


def note(tx: sqlite3.Connection, done: Iterable[tuple[str, float, str]]) -> None:
    """Note incident, its opening (Unix seconds) and what was written of it."""
    tx.executemany("INSERT OR REPLACE INTO annotation VALUES (?, ?, ?)", done)


def forget(tx: sqlite3.Connection, before: float) -> None:
    """Forget incidents that were opened before a moment: they are not written any more."""
    tx.execute("DELETE FROM annotation WHERE opened_at < ?", (before,))
