"""Store and check staff passwords.

Passwords are stored as Argon2id hashes with the second recommended parameter set of RFC 9106,
section 4. Checking a guess takes just as long for people without a password. A password has 12 to
128 characters, and must not consist mostly of a common word or of a name at the school, as
NIST SP 800-63B recommends. Setting a new password ends the person's sessions and links.
"""

from __future__ import annotations

import secrets
import unicodedata
from functools import cached_property
from typing import TYPE_CHECKING, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from alerts.access import second_factor, sessions
from alerts.secrets import hash_token
from storage import audit
from storage.audit import AuditKind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

SHORTEST: Final = 12
LONGEST: Final = 128
INVITE_S: Final = 3 * 86_400.0
_MIN_DIFFERENT: Final = 6
_COMMON: Final = (
    *("123456", "abcdef", "changeme", "football", "iloveyou", "letmein", "password"),
    *("plumewatch", "principal", "qwerty", "school", "welcome"),
)
_OF_PERSON: Final = (
    *("staff_password", "api_token", "own_channel", "staff_language", "staff_seen"),
    "provider_account",
)
_SYLLABLES: Final = tuple(c + v for c in "bdfgklmnprstvz" for v in "aeiou")


def find_fault(password: str, context: Iterable[str] = ()) -> str:
    """Return a sentence that explains why a password is refused; empty if it is accepted.

    `context` contains names that an attacker would try, such as id, name and school.

    >>> find_fault("short")
    'A password needs at least 12 characters.'
    >>> find_fault("northfield-2026", ["Northfield High"])
    'This password is too easy to guess: it is mostly "northfield".'
    >>> find_fault("seven blue kettles")
    ''
    """
    text = _normalize(password)
    if len(text) < SHORTEST:
        return f"A password needs at least {SHORTEST} characters."
    if len(text) > LONGEST:
        return f"A password can have at most {LONGEST} characters."
    if len(set(text)) < _MIN_DIFFERENT:
        return f"A password needs at least {_MIN_DIFFERENT} different characters."
    words = {w for name in context for w in _normalize(name).casefold().split() if len(w) > 3}
    rest = text.casefold()
    for word in (*sorted(words, key=len, reverse=True), *_COMMON):
        if word in rest and len(rest.replace(word, "")) < SHORTEST - 4:
            return f'This password is too easy to guess: it is mostly "{word}".'
    return ""


def generate_password() -> str:
    """Generate a password that is easy to read aloud: 8 groups of 2 syllables, 98 bits.

    >>> find_fault(generate_password())
    ''
    """
    return "-".join(secrets.choice(_SYLLABLES) + secrets.choice(_SYLLABLES) for _ in range(8))


class Hasher:
    """Hashes and verifies passwords; each call takes 0.1 s and 64 MiB, so use a thread."""

    def __init__(self, argon2: PasswordHasher | None = None) -> None:
        self._argon2 = argon2 or PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)

    @cached_property
    def _nobody(self) -> str:
        """A hash whose password nobody knows."""
        return self.hash(secrets.token_urlsafe())

    def hash(self, password: str) -> str:
        """Return the hash of a password."""
        return self._argon2.hash(_normalize(password))

    def verify(self, kept: str | None, password: str) -> bool:
        """Return whether a password matches a hash; None never matches but takes the same time."""
        try:
            self._argon2.verify(kept or self._nobody, _normalize(password[: 4 * LONGEST]))
        except (VerificationError, InvalidHashError):
            return False
        return kept is not None


def set_password(tx: sqlite3.Connection, person: str, kept: str, now: float) -> int:
    """Store a new password hash and end the person's sessions; return how many ended."""
    store_hash(tx, person, kept, now)
    return sessions.end_all(tx, person, now)


def remove_account(tx: sqlite3.Connection, person: str, now: float) -> None:
    """Remove all data of a person who left; a successor with the same id inherits none."""
    sessions.end_all(tx, person, now)
    second_factor.remove(tx, person)
    for table in _OF_PERSON:
        tx.execute(f"DELETE FROM {table} WHERE person = ?", (person,))  # noqa: S608 - names of ours


def remove_person(tx: sqlite3.Connection, person: str, why: str, now: float) -> None:
    """Remove all data of a person who left, and record why."""
    remove_account(tx, person, now)
    detail = {"what": "removed", "person": person, "why": why}
    audit.append(tx, AuditKind.SETTINGS, "service", detail, now)


def store_hash(tx: sqlite3.Connection, person: str, kept: str, now: float) -> None:
    """Store the hash of a password."""
    tx.execute("INSERT OR REPLACE INTO staff_password VALUES (?, ?, ?)", (person, kept, now))


def load_hash(db: sqlite3.Connection, person: str) -> str | None:
    """Return the password hash of a person, or None."""
    row = db.execute("SELECT hash FROM staff_password WHERE person = ?", (person,)).fetchone()
    return None if row is None else str(row["hash"])


def list_with_password(db: sqlite3.Connection) -> dict[str, float]:
    """Return the people who have a password, and when they set it."""
    return {r["person"]: r["set_at"] for r in db.execute("SELECT * FROM staff_password")}


def make_invite(tx: sqlite3.Connection, person: str, now: float) -> str:
    """Return the token of a link that lets a person set their password once, within three days.

    A new token replaces an earlier one. It has 192 random bits and goes into the link's fragment,
    so it never reaches servers or their logs. Only its hash is stored.
    """
    token = secrets.token_urlsafe(24)
    tx.execute(
        "INSERT OR REPLACE INTO invite VALUES (?, ?, ?)",
        (person, hash_token(token), now + INVITE_S),
    )
    return token


def find_invited(db: sqlite3.Connection, token: str, now: float) -> str:
    """Return the person whom a token invites; empty if it is unknown, used or expired."""
    row = db.execute(
        "SELECT person FROM invite WHERE hash = ? AND expires_at > ?", (hash_token(token), now)
    ).fetchone()
    return "" if row is None else str(row["person"])


def _normalize(text: str) -> str:
    return unicodedata.normalize("NFKC", text).strip()
