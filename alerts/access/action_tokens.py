"""Tokens in notices: one person may do one thing about one incident, for a while.

A token is 128 random bits, kept as a hash. It travels through push services and mail, so it is of
low power: it takes an incident, or says what is said from there (that its person has arrived, what
was found), in the name of the person it was sent to, and leads nowhere else. Using it twice does
the thing once. It is not a sign-in.

Links carry it behind the ``#``, which browsers send to no server and no proxy logs; buttons carry
it in the body of a POST. A GET does nothing, and a form that something submits without a press of
the button holds no token.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3

LIFETIME_S: Final = 12 * 3600.0
_REMEMBERED_S: Final = 7 * 86_400.0
"""How long an expired token is known, so that its bearer is told so."""


class Action(StrEnum):
    """What a token is for."""

    ACKNOWLEDGE = "acknowledge"
    FEEDBACK = "feedback"


@dataclass(frozen=True, slots=True)
class Grant:
    """What the bearer of a token may do.

    Attributes
    ----------
    expires_at : float
        Unix seconds.
    used_at : float or None
        When it was first used.
    """

    incident: str
    person: str
    action: Action
    expires_at: float
    used_at: float | None


def issue(
    tx: sqlite3.Connection,
    incident: str,
    person: str,
    action: Action,
    now: float,
    lifetime_s: float = LIFETIME_S,
) -> str:
    """Make a token, to be sent to its person and nobody else."""
    tx.execute("DELETE FROM action_token WHERE expires_at <= ?", (now - _REMEMBERED_S,))
    token = secrets.token_urlsafe(16)
    tx.execute(
        "INSERT INTO action_token VALUES (?, ?, ?, ?, ?, ?, NULL)",
        (_hash(token), incident, person, action.value, now, now + lifetime_s),
    )
    return token


def find(db: sqlite3.Connection, token: str) -> Grant | None:
    """Return what a token is for, also when it has expired or was used; None if nobody made it."""
    row = db.execute("SELECT * FROM action_token WHERE hash = ?", (_hash(token),)).fetchone()
    if row is None:
        return None
    return Grant(
        row["incident"],
        row["person"],
        Action(row["action"]),
        row["expires_at"],
        row["used_at"],
    )


def use(tx: sqlite3.Connection, token: str, now: float) -> None:
    """Record that a token was used; the first time stays."""
    tx.execute(
        "UPDATE action_token SET used_at = coalesce(used_at, ?) WHERE hash = ?",
        (now, _hash(token)),
    )


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
