"""Codes of an authenticator app (TOTP, RFC 6238), and recovery codes for a lost phone.

A secret is stored only after its first code is confirmed, so that an unfinished setup locks no one
out. A code is accepted up to one time step early or late, and only once. Recovery codes are stored
as hashes, and each works once. The secret itself is stored unencrypted, so anyone who can read the
state database can generate codes.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

import pyotp

from alerts.secrets import hash_token

if TYPE_CHECKING:
    import sqlite3

_STEP_S: Final = 30
_DIGITS: Final = 6
_RECOVERY_CODES: Final = 8


def make_secret() -> str:
    """Return a new secret, which takes effect with `confirm`."""
    return pyotp.random_base32()


def make_app_address(secret: str, person: str, school: str) -> str:
    """Return the URI that an authenticator app uses to import a secret."""
    return pyotp.TOTP(secret).provisioning_uri(name=person, issuer_name=school)


def confirm(
    tx: sqlite3.Connection, person: str, secret: str, code: str, now: float
) -> tuple[str, ...]:
    """Enable a secret if the code is right; return new recovery codes, or none."""
    step = _find_step(secret, code, now)
    if step is None or find_enrollment(tx, person) is not None:
        return ()
    tx.execute("INSERT OR REPLACE INTO staff_totp VALUES (?, ?, ?, ?)", (person, secret, now, step))
    codes = tuple(_make_recovery_code() for _ in range(_RECOVERY_CODES))
    tx.execute("DELETE FROM staff_recovery WHERE person = ?", (person,))
    tx.executemany(
        "INSERT INTO staff_recovery VALUES (?, ?)", [(_hash(code), person) for code in codes]
    )
    return codes


def use_code(tx: sqlite3.Connection, person: str, code: str, now: float) -> str:
    """Use up a person's code; return ``code``, ``recovery``, or empty if it is invalid."""
    row = tx.execute("SELECT * FROM staff_totp WHERE person = ?", (person,)).fetchone()
    if row is None:
        return ""
    step = _find_step(row["secret"], code, now)
    if step is not None and step > row["used_step"]:
        tx.execute("UPDATE staff_totp SET used_step = ? WHERE person = ?", (step, person))
        return "code"
    used = tx.execute(
        "DELETE FROM staff_recovery WHERE hash = ? AND person = ?", (_hash(code), person)
    )
    return "recovery" if used.rowcount else ""


def remove(tx: sqlite3.Connection, person: str) -> bool:
    """Remove a second factor with its recovery codes; return whether there was one."""
    tx.execute("DELETE FROM staff_recovery WHERE person = ?", (person,))
    return tx.execute("DELETE FROM staff_totp WHERE person = ?", (person,)).rowcount > 0


def find_enrollment(db: sqlite3.Connection, person: str) -> float | None:
    """Return when the person enrolled a second factor, or None."""
    return list_enrolled(db).get(person)


def list_enrolled(db: sqlite3.Connection) -> dict[str, float]:
    """Return when people enrolled their second factor, by person."""
    return dict(db.execute("SELECT person, confirmed_at FROM staff_totp").fetchall())


def count_recovery_codes(db: sqlite3.Connection, person: str) -> int:
    """Count the recovery codes that a person has not used."""
    rows = db.execute("SELECT count(*) FROM staff_recovery WHERE person = ?", (person,))
    return int(rows.fetchone()[0])


def _find_step(secret: str, code: str, now: float) -> int | None:
    """Return the latest time step around now that has this code, or None."""
    digits = "".join(code.split())
    if len(digits) != _DIGITS or not digits.isascii():
        return None
    at = int(now // _STEP_S)
    steps = (at + 1, at, at - 1)
    try:
        totp = pyotp.TOTP(secret)
        return next((k for k in steps if hmac.compare_digest(totp.at(k * _STEP_S), digits)), None)
    except ValueError:  # a damaged secret
        return None


def _make_recovery_code() -> str:
    """Generate a code with 80 random bits, in four groups of letters and digits."""
    letters = pyotp.random_base32().lower()
    return "-".join(letters[k : k + 4] for k in range(0, 16, 4))


def _hash(code: str) -> bytes:
    letters = "".join(filter(str.isalnum, code.casefold()))
    return hash_token(letters)
