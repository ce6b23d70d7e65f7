"""Repair a damaged SQLite file: set it aside, and continue in a new file with recovered rows.

Order of operations:

1. Build ``NAME.salvaging`` next to the file: create the tables as the program does, and add every
   row that can be recovered. The old file does not change.
2. Rename it to ``NAME.salvaged``. A file with this name is always complete.
3. Move the old file and its write-ahead log to ``NAME.corrupt-K``, for a person to examine.
4. Rename ``NAME.salvaged`` to ``NAME``.

After a crash before step 2, the repair starts again; after a later crash, it continues at step 3
(`finish_repair`). `create` makes a new file in the same way.

Recovery uses the ``.recover`` command of the ``sqlite3`` program. It reads every page, so only the
rows on damaged pages are lost. For some pages, the command cannot tell which table they belong to.
Their rows are assigned to the table that has the same root page, or else to the only table whose
columns fit. If a table is missing from the file's list of tables, or none of its rows are found,
the list may be wrong. Then the file is recovered once more without the list, and all rows of that
table are assigned in this way.

Without a ``sqlite3`` program that supports this, each table is read from both ends up to the
damage. The content of rows is not checked here; records have checksums where needed
(`storage.journal`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from storage.errors import StorageCorruptError, StorageUnavailableError, translate_errors
from storage.files import lock_folder, make_private_database, sync

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

Prepare = Callable[[sqlite3.Connection], None]
"""Creates or changes the tables of a database."""

log = logging.getLogger(__name__)

PAGE: Final = 4096
ROWIDS: Final = 2**62
"""Larger row ids are treated as damage, because no table has that many rows."""
_AFTER_KEY: Final = 1_000
"""Sort key of columns outside the primary key."""
_HEADER: Final = (
    (0, b"SQLite format 3\0\x10\0\x02\x02\0\x40\x20\x20"),  # pages of 4,096 bytes, WAL
    (44, (4).to_bytes(4, "big")),  # schema format
    (56, (1).to_bytes(4, "big")),  # UTF-8
)
_SEQUENCES: Final = "sqlite_sequence"
_NO_TABLES: Final = b"\x0d\0\0\0\0\x10\0\0"
"""A page without rows, to follow the header."""
_LOST: Final = "lost_and_found"
"""Prefix of the tables in which `.recover` puts rows of unknown tables."""
_LOGS: Final = ("-wal", "-shm")
_PYTHON_TYPES: Final = {"INTEGER": (int,), "REAL": (int, float), "TEXT": (str,), "BLOB": (bytes,)}


def salvage(path: Path, prepare: Prepare, complete: Prepare = lambda _: None) -> dict[str, int]:
    """Build the file that replaces a damaged one (steps 1 and 2); return row counts by table."""
    with _new_database(_name_next_to(path, "salvaging"), _name_next_to(path, "salvaged")) as new:
        prepare(new)
        new.execute("BEGIN")
        saved = _copy(path, new)
        complete(new)
        new.execute("COMMIT")
    log.error("%s is damaged; rows recovered: %s", path, saved)
    return saved


def create(path: Path, prepare: Prepare) -> None:
    """Create a database if it does not exist; a power cut leaves either all of it or nothing."""
    with translate_errors(path), lock_folder(path.parent):
        if not path.exists():
            _remove(path)  # a deleted file may have left logs
            with _new_database(_name_next_to(path, "making"), path) as new:
                prepare(new)


@contextlib.contextmanager
def _new_database(building: Path, path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection to a new file; at the end, sync it and rename it to `path`."""
    _remove(building)
    with translate_errors(building):
        make_private_database(building)
        with closing(sqlite3.connect(building, isolation_level=None)) as new:
            new.execute("PRAGMA journal_mode=OFF")
            new.execute("PRAGMA synchronous=OFF")
            new.row_factory = sqlite3.Row
            yield new
        sync(building)
        building.rename(path)
        sync(path.parent)


def swap(path: Path) -> Path:
    """Put the salvaged file in place (steps 3 and 4); return the path of the damaged file."""
    number = 1
    while (aside := _name_next_to(path, f"corrupt-{number}")).exists():
        number += 1
    with translate_errors(path):
        for suffix in (*_LOGS, ""):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
        _name_next_to(path, "salvaged").rename(path)
        sync(path.parent)
    log.error("%s continues with the recovered rows; the damaged file is %s", path, aside)
    return aside


def finish_repair(path: Path) -> None:
    """Finish a repair that a crash interrupted; raises the same errors as `swap`."""
    if _name_next_to(path, "salvaged").exists():
        swap(path)


def _name_next_to(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}.{suffix}")


def _remove(path: Path) -> None:
    for suffix in ("", "-journal", *_LOGS):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _copy(path: Path, new: sqlite3.Connection) -> dict[str, int]:
    recovered, blank = _name_next_to(path, "recovered"), _name_next_to(path, "salvaging-copy")
    program = find_recovery_program()
    if program is None:
        log.error(
            "%s: found no sqlite3 program with a working .recover command, so only rows before and"
            " after the damage are recovered; install one (apt-get install sqlite3; Debian 12's"
            " does not work)",
            path,
        )
        return _copy_readable(path, new)
    try:
        layouts = _list_layouts(new)
        with closing(_recover(program, path, recovered)) as source:
            theirs = {name for name in _list_tables(source) if not name.startswith(_LOST)}
            own = set(_list_tables(new))
            if theirs and "component_version" not in theirs and len(theirs & own) < len(own) / 2:
                return {}  # another program's file
            listed = {layout.name for layout in layouts if layout.is_complete_in(source)}
            saved = _copy_recovered(source, new, layouts, listed)
        found = {name for name in listed if saved[name]}
        if unlisted := {layout.name for layout in layouts if not layout.is_index} - found:
            _copy_without_list(path, blank)
            with closing(_recover(program, blank, recovered)) as source:
                saved |= _copy_recovered(source, new, layouts, unlisted)
        return saved
    finally:
        _remove(recovered)
        _remove(blank)


def find_recovery_program() -> str | None:
    """Return the path of the ``sqlite3`` program, if it exists and its ``.recover`` works."""
    program = shutil.which("sqlite3")
    if program is not None:
        tried = (program, ":memory:", ".recover")
        ended = subprocess.run(tried, capture_output=True, stdin=subprocess.DEVNULL, check=False)  # noqa: S603 - no shell
        if ended.returncode == 0:
            return program
    return None


def _recover(program: str, path: Path, target: Path) -> sqlite3.Connection:
    """Execute as much of the output of ``.recover`` as possible in a new file, and open it."""
    _remove(target)
    make_private_database(target)
    read = (program, "-readonly", f"file:{quote(str(path))}?mode=ro", ".recover --ignore-freelist")
    write = (program, "-safe", str(target))
    with subprocess.Popen(read, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:  # noqa: S603 - no shell
        made = subprocess.run(write, stdin=process.stdout, capture_output=True, check=False)  # noqa: S603 - no shell
    if any(words in made.stderr for words in (b"is full", b"I/O error", b"out of memory")):
        raise StorageUnavailableError(f"{target}: {made.stderr[:200].decode(errors='replace')}")
    connection = sqlite3.connect(target)
    connection.text_factory = lambda text: text.decode(errors="replace")
    return connection


def _copy_without_list(path: Path, copy: Path) -> None:
    """Copy a file and its log, with a standard header and an empty list of tables."""
    for suffix in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(path.with_name(path.name + suffix), f"{copy}{suffix}")
    with copy.open("r+b") as file:
        pages = -(-file.seek(0, os.SEEK_END) // PAGE)
        file.truncate(pages * PAGE)
        for offset, constant in (*_HEADER, (28, pages.to_bytes(4, "big"))):
            file.seek(offset)
            file.write(constant)
    with contextlib.suppress(sqlite3.Error), closing(sqlite3.connect(copy)) as logged:
        logged.execute("PRAGMA writable_schema=ON")  # ignore entries that cannot be parsed
        logged.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with copy.open("r+b") as file:
        file.seek(100)
        file.write(_NO_TABLES)


class _Layout(NamedTuple):
    """How the rows of a table or index are stored."""

    name: str
    root: int
    is_index: bool
    has_rowid: bool
    columns: tuple[sqlite3.Row, ...]

    def is_complete_in(self, source: sqlite3.Connection) -> bool:
        """Return whether a database has this table with all columns."""
        found = source.execute("SELECT name FROM pragma_table_info(?)", (self.name,))
        names = {column["name"] for column in self.columns}
        return not self.is_index and names <= {row[0] for row in found}

    def fits(self, rowid: object, values: Sequence[object]) -> bool:
        """Return whether a record can be a row of this table."""
        return (rowid is not None) is self.has_rowid and self.accepts(values)

    def accepts(self, values: Sequence[object]) -> bool:
        """Return whether these values fit the columns; the rowid may be absent."""
        if len(values) != len(self.columns):
            return False
        for column, value in zip(self.columns, values, strict=True):
            is_rowid = self.has_rowid and column["pk"] and column["type"] == "INTEGER"
            kinds = _PYTHON_TYPES.get(column["type"], (object,))
            if value is None and not is_rowid and column["notnull"]:
                return False
            if is_rowid and isinstance(value, int) and value >= ROWIDS:
                return False
            if value is not None and not isinstance(value, kinds):
                return False
        return True


def _list_layouts(new: sqlite3.Connection) -> list[_Layout]:
    roots = dict(map(tuple, new.execute("SELECT name, rootpage FROM sqlite_master")))
    found = []
    for table in _list_tables(new):
        columns = new.execute(f"PRAGMA table_info({table})").fetchall()
        has_rowid = _has_rowid(new, table)
        if not has_rowid:  # the key is stored first
            columns.sort(key=lambda column: column["pk"] or _AFTER_KEY)
        found.append(_Layout(table, roots[table], False, has_rowid, tuple(columns)))  # noqa: FBT003
        by_name = {column["name"]: column for column in columns}
        rowid = {"name": "rowid", "type": "INTEGER", "notnull": 1, "pk": 0}
        for index in new.execute(f"PRAGMA index_list({table})").fetchall():
            parts = new.execute(f"PRAGMA index_xinfo({index['name']})").fetchall()
            stored = tuple(by_name.get(part["name"], rowid) for part in parts)
            if root := roots.get(index["name"]):
                found.append(_Layout(index["name"], root, True, False, stored))  # noqa: FBT003
    return found


def _copy_recovered(
    source: sqlite3.Connection,
    new: sqlite3.Connection,
    layouts: Sequence[_Layout],
    wanted: Collection[str],
) -> dict[str, int]:
    """Copy the rows of the `wanted` tables, including lost rows; return row counts by table."""
    saved = dict.fromkeys(wanted, 0)
    for layout in layouts:
        if layout.name in wanted and layout.is_complete_in(source):
            listed = ", ".join(f'"{column["name"]}"' for column in layout.columns)
            rows = source.execute(f"SELECT {listed} FROM {layout.name}")  # noqa: S608 - names of our schema
            saved[layout.name] += _insert(new, layout, rows)
    for name in _list_tables(source):
        if name.startswith(_LOST):
            lost = source.execute(f"SELECT * FROM {name} ORDER BY pgno")  # noqa: S608 - a name of `.recover`
            for _, page in groupby(lost, key=itemgetter(1)):
                records = list(page)
                owner = _find_layout(records, layouts)
                if owner is not None and owner.name in wanted:
                    saved[owner.name] += _insert(new, owner, _extract_values(records, owner))
    return saved


def _find_layout(page: Sequence[Sequence[Any]], layouts: Sequence[_Layout]) -> _Layout | None:
    """Return the table to which the rows of a lost page belong; None if it is uncertain."""
    root, _, count, rowid, *values = page[0]
    by_root = [layout for layout in layouts if layout.root == root]
    fitting = [layout for layout in by_root if layout.fits(rowid, values[:count])] or [
        layout
        for layout in layouts
        if all(layout.fits(row[3], row[4 : 4 + row[2]]) for row in page)
    ]
    return fitting[0] if len(fitting) == 1 and not fitting[0].is_index else None


def _extract_values(page: Iterable[Sequence[Any]], layout: _Layout) -> Iterator[list[Any]]:
    for _, _, count, rowid, *values in page:
        if layout.fits(rowid, values[:count]):
            yield [
                rowid if value is None and layout.has_rowid and column["pk"] else value
                for column, value in zip(layout.columns, values, strict=False)
            ]


def _insert(new: sqlite3.Connection, layout: _Layout, rows: Iterable[Sequence[Any]]) -> int:
    columns = ", ".join(f'"{column["name"]}"' for column in layout.columns)
    marks = ", ".join("?" * len(layout.columns))
    statement = f"INSERT OR IGNORE INTO {layout.name} ({columns}) VALUES ({marks})"  # noqa: S608 - names of our schema
    saved = 0
    if layout.name == _SEQUENCES:
        return _keep_sequences(new, rows)
    for row in filter(layout.accepts, rows):  # other rows are garbage
        with contextlib.suppress(sqlite3.IntegrityError):
            saved += new.execute(statement, row).rowcount
    return saved


def _copy_readable(path: Path, new: sqlite3.Connection) -> dict[str, int]:
    saved = {}
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as source:
        for layout in _list_layouts(new):
            if layout.is_index:
                continue
            saved[layout.name] = 0
            names = [f'"{column["name"]}"' for column in layout.columns]
            keys = [f'"{column["name"]}"' for column in layout.columns if column["pk"]]
            keys = ["rowid"] if layout.has_rowid else keys
            for direction in ("ASC", "DESC"):
                order = ", ".join(f"{key} {direction}" for key in keys)
                statement = f"SELECT {', '.join(names)} FROM {layout.name} ORDER BY {order}"  # noqa: S608 - names of our schema
                try:
                    saved[layout.name] += _insert(
                        new, layout, map(tuple, source.execute(statement))
                    )
                except (sqlite3.DatabaseError, UnicodeDecodeError):
                    continue
                break
    return saved


def refuse_damaged_schema(found: sqlite3.Connection, prepare: Prepare, path: Path | str) -> None:
    """Raise `StorageCorruptError` if the file lacks tables or columns.

    A flipped byte can leave the list of tables readable but wrong. If it changes the name of a
    column, statements that use the right name fail. `found` must already be prepared. It may have
    more columns than needed.
    """
    with closing(sqlite3.connect(":memory:")) as own:
        own.row_factory = sqlite3.Row
        prepare(own)
        for name, column in _list_columns(own) - _list_columns(found):
            raise StorageCorruptError(f"{path}: the schema is damaged: no column {name}.{column}")


def _list_columns(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    rows = connection.execute(
        "SELECT t.name, c.name FROM sqlite_master AS t, pragma_table_info(t.name) AS c"
        " WHERE t.type = 'table'"
    )
    return {(row[0], row[1]) for row in rows}


def _list_tables(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name = ?", (_SEQUENCES,)
    )
    return [str(row[0]) for row in rows]


def _has_rowid(new: sqlite3.Connection, table: str) -> bool:
    found = new.execute("SELECT wr FROM pragma_table_list WHERE name = ?", (table,)).fetchone()
    return not found[0]


def _keep_sequences(new: sqlite3.Connection, rows: Iterable[Sequence[Any]]) -> int:
    """Copy the counters of used keys, so that no key is used twice."""
    known = dict(new.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
    for name, last in (row for row in rows if isinstance(row[1], int) and row[1] < ROWIDS):
        new.execute("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
        kept = max(last, known.get(name, 0))
        new.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, kept))
    return 0
