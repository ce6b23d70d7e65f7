"""Browsers in which a person switched notices on, as addresses of web push, which are secrets.

An address is ``webpush://`` with endpoint, public key and secret of the browser in its query.
"""

from __future__ import annotations

import base64
import binascii
import sqlite3
from collections import deque
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qs, urlencode

from alerts.secrets import Secret
from storage.errors import StorageError
from storage.sqlite import connect

if TYPE_CHECKING:
    from pathlib import Path

    from alerts.policy import AlertPolicy

SCHEME: Final = "webpush"
MOST_OF_ONE: Final = 8
_LONGEST: Final = 1000
_MOST_GONE: Final = 1000
_KEY_BYTES: Final = 65
_AUTH_BYTES: Final = 16


class Subscription(NamedTuple):
    """What a browser gives: endpoint, public key and secret, the last two in base64url."""

    endpoint: str
    p256dh: str
    auth: str

    def fault(self) -> str:
        """Say why it is not valid; empty if it is."""
        if not self.endpoint or len(self.endpoint) > _LONGEST or not self.endpoint.isascii():
            return "the endpoint is not an address"
        try:
            key, auth = decoded(self.p256dh), decoded(self.auth)
        except binascii.Error:
            return "the keys are not base64url"
        if len(key) != _KEY_BYTES or key[0] != 4 or len(auth) != _AUTH_BYTES:
            return "the keys have another length"
        return ""

    def target(self) -> Secret:
        """Return it as the address of a channel."""
        return Secret(f"{SCHEME}://?{urlencode(self._asdict())}")

    @classmethod
    def of(cls, target: Secret) -> Subscription:
        """Read the address of a channel."""
        found = parse_qs(target.reveal().partition("?")[2])
        return cls(*(found.get(key, [""])[0] for key in cls._fields))


class Browser(NamedTuple):
    """A subscribed browser, without its secrets."""

    id: int
    label: str
    made_at: float


class Browsers:
    """All browsers that get notices; `gone` are endpoints that their push service refused."""

    def __init__(self, database: Path) -> None:
        self.gone: deque[str] = deque(maxlen=_MOST_GONE)
        self._database = database

    def added_to(self, policy: AlertPolicy) -> AlertPolicy:
        """Add the browsers of each person after the addresses of their own."""
        try:
            with closing(connect(self._database, read_only=True)) as db:
                found = targets(db)
        except (StorageError, sqlite3.Error):
            return policy  # a new data folder
        staff = tuple(replace(m, targets=(*m.targets, *found.get(m.id, ()))) for m in policy.staff)
        roster = policy.roster
        if roster is not None:
            reachable = frozenset(member.id for member in staff if member.targets)
            roster = replace(roster, reachable=reachable)
        return replace(policy, staff=staff, roster=roster)

    def has(self, endpoint: str) -> bool:
        """Whether a browser is still to get notices; it is while the database cannot tell."""
        try:
            with closing(connect(self._database, read_only=True)) as db:
                return is_known(db, endpoint)
        except (StorageError, sqlite3.Error):
            return True

    def forget_gone(self, tx: sqlite3.Connection) -> None:
        """Remove the browsers that are gone."""
        while self.gone:
            forget(tx, self.gone.popleft())


def add(
    tx: sqlite3.Connection, person: str, subscription: Subscription, label: str, now: float
) -> None:
    """Add a browser, or give it to another person; beyond `MOST_OF_ONE` the oldest goes."""
    tx.execute("DELETE FROM push_subscription WHERE endpoint = ?", (subscription.endpoint,))
    tx.execute(
        "INSERT INTO push_subscription (person, endpoint, p256dh, auth, label, made_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (person, *subscription, label[:80], now),
    )
    tx.execute(
        "DELETE FROM push_subscription WHERE id IN (SELECT id FROM push_subscription"
        " WHERE person = ? ORDER BY id DESC LIMIT -1 OFFSET ?)",
        (person, MOST_OF_ONE),
    )


def remove(tx: sqlite3.Connection, person: str, browser: int) -> bool:
    """Remove a browser of a person; return whether there was one."""
    found = tx.execute(
        "DELETE FROM push_subscription WHERE id = ? AND person = ?", (browser, person)
    )
    return found.rowcount > 0


def forget(tx: sqlite3.Connection, endpoint: str) -> None:
    """Remove a browser that its push service does not know any more."""
    tx.execute("DELETE FROM push_subscription WHERE endpoint = ?", (endpoint,))


def is_known(db: sqlite3.Connection, endpoint: str) -> bool:
    """Whether a browser is still to get notices."""
    found = db.execute("SELECT 1 FROM push_subscription WHERE endpoint = ?", (endpoint,))
    return found.fetchone() is not None


def browsers(db: sqlite3.Connection, person: str) -> list[Browser]:
    """Return the browsers of a person."""
    rows = db.execute(
        "SELECT id, label, made_at FROM push_subscription WHERE person = ? ORDER BY id", (person,)
    )
    return [Browser(*row) for row in rows]


def targets(db: sqlite3.Connection) -> dict[str, tuple[Secret, ...]]:
    """Return the addresses of all browsers, by person."""
    found: dict[str, list[Secret]] = {}
    rows = db.execute("SELECT person, endpoint, p256dh, auth FROM push_subscription ORDER BY id")
    for person, *subscription in rows:
        found.setdefault(person, []).append(Subscription(*subscription).target())
    return {person: tuple(addresses) for person, addresses in found.items()}


def decoded(text: str) -> bytes:
    """Decode base64url with or without padding; raises `binascii.Error`."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise binascii.Error(str(error)) from error


def encoded(raw: bytes) -> str:
    """Encode as base64url without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
