"""Screens that show the wall view without a sign-in, by the hash of their token.

A token only opens the wall view: rooms and their states, no people, no history, no action. It does
not expire; an administrator revokes it, which deletes it.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import sqlite3

MOST: Final = 50
LONGEST_NAME: Final = 80
_MAX_TOKEN: Final = 64


class Kiosk(NamedTuple):
    """A screen."""

    id: int
    name: str
    made_by: str
    made_at: float


def make(tx: sqlite3.Connection, name: str, by: str, now: float) -> str:
    """Make a screen; return its token, which nobody can read again."""
    token = secrets.token_urlsafe(24)
    tx.execute(
        "INSERT INTO kiosk (hash, name, made_by, made_at) VALUES (?, ?, ?, ?)",
        (_hash(token), name[:LONGEST_NAME], by, now),
    )
    return token


def revoke(tx: sqlite3.Connection, kiosk: int) -> str:
    """Delete a screen; return its name, empty if there is none."""
    row = tx.execute("DELETE FROM kiosk WHERE id = ? RETURNING name", (kiosk,)).fetchone()
    return "" if row is None else str(row[0])


def maker_of(db: sqlite3.Connection, token: str) -> str:
    """Return who made the screen of a token, whose sites it shows; empty if there is none."""
    if not token or len(token) > _MAX_TOKEN:
        return ""
    found = db.execute("SELECT made_by FROM kiosk WHERE hash = ?", (_hash(token),)).fetchone()
    return "" if found is None else str(found[0])


def listed(db: sqlite3.Connection) -> list[Kiosk]:
    """Return all screens."""
    rows = db.execute("SELECT id, name, made_by, made_at FROM kiosk ORDER BY id")
    return [Kiosk(*row) for row in rows]


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
