"""Find dead letters by reason.

The journal writes dead letters (`storage.journal`) and keeps the newest 100,000. This module reads
them while the service runs; a read-only connection is enough. Messages are untrusted:
`make_visible` escapes control characters, direction marks and other unprintable characters, so
that a message can neither control a terminal nor hide part of its text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from language.plain_text import escape
from storage.journal import DeadLetter

if TYPE_CHECKING:
    import sqlite3

MAX_LETTERS: Final = 1_000
"""Maximum number of dead letters to read at once."""

_COLUMNS: Final = "id, received, topic, reason, detail, decoder, size, payload"


class StoredDeadLetter(NamedTuple):
    """A dead letter and its number."""

    id: int
    letter: DeadLetter


def find_dead_letters(
    connection: sqlite3.Connection,
    *,
    reason: str = "",
    before: int = 0,
    limit: int = 100,
) -> list[StoredDeadLetter]:
    """Return up to `limit` dead letters with numbers below `before` (if not 0), newest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM dead_letter"  # noqa: S608 - names of columns
        " WHERE (?1 = '' OR reason = ?1)"
        " AND (?2 = 0 OR id < ?2) ORDER BY id DESC LIMIT ?3",
        (reason, before, max(1, min(limit, MAX_LETTERS))),
    )
    return [StoredDeadLetter(int(row[0]), DeadLetter(*tuple(row)[1:])) for row in rows]


def count_dead_letters(connection: sqlite3.Connection) -> dict[tuple[str, str], int]:
    """Count the stored dead letters by reason and decoder (empty if none was reached)."""
    rows = connection.execute(
        "SELECT reason, decoder, count(*) FROM dead_letter GROUP BY reason, decoder"
        " ORDER BY count(*) DESC, reason, decoder"
    )
    return {(str(reason), str(decoder)): int(n) for reason, decoder, n in rows}


def make_visible(payload: bytes, most: int = 4_096) -> str:
    r"""Return a payload as one line of printable text, cut after `most` bytes.

    Bytes that are not UTF-8 become ``\xNN``, unprintable characters are escaped, and backslashes
    are doubled, so that different payloads never look the same.

    >>> make_visible(b'{"pm25": 7}\n\xff\x1b[2J')
    '{"pm25": 7}\\n\\xff\\x1b[2J'
    """
    text = payload[:most].replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    return escape(text) + "…" if len(payload) > most else escape(text)
