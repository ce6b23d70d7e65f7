"""What the journal holds beside readings, and its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from storage.reading import Reading

SCRIPTS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE journal (
        offset INTEGER PRIMARY KEY AUTOINCREMENT,
        received REAL NOT NULL,
        crc INTEGER NOT NULL,
        body BLOB NOT NULL
    );
    CREATE TABLE dead_letter (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        received REAL NOT NULL,
        topic TEXT NOT NULL,
        reason TEXT NOT NULL,
        detail TEXT NOT NULL,
        decoder TEXT NOT NULL,
        size INTEGER NOT NULL,
        payload BLOB NOT NULL
    );
    CREATE INDEX dead_letter_reason ON dead_letter (reason, received);
    """,
    """
    CREATE TABLE gap (
        why TEXT NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        at REAL NOT NULL,
        PRIMARY KEY (why, first)
    );
    INSERT INTO gap SELECT iif(before = 0, 'retention', 'corrupt'), before + 1, offset - 1, 0
        FROM (
            SELECT offset, lag(offset, 1, 0) OVER (ORDER BY offset) AS before FROM (
                SELECT offset FROM journal
                UNION ALL SELECT seq + 1 FROM sqlite_sequence WHERE name = 'journal'
            )
        )
        WHERE offset > before + 1;
    """,
)
"""Script k leads from schema k to k + 1. Published scripts never change."""


class DeadLetter(msgspec.Struct, frozen=True):
    """A refused message, kept with its reason for a person to look at.

    - `received`: Unix seconds.
    - `topic`: printable, cut to 256 characters.
    - `reason`: from a closed set.
    - `detail`: one line for people.
    - `decoder`: decoder that refused it; empty if none was reached.
    - `size`: bytes of the whole payload.
    - `payload`: its beginning.
    """

    received: float
    topic: str
    reason: str
    detail: str
    decoder: str
    size: int
    payload: bytes


class JournalEntry(NamedTuple):
    """A reading and its place in the journal."""

    offset: int
    reading: Reading


class Gap(NamedTuple):
    """Offsets that hold no reading.

    - `first`, `last`: both included.
    - `at`: when it was noticed, Unix seconds; 0 if before that was noted.
    - `why`: `retention`: deleted as the journal is kept for so long, or so large; `unread`: part
      of that which some consumer had not read; `corrupt`: a record failed its checksum;
      `damaged`: a page could not be read; `lost`: the end of the journal was missing.
    """

    first: int
    last: int
    at: float
    why: str


class Pruned(NamedTuple):
    """What one slice of retention deleted.

    `rows`: readings deleted. `unread`: of these, what some consumer had not read.
    """

    rows: int
    unread: int
