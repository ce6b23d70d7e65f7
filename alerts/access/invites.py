"""Links with which a person chooses their password: used once, within three days, stored as a hash.

The newest link of a person replaces the one before; a new password, a sign-out everywhere and the
removal of the person end it. The token is in the fragment of the link, which no server or log sees.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from alerts.access.schema import hash_token

if TYPE_CHECKING:
    import sqlite3

LIFETIME_S: Final = 3 * 86_400.0


def make(tx: sqlite3.Connection, person: str, now: float) -> str:
    """Make a link's token, 192 random bits, which nobody can read again."""
    token = secrets.token_urlsafe(24)
    tx.execute(
        "INSERT OR REPLACE INTO invite VALUES (?, ?, ?)",
        (person, hash_token(token), now + LIFETIME_S),
    )
    return token


def find(db: sqlite3.Connection, token: str, now: float) -> str:
    """Return whom a link invites; empty if it is unknown, used or expired."""
    row = db.execute(
        "SELECT person FROM invite WHERE hash = ? AND expires_at > ?", (hash_token(token), now)
    ).fetchone()
    return "" if row is None else str(row["person"])
