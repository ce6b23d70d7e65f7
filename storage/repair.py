"""A damaged SQLite file: set aside whole, what can be read of it goes on in a new one.

Why
---
A flipped byte or a torn page makes SQLite refuse some pages of a file for good. Whoever needs one
of them would fail the same way for ever, so a service could neither go on nor start again.

Order of operations
-------------------
1. ``NAME.salvaging`` is built beside the file: the tables as the program makes them, then every row
   of the old file that can be read. Nothing of the old file is changed.
2. It is renamed to ``NAME.salvaged``: from here on it is complete.
3. The old file moves to ``NAME.corrupt-K`` with its write-ahead log, for a person to look at.
4. ``NAME.salvaged`` becomes ``NAME``.

A crash before step 2 begins again, one after it goes on at step 3 (`finish_repair`, called before
a file is opened).

How rows are found
------------------
A damaged page costs the rows on it and no others (`storage.readable_rows`).

A file that SQLite will not even open is read over a copy: the bytes of its header that are the same
in every file of ours are put right, and so is its length. If that is not enough, or a row of the
list of tables is damaged, the list is replaced by that of the new file, with the root pages that
can still be read from the old one, and for the others those of the new file, where files of the
same making have them (`storage.table_list`).

What it is not
--------------
No check of what was read: records have checksums of their own where that matters
(`storage.journal`). And no repair of hardware: a disk that flips bytes wants replacing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

from storage.errors import StorageUnavailableError
from storage.readable_rows import by_rowid, from_both_ends
from storage.sqlite import connect, translated
from storage.table_list import PAGE, damaged_row, graft_tables

if TYPE_CHECKING:
    from pathlib import Path

Prepare = Callable[[sqlite3.Connection], None]
"""Makes or changes the tables of a connection."""

log = logging.getLogger(__name__)

_LOGS = ("-wal", "-shm")
_HEADER = (
    (0, b"SQLite format 3\0"),
    (16, PAGE.to_bytes(2, "big") + b"\x02\x02\x00\x40\x20\x20"),  # page size, WAL, fractions
    (44, (4).to_bytes(4, "big")),  # schema format
    (56, (1).to_bytes(4, "big")),  # UTF-8
)


def salvage(path: Path, prepare: Prepare, complete: Prepare = lambda _: None) -> dict[str, int]:
    """Build the file that replaces a damaged one (steps 1 and 2).

    Parameters
    ----------
    path : Path
        The damaged file; it may be open.
    prepare : callable
        Makes the tables in the new file.
    complete : callable
        Called with the new file when all rows are in it.

    Returns
    -------
    dict of str to int
        Rows saved, by table.

    Raises
    ------
    StorageUnavailableError
        If the new file cannot be written; nothing has changed then.
    """
    building = _beside(path, "salvaging")
    _remove(building)
    try:
        with closing(sqlite3.connect(building, isolation_level=None)) as new:
            new.execute("PRAGMA journal_mode=OFF")  # nobody reads it before it is complete
            new.row_factory = sqlite3.Row
            prepare(new)
            new.execute("BEGIN")
            saved = _copy(path, new)
            complete(new)
            new.execute("COMMIT")
        _sync(building)
        building.rename(_beside(path, "salvaged"))
        _sync(path.parent)
    except sqlite3.Error as error:
        raise translated(error, building) from error
    except OSError as error:
        raise StorageUnavailableError(f"{building}: {error.strerror}") from error
    log.error("%s is damaged; saved of it: %s", path, saved)
    return saved


def swap(path: Path) -> Path:
    """Put the salvaged file in place of the damaged one (steps 3 and 4); nobody may have it open.

    Returns
    -------
    Path
        Where the damaged file is now.

    Raises
    ------
    StorageUnavailableError
        If a file cannot be renamed; `finish_repair` goes on with it.
    """
    number = 1
    while (aside := _beside(path, f"corrupt-{number}")).exists():
        number += 1
    try:
        for suffix in (*_LOGS, ""):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
        _beside(path, "salvaged").rename(path)
        _sync(path.parent)
    except OSError as error:
        raise StorageUnavailableError(f"{path}: {error.strerror}") from error
    log.error("%s goes on with what was saved; the damaged file is %s", path, aside)
    return aside


def finish_repair(path: Path) -> None:
    """Finish the repair of a file that a crash interrupted, if there was one.

    Raises
    ------
    StorageUnavailableError
        If a file cannot be renamed.
    """
    if _beside(path, "salvaged").exists():
        swap(path)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}.{suffix}")


def _remove(path: Path) -> None:
    for suffix in ("", "-journal", *_LOGS):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy(path: Path, new: sqlite3.Connection) -> dict[str, int]:
    patched = _beside(path, "salvaging-header")
    try:
        source = _readable(path, patched, _beside(path, "salvaging"), new)
        if source is None:
            return {}
        with closing(source):
            saved = {table: _copy_table(source, new, table) for table in _tables(new)}
            _copy_sequences(source, new)
            return saved
    finally:
        _remove(patched)


def _readable(
    path: Path, patched: Path, fresh: Path, own: sqlite3.Connection
) -> sqlite3.Connection | None:
    """Open the damaged file, or a copy with its header or list of tables put right.

    Parameters
    ----------
    path, patched : Path
        The damaged file, and where the copy goes.
    fresh : Path
        A file with the tables as the program makes them.
    own : sqlite3.Connection
        The same, open.

    Returns
    -------
    sqlite3.Connection or None
        None if even that cannot be read.
    """
    if source := _as_it_is(path, own, read_only=True):
        return source
    for suffix in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(path.with_name(path.name + suffix), f"{patched}{suffix}")
    if not patched.exists():
        return None
    pages = -(-patched.stat().st_size // PAGE)
    with patched.open("r+b") as file:
        file.truncate(pages * PAGE)
        for offset, constant in (*_HEADER, (28, pages.to_bytes(4, "big"))):
            file.seek(offset)
            file.write(constant)
    if source := _as_it_is(patched, own):
        return source
    with contextlib.suppress(sqlite3.Error, StorageUnavailableError):
        graft_tables(patched, fresh)
        return connect(patched)
    return None


def _as_it_is(
    path: Path, own: sqlite3.Connection, *, read_only: bool = False
) -> sqlite3.Connection | None:
    """Open a file whose list of tables needs no replacement; None if it does."""
    with contextlib.suppress(StorageUnavailableError):
        source = connect(path, read_only=read_only)
        if not damaged_row(source, own):
            return source
        source.close()
    return None


def _tables(new: sqlite3.Connection) -> list[str]:
    rows = new.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        " AND name <> 'schema_version'"
    )
    return [str(row[0]) for row in rows]


def _copy_table(source: sqlite3.Connection, new: sqlite3.Connection, table: str) -> int:
    info = new.execute(f"PRAGMA table_info({table})").fetchall()
    columns = ", ".join(f'"{row["name"]}"' for row in info)
    key = ", ".join(f'"{r["name"]}"' for r in sorted(info, key=lambda r: r["pk"]) if r["pk"])
    insert = f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({', '.join('?' * len(info))})"  # noqa: S608 - names of our schema
    saved = 0
    rows = (
        by_rowid(source, f"SELECT rowid, {columns} FROM {table}")  # noqa: S608
        if _has_rowid(new, table)
        else from_both_ends(source, f"SELECT {columns} FROM {table} ORDER BY ", key)  # noqa: S608
    )
    for row in rows:
        with contextlib.suppress(sqlite3.IntegrityError):  # garbage that no table would take
            saved += new.execute(insert, row).rowcount
    return saved


def _has_rowid(new: sqlite3.Connection, table: str) -> bool:
    found = new.execute("SELECT wr FROM pragma_table_list WHERE name = ?", (table,)).fetchone()
    return not found[0]


def _copy_sequences(source: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Let keys that are never used again stay so."""
    with contextlib.suppress(sqlite3.DatabaseError):
        for name, last in source.execute("SELECT name, seq FROM sqlite_sequence").fetchall():
            new.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (last, name))
            new.execute(
                "INSERT INTO sqlite_sequence (name, seq) SELECT ?1, ?2 WHERE NOT EXISTS"
                " (SELECT 1 FROM sqlite_sequence WHERE name = ?1)",
                (name, last),
            )
