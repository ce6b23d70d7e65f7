"""Sessions of signed-in browsers, by the hash of their cookie.

A session is new at every sign-in and bound to one person, whose role is looked up at each request.
The form token is derived from the cookie. Sessions survive a restart; they end by expiry, by
signing out, and by a new password.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from typing import TYPE_CHECKING, Final, NamedTuple

from alerts.access import action_tokens
from alerts.access.schema import hash_token

if TYPE_CHECKING:
    import sqlite3

_MOST_OF_ONE: Final = 20
"""Sessions of one person; beyond that the oldest ends."""


class AtProvider(NamedTuple):
    """Whom a provider vouched for: their address there, and those groups that have a role."""

    email: str
    groups: tuple[str, ...]


class Started(NamedTuple):
    """Whose session it is; without `groups` and `email` after a sign-in by password."""

    person: str
    groups: tuple[str, ...] | None
    email: str | None


def start(
    tx: sqlite3.Connection,
    person: str,
    now: float,
    lifetime_s: float,
    provider: AtProvider | None = None,
) -> str:
    """Start a session; return 256 random bits for the cookie."""
    tx.execute("DELETE FROM staff_session WHERE expires_at <= ?", (now,))
    tx.execute(
        "DELETE FROM staff_session WHERE hash IN (SELECT hash FROM staff_session"
        " WHERE person = ? ORDER BY started_at DESC LIMIT -1 OFFSET ?)",
        (person, _MOST_OF_ONE - 1),
    )
    identity = secrets.token_urlsafe(32)
    tx.execute(
        "INSERT INTO staff_session (hash, person, started_at, expires_at, email, provider_groups)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            *(hash_token(identity), person, now, now + lifetime_s),
            *((provider.email, json.dumps(provider.groups)) if provider else (None, None)),
        ),
    )
    return identity


def find(db: sqlite3.Connection, identity: str, now: float) -> Started | None:
    """Return whose a cookie is; None if it is unknown or has expired."""
    row = db.execute(
        "SELECT person, provider_groups, email FROM staff_session"
        " WHERE hash = ? AND expires_at > ?",
        (hash_token(identity), now),
    ).fetchone()
    if row is None:
        return None
    groups = None if row["provider_groups"] is None else tuple(json.loads(row["provider_groups"]))
    return Started(str(row["person"]), groups, row["email"])


def end(tx: sqlite3.Connection, identity: str) -> None:
    """Sign a browser out."""
    tx.execute("DELETE FROM staff_session WHERE hash = ?", (hash_token(identity),))


def end_all(tx: sqlite3.Connection, person: str, now: float) -> int:
    """End all sessions, links and browsers of a person; return how many sessions."""
    action_tokens.revoke_all(tx, person, now)
    tx.execute("DELETE FROM own_channel WHERE person = ? AND kind = 'browser'", (person,))
    tx.execute("DELETE FROM invite WHERE person = ?", (person,))
    return tx.execute("DELETE FROM staff_session WHERE person = ?", (person,)).rowcount


def count_by_person(db: sqlite3.Connection, now: float) -> dict[str, int]:
    """Count the sessions by person."""
    rows = db.execute(
        "SELECT person, count(*) FROM staff_session WHERE expires_at > ? GROUP BY person", (now,)
    )
    return dict(rows.fetchall())


def make_form_token(identity: str) -> str:
    """Return the token of the forms of a session, which only its own pages contain."""
    return hmac.new(identity.encode(), b"plumewatch form", hashlib.sha256).hexdigest()
