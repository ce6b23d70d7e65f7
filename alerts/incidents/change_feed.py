"""The change feed: an append-only log of what happened to incidents, in the state database.

Triggers append an entry in the transaction that changes an incident, one of its events, its
feedback or the status of one of its notices. A reader has a name and a stored cursor, which it
moves in the transaction that stores what follows from the entries: a crash repeats both or neither.
A reader without a cursor looks at the incidents themselves once, then begins at the head. `prune`
deletes what every cursor has passed, and entries beyond `MAX_ENTRIES` with the cursors behind them.

Room states have no cursor: they count `ChangeSignal`, the wake-up in this process.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

MAX_ENTRIES: Final = 200_000
"""Weeks of a large school; a reader that is further behind starts again from the incidents."""


class Change(NamedTuple):
    """One entry.

    `what` is ``opened``, ``acknowledged``, ``resolved``, or else ``changed``.
    """

    seq: int
    incident: str | None
    event: str | None
    what: str
    at: float | None


def read(
    db: sqlite3.Connection, reader: str, what: Collection[str] = (), limit: int = -1
) -> list[Change] | None:
    """Return the entries behind a reader's cursor, of some kinds if named; None without one."""
    row = db.execute("SELECT position FROM change_cursor WHERE reader = ?", (reader,)).fetchone()
    if row is None:
        return None
    marks = f"AND what IN ({', '.join('?' * len(what))})" if what else ""
    rows = db.execute(
        "SELECT seq, incident, event, what, at FROM change_feed"  # noqa: S608 - question marks
        f" WHERE seq > ? {marks} ORDER BY seq LIMIT ?",
        (row["position"], *what, limit),
    )
    return [Change(*row) for row in rows]


def head(db: sqlite3.Connection) -> int:
    """Return the number of the newest entry; 0 if there was never one."""
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'change_feed'").fetchone()
    return 0 if row is None else int(row["seq"])


def advance(tx: sqlite3.Connection, reader: str, position: int) -> None:
    """Store that a reader is done with everything up to `position`."""
    tx.execute("INSERT OR REPLACE INTO change_cursor VALUES (?, ?)", (reader, position))


def prune(tx: sqlite3.Connection, live: Collection[str], max_entries: int = MAX_ENTRIES) -> None:
    """Delete entries that all `live` readers have read, and the oldest beyond `max_entries`.

    A live reader without a cursor is looking at the incidents: what comes meanwhile is kept for it.
    """
    newest = head(tx)
    marks = ", ".join("?" * len(live))
    tx.execute(
        f"DELETE FROM change_cursor WHERE reader NOT IN ({marks}) OR position < ?",  # noqa: S608
        (*live, newest - max_entries),
    )
    cursors = [row["position"] for row in tx.execute("SELECT position FROM change_cursor")]
    behind = cursors if len(cursors) == len(live) else [newest - max_entries]
    tx.execute("DELETE FROM change_feed WHERE seq <= ?", (min(behind, default=newest),))


@dataclass(slots=True)
class ChangeSignal:
    """Wakes the readers of this process, and sets all `wakes`, after a change."""

    count: int = 0
    wakes: list[asyncio.Event] = field(default_factory=list)
    _next: asyncio.Event = field(default_factory=asyncio.Event)

    def notify(self) -> None:
        """Tell all readers to look."""
        self.count += 1
        for wake in (*self.wakes, self._next):  # notices first
            wake.set()
        self._next = asyncio.Event()

    async def wait_beyond(self, seen: int, timeout_s: float) -> int:
        """Wait until there are more changes than `seen`, or the time is over; return the count."""
        if self.count == seen:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._next.wait()
            except TimeoutError:
                pass
        return self.count
