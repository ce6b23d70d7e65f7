"""What was last written of each incident as an annotation, or refused; in the state database.

An incident changes while it goes on and when staff answer. What is to be written is found by
comparison, so nothing that happened while the Grafana was away, or the service, is missed, and
what is written already is not written again. What the Grafana refused for good is kept with the
reason, and not tried again until the incident changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

COMPONENT: Final = "annotations"

_V1: Final = """
CREATE TABLE annotation (
    incident TEXT PRIMARY KEY,
    opened_at REAL NOT NULL,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""

_V2: Final = """
ALTER TABLE annotation ADD COLUMN refused TEXT NOT NULL DEFAULT '';
"""

SCRIPTS: Final[tuple[str, ...]] = (_V1, _V2)
"""Script k leads from schema k to k + 1. Published scripts never change."""


class Settled(NamedTuple):
    """The last word of the Grafana about an incident.

    Attributes
    ----------
    opened_at : float
        Unix seconds.
    body : str
        What it was given.
    refused : str
        Why it refused that for good; empty if it took it.
    """

    incident: str
    opened_at: float
    body: str
    refused: str = ""


def settled(db: sqlite3.Connection) -> dict[str, Settled]:
    """Return what was last written or refused, by incident."""
    rows = db.execute("SELECT incident, opened_at, body, refused FROM annotation")
    return {row[0]: Settled(*row) for row in rows}


def note(tx: sqlite3.Connection, done: Iterable[Settled]) -> None:
    """Note what was written or refused."""
    tx.executemany(
        "INSERT OR REPLACE INTO annotation (incident, opened_at, body, refused)"
        " VALUES (?, ?, ?, ?)",
        done,
    )


def forget(tx: sqlite3.Connection, before: float) -> None:
    """Forget incidents that were opened before a moment: they are not written any more."""
    tx.execute("DELETE FROM annotation WHERE opened_at < ?", (before,))
