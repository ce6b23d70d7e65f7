"""Back up all databases of a service while it runs, and verify a backup.

SQLite's online backup copies each file in one read transaction, so the service can keep writing.
The journal is copied last, so a copied cursor is never ahead of the copied journal. If retention
deletes readings beyond a copied cursor during the backup, everything is copied again. The backup
gets its final name once it is complete and on the disk. It contains password hashes and secrets of
second factors, but no configuration.

`verify` checks that

- the files match the manifest byte for byte, and SQLite finds no fault in them;
- the files have exactly the tables, indexes and triggers that this program creates (a backup may
  come from somebody else, and the service would run its triggers and views);
- every offset of the journal has a reading with the right checksum, or a gap with its reason;
- no cursor or snapshot is ahead of the journal, and no consumer still needs deleted readings,
  except those in a gap `unread`.

Readings in `series.db` and text in `state.db` have no checksums of their own, so `verify` cannot
detect a bit that flipped in them before the backup.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple

from pydantic import BaseModel, Field, ValidationError

from language.plain_text import escape, pluralize
from storage.errors import StorageCorruptError, StorageError, StorageUnavailableError, translate
from storage.files import sync
from storage.journal import decode_record, get_last_offset
from storage.repair import PAGE
from storage.sqlite import connect, find_damage_mark, migrate, migrate_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from storage.sqlite import DatabaseFile, Schema

    Opener = Callable[[Path], DatabaseFile]

MANIFEST: Final = "manifest.json"
JOURNAL: Final = "journal.db"
_ATTEMPTS: Final = 3
_OTHER_TYPES: Final = (TypeError, ValueError, ArithmeticError, LookupError)
"""Errors that a value of the wrong type can cause."""
_LARGEST: Final = 16_384
"""Maximum size of a manifest in bytes."""

_Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Text = Annotated[str, Field(max_length=1000)]


class _File(BaseModel, extra="forbid", strict=True):
    sha256: _Digest
    damage: _Text = ""


class _Manifest(BaseModel, extra="forbid", strict=True):
    format: Literal[1] = 1
    made: _Text
    files: Annotated[dict[str, _File], Field(max_length=10)]
    sha256: str = ""

    def compute_digest(self) -> str:
        """Return the digest of all other fields."""
        found = json.dumps(self.model_dump(exclude={"sha256"}))
        return hashlib.sha256(found.encode()).hexdigest()


class Proof(NamedTuple):
    """Result of one check of a backup."""

    part: str
    ok: bool
    sentence: str


def back_up(
    folder: Path,
    target: Path,
    made: str,
    *,
    openers: Mapping[str, Opener] | None = None,
    idle: bool = False,
) -> dict[str, str]:
    """Copy the databases of a data folder into the new folder `target`; return damage by file.

    For a damaged database, the backup gets the rows that its function in `openers` can recover. The
    service repairs the original at its next start.

    `idle`: True if no service is running on the folder.

    Raises `StorageUnavailableError`, without creating `target`, if something cannot be read or
    written.
    """
    partial = target.with_name(f".{target.name}.partial")
    try:
        for _ in range(_ATTEMPTS):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True, mode=0o700)
            damage: dict[str, str] = {}
            names = [p.name for p in sorted(folder.glob("*.db")) if p.name != JOURNAL]
            for name in (*names, JOURNAL):
                try:
                    _copy(folder / name, partial / name)
                except StorageCorruptError as error:
                    if not openers or name not in openers:
                        raise
                    _recover(folder / name, partial / name, openers[name])
                    damage[name] = f"rows may be missing ({error})"
                    find_damage_mark(folder / name).touch(0o600)
            waiting = [] if idle else [p for p in _check_cursors(partial) if not p.ok]
            if not waiting:
                break
        else:
            raise StorageUnavailableError(f"{folder}: {waiting[0].sentence}")
        _write_manifest(partial, made, damage)
        partial.rename(target)
        sync(target.parent)
    except OSError as error:
        raise StorageUnavailableError(f"{target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return damage


def _write_manifest(folder: Path, made: str, damage: Mapping[str, str]) -> None:
    manifest = _Manifest(
        made=made,
        files={
            path.name: _File(sha256=_digest(path), damage=escape(damage.get(path.name, ""))[:1000])
            for path in sorted(folder.glob("*.db"))
        },
    )
    manifest.sha256 = manifest.compute_digest()
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
    sync(folder / MANIFEST)


def verify(folder: Path, schemas: Mapping[str, Schema]) -> Iterator[Proof]:
    """Check a backup without changing it; yield a result for each file and rule."""
    try:
        _refuse_irregular(folder)
        with (folder / MANIFEST).open("rb") as file:
            manifest = _Manifest.model_validate_json(file.read(_LARGEST))
    except OSError as error:
        yield Proof("manifest", ok=False, sentence=f"{folder} contains no backup: {error}")
        return
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]["msg"]
        yield Proof("manifest", ok=False, sentence=f"cannot be read: {fault}")
        return
    if JOURNAL not in manifest.files or not manifest.files.keys() <= schemas.keys():
        yield Proof("manifest", ok=False, sentence="lists files that this program does not use")
        return
    if manifest.sha256 != manifest.compute_digest():
        yield Proof("manifest", ok=False, sentence="was changed after the backup")
        return
    yield Proof("manifest", ok=True, sentence=f"made {manifest.made}")
    sound = True
    for path in sorted(folder.glob("*.db*")):
        if path.name not in manifest.files:
            sound = False
            yield Proof(path.name, ok=False, sentence="is not in the manifest")
    for name, expected in manifest.files.items():
        proof = _check_file(folder / name, expected, schemas[name])
        sound = sound and proof.ok
        yield proof
    if not sound:
        return
    try:
        yield _check_offsets(folder / JOURNAL)
        yield from _check_cursors(folder)
    except (sqlite3.Error, StorageError, *_OTHER_TYPES) as error:
        yield Proof("contents", ok=False, sentence=f"cannot be read: {error}")


def _refuse_irregular(folder: Path) -> None:
    """Raise `OSError` if a folder contains anything except regular files, such as a pipe."""
    for path in folder.iterdir():
        if path.is_symlink() or not path.is_file():
            raise OSError(f"{escape(path.name)} is not a regular file")


def refuse_other_schema(copy: sqlite3.Connection, schema: Schema, path: Path) -> None:
    """Raise `StorageCorruptError` unless a file has exactly the tables of its schema.

    Indexes, triggers and views are compared too. Only the list of these objects is read, because
    statements in an untrusted file must not run.
    """
    found = _list_objects(copy)
    with closing(connect(":memory:")) as own:
        migrate(own, "", ())
        versions = {}
        if _list_objects(own) <= found:
            versions = dict(map(tuple, copy.execute("SELECT * FROM component_version")))
        for component, known in schema.items():
            version = versions.pop(component, 0)
            if version not in range(len(known) + 1):
                versions[component] = version
                break
            migrate(own, component, known[:version])
        needed = _list_objects(own)
    if versions or found != needed:
        raise StorageCorruptError(
            f"{path.name}: its tables, views or triggers differ from what this program creates"
        )


def refuse_foreign_code(path: Path, schema: Schema) -> None:
    """Raise `StorageUnavailableError` if a file has triggers or views from another program."""
    with closing(connect(path, read_only=True)) as database, closing(connect(":memory:")) as own:
        migrate_all(own, schema)
        foreign = {one[1:] for one in _list_objects(database) if one[0] in ("trigger", "view")}
        foreign -= {one[1:] for one in _list_objects(own)}
    if foreign:
        names = ", ".join(sorted(escape(str(name)) for name, *_ in foreign))
        raise StorageUnavailableError(
            f"{path} contains triggers or views that this program did not create ({names}):"
            " somebody changed the file. Restore a backup. Nothing was changed"
        )


def _list_objects(connection: sqlite3.Connection) -> set[tuple[Any, ...]]:
    return set(
        map(tuple, connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))
    )


def _copy(source: Path, target: Path) -> None:
    try:
        with (
            closing(connect(source, read_only=True)) as live,
            closing(sqlite3.connect(target, isolation_level=None)) as copy,
        ):
            live.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
            if (result := copy.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
                raise StorageCorruptError(f"{source}: {' '.join(result.split())}")
        target.chmod(0o600)
        sync(target)
    except sqlite3.OperationalError as error:
        found = translate(error, f"{source} cannot be copied to {target}")
        if error.sqlite_errorcode == sqlite3.SQLITE_IOERR_READ:  # the disk cannot read a page
            found = StorageCorruptError(str(found))
        raise found from error
    except sqlite3.Error as error:
        raise translate(error, f"{source} cannot be copied to {target}") from error


def _recover(source: Path, target: Path, opener: Opener) -> None:
    """Copy a damaged file and its log block by block, and repair the copy."""
    for suffix in ("", "-wal"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            _copy_blocks(source.with_name(source.name + suffix), Path(f"{target}{suffix}"))
    with opener(target) as rebuilt:
        rebuilt.rebuild()
    with closing(sqlite3.connect(target)) as copy:
        copy.execute("PRAGMA journal_mode=DELETE")
    for aside in target.parent.glob(f"{target.name}.corrupt-*"):
        aside.unlink()
    target.chmod(0o600)
    sync(target)


def _copy_blocks(source: Path, target: Path) -> None:
    """Copy a file; blocks that the disk cannot read become zeros."""
    with source.open("rb", buffering=0) as read, target.open("wb") as write:
        for at in range(0, os.fstat(read.fileno()).st_size, PAGE):
            try:
                block = os.pread(read.fileno(), PAGE, at)
            except OSError:
                block = bytes(PAGE)
            write.write(block)


def _count_rows(copy: sqlite3.Connection) -> dict[str, int]:
    """Count the rows of each table of a file whose schema has been checked."""
    tables = copy.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    ).fetchall()
    return {
        name: copy.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608 - our own names
        for (name,) in tables
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_file(path: Path, expected: _File, schema: Schema) -> Proof:
    try:
        if path.is_symlink() or not path.is_file() or _digest(path) != expected.sha256:
            return Proof(path.name, ok=False, sentence="is missing, or differs from the manifest")
        with closing(connect(path, read_only=True)) as copy:
            refuse_other_schema(copy, schema, path)
            faults = [row[0] for row in copy.execute("PRAGMA integrity_check(5)")]
            rows = _count_rows(copy)
    except OSError as error:
        return Proof(path.name, ok=False, sentence=f"cannot be read: {error.strerror}")
    except (sqlite3.Error, StorageError) as error:
        return Proof(path.name, ok=False, sentence=str(error))
    if faults != ["ok"]:
        return Proof(path.name, ok=False, sentence="; ".join(faults))
    counts = ", ".join(f"{table} {n:,}" for table, n in rows.items() if n)
    damage = f"; damaged when it was copied: {why}" if (why := expected.damage) else ""
    return Proof(path.name, ok=True, sentence=f"intact; rows: {counts or 'none'}{damage}")


def _check_offsets(path: Path) -> Proof:
    with closing(connect(path, read_only=True)) as journal:
        last = get_last_offset(journal)
        gaps = journal.execute("SELECT first, last FROM gap").fetchall()
        behind, held, corrupt, absent = 0, 0, 0, 0
        rows = journal.execute("SELECT offset, received, crc, body FROM journal ORDER BY offset")
        for offset, received, crc, body in rows:
            absent += _count_uncovered(behind + 1, offset - 1, gaps)
            behind, held = offset, held + 1
            reading = decode_record(crc, body)
            corrupt += reading is None or reading.received != received
        absent += _count_uncovered(behind + 1, last, gaps)
    found = f"{pluralize(held, 'reading')} and {pluralize(len(gaps), 'gap')}"
    sentence = f"{found} account for all offsets from 1 to {last:,}"
    if absent or corrupt:
        sentence = f"{absent:,} offsets without a reading or a gap; {corrupt:,} corrupt records"
    return Proof("conservation", ok=not absent and not corrupt, sentence=sentence)


def _count_uncovered(first: int, last: int, gaps: Sequence[tuple[int, int]]) -> int:
    missing = 0
    if first > last:
        return 0
    for start, end in sorted((max(a, first), min(b, last)) for a, b in gaps):
        if start > end:
            continue
        missing += max(0, start - first)
        first = max(first, end + 1)
    return missing + max(0, last - first + 1)


def _check_cursors(folder: Path) -> Iterator[Proof]:
    """Check that no consumer is ahead of the journal, or needs readings that were deleted."""
    with closing(connect(folder / JOURNAL, read_only=True)) as journal:
        last = get_last_offset(journal)
        gone = journal.execute("SELECT max(last) FROM gap WHERE why = 'retention'").fetchone()[0]
        unread = journal.execute("SELECT first, last FROM gap WHERE why = 'unread'").fetchall()
    for path in sorted(folder.glob("*.db")):
        if path.name == JOURNAL:
            continue
        with closing(connect(path, read_only=True)) as copy:
            found = copy.execute(
                "SELECT name, position FROM consumer UNION ALL"
                " SELECT name || ' snapshot', position FROM detector_snapshot ORDER BY 1"
            ).fetchall()
        for name, position in found:
            missed = (
                0
                if name.endswith(" snapshot") or position == 0  # restarts from what is still there
                else _count_uncovered(position + 1, gone or 0, unread)
            )
            sentence = f"is at {position:,} of {last:,}"
            if position > last:
                sentence = f"is at {position:,}, ahead of the journal, which ends at {last:,}"
            elif missed:
                sentence = f"is at {position:,}; {missed:,} readings that it needs were deleted"
            yield Proof(f"cursor {name}", ok=position <= last and not missed, sentence=sentence)
