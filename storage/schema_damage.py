"""Detect a damaged schema: the list of tables in a SQLite file, compared with the program's own.

A flipped byte can leave the list readable and wrong: a column has another name or type, and
statements that use the right one fail or store something else. Published scripts never change, so
a file of the program's own versions describes its tables in the program's words. A text of the same
length that differs within a few bytes is damaged. So is a row whose root page does not exist or
belongs to another row too. A file of another version, or one with more differences, such as a
column that somebody added, is not judged.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from storage.errors import StorageCorruptError
from storage.sqlite import connect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_BURST: Final = 4
"""Bytes that damage may span; two swapped columns differ over more."""
VERSIONS: Final = (
    "WITH found (component, version) AS (SELECT * FROM component_version)"
    " SELECT component, version FROM found"
)
"""Selects the version of each component by position: names of columns may be damaged."""


class SchemaRow(NamedTuple):
    """A row of ``sqlite_master``: the root page, and the statement that made it."""

    root: int
    statement: bytes


def refuse_damaged_schema(
    found: sqlite3.Connection, prepare: Callable[[sqlite3.Connection], None], path: Path
) -> None:
    """Raise `StorageCorruptError` if a row of the schema of the open file is damaged."""
    versions = _versions(found)
    if not versions:  # a new file
        return
    own_versions, own = _own_schema(prepare)
    if any(versions.get(component) != version for component, version in own_versions.items()):
        return
    if name := _damaged_row(found, own):
        raise StorageCorruptError(f"{path}: the schema is damaged at {name}")


def _own_schema(
    prepare: Callable[[sqlite3.Connection], None],
) -> tuple[dict[object, object], dict[str, SchemaRow]]:
    with closing(connect(":memory:")) as own:
        prepare(own)
        return _versions(own), schema_rows(own)


def is_damage(found: bytes, own: bytes) -> bool:
    """Return whether two texts of the same length differ in one short run of bytes."""
    differing = [k for k, (a, b) in enumerate(zip(found, own, strict=False)) if a != b]
    return len(found) == len(own) and differing != [] and differing[-1] - differing[0] < _BURST


def schema_rows(connection: sqlite3.Connection) -> dict[str, SchemaRow]:
    """Return the schema by name of table, index or trigger."""
    rows = connection.execute("SELECT name, rootpage, CAST(sql AS BLOB) FROM sqlite_master")
    return {name: SchemaRow(root, statement or b"") for name, root, statement in rows}


def _damaged_row(found: sqlite3.Connection, own: dict[str, SchemaRow]) -> str:
    try:
        theirs = schema_rows(found)
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return "a row that cannot be read"
    pages = int(found.execute("PRAGMA page_count").fetchone()[0])
    shared = Counter(row.root for row in theirs.values())
    for name, ours in own.items():
        row = theirs.get(name)
        if row is None:
            continue
        wrong_root = bool(row.root) != bool(ours.root) or (  # a trigger has no root page
            row.root and (shared[row.root] > 1 or not 1 < row.root <= pages)
        )
        if wrong_root or is_damage(row.statement, ours.statement):
            return name
    return ""


def _versions(connection: sqlite3.Connection) -> dict[object, object]:
    with suppress(sqlite3.Error):  # there is no such table, or it cannot be read
        return dict(map(tuple, connection.execute(VERSIONS)))
    return {}
