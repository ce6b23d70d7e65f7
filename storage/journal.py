"""The journal: the one log of accepted readings, from which every consumer reads.

What it promises
----------------
*Accepted* means: the transaction that holds the reading returned from a SQLite commit in WAL mode
with `synchronous=FULL`, so the bytes were fsynced. Only then may anyone acknowledge. A crash of
the process at any point leaves the journal at the last commit; a power cut the same, as far as the
disk honours fsync.

Every offset that was ever given out holds a reading, or a `gap` says why not: a reading is never
merely absent (`storage.backup` adds this up).

Format
------
One row a reading: `offset` (strictly increasing, never reused), `received` (Unix seconds), `crc`
(CRC-32 of the body) and `body` (MessagePack of `storage.reading.Reading`). Dead letters, with their
reason, are committed together with the readings of the same group, so that each message has exactly
one durable outcome. The schema has a version and grows by scripts (`storage.sqlite.migrate`); a
file of a newer program is refused.

Order of operations
-------------------
`commit(readings, dead_letters)` writes one group in one transaction: group commit spreads the cost
of fsync. Consumers call `read(after, limit)` with their own stored position, a cursor; cursors live
with the consumer's own data (`storage.state`, `storage.timeseries`), in the same transaction as the
effects, so that a crash repeats work and loses none.

Retention
---------
`prune` deletes from the oldest end, in slices that do not hold up commits: what is older than the
retention and read by all; and, when the file is larger than its bound, the oldest whatever its age.
What a slow consumer has not read is only deleted for size, with a gap `unread` and a warning. What
the caller spares (the detectors' snapshot) is never passed.

Damage
------
A record whose checksum or form is wrong is not handed out: it is moved to the dead letters with
reason `corrupt_record`, its gap is `corrupt`, and reading goes on behind it. Where SQLite cannot
read a page, the file is set aside whole and what can be read goes on in a new one
(`storage.repair`); offsets lost with the page become a gap `damaged`. Commits lost from the end (a
torn log, a backup) are noticed by cursors that are ahead: `continue_behind` leaves a gap `lost`.

What it is not
--------------
No message queue (no leases, no acknowledgement per reading) and no time series (no lookup by
sensor): those read from it. The checksum is no signature.
"""

from __future__ import annotations

import logging
import sqlite3
import time
import zlib
from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import msgspec

from storage.database_file import DatabaseFile, KeptInFile
from storage.errors import StorageUnavailableError
from storage.reading import Reading
from storage.sqlite import connect, migrate, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

_MAX_DEAD_LETTERS = 100_000
_SLICE = 20_000
"""Rows deleted in one transaction."""
_DECODER: Final = msgspec.msgpack.Decoder(Reading)
_SELECT: Final = "SELECT offset, crc, body FROM journal WHERE offset > ? ORDER BY offset LIMIT ?"


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


def decode_record(crc: object, body: object) -> Reading | None:
    """Return the reading of a record; None if the record is damaged."""
    if not isinstance(body, bytes) or zlib.crc32(body) != crc:
        return None
    try:
        return _DECODER.decode(body)
    except msgspec.MsgspecError:
        return None


class Journal(KeptInFile):
    """The journal in one SQLite file.

    `path`: the file; ``":memory:"`` for a journal that is not kept. `clock`: Unix seconds, for
    the time of gaps. `corrupt_records`: records quarantined since the start.
    """

    def __init__(self, path: Path | str, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.corrupt_records = 0
        self._clock = clock
        self._encoder = msgspec.msgpack.Encoder()
        self._file = DatabaseFile(path, _prepare, self._note_damage)

    def commit(self, readings: Sequence[Reading], dead_letters: Sequence[DeadLetter] = ()) -> int:
        """Append one group durably.

        Returns the last offset in the journal after the commit. Raises `StorageUnavailableError`
        if the disk refuses; nothing of the group is then kept and nothing may be acknowledged.
        """
        rows = []
        for reading in readings:
            body = self._encoder.encode(reading)
            rows.append((reading.received, zlib.crc32(body), body))

        def append(tx: sqlite3.Connection) -> int:
            tx.executemany("INSERT INTO journal (received, crc, body) VALUES (?, ?, ?)", rows)
            if dead_letters:
                self._bury(tx, dead_letters)
            return self._last(tx)

        return self._file.written(append)

    def read(self, after: int, limit: int) -> tuple[list[JournalEntry], int]:
        """Read what follows a position.

        `after`: offset already done with; 0 to start. `limit`: at most this many rows. Returns
        `entries`, in order; corrupt rows are left out and quarantined; `position`, the offset to
        continue behind: past corrupt rows and gaps too.
        """
        rows = self._rows(after, limit)
        if not rows and (last := self.last_offset()) > after:
            rows = self._rows(after, limit)  # unless they came since, there are none up to `last`
            if not rows:
                return [], last
        entries: list[JournalEntry] = []
        for offset, crc, body in rows:
            reading = decode_record(crc, body)
            if reading is not None:
                entries.append(JournalEntry(offset, reading))
            else:
                self._quarantine(offset, body if isinstance(body, bytes) else b"")
        return entries, (rows[-1][0] if rows else after)

    def _rows(self, after: int, limit: int) -> list[tuple[int, int, object]]:
        return self._file.found(lambda db: db.execute(_SELECT, (after, limit)).fetchall())

    def last_offset(self) -> int:
        """Offset of the newest reading ever written; 0 if none."""
        return self._file.found(self._last)

    def first_offset(self) -> int:
        """Offset of the oldest reading still kept; one past the last if none is."""

        def first(db: sqlite3.Connection) -> int:
            row = db.execute("SELECT min(offset) FROM journal").fetchone()
            return int(row[0]) if row[0] is not None else self._last(db) + 1

        return self._file.found(first)

    def continue_behind(self, offset: int) -> None:
        """Give out no offset up to and including `offset` any more.

        For a journal that was restored from a backup or begun anew: consumers that are further
        would take its next readings for read. Never goes back. What is passed over is a gap
        `lost`.

        Raises `StorageUnavailableError` if the disk refuses.
        """

        def skip(tx: sqlite3.Connection) -> None:
            last = self._last(tx)
            if last >= offset:
                return
            tx.execute("DELETE FROM sqlite_sequence WHERE name = 'journal'")
            tx.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('journal', ?)", (offset,))
            self._add_gap(tx, last + 1, offset, "lost")

        self._file.written(skip)

    def tail(self, count: int) -> list[Reading]:
        """Return the newest `count` readings in order, to rebuild the duplicate window."""
        entries, _ = self.read(max(0, self.last_offset() - count), count)
        return [entry.reading for entry in entries]

    def prune(
        self,
        *,
        read_by_all: int,
        received_before: float,
        max_bytes: float = float("inf"),
        spare: int | None = None,
    ) -> Pruned:
        """Delete one slice of the oldest readings; call again until it deletes nothing.

        - `read_by_all`: the smallest position over all consumers. Nothing behind it is deleted
          for age.
        - `received_before`: Unix seconds; what is older and read by all is deleted.
        - `max_bytes`: size of what the file holds from which on the oldest are deleted whatever
          their age.
        - `spare`: nothing behind it is deleted even for size; `read_by_all` by default.

        Raises `StorageUnavailableError` if the disk refuses.
        """
        spare = read_by_all if spare is None else max(spare, read_by_all)

        def delete(tx: sqlite3.Connection) -> Pruned:
            upto, n = 0, 0
            excess = self._excess_rows(tx, max_bytes)
            for offset, received in tx.execute(
                "SELECT offset, coalesce(CAST(received AS REAL), 0) FROM journal"
                " ORDER BY offset LIMIT ?",
                (_SLICE,),
            ):
                aged = offset <= read_by_all and received < received_before
                if not aged and (n >= excess or offset > spare):
                    break
                upto, n = offset, n + 1
            if n == 0:
                return Pruned(0, 0)
            unread = tx.execute(
                "SELECT count(*), max(?1, (SELECT coalesce(max(last), 0) FROM gap"
                " WHERE why = 'retention')) FROM journal WHERE offset > ?1 AND offset <= ?2",
                (read_by_all, upto),
            ).fetchone()
            tx.execute("DELETE FROM journal WHERE offset <= ?", (upto,))
            tx.execute("DELETE FROM gap WHERE last <= ? AND why <> 'unread'", (upto,))
            tx.execute(
                "INSERT OR REPLACE INTO gap (why, first, last, at) VALUES ('retention', 1, ?, ?)",
                (upto, self._clock()),
            )
            if unread[0]:
                self._add_gap(tx, unread[1] + 1, upto, "unread")
            return Pruned(n, int(unread[0]))

        return self._file.written(delete)

    def bytes_used(self) -> int:
        """Size of what the file holds; deleted rows leave room in it that is used again."""
        return self._file.found(self._size)

    def gaps(self) -> list[Gap]:
        """Return the offsets that hold no reading, and why, in order."""
        rows = self._file.found(
            lambda db: db.execute("SELECT first, last, at, why FROM gap ORDER BY first").fetchall()
        )
        return [Gap(*row) for row in rows]

    def dead_letter_counts(self) -> dict[str, int]:
        """Count the kept dead letters by reason."""
        rows = self._file.found(
            lambda db: db.execute(
                "SELECT reason, count(*) FROM dead_letter GROUP BY reason"
            ).fetchall()
        )
        return {reason: int(n) for reason, n in rows}

    def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """Return the newest dead letters, newest first."""
        rows = self._file.found(
            lambda db: db.execute(
                "SELECT received, topic, reason, detail, decoder, size, payload FROM dead_letter"
                " ORDER BY id DESC LIMIT ?",
                (limit,),
            ).fetchall()
        )
        return [DeadLetter(*row) for row in rows]

    def _note_damage(self, new: sqlite3.Connection) -> None:
        """Make a gap of every run of offsets that neither a reading nor a gap accounts for."""
        last = self._last(new)
        known = new.execute(
            "SELECT offset, offset FROM journal UNION ALL SELECT first, last FROM gap"
            " UNION ALL SELECT ?1 + 1, ?1 + 1 ORDER BY 1",
            (last,),
        ).fetchall()
        behind = 0
        for first, end in known:
            if first > behind + 1:
                self._add_gap(new, behind + 1, first - 1, "damaged")
            behind = max(behind, end)

    def _add_gap(self, tx: sqlite3.Connection, first: int, last: int, why: str) -> None:
        log.warning("journal: no readings at %d to %d: %s", first, last, why)
        tx.execute(
            "INSERT OR REPLACE INTO gap (why, first, last, at) VALUES (?, ?, ?, ?)",
            (why, first, last, self._clock()),
        )

    @staticmethod
    def _size(connection: sqlite3.Connection) -> int:
        pages, free, size = (
            int(connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def _excess_rows(self, tx: sqlite3.Connection, max_bytes: float) -> float:
        """Rows to delete until the file holds `max_bytes`, taking all for equally large."""
        excess = self._size(tx) - max_bytes
        if excess <= 0:
            return 0
        first, last = tx.execute("SELECT min(offset), max(offset) FROM journal").fetchone()
        return 0 if first is None else 1 + excess / self._size(tx) * (last - first + 1)

    def _bury(self, connection: sqlite3.Connection, letters: Sequence[DeadLetter]) -> None:
        connection.executemany(
            "INSERT INTO dead_letter (received, topic, reason, detail, decoder, size, payload)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [msgspec.structs.astuple(letter) for letter in letters],
        )
        connection.execute(
            "DELETE FROM dead_letter WHERE id <= (SELECT max(id) FROM dead_letter) - ?",
            (_MAX_DEAD_LETTERS,),
        )

    def _quarantine(self, offset: int, body: bytes) -> None:
        """Move a corrupt record to the dead letters; counted once, whoever meets it first.

        Where the disk refuses the move, the record is counted and passed all the same: it must
        not stop its readers.
        """
        letter = DeadLetter(
            self._clock(),
            "journal",
            "corrupt_record",
            f"offset {offset}",
            "",
            len(body),
            bytes(body[:1024]),
        )

        def move(tx: sqlite3.Connection) -> int:
            moved = tx.execute("DELETE FROM journal WHERE offset = ?", (offset,)).rowcount
            if moved:
                self._add_gap(tx, offset, offset, "corrupt")
                self._bury(tx, [letter])
            return moved

        try:
            self.corrupt_records += self._file.written(move)
        except StorageUnavailableError:
            self.corrupt_records += 1

    @staticmethod
    def _last(connection: sqlite3.Connection) -> int:
        with closing(
            connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'journal'")
        ) as found:
            row = found.fetchone()
        return int(row[0]) if row else 0


def _prepare(connection: sqlite3.Connection) -> None:
    migrate(connection, "journal", SCRIPTS)


class JournalReader:
    """The journal of a service, read by another process; nothing is written.

    A damaged record is left out; the service itself quarantines it. Raises
    `StorageUnavailableError` if there is no journal.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = connect(path, read_only=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def span(self) -> tuple[int, int]:
        """Return offset of the oldest reading that is kept, and of the newest ever written."""
        row = self._rows(
            "SELECT (SELECT min(offset) FROM journal),"
            " (SELECT seq FROM sqlite_sequence WHERE name = 'journal')"
        )[0]
        last = int(row[1] or 0)
        return (last + 1 if row[0] is None else int(row[0])), last

    def read(self, after: int, limit: int) -> tuple[list[JournalEntry], int]:
        """Read what follows an offset, as `Journal.read`.

        Returns `entries`, in order, without damaged records; `position`, the offset to continue
        behind; `after` if there is nothing.
        """
        rows = self._rows(_SELECT, after, limit)
        found = ((offset, decode_record(crc, body)) for offset, crc, body in rows)
        entries = [JournalEntry(offset, reading) for offset, reading in found if reading]
        return entries, (rows[-1][0] if rows else after)

    def _rows(self, question: str, *values: int) -> list[tuple[int, int, object]]:
        try:
            return self._connection.execute(question, values).fetchall()
        except sqlite3.Error as error:
            raise translated(error, self._path) from error
