"""Sessions of signed-in browsers, keyed by the hash of their cookie.

Each sign-in starts a new session for one person, whose role is looked up on every request. The form
token is derived from the cookie. Sessions survive a restart. They end when they expire, and when
the person signs out, or sets a new password or a second factor.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from typing import TYPE_CHECKING, Final, NamedTuple

from alerts.access import action_tokens
from alerts.secrets import hash_token

if TYPE_CHECKING:
    import sqlite3

_MAX_PER_PERSON: Final = 20
"""Maximum sessions per person; beyond that, the oldest session ends."""


class AtProvider(NamedTuple):
    """The person's address at the provider, and their groups that map to a role."""

    email: str
    groups: tuple[str, ...]


class Started(NamedTuple):
    """A session's person; `groups` and `email` are None after a sign-in by password."""

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
    """Start a session; return the cookie's value (256 random bits).

    The groups of a sign-in at the provider also replace those of the person's other sessions.
    """
    tx.execute("DELETE FROM staff_session WHERE expires_at <= ?", (now,))
    tx.execute(
        "DELETE FROM staff_session WHERE hash IN (SELECT hash FROM staff_session"
        " WHERE person = ? ORDER BY started_at DESC LIMIT -1 OFFSET ?)",
        (person, _MAX_PER_PERSON - 1),
    )
    if provider:
        tx.execute(
            "UPDATE staff_session SET provider_groups = ?"
            " WHERE person = ? AND provider_groups IS NOT NULL",
            (json.dumps(provider.groups), person),
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
    """Return the session of a cookie; None if it is unknown or has expired."""
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
    """End a person's sessions, links, and notices in browsers; return how many sessions ended."""
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
    """Return the anti-forgery token for forms on the session's own pages."""
    return hmac.new(identity.encode(), b"plumewatch form", hashlib.sha256).hexdigest()
