"""Tokens in notices that let one person act on one incident for a limited time.

A token is 128 random bits, stored as a hash. Because it passes through push services and mail, it
does not sign anybody in. It only lets its person see, acknowledge or decline the incident, and
report arrival and feedback. It becomes invalid when it expires, when the person sets a new password
or a second factor, and when they sign out everywhere. Acknowledging returns a second token for
later steps. The second token is derived from the first and expires with it.

Links carry the token in the fragment, because browsers never send the fragment. Buttons carry it in
a POST body.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from alerts.secrets import hash_token

if TYPE_CHECKING:
    import sqlite3

LIFETIME_S: Final = 12 * 3600.0
_BYTES: Final = 16
_REMEMBERED_S: Final = 7 * 86_400.0
"""How long expired tokens are kept, in seconds, so that the page can tell that they expired."""


class Action(StrEnum):
    """What a token is for: acknowledging, or the steps after it."""

    ACKNOWLEDGE = "acknowledge"
    FEEDBACK = "feedback"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token permits, and when it was first used."""

    incident: str
    person: str
    action: Action
    expires_at: float
    used_at: float | None


def issue(tx: sqlite3.Connection, incident: str, person: str, action: Action, now: float) -> str:
    """Create and return a token; it must be sent only to its person."""
    tx.execute("DELETE FROM action_token WHERE expires_at <= ?", (now - _REMEMBERED_S,))
    token = secrets.token_urlsafe(_BYTES)
    tx.execute(
        "INSERT INTO action_token VALUES (?, ?, ?, ?, ?, ?, NULL)",
        (hash_token(token), incident, person, action.value, now, now + LIFETIME_S),
    )
    return token


def issue_feedback(tx: sqlite3.Connection, token: str, now: float) -> str:
    """Return the token for later steps, the same each time; it expires with `token`."""
    derived = hmac.digest(token.encode(), Action.FEEDBACK.value.encode(), "sha256")[:_BYTES]
    following = base64.urlsafe_b64encode(derived).decode().rstrip("=")
    tx.execute(
        "INSERT OR IGNORE INTO action_token SELECT ?, incident, person, ?, ?, expires_at, NULL"
        " FROM action_token WHERE hash = ?",
        (hash_token(following), Action.FEEDBACK.value, now, hash_token(token)),
    )
    return following


def revoke_all(tx: sqlite3.Connection, person: str, now: float) -> int:
    """Invalidate all of a person's tokens; return how many."""
    return tx.execute(
        "UPDATE action_token SET expires_at = ?1 WHERE person = ?2 AND expires_at > ?1",
        (now, person),
    ).rowcount


def find(db: sqlite3.Connection, token: str) -> Grant | None:
    """Return what a token permits, even if it expired or was used; None if it is unknown."""
    row = db.execute("SELECT * FROM action_token WHERE hash = ?", (hash_token(token),)).fetchone()
    if row is None:
        return None
    action = Action(row["action"])
    return Grant(row["incident"], row["person"], action, row["expires_at"], row["used_at"])


def use(tx: sqlite3.Connection, token: str, now: float) -> None:
    """Record the first use of a token."""
    tx.execute(
        "UPDATE action_token SET used_at = coalesce(used_at, ?) WHERE hash = ?",
        (now, hash_token(token)),
    )
