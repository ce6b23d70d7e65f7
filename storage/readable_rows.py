"""Rows of a damaged table: all that can be read of it.

Tables with a rowid are read in its order; where a page cannot be read, the next key that can is
sought by galloping ahead and halving back, so that a damaged page costs the rows on it and no
others. Tables without one are read from both ends up to the damage.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_HIGHEST_KEY: Final = 2**62


def by_rowid(source: sqlite3.Connection, select: str) -> Iterator[tuple[Any, ...]]:
    """Yield rows of a statement that selects the rowid first, without it."""
    key = 0
    while key < _HIGHEST_KEY:
        try:
            for row in source.execute(f"{select} WHERE rowid > ? ORDER BY rowid", (key,)):
                key = row[0]
                yield tuple(row)[1:]
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if isinstance(error, sqlite3.OperationalError) and "no such table" in str(error):
                return
            key = _next_readable(source, select, key)
        else:
            return


def _next_readable(source: sqlite3.Connection, select: str, key: int) -> int:
    """Return the next key behind which a row can be read; the highest if there is none."""

    def readable(behind: int) -> bool:
        try:
            source.execute(f"{select} WHERE rowid > ? ORDER BY rowid LIMIT 1", (behind,)).fetchone()
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            return False
        return True

    bad, step = key, 1
    while not readable(bad + step):
        bad += step
        step *= 2
        if bad >= _HIGHEST_KEY:
            return _HIGHEST_KEY
    good = bad + step
    while good - bad > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if readable(middle) else (good, middle)
    return good


def from_both_ends(source: sqlite3.Connection, select: str, key: str) -> Iterator[tuple[Any, ...]]:
    """Yield rows of a statement that ends with ORDER BY, by a key and backwards, up to damage."""
    down = ", ".join(f"{name} DESC" for name in key.split(", "))
    for order in (key, down):
        try:
            for row in source.execute(select + order):
                yield tuple(row)
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            continue
        return
