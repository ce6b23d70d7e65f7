"""Read the journal of a service from another process, and never write to it.

A record that is damaged is left out here and stays where it is; the service itself sets it aside.
"""

from __future__ import annotations

import sqlite3
import zlib
from typing import TYPE_CHECKING, Self

import msgspec

from storage.journal_records import JournalEntry
from storage.reading import Reading
from storage.sqlite import connect, translated

if TYPE_CHECKING:
    from pathlib import Path


class JournalReader:
    """The journal, read alone; the service may write to it meanwhile.

    Raises `StorageUnavailableError` if there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = connect(path, read_only=True)
        self._decoder = msgspec.msgpack.Decoder(Reading)

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
        rows = self._rows(
            "SELECT offset, crc, body FROM journal WHERE offset > ? ORDER BY offset LIMIT ?",
            after,
            limit,
        )
        entries = []
        for offset, crc, body in rows:
            if isinstance(body, bytes) and zlib.crc32(body) == crc:
                try:
                    entries.append(JournalEntry(offset, self._decoder.decode(body)))
                except msgspec.MsgspecError:
                    continue
        return entries, (rows[-1][0] if rows else after)

    def _rows(self, question: str, *values: int) -> list[tuple[int, int, object]]:
        try:
            return self._connection.execute(question, values).fetchall()
        except sqlite3.Error as error:
            raise translated(error, self._path) from error
