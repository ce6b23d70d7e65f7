"""How every SQLite file here is opened, migrated and written.

WAL so that other processes read while one writes; `synchronous=FULL` so that a commit that
returned is on the disk; `BEGIN IMMEDIATE` so that a transaction never fails half-way for want of
the write lock; `secure_delete` so that what is deleted is overwritten. Only the owner may read a
file. Schemas grow by appending scripts; a file written by a newer program is refused.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from storage.errors import (
    SchemaBefore1Error,
    SchemaTooNewError,
    StorageCorruptError,
    StorageUnavailableError,
)
from storage.files import make_private_database

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BUSY_TIMEOUT_S = 10.0
_BEFORE_1_0: Final = "SELECT count(*) FROM sqlite_master WHERE name = 'schema_version'"
"""Programs of then kept the versions of schemas in a table of this name."""


def translated(error: sqlite3.Error, path: Path | str) -> StorageUnavailableError:
    """Return the storage error of an error of SQLite about a file."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    damaged = code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or any(
        words in str(error) for words in ("unsupported file format", "malformed")
    )
    kind = StorageCorruptError if damaged else StorageUnavailableError
    return kind(f"{path}: {error}")


def connect(path: Path | str, *, read_only: bool = False) -> sqlite3.Connection:
    """Open a database for any one thread at a time, or raise `StorageUnavailableError`."""
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
            if not in_memory and not read_only:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")
                connection.execute("PRAGMA wal_autocheckpoint=2000")
                connection.execute("PRAGMA secure_delete=ON")
            connection.execute("PRAGMA foreign_keys=ON")
            before_1_0 = connection.execute(_BEFORE_1_0).fetchone()[0]
        except (sqlite3.Error, UnicodeDecodeError):
            connection.close()
            raise
    except sqlite3.Error as error:
        raise translated(error, path) from error
    except UnicodeDecodeError as error:  # damaged words, in the message that quotes them
        raise StorageCorruptError(f"{path}: malformed database schema") from error
    if before_1_0:
        connection.close()
        raise SchemaBefore1Error(
            f"{path} was written before Plumewatch 1.0, which this version can't read:"
            f" move {Path(path).parent} away and start with an empty data folder"
        )
    connection.row_factory = sqlite3.Row
    return connection


@contextmanager
def transaction(
    connection: sqlite3.Connection, *, synced: bool = True
) -> Iterator[sqlite3.Connection]:
    """Commit everything done inside, or nothing.

    What is not `synced` outlives the process at once, but a cut of the power only after the next
    transaction that is.
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


def schema_scripts(package: str, component: str) -> tuple[str, ...]:
    """Return the schema scripts of a component, ``sql/<component>_<number>.sql``, in order.

    The first makes the tables, each further one upgrades them by one version. A script that was
    released never changes.
    """
    files = resources.files(package).joinpath("sql").iterdir()
    named = sorted((f for f in files if f.name.startswith(f"{component}_")), key=lambda f: f.name)
    return tuple(file.read_text(encoding="utf-8") for file in named)


def migrate(connection: sqlite3.Connection, component: str, scripts: Sequence[str]) -> None:
    """Bring the tables of one component to the newest schema, one transaction a step."""
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
