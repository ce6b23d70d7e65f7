"""One SQLite file with a writer, readers, and a way out of damage.

Readers share a second connection, one at a time, so a consumer in another thread never waits for
the fsync of a commit. A file that turns out to be damaged, when it is opened or later, is set aside
and rebuilt from what can be recovered (`storage.repair`); the failed work is then repeated.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from storage.errors import StorageCorruptError, StorageUnavailableError
from storage.repair import finish_repair, salvage, swap
from storage.schema_damage import refuse_damaged_schema
from storage.sqlite import connect, transaction, translated

if TYPE_CHECKING:
    from collections.abc import Callable

    from storage.repair import Prepare

T = TypeVar("T")


class DatabaseFile:
    """A file that is read and written through functions of a connection."""

    def __init__(
        self, path: Path | str, prepare: Prepare, complete: Prepare = lambda _: None
    ) -> None:
        self.path = path
        self.repairs = 0
        self._prepare = prepare
        self._complete = complete
        self._write_connection: sqlite3.Connection | None = None
        self._read_connection: sqlite3.Connection | None = None
        self._reading = threading.RLock()
        self._writing = threading.RLock()

    def open(self) -> None:
        """Open the file, creating, migrating or repairing it; raises `StorageUnavailableError`."""
        if isinstance(self.path, Path):
            finish_repair(self.path)
        try:
            self._connect()
        except StorageCorruptError:
            self._repair(self.repairs)

    def close(self) -> None:
        """Close both connections; safe to call twice."""
        for connection in (self._read_connection, self._write_connection):
            if connection is not None:
                connection.close()
        self._read_connection = self._write_connection = None

    def __enter__(self) -> Self:
        """Open on entry."""
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        """Close on exit."""
        self.close()

    def query(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `work` returns on the readers' connection, or `StorageUnavailableError`."""

        def run() -> T:
            with self._reading:
                return work(self._opened(self._read_connection))

        return self._repaired(run)

    def rows(self, statement: str, *parameters: Any) -> list[sqlite3.Row]:
        """Return the rows of a statement; raises as `query`."""
        return self.query(lambda db: db.execute(statement, parameters).fetchall())

    def change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a transaction; `StorageUnavailableError` keeps nothing of it."""

        def run() -> T:
            with self._writing, transaction(self._opened(self._write_connection)) as tx:
                return work(tx)

        return self._repaired(run)

    def _opened(self, connection: sqlite3.Connection | None) -> sqlite3.Connection:
        if connection is None:
            raise StorageUnavailableError(f"{self.path}: the file is not open")
        return connection

    def _connect(self) -> None:
        write = connect(self.path)
        try:
            if isinstance(self.path, Path):
                refuse_damaged_schema(write, self._prepare, self.path)
            self._prepare(write)
            read = write if str(self.path) == ":memory:" else connect(self.path)
        except BaseException as error:
            write.close()
            if isinstance(error, sqlite3.Error):
                raise translated(error, self.path) from error
            raise
        self._write_connection, self._read_connection = write, read

    def _repaired(self, work: Callable[[], T]) -> T:
        before = self.repairs
        try:
            return self._translated(work)
        except StorageCorruptError:
            self._repair(before)
        return self._translated(work)

    def _translated(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def _repair(self, before: int) -> None:
        if not isinstance(self.path, Path):
            return
        with self._writing:
            if self.repairs != before:
                return
            salvage(self.path, self._prepare, self._complete)
            with self._reading:
                self.close()
                swap(self.path)
                self._connect()
            self.repairs += 1
