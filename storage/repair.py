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
Tables with a rowid are read in its order; where a page cannot be read, the next key that can is
sought by galloping ahead and halving back, so that a damaged page costs the rows on it and no
others. Tables without one are read from both ends up to the damage.

A file that SQLite will not even open is read over a copy: the bytes of its header that are the same
in every file of ours are put right, and so is its length. If that is not enough, the list of tables
is damaged: it is replaced by that of the new file, with the root pages that can still be read from
the old list, and for the others those of the new file, where files of the same making have them.

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
from typing import TYPE_CHECKING, Any

from storage.errors import StorageUnavailableError
from storage.sqlite import connect, translated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Prepare", "finish_repair", "salvage", "swap"]

Prepare = Callable[[sqlite3.Connection], None]
"""Makes or changes the tables of a connection."""

log = logging.getLogger(__name__)

_LOGS = ("-wal", "-shm")
_HIGHEST_KEY = 2**62
_PAGE = 4096
_FILE_HEADER = 100
_INTERIOR = 5
_HEADER = (
    (0, b"SQLite format 3\0"),
    (16, _PAGE.to_bytes(2, "big") + b"\x02\x02\x00\x40\x20\x20"),  # page size, WAL, fractions
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
        source = _readable(path, patched, _beside(path, "salvaging"))
        if source is None:
            return {}
        with closing(source):
            saved = {table: _copy_table(source, new, table) for table in _tables(new)}
            _copy_sequences(source, new)
            return saved
    finally:
        _remove(patched)


def _readable(path: Path, patched: Path, fresh: Path) -> sqlite3.Connection | None:
    """Open the damaged file, or a copy with its header or list of tables put right.

    Parameters
    ----------
    path, patched : Path
        The damaged file, and where the copy goes.
    fresh : Path
        A file with the tables as the program makes them.

    Returns
    -------
    sqlite3.Connection or None
        None if even that cannot be read.
    """
    with contextlib.suppress(StorageUnavailableError):
        return connect(path, read_only=True)
    for suffix in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(path.with_name(path.name + suffix), f"{patched}{suffix}")
    if not patched.exists():
        return None
    pages = -(-patched.stat().st_size // _PAGE)
    with patched.open("r+b") as file:
        file.truncate(pages * _PAGE)
        for offset, constant in (*_HEADER, (28, pages.to_bytes(4, "big"))):
            file.seek(offset)
            file.write(constant)
    with contextlib.suppress(StorageUnavailableError):
        return connect(patched)
    with contextlib.suppress(sqlite3.Error, StorageUnavailableError):
        _graft_tables(patched, fresh)
        return connect(patched)
    return None


def _graft_tables(patched: Path, fresh: Path) -> None:
    """Replace the list of tables of a file by that of a fresh one, with its own root pages.

    The list is a B-tree whose root is the first page, behind the file's header. A page that is not
    a leaf begins with 5, has the number of its cells at 3, its last child at 8, and at 12 where
    each cell is, which begins with the number of a child (sqlite.org/fileformat2.html).
    """
    listed = patched.with_name(patched.name + "-tables")
    try:
        shutil.copyfile(fresh, listed)
        with (
            closing(sqlite3.connect(patched, isolation_level=None)) as old,
            closing(sqlite3.connect(listed, isolation_level=None)) as new,
        ):
            for connection in (old, new):
                connection.execute("PRAGMA writable_schema=ON")  # what cannot be parsed is no error
            for name, page in _roots(old).items():
                new.execute("UPDATE sqlite_master SET rootpage = ? WHERE name = ?", (page, name))
            with contextlib.suppress(sqlite3.Error):
                old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages = listed.read_bytes()
        first = bytearray(pages[:_PAGE])
        with patched.open("r+b") as file:
            count = file.seek(0, os.SEEK_END) // _PAGE
            for at in _children(first):
                child = int.from_bytes(first[at : at + 4], "big")
                file.write(pages[(child - 1) * _PAGE : child * _PAGE])
                count += 1
                first[at : at + 4] = count.to_bytes(4, "big")
            file.seek(28)
            file.write(count.to_bytes(4, "big"))
            file.seek(_FILE_HEADER)
            file.write(first[_FILE_HEADER:])
    finally:
        _remove(listed)


def _children(first: bytes | bytearray) -> list[int]:
    """Return where the numbers of its children stand in the first page; none in a leaf."""
    if first[_FILE_HEADER] != _INTERIOR:
        return []
    cells = int.from_bytes(first[_FILE_HEADER + 3 : _FILE_HEADER + 5], "big")
    pointers = range(_FILE_HEADER + 12, _FILE_HEADER + 12 + 2 * cells, 2)
    found = [int.from_bytes(first[at : at + 2], "big") for at in pointers]
    return [*found, _FILE_HEADER + 8]


def _roots(old: sqlite3.Connection) -> dict[str, int]:
    """Return the root pages that a damaged list of tables still tells, by name."""
    rows = _by_rowid(old, "SELECT rowid, name, rootpage FROM sqlite_master")
    return {name: page for name, page in rows if isinstance(name, str) and isinstance(page, int)}


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
        _by_rowid(source, f"SELECT rowid, {columns} FROM {table}")  # noqa: S608
        if _has_rowid(new, table)
        else _from_both_ends(source, f"SELECT {columns} FROM {table} ORDER BY ", key)  # noqa: S608
    )
    for row in rows:
        with contextlib.suppress(sqlite3.IntegrityError):  # garbage that no table would take
            saved += new.execute(insert, row).rowcount
    return saved


def _has_rowid(new: sqlite3.Connection, table: str) -> bool:
    found = new.execute("SELECT wr FROM pragma_table_list WHERE name = ?", (table,)).fetchone()
    return not found[0]


def _by_rowid(source: sqlite3.Connection, select: str) -> Iterator[tuple[Any, ...]]:
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


def _from_both_ends(source: sqlite3.Connection, select: str, key: str) -> Iterator[tuple[Any, ...]]:
    down = ", ".join(f"{name} DESC" for name in key.split(", "))
    for order in (key, down):
        try:
            for row in source.execute(select + order):
                yield tuple(row)
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            continue
        return


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
