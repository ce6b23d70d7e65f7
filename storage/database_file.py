"""One SQLite file with a writer, readers, and a way out of damage.

Readers share a second connection, one at a time, so that a consumer in another thread never waits
for the fsync of a commit. A file that turns out to be damaged, when it is opened or in the middle
of work, is set aside and rebuilt from what can be read (`storage.repair`); the work that met the
damage is then done again.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from storage.errors import StorageCorruptError, StorageError, StorageUnavailableError
from storage.repair import finish_repair, salvage, swap
from storage.schema_damage import refuse_damaged_schema
from storage.sqlite import connect, transaction, translated

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from storage.repair import Prepare

T = TypeVar("T")


class DatabaseFile:
    """A file that is read and written through functions of a connection.

    - `path`: the file; ``":memory:"`` for one that is not kept.
    - `prepare`: makes or migrates the tables.
    - `complete`: called with a rebuilt file before it is taken into use.

    `repairs`: times that the file was set aside and rebuilt since the start.
    """

    def __init__(
        self, path: Path | str, prepare: Prepare, complete: Prepare = lambda _: None
    ) -> None:
        self.path = path
        self.repairs = 0
        self._prepare = prepare
        self._complete = complete
        self._write: sqlite3.Connection | None = None
        self._read: sqlite3.Connection | None = None
        self._reading = threading.RLock()
        self._writing = threading.RLock()

    def open(self) -> None:
        """Open the file, creating, migrating or repairing it.

        Raises `StorageUnavailableError` if the file cannot be created or written. Raises
        `SchemaTooNewError` if a newer program wrote it.
        """
        if isinstance(self.path, Path):
            finish_repair(self.path)
        try:
            self._connect()
        except StorageCorruptError:
            self._mend(self.repairs)

    def close(self) -> None:
        """Close both connections; safe to call twice."""
        for connection in (self._read, self._write):
            if connection is not None:
                connection.close()
        self._read = self._write = None

    def found(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Return what a query on the readers' connection returns.

        Raises `StorageUnavailableError` if the disk refuses or the file is not open.
        """

        def run() -> T:
            with self._reading:
                return query(self._opened(self._read))

        return self._mended(run)

    def written(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Commit a change in a transaction of its own and return what it returns.

        Raises `StorageUnavailableError` if the disk refuses or the file is not open; nothing of
        the change is kept.
        """

        def run() -> T:
            with self._writing, transaction(self._opened(self._write)) as tx:
                return change(tx)

        return self._mended(run)

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
        except sqlite3.Error as error:
            write.close()
            raise translated(error, self.path) from error
        except StorageError:
            write.close()
            raise
        self._write, self._read = write, read

    def _mended(self, work: Callable[[], T]) -> T:
        """Do it; where the file turns out to be damaged, mend the file and do it again."""
        before = self.repairs
        try:
            return self._translated(work)
        except StorageCorruptError:
            self._mend(before)
        return self._translated(work)

    def _translated(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def _mend(self, before: int) -> None:
        """Go on in a new file with all that can be read; nothing if another thread just did."""
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


class KeptInFile:
    """What is kept in one `DatabaseFile`, which `__init__` of the subclass makes."""

    _file: DatabaseFile

    @property
    def repairs(self) -> int:
        """Times that the file was set aside and rebuilt since the start."""
        return self._file.repairs

    def open(self) -> None:
        """Open the file, creating, migrating or repairing it.

        Raises `StorageUnavailableError` if the file cannot be created or written. Raises
        `SchemaTooNewError` if a newer program wrote it.
        """
        self._file.open()

    def close(self) -> None:
        """Close it; safe to call twice."""
        self._file.close()

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
