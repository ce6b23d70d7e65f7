"""The state database: the cursor of the detection consumer and the state of the detector.

Incidents, outbox and these tables share one file, so the effects of a batch and its cursor are
committed in one transaction. The detector's state is written less often than the cursor, because it
is a pure function of the readings. After a restart, the newest snapshot is restored, and the
readings between its position and the cursor are evaluated again, without their events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from storage.sqlite import load_scripts

if TYPE_CHECKING:
    import sqlite3

SCRIPTS: Final = load_scripts(__package__, "state")


class Snapshot(NamedTuple):
    """Detector state after all readings up to and including `position`."""

    position: int
    model_version: str
    body: bytes


def cursor(connection: sqlite3.Connection, name: str) -> int:
    """Return the journal offset up to which consumer `name` has committed its effects, or 0."""
    row = connection.execute("SELECT position FROM consumer WHERE name = ?", (name,)).fetchone()
    return int(row[0]) if row else 0


def set_cursor(connection: sqlite3.Connection, name: str, offset: int) -> None:
    """Move the cursor of consumer `name`; call in the transaction with its effects."""
    connection.execute(
        "INSERT INTO consumer VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET position = excluded.position",
        (name, offset),
    )


def snapshot(connection: sqlite3.Connection, name: str) -> Snapshot | None:
    """Return the newest stored detector state of consumer `name`, or None."""
    row = connection.execute(
        "SELECT position, model_version, body FROM detector_snapshot WHERE name = ?", (name,)
    ).fetchone()
    return Snapshot(int(row[0]), str(row[1]), bytes(row[2])) if row else None


def set_snapshot(connection: sqlite3.Connection, name: str, state: Snapshot) -> None:
    """Replace the stored detector state of consumer `name`."""
    connection.execute(
        "INSERT INTO detector_snapshot VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
        " position = excluded.position, model_version = excluded.model_version,"
        " body = excluded.body",
        (name, *state),
    )
