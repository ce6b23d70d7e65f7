"""The audit log: append-only entries, each chained to the previous one by a hash.

Format: each entry is a row of the table ``audit`` in the state database (component ``"audit"``).
Entries are numbered from 1 without gaps. ``hash`` is the SHA-256, in hex, of the JSON array
``[previous hash, seq, at, kind, actor, detail]`` in UTF-8 without spaces, where ``detail`` is the
stored text. The previous hash of the first entry is empty. Triggers prevent changes and deletions,
and retention never deletes entries.

If an entry is changed, removed or inserted, the chain breaks, and `verify` reports where. But
anybody who can write to the file can also cut off the newest entries, or rewrite the whole chain.
So keep the last hash that `verify` returned in another place, and check later that it is still in
the chain.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from storage.dead_letters import make_visible
from storage.sqlite import load_scripts

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

COMPONENT: Final = "audit"
PROGRAM_IDS: Final = frozenset({"plumewatch", "service", "unknown"})
"""Actors in entries and incident histories that stand for the program: no person may use them."""
_LONGEST: Final = 4000
SCRIPTS: Final = load_scripts(__package__, COMPONENT)


class AuditKind(StrEnum):
    """Subject of an entry."""

    SIGN_IN = "sign_in"
    SIGN_IN_REFUSED = "sign_in_refused"
    SIGN_OUT = "sign_out"
    PASSWORD = "password"  # noqa: S105 - not a password
    START = "start"
    PROXY = "proxy"
    EXPORT = "export"
    RETENTION = "retention"
    SETTINGS = "settings"
    PUSH = "push"
    TOKEN = "token"  # noqa: S105 - not a password
    SECOND_FACTOR = "second_factor"
    SILENCE = "silence"


class Entry(NamedTuple):
    """One stored entry."""

    seq: int
    at: float
    kind: str
    actor: str
    detail: str
    hash: str


class Verified(NamedTuple):
    """Entries checked, hash of the newest intact entry, and the first fault (empty if none)."""

    entries: int
    head: str
    fault: str


def find_account() -> str:
    """Return the name of the current account on this machine."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def find_machine_user() -> str:
    """Return the name of the current account, for use as the actor of an entry."""
    return f"{find_account()} on the command line"


def append(
    tx: sqlite3.Connection,
    kind: AuditKind,
    actor: str,
    detail: Mapping[str, str | float | None],
    at: float,
) -> Entry:
    """Add an entry in the transaction `tx`.

    `actor`: id of a staff member, or the account on the machine.
    `detail`: must neither contain secrets nor name people other than staff.

    Raises `ValueError` if `detail` has more than 4000 characters as JSON.
    """
    text = json.dumps(dict(detail), sort_keys=True, allow_nan=False)
    if len(text) > _LONGEST:
        raise ValueError(f"detail of an audit entry: {len(text)} characters, {_LONGEST} allowed")
    row = tx.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    seq, previous = (1, "") if row is None else (row["seq"] + 1, row["hash"])
    who, when = make_visible(actor.encode("utf-8", "backslashreplace"))[:80], float(at)
    sealed = _hash(previous, seq, when, kind.value, who, text)
    entry = Entry(seq, when, kind.value, who, text, sealed)
    tx.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?)", entry)
    return entry


def read_entries(db: sqlite3.Connection, limit: int = -1) -> Iterator[Entry]:
    """Yield entries, newest first; at most `limit` unless it is negative."""
    for row in db.execute("SELECT * FROM audit ORDER BY seq DESC LIMIT ?", (limit,)):
        yield Entry(*row)


def verify(db: sqlite3.Connection, known: str = "") -> Verified:
    """Recompute the chain, and check that it still contains the hash `known` if given."""
    previous, count, seen = "", 0, not known
    for row in db.execute("SELECT * FROM audit ORDER BY seq"):
        entry = Entry(*row)
        count += 1
        if entry.seq != count:
            return Verified(count, previous, f"entry {count} is missing")
        if entry.hash != _hash(previous, *entry[:5]):
            return Verified(count, previous, f"entry {count} was changed")
        previous = entry.hash
        seen = seen or previous == known
    fault = "" if seen else f"the entry with hash {known[:64]} is no longer in the log"
    guards = db.execute(
        "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit'"
    ).fetchone()[0]
    if not fault and guards < 2:
        fault = "the triggers that prevent changes and deletions were removed"
    return Verified(count, previous, fault)


def _hash(previous: str, seq: int, at: float, kind: str, actor: str, detail: str) -> str:
    sealed = json.dumps(
        [previous, seq, at, kind, actor, detail], ensure_ascii=False, separators=(",", ":")
    )
    return hashlib.sha256(sealed.encode()).hexdigest()
