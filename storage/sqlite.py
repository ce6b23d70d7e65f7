"""Open, migrate and write SQLite files.

WAL mode lets other processes read while one writes. With `synchronous=FULL`, data is on the disk
when a commit returns. `BEGIN IMMEDIATE` takes the write lock at the start, so that a transaction
cannot fail halfway because another process has the lock. `secure_delete` overwrites deleted data.
Only the owner can read the files. Schemas change only by appending scripts. A file with a newer
schema is refused.

`DatabaseFile` has one connection for writing and one for reading. Readers take turns on the reading
connection, so a consumer in another thread never waits for the fsync of a commit. If the file is
damaged, it is set aside and rebuilt from the data that can be recovered (`storage.repair`), and the
failed work is repeated. `UntilStored` repeats work while the disk is full, locked or slow.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar
from urllib.parse import quote

from storage.errors import (
    SchemaTooNewError,
    StorageCorruptError,
    StorageError,
    StorageUnavailableError,
    is_transient,
    translate,
    translate_errors,
)
from storage.files import make_private_database
from storage.repair import PAGE, create, finish_repair, refuse_damaged_schema, salvage, swap

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from storage.repair import Prepare

T = TypeVar("T")
Schema = Mapping[str, Sequence[str]]
"""Schema scripts of each component of a database."""

_BUSY_TIMEOUT_S = 10.0
_FOREIGN: Final = (
    "SELECT count(*) AND NOT sum(name = 'component_version') FROM sqlite_master"
    " WHERE type = 'table'"
)


def connect(path: Path | str, *, read_only: bool = False) -> sqlite3.Connection:
    """Open a database; raises `StorageUnavailableError`.

    Only one thread at a time may use the connection.
    """
    in_memory = str(path) == ":memory:"
    mode = "ro" if read_only else "rwc"
    if not in_memory and not read_only:
        make_private_database(Path(path))
    target = ":memory:" if in_memory else f"file:{quote(str(path))}?mode={mode}"
    try:
        connection = sqlite3.connect(
            target,
            uri=not in_memory,
            timeout=_BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            if connection.execute(_FOREIGN).fetchone()[0]:
                raise sqlite3.DatabaseError("file is not a database of Plumewatch")
            if not in_memory and not read_only:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")
                connection.execute("PRAGMA wal_autocheckpoint=2000")
                connection.execute("PRAGMA secure_delete=ON")
            connection.execute("PRAGMA foreign_keys=ON")
        except (sqlite3.Error, UnicodeDecodeError):
            connection.close()
            raise
    except sqlite3.Error as error:
        raise translate(error, path) from error
    except UnicodeDecodeError as error:  # the error message quotes damaged text
        raise StorageCorruptError(f"{path}: malformed database schema") from error
    connection.row_factory = sqlite3.Row
    return connection


def open_prepared(path: Path | str, prepare: Prepare) -> sqlite3.Connection:
    """Open a database and create or upgrade its tables; raises `StorageUnavailableError`.

    Raises `StorageCorruptError` if the file has no page or an incomplete one, if it has tables but
    not `component_version`, if the schema scripts fail, or if columns are missing.
    """
    if isinstance(path, Path):
        create(path, prepare)
    refuse_empty(path)
    connection = connect(path)
    try:
        prepare(connection)
        if str(path) != ":memory:":
            refuse_damaged_schema(connection, prepare, path)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        connection.close()
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        if isinstance(error, UnicodeDecodeError) or code == sqlite3.SQLITE_ERROR:
            raise StorageCorruptError(f"{path}: the schema is damaged: {error}") from error
        raise translate(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection


def find_damage_mark(path: Path) -> Path:
    """Return the path of the file that marks `path` as damaged.

    A backup that finds damage creates it, and the next start repairs the database.
    """
    return path.with_name(f"{path.name}.damaged")


def refuse_empty(path: Path | str) -> None:
    """Raise `StorageCorruptError` if the file has no page, or if its last page is cut off.

    SQLite would treat an empty file as a new database. It would also keep trying to read a page
    that is cut off, unless the page is in the write-ahead log.
    """
    files = (Path(path), Path(f"{path}-wal"))
    size, logged = (file.stat().st_size if file.exists() else None for file in files)
    if size is not None and (size < PAGE or (size % PAGE and not logged)):
        raise StorageCorruptError(f"{path} is empty or cut off")


@contextmanager
def transaction(
    connection: sqlite3.Connection, *, synced: bool = True
) -> Iterator[sqlite3.Connection]:
    """Commit everything done inside the block, or nothing.

    If not `synced`, the data survives a crash of the process as soon as this returns, but survives
    a power cut only after the next synced transaction.
    """
    if not synced:
        connection.execute("PRAGMA synchronous=NORMAL")
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    finally:
        if not synced:
            connection.execute("PRAGMA synchronous=FULL")


def load_scripts(package: str, component: str) -> tuple[str, ...]:
    """Return the schema scripts of a component, ``sql/<component>_<number>.sql``, in order.

    The first script creates the tables, and each later one upgrades them by one version. A released
    script never changes.
    """
    files = resources.files(package).joinpath("sql").iterdir()
    named = sorted((f for f in files if f.name.startswith(f"{component}_")), key=lambda f: f.name)
    return tuple(file.read_text(encoding="utf-8") for file in named)


def migrate(connection: sqlite3.Connection, component: str, scripts: Sequence[str]) -> None:
    """Upgrade the tables of one component to the newest schema, one transaction per version."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS component_version"
        " (component TEXT PRIMARY KEY, version INTEGER NOT NULL)"
    )
    row = connection.execute(
        "SELECT version FROM component_version WHERE component = ?", (component,)
    ).fetchone()
    version = int(row["version"]) if row else 0
    if version > len(scripts):
        raise SchemaTooNewError(
            f"tables of {component!r} have schema {version}; this program knows up to"
            f" {len(scripts)}: use the newer program or restore a backup"
        )
    for step in range(version, len(scripts)):
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{scripts[step]};\n"
                f"INSERT INTO component_version VALUES ('{component}', {step + 1})"
                " ON CONFLICT (component) DO UPDATE SET version = excluded.version;\nCOMMIT;"
            )
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def migrate_all(connection: sqlite3.Connection, schema: Schema) -> None:
    """Create or upgrade the tables of all components; raises `SchemaTooNewError`."""
    for component, scripts in schema.items():
        migrate(connection, component, scripts)


class DatabaseFile:
    """An SQLite file with a connection for writing and one for reading; repairs damage.

    `prepare`: creates or upgrades the tables.
    `complete`: finishes a database that was rebuilt after damage.
    `repairs`: number of repairs so far.
    """

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
        if isinstance(self.path, Path) and (found := find_damage_mark(self.path)).exists():
            self.rebuild()
            found.unlink()

    def close(self) -> None:
        """Close both connections; safe to call twice."""
        for connection in (self._read_connection, self._write_connection):
            if connection is not None:
                connection.close()
        self._read_connection = self._write_connection = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def query(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return the result of `work` on the reading connection.

        Raises `StorageUnavailableError`.
        """

        def run() -> T:
            with self._reading:
                return work(self._require_open(self._read_connection))

        return self._run_with_repair(run)

    def fetch_rows(self, statement: str, *parameters: Any) -> list[sqlite3.Row]:
        """Return the rows of a statement; raises the same errors as `query`."""
        return self.query(lambda db: db.execute(statement, parameters).fetchall())

    def change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a transaction, and return its result.

        Raises `StorageUnavailableError` if nothing was stored and the same call may succeed later.
        """

        def run() -> T:
            with self._writing, transaction(self._require_open(self._write_connection)) as tx:
                return work(tx)

        return self._run_with_repair(run)

    def rebuild(self) -> None:
        """Rebuild the file from the data that can be recovered, unless a repair already did."""
        if not self.repairs:
            self._repair(self.repairs)

    def _require_open(self, connection: sqlite3.Connection | None) -> sqlite3.Connection:
        if connection is None:
            raise StorageUnavailableError(f"{self.path}: the file is not open")
        return connection

    def _connect(self) -> None:
        write = open_prepared(self.path, self._prepare)
        try:
            read = write if str(self.path) == ":memory:" else connect(self.path)
        except BaseException:
            write.close()
            raise
        self._write_connection, self._read_connection = write, read

    def _run_with_repair(self, work: Callable[[], T]) -> T:
        before = self.repairs
        try:
            return work()
        except (sqlite3.Error, OSError) as error:
            failure = translate(error, self.path)
            if not isinstance(failure, StorageCorruptError):
                raise failure from error
        except StorageCorruptError:
            pass  # the work itself found the damage
        self._repair(before)
        with translate_errors(self.path):
            return work()

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


log = logging.getLogger(__name__)

RETRY_S: Final = 1.0


class InThread(Protocol):
    """Runs blocking work in another thread."""

    async def __call__(self, work: Callable[..., T], *arguments: object) -> T:
        """Return what ``work(*arguments)`` returns."""


class UntilStored:
    """Repeats work until it succeeds; the pauses double from `first_s` to `longest_s`.

    `failing`: the reason for each kind of work that is failing.
    """

    def __init__(self, first_s: float = RETRY_S, longest_s: float = RETRY_S) -> None:
        self.failing: dict[str, str] = {}
        self.last_failure = float("-inf")
        self._first_s, self._longest_s = first_s, longest_s

    async def repeat(
        self,
        what: str,
        attempt: Callable[[], Awaitable[T]],
        give_up: Callable[[], bool] = lambda: False,
    ) -> T:
        """Repeat `attempt` until it succeeds, and return its result.

        `what`: name of the work, for `failing` and the log.
        `give_up`: returns whether to raise a transient error instead of trying again. Permanent
        errors are always raised.
        """
        pause = self._first_s
        while True:
            try:
                done = await attempt()
            except (sqlite3.Error, StorageError) as error:
                if not is_transient(error):
                    raise
                if what not in self.failing:
                    log.error("%s: disk error, retrying: %s", what, error)  # noqa: TRY400 - one line
                self.failing[what] = str(error)
                self.last_failure = time.monotonic()
                if give_up():
                    raise
                await asyncio.sleep(pause)
                pause = min(2 * pause, self._longest_s)
                continue
            if self.failing.pop(what, None) is not None:
                log.warning("%s: storing works again", what)
            return done


class RunUntilStored(UntilStored):
    """Repeats blocking work on the database at `path` in one thread."""

    def __init__(self, in_thread: InThread, path: Path, *, retry_s: float = RETRY_S) -> None:
        super().__init__(retry_s, retry_s)
        self._in_thread = in_thread
        self._path = path

    async def __call__(self, what: str, work: Callable[..., T], *arguments: object) -> T:
        """Repeat ``work(*arguments)`` until it succeeds, and return its result."""
        try:
            return await self.repeat(what, lambda: self._in_thread(work, *arguments))
        except (sqlite3.Error, OSError) as error:
            raise translate(error, self._path) from error
