"""The journal: the one log of accepted readings, from which every consumer reads.

What it promises
----------------
*Accepted* means: the transaction that holds the reading returned from a SQLite commit in WAL mode
with `synchronous=FULL`, so the bytes were fsynced. Only then may anyone acknowledge. A crash of
the process at any point leaves the journal at the last commit; a power cut the same, as far as the
disk honours fsync.

Format
------
One row a reading: `offset` (strictly increasing, never reused), `received` (Unix seconds), `crc`
(CRC-32 of the body) and `body` (MessagePack of `storage.reading.Reading`). Dead letters, with their
reason, are committed together with the readings of the same group, so that each message has exactly
one durable outcome.

Order of operations
-------------------
`commit(readings, dead_letters)` writes one group in one transaction: group commit spreads the cost
of fsync. Consumers call `read(after, limit)` with their own stored position; positions live with
the consumer's own data (`storage.state`, `storage.timeseries`), in the same transaction as the
effects, so that a crash repeats work and loses none. `prune` deletes what is older than the
retention and read by all.

A record whose checksum or form is wrong is not handed out: it is moved to the dead letters with
reason `corrupt_record` and counted, and reading goes on behind it.

What it is not
--------------
No message queue (no leases, no acknowledgement per reading) and no time series (no lookup by
sensor): those read from it.
"""

from __future__ import annotations

import sqlite3
import threading
import zlib
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple, Self

import msgspec

from storage.errors import StorageUnavailableError
from storage.reading import Reading
from storage.sqlite import connect, migrate, transaction

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

__all__ = ["DeadLetter", "Journal", "JournalEntry"]

SCRIPTS = (
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
)

_MAX_DEAD_LETTERS = 100_000


class DeadLetter(msgspec.Struct, frozen=True):
    """A refused message, kept with its reason for a person to look at.

    Attributes
    ----------
    received : float
        Unix seconds.
    topic : str
        Printable, cut to 256 characters.
    reason : str
        From a closed set.
    detail : str
        One line for people.
    decoder : str
        Decoder that refused it; empty if none was reached.
    size : int
        Bytes of the whole payload.
    payload : bytes
        Its beginning.
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


class Journal:
    """The journal in one SQLite file.

    Parameters
    ----------
    path : Path or str
        The file; ``":memory:"`` for a journal that is not kept.

    Notes
    -----
    One writer at a time; readers share a second connection, one at a time, so that consumers in
    other threads never wait for the fsync of a commit.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self.corrupt_records = 0
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Reading)
        self._write: sqlite3.Connection | None = None
        self._read: sqlite3.Connection | None = None
        self._reading = threading.Lock()

    def open(self) -> None:
        """Open the file, creating or migrating its tables.

        Raises
        ------
        StorageUnavailableError
            If the file cannot be created or written.
        SchemaTooNewError
            If a newer program wrote it.
        """
        write = connect(self.path)
        try:
            migrate(write, "journal", SCRIPTS)
        except sqlite3.Error as error:
            write.close()
            raise StorageUnavailableError(f"{self.path}: {error}") from error
        except Exception:
            write.close()
            raise
        self._write = write
        self._read = write if str(self.path) == ":memory:" else connect(self.path)

    def close(self) -> None:
        """Close both connections; safe to call twice."""
        for connection in (self._read, self._write):
            if connection is not None:
                connection.close()
        self._read = self._write = None

    def __enter__(self) -> Self:
        """Open on entry."""
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close on exit."""
        self.close()

    def commit(self, readings: Sequence[Reading], dead_letters: Sequence[DeadLetter] = ()) -> int:
        """Append one group durably.

        Parameters
        ----------
        readings : sequence of Reading
        dead_letters : sequence of DeadLetter

        Returns
        -------
        int
            The last offset in the journal after the commit.

        Raises
        ------
        StorageUnavailableError
            If the disk refuses; nothing of the group is then kept and nothing may be acknowledged.
        """
        connection = self._writer()
        rows = []
        for reading in readings:
            body = self._encoder.encode(reading)
            rows.append((reading.received, zlib.crc32(body), body))
        try:
            with transaction(connection):
                connection.executemany(
                    "INSERT INTO journal (received, crc, body) VALUES (?, ?, ?)", rows
                )
                if dead_letters:
                    self._bury(connection, dead_letters)
                return self._last(connection)
        except sqlite3.Error as error:
            raise StorageUnavailableError(f"{self.path}: {error}") from error

    def read(self, after: int, limit: int) -> tuple[list[JournalEntry], int]:
        """Read what follows a position.

        Parameters
        ----------
        after : int
            Offset already done with; 0 to start.
        limit : int
            At most this many rows.

        Returns
        -------
        entries : list of JournalEntry
            In order; corrupt rows are left out and quarantined.
        position : int
            The offset to continue behind: past corrupt rows too.
        """
        connection = self._reader()
        try:
            with self._reading:
                rows = connection.execute(
                    "SELECT offset, crc, body FROM journal WHERE offset > ?"
                    " ORDER BY offset LIMIT ?",
                    (after, limit),
                ).fetchall()
        except sqlite3.Error as error:
            raise StorageUnavailableError(f"{self.path}: {error}") from error
        entries: list[JournalEntry] = []
        decode = self._decoder.decode
        for offset, crc, body in rows:
            if zlib.crc32(body) == crc:
                try:
                    entries.append(JournalEntry(offset, decode(body)))
                    continue
                except msgspec.MsgspecError:
                    pass
            self._quarantine(offset, body)
        return entries, (rows[-1][0] if rows else after)

    def last_offset(self) -> int:
        """Offset of the newest reading ever written; 0 if none."""
        return self._last(self._reader())

    def continue_behind(self, offset: int) -> None:
        """Give out no offset up to and including `offset` any more.

        For a journal that was restored from a backup or begun anew: consumers that are further
        would take its next readings for read. Never goes back.

        Parameters
        ----------
        offset : int

        Raises
        ------
        StorageUnavailableError
            If the disk refuses.
        """
        try:
            with transaction(self._writer()) as tx:
                tx.execute(
                    "INSERT INTO sqlite_sequence (name, seq) SELECT 'journal', 0"
                    " WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'journal')"
                )
                tx.execute(
                    "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'journal'",
                    (offset,),
                )
        except sqlite3.Error as error:
            raise StorageUnavailableError(f"{self.path}: {error}") from error

    def first_offset(self) -> int:
        """Offset of the oldest reading still kept; one past the last if none is."""
        row = self._reader().execute("SELECT min(offset) FROM journal").fetchone()
        return int(row[0]) if row[0] is not None else self.last_offset() + 1

    def tail(self, count: int) -> list[Reading]:
        """Return the newest `count` readings in order, to rebuild the duplicate window."""
        entries, _ = self.read(max(0, self.last_offset() - count), count)
        return [entry.reading for entry in entries]

    def prune(self, *, read_by_all: int, received_before: float) -> int:
        """Delete readings that are old and read by every consumer.

        Parameters
        ----------
        read_by_all : int
            The smallest position over all consumers; nothing behind it is deleted.
        received_before : float
            Unix seconds.

        Returns
        -------
        int
            Rows deleted.
        """
        connection = self._writer()
        with transaction(connection):
            done = connection.execute(
                "DELETE FROM journal WHERE offset <= ? AND received < ?",
                (read_by_all, received_before),
            )
            return done.rowcount

    def dead_letter_counts(self) -> dict[str, int]:
        """Count the kept dead letters by reason."""
        with self._reading:
            rows = self._reader().execute(
                "SELECT reason, count(*) FROM dead_letter GROUP BY reason"
            )
            return {reason: int(n) for reason, n in rows}

    def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """Return the newest dead letters, newest first."""
        with self._reading:
            rows = self._reader().execute(
                "SELECT received, topic, reason, detail, decoder, size, payload FROM dead_letter"
                " ORDER BY id DESC LIMIT ?",
                (limit,),
            )
            return [DeadLetter(*row) for row in rows]

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
            0.0, "journal", "corrupt_record", f"offset {offset}", "", len(body), bytes(body[:1024])
        )
        connection: sqlite3.Connection | None = None
        try:
            connection = self._writer() if str(self.path) == ":memory:" else connect(self.path)
            with transaction(connection):
                moved = connection.execute("DELETE FROM journal WHERE offset = ?", (offset,))
                if moved.rowcount == 0:
                    return
                self._bury(connection, [letter])
        except (sqlite3.Error, StorageUnavailableError):
            pass
        finally:
            if connection is not None and connection is not self._write:
                connection.close()
        self.corrupt_records += 1

    @staticmethod
    def _last(connection: sqlite3.Connection) -> int:
        with closing(
            connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'journal'")
        ) as found:
            row = found.fetchone()
        return int(row[0]) if row else 0

    def _writer(self) -> sqlite3.Connection:
        if self._write is None:
            raise StorageUnavailableError(f"{self.path}: the journal is not open")
        return self._write

    def _reader(self) -> sqlite3.Connection:
        if self._read is None:
            raise StorageUnavailableError(f"{self.path}: the journal is not open")
        return self._read
