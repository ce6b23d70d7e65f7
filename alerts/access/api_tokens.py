"""Tokens for programs that use the HTTP API, and for screens that show the wall view.

A token acts on behalf of one staff member. It permits no more than the person's current role, and
only at sites that the person had when it was created and still has. A token expires. It is shown
only once, and only its hash is stored.
"""

from __future__ import annotations

import json
import secrets
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from alerts.access.roles import Right, may
from alerts.secrets import hash_token

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

MAX_TOKENS: Final = 200
"""Maximum tokens of all the people whom an administrator manages."""
LONGEST_NAME: Final = 80
LONGEST_DAYS: Final = 366
PREFIX: Final = "plumewatch_"
"""Lets secret scanners find tokens that were published by mistake."""
_DAY_S: Final = 86_400.0
_LISTED_S: Final = 90 * _DAY_S
"""How long expired tokens stay in the list, in seconds."""
_USED_S: Final = 3600.0
_MAX_TOKEN: Final = 80


class Scope(StrEnum):
    """What a token permits."""

    READ = "read"
    """Read incidents, rooms and sensors."""
    RESPOND = "respond"
    """Acknowledge and answer incidents."""
    READINGS = "readings"
    """Read readings."""
    REPORTS = "reports"
    """Create and fetch reports."""
    WALL = "wall"
    """Show the wall view."""


NEEDS: Final = {
    Scope.READ: Right.INCIDENTS,
    Scope.RESPOND: Right.ANSWER,
    Scope.READINGS: Right.INCIDENTS,
    Scope.REPORTS: Right.REPORTS,
    Scope.WALL: Right.INCIDENTS,
}
"""The right that the person's role must have for each scope."""


class ApiToken(NamedTuple):
    """A token without its secret; times are Unix seconds."""

    id: int
    name: str
    person: str
    scopes: frozenset[str]
    made_by: str
    made_at: float
    expires_at: float
    used_at: float | None
    sites: frozenset[str] | None = None
    """Ids of the sites that the token is limited to; None means all."""

    def may(self, scope: Scope, now: float) -> bool:
        """Return whether the token permits a scope now."""
        return now < self.expires_at and scope in self.scopes


def make(
    tx: sqlite3.Connection,
    name: str,
    person: str,
    scopes: Iterable[Scope],
    *,
    by: str,
    days: float,
    now: float,
    sites: frozenset[str] | None = None,
) -> str:
    """Create and return a token, which cannot be read again; `sites` of None allows all sites."""
    tx.execute("DELETE FROM api_token WHERE expires_at <= ?", (now - _LISTED_S,))
    token = PREFIX + secrets.token_urlsafe(32)
    listed = " ".join(sorted(set(scopes)))
    expires_at = now + min(days, LONGEST_DAYS) * _DAY_S
    tx.execute(
        "INSERT INTO api_token (hash, name, person, scopes, made_by, made_at, expires_at, sites)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            hash_token(token),
            name[:LONGEST_NAME],
            person,
            listed,
            by,
            now,
            expires_at,
            _encode(sites),
        ),
    )
    return token


def revoke(tx: sqlite3.Connection, token_id: int) -> str:
    """Delete a token; return its name, or empty if there is no such token."""
    row = tx.execute("DELETE FROM api_token WHERE id = ? RETURNING name", (token_id,)).fetchone()
    return "" if row is None else str(row[0])


def limit(tx: sqlite3.Connection, person: str, role: str, sites: frozenset[str] | None) -> None:
    """Limit a person's tokens to a role and to sites (ids); remove tokens left without scopes."""
    for token in list_tokens(tx):
        if token.person != person:
            continue
        left = restrict(token, role, sites)
        if not left.scopes:
            revoke(tx, token.id)
        tx.execute(
            "UPDATE api_token SET scopes = ?, sites = ? WHERE id = ?",
            (" ".join(sorted(left.scopes)), _encode(left.sites), token.id),
        )


def restrict(token: ApiToken, role: str, sites: frozenset[str] | None) -> ApiToken:
    """Return a token with only what a role permits and with only these sites (ids; None: all)."""
    scopes = frozenset(scope for scope in token.scopes if may(role, NEEDS[Scope(scope)]))
    own = sites if token.sites is None else token.sites
    own = own if own is None or sites is None else own & sites
    return token._replace(scopes=scopes, sites=own)


def find(db: sqlite3.Connection, token: str) -> ApiToken | None:
    """Return what a token permits, even if it expired; None if it is unknown."""
    if not token or len(token) > _MAX_TOKEN:
        return None
    found = db.execute(f"{_SELECT} WHERE hash = ?", (hash_token(token),)).fetchone()
    return None if found is None else _read_token(found)


def list_tokens(db: sqlite3.Connection) -> list[ApiToken]:
    """Return all tokens, including recently expired ones."""
    return [_read_token(row) for row in db.execute(f"{_SELECT} ORDER BY id")]


def is_use_due(token: ApiToken, now: float) -> bool:
    """Return whether to record a use of the token; uses are recorded at most once an hour."""
    return token.used_at is None or now - token.used_at >= _USED_S


def use(tx: sqlite3.Connection, token: ApiToken, now: float) -> None:
    """Record that a token was used."""
    tx.execute("UPDATE api_token SET used_at = ? WHERE id = ?", (now, token.id))


_SELECT: Final = (
    "SELECT id, name, person, scopes, made_by, made_at, expires_at, used_at, sites FROM api_token"
)


def _read_token(row: sqlite3.Row) -> ApiToken:
    scopes, sites = frozenset(row["scopes"].split()), _decode(row["sites"])
    return ApiToken(*row)._replace(scopes=scopes, sites=sites)


def _encode(sites: frozenset[str] | None) -> str | None:
    return None if sites is None else json.dumps(sorted(sites))


def _decode(stored: str | None) -> frozenset[str] | None:
    return None if stored is None else frozenset(json.loads(stored))
