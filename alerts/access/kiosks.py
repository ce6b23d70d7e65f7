"""Screens that show the wall view without a sign-in, by the hash of their token.

A token opens the wall view alone, of the sites that who made it had then and has now. It does not
expire; an administrator revokes it, which deletes it.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final, NamedTuple

from alerts.access.schema import hashed, sites_from, sites_to

if TYPE_CHECKING:
    import sqlite3

MOST: Final = 50
"""Screens that one administrator sees."""
MOST_IN_ALL: Final = 10 * MOST
LONGEST_NAME: Final = 80
_MAX_TOKEN: Final = 64


class Kiosk(NamedTuple):
    """A screen."""

    id: int
    name: str
    made_by: str
    made_at: float
    sites: frozenset[str] | None = None
    """Names of the sites that it is limited to; None for all."""


def make(
    tx: sqlite3.Connection,
    name: str,
    by: str,
    now: float,
    sites: frozenset[str] | None = None,
) -> str:
    """Make a screen of some sites, None for all; return its token, which nobody can read again."""
    token = secrets.token_urlsafe(24)
    tx.execute(
        "INSERT INTO kiosk (hash, name, made_by, made_at, sites) VALUES (?, ?, ?, ?, ?)",
        (hashed(token), name[:LONGEST_NAME], by, now, sites_to(sites)),
    )
    return token


def revoke(tx: sqlite3.Connection, kiosk: int) -> str:
    """Delete a screen; return its name, empty if there is none."""
    row = tx.execute("DELETE FROM kiosk WHERE id = ? RETURNING name", (kiosk,)).fetchone()
    return "" if row is None else str(row[0])


def find(db: sqlite3.Connection, token: str) -> Kiosk | None:
    """Return the screen of a token; None if there is none."""
    if not token or len(token) > _MAX_TOKEN:
        return None
    found = db.execute(f"{_SELECT} WHERE hash = ?", (hashed(token),)).fetchone()
    return None if found is None else _kiosk(found)


def listed(db: sqlite3.Connection) -> list[Kiosk]:
    """Return all screens."""
    return [_kiosk(row) for row in db.execute(f"{_SELECT} ORDER BY id")]


_SELECT: Final = "SELECT id, name, made_by, made_at, sites FROM kiosk"


def _kiosk(row: sqlite3.Row) -> Kiosk:
    return Kiosk(*row)._replace(sites=sites_from(row["sites"]))
