"""The list of tables of a SQLite file: compared with the program's own, and replaced by it.

A flipped byte can leave the list readable and wrong: a column has another name, or another type,
and statements that know the right one fail or store something else. Published scripts never change,
so a file of the program's own versions describes its tables in the program's words: where a text of
the same length differs within a few bytes, it is damaged. So is a row that says its content begins
on a page that is none, or where that of another begins.

What it is not
--------------
No judgement of schemas. Versions are compared first, by place, since the names of their columns may
be what is damaged: a file of another version is never taken for a damaged one, nor one whose words
differ in more, such as by a column that somebody added.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections import Counter
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from storage.errors import StorageCorruptError
from storage.readable_rows import by_rowid
from storage.sqlite import connect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PAGE: Final = 4096
"""Bytes of a page of our files."""
_FILE_HEADER: Final = 100
_INTERIOR: Final = 5
_BURST: Final = 4
"""Bytes that damage may reach over; two columns in each other's place differ over more."""
VERSIONS: Final = (
    "WITH found (component, version) AS (SELECT * FROM schema_version)"
    " SELECT component, version FROM found"
)
"""Selects the version of each component, by place: names of columns may be damaged."""
_SELECT: Final = "SELECT rowid, name, rootpage, CAST(sql AS BLOB) FROM sqlite_master"


class _Listed(NamedTuple):
    """A row of the list: the first page of its content, and the statement that made it."""

    root: int
    words: bytes


def refuse_damaged_list(
    found: sqlite3.Connection, prepare: Callable[[sqlite3.Connection], None], path: Path
) -> None:
    """Raise if a row of a file's list of tables is damaged.

    Parameters
    ----------
    found : sqlite3.Connection
        The file, open; nothing is written.
    prepare : callable
        Makes the tables of the program.
    path : Path
        The file, for the error.

    Raises
    ------
    StorageCorruptError
        It names the table.
    """
    with closing(connect(":memory:")) as own:
        prepare(own)
        if name := damaged_row(found, own):
            raise StorageCorruptError(f"{path}: damaged in the list of tables: {name}")


def damaged_row(found: sqlite3.Connection, own: sqlite3.Connection) -> str:
    """Return the first table, index or trigger with a damaged row; empty if there is none.

    Parameters
    ----------
    found, own : sqlite3.Connection
        The file in question, and one with the tables as the program makes them.
    """
    versions = _versions(found)
    if any(versions.get(component) != version for component, version in _versions(own).items()):
        return ""
    there, ours = _list(found), _list(own)
    astray = _astray(there, ours, _pages(found))
    for name in filter(there.__contains__, ours):
        if name in astray or _is_damage(there[name].words, ours[name].words):
            return name
    return ""


def graft_tables(patched: Path, fresh: Path) -> None:
    """Replace the list of tables of a file by that of a fresh one, with its own root pages.

    A table whose description is sound, but has its columns in another order than that of the
    program, keeps it: rows are stored by place.

    The list is a B-tree whose root is the first page, behind the file's header. A page that is not
    a leaf begins with 5, has the number of its cells at 3, its last child at 8, and at 12 where
    each cell is, which begins with the number of a child (sqlite.org/fileformat2.html).

    Parameters
    ----------
    patched : Path
        The file; it is changed.
    fresh : Path
        A file with the tables as the program makes them.

    Raises
    ------
    sqlite3.Error
        If a file is none of SQLite.
    """
    new_list = patched.with_name(patched.name + "-tables")
    try:
        shutil.copyfile(fresh, new_list)
        with (
            closing(sqlite3.connect(patched, isolation_level=None)) as old,
            closing(sqlite3.connect(new_list, isolation_level=None)) as new,
        ):
            for connection in (old, new):
                connection.execute("PRAGMA writable_schema=ON")  # what cannot be parsed is no error
            there, ours = _list(old), _list(new)
            astray = _astray(there, ours, _pages(old))
            for name in ours.keys() & there.keys():
                row = there[name]
                root = ours[name].root if name in astray else row.root
                words = row.words if _same(row.words, ours[name].words) else ours[name].words
                new.execute(
                    "UPDATE sqlite_master SET rootpage = ?, sql = nullif(CAST(? AS TEXT), '')"
                    " WHERE name = ?",
                    (root, words, name),
                )
            with suppress(sqlite3.Error):
                old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages = new_list.read_bytes()
        first = bytearray(pages[:PAGE])
        with patched.open("r+b") as file:
            count = file.seek(0, os.SEEK_END) // PAGE
            for at in _children(first):
                child = int.from_bytes(first[at : at + 4], "big")
                file.write(pages[(child - 1) * PAGE : child * PAGE])
                count += 1
                first[at : at + 4] = count.to_bytes(4, "big")
            file.seek(28)
            file.write(count.to_bytes(4, "big"))
            file.seek(_FILE_HEADER)
            file.write(first[_FILE_HEADER:])
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            new_list.with_name(new_list.name + suffix).unlink(missing_ok=True)


def _list(connection: sqlite3.Connection) -> dict[str, _Listed]:
    """Return what a list tells, by name; of a damaged one what can still be read."""
    return {
        name: _Listed(root, words or b"")
        for name, root, words in by_rowid(connection, _SELECT)
        if isinstance(name, str) and isinstance(root, int)
    }


def _versions(connection: sqlite3.Connection) -> dict[object, object]:
    with suppress(sqlite3.Error):  # there is no such table, or it cannot be read
        return dict(map(tuple, connection.execute(VERSIONS)))
    return {}


def _pages(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA page_count").fetchone()[0])


def _astray(there: dict[str, _Listed], ours: dict[str, _Listed], pages: int) -> set[str]:
    """Return the names of the rows whose root page is none, or that of another row too."""
    shared = Counter(row.root for row in there.values())
    return {
        name
        for name in ours.keys() & there.keys()
        if bool(root := there[name].root) != bool(ours[name].root)  # triggers have none
        or (root and (shared[root] > 1 or not 1 < root <= pages))
    }


def _is_damage(found: bytes, own: bytes) -> bool:
    differing = [k for k, (a, b) in enumerate(zip(found, own, strict=False)) if a != b]
    return len(found) == len(own) and differing != [] and differing[-1] - differing[0] < _BURST


def _same(found: bytes, own: bytes) -> bool:
    """Tell whether two statements make the same table, with its columns in whatever order."""
    columns = _columns(found)
    return columns is not None and columns == _columns(own)


def _columns(words: bytes) -> set[tuple[object, ...]] | None:
    """Return what a statement says of each column but its place; None if it makes no table."""
    with closing(sqlite3.connect(":memory:")) as scratch:
        try:
            scratch.execute(words.decode())
            rows = scratch.execute(
                'SELECT t.name, t.wr, c.name, c.type, c."notnull", c.dflt_value, c.pk'
                " FROM pragma_table_list t, pragma_table_info(t.name) c"
                " WHERE t.name NOT LIKE 'sqlite_%'"
            ).fetchall()
        except (sqlite3.Error, sqlite3.Warning, ValueError):
            return None
    return set(rows) or None


def _children(first: bytes | bytearray) -> list[int]:
    """Return where the numbers of its children stand in the first page; none in a leaf."""
    if first[_FILE_HEADER] != _INTERIOR:
        return []
    cells = int.from_bytes(first[_FILE_HEADER + 3 : _FILE_HEADER + 5], "big")
    pointers = range(_FILE_HEADER + 12, _FILE_HEADER + 12 + 2 * cells, 2)
    found = [int.from_bytes(first[at : at + 2], "big") for at in pointers]
    return [*found, _FILE_HEADER + 8]
