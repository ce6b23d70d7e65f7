"""The databases of the data folder: their schemas, upgrades and repair.

Only the service upgrades databases, when it starts and while it holds the lock. It checks every
file first, so that data from a newer version is refused before anything changes. If a file has an
older schema, it copies all files as `plumewatch backup` does, and then opens and migrates each one.
Other commands refuse data with an older schema, since an older service may be using it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import shutil
import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from alerts import sensor_tests
from alerts.access import schema as access
from alerts.incidents import schema
from alerts.outbound import series_records
from detection.model import Model
from plumewatch import __version__
from plumewatch.config.paths import DataPaths
from plumewatch.config.settings import build_series
from storage import audit, journal
from storage.audit import AuditKind
from storage.backup import back_up, refuse_foreign_code
from storage.errors import (
    SchemaTooNewError,
    SchemaTooOldError,
    StorageCorruptError,
    StorageUnavailableError,
    translate,
    translate_errors,
)
from storage.files import FILE_MODE, make_private_folder
from storage.repair import PAGE
from storage.sqlite import (
    DatabaseFile,
    connect,
    migrate_all,
    open_prepared,
    refuse_empty,
    transaction,
)
from storage.timeseries import influx
from storage.timeseries import sqlite as sqlite_series

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from plumewatch.config.model import PlumewatchConfig
    from storage.files import FolderLock
    from storage.journal import Journal
    from storage.sqlite import Schema
    from storage.timeseries import Series

log = logging.getLogger(__name__)

STATE_SCRIPTS: Final[Mapping[str, tuple[str, ...]]] = {
    "state": journal.STATE_SCRIPTS,
    schema.COMPONENT: schema.SCRIPTS,
    access.COMPONENT: access.SCRIPTS,
    audit.COMPONENT: audit.SCRIPTS,
    series_records.COMPONENT: series_records.SCRIPTS,
    sensor_tests.COMPONENT: sensor_tests.SCRIPTS,
}
"""Schema scripts of each component of the state database, in the order of creation."""

prepare_state: Final = partial(migrate_all, schema=STATE_SCRIPTS)

DATABASES: Final[Mapping[str, Schema]] = {
    "journal.db": {"journal": journal.SCRIPTS},
    "state.db": STATE_SCRIPTS,
    "series.db": sqlite_series.COMPONENTS,
    "influx.db": influx.COMPONENTS,
}
"""The databases of a data folder, by the names of their files."""

OPENERS: Final[Mapping[str, Callable[[Path], DatabaseFile]]] = {
    "journal.db": journal.Journal,
    "state.db": partial(DatabaseFile, prepare=prepare_state),
    "series.db": sqlite_series.SqliteSeries,
    "influx.db": lambda path: DatabaseFile(path, influx.prepare, influx.begin_again),
}
"""How to open each database, and rebuild it if it is damaged."""

NEWEST: Final[Mapping[str, int]] = {
    component: len(scripts)
    for schema in DATABASES.values()
    for component, scripts in schema.items()
}
"""The newest schema version that this program knows, by component."""

_LOST: Final[Mapping[str, str]] = {
    "state.db": "Incidents, accounts, silences and the audit log are lost; the detectors start"
    " over with the %d readings in the journal.",
    "series.db": "It is rebuilt from the %d readings in the journal; older readings, averages"
    " and records are lost.",
    "influx.db": "The %d readings in the journal are written to InfluxDB again.",
}
RETENTION_CLOCK: Final = "retention clock"
"""Name of the snapshot that stores the clock of `plumewatch.service.deletion`."""
_LOGS: Final = ("-wal", "-shm")
_WRITABLE: Final = ("*.lock", "*.db", *(f"*.db{suffix}" for suffix in _LOGS))
_COPY_PREFIX: Final = "before-upgrade-"
_COPY_FACTOR: Final = 1.1
"""Disk space that a copy needs, as a multiple of the size of the files."""
_RESERVED_BYTES: Final = 4_000_000
_STARTUP_BYTES: Final = 1_000_000
"""Bytes freed for startup: more than the service writes before all files are open."""
_CHECK_EVERY_S: Final = 4.0


def make_data_folder(root: Path) -> None:
    """Create the data folder if necessary; raises `StorageUnavailableError`."""
    with translate_errors(f"data folder {root}"):
        make_private_folder(root)


def refuse_read_only(root: Path) -> None:
    """Raise `StorageUnavailableError` if the data folder or a file in it cannot be written."""
    files = [root, *(path for kind in _WRITABLE for path in sorted(root.glob(kind)))]
    if refused := [str(path) for path in files if not os.access(path, os.W_OK)]:
        raise StorageUnavailableError(
            f"user {os.geteuid()} cannot write {', '.join(refused)}: is the disk mounted"
            " read-only, or do the files belong to another user? Nothing was changed"
        )


def reserve_space(path: Path, *, all_left: bool = False) -> None:
    """Reserve disk space for later starts if plenty is free, or with `all_left` in any case."""
    with suppress(OSError):
        if all_left or shutil.disk_usage(path.parent).free > 4 * _RESERVED_BYTES:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            with os.fdopen(os.open(path, flags, FILE_MODE), "ab", buffering=0) as file:
                for _ in range(file.tell(), _RESERVED_BYTES, PAGE):
                    file.write(bytes(PAGE))


def use_reserved_space(path: Path, error: Exception) -> bool:
    """Free reserved space if a start failed because the disk is full; return whether any was freed.

    Once its files are open, the service reserves the space again.
    """
    size = path.stat().st_size if path.exists() else 0
    if size == 0 or shutil.disk_usage(path.parent).free > _RESERVED_BYTES:
        return False
    os.truncate(path, max(0, size - _STARTUP_BYTES))
    log.error(
        "the disk of %s is full (%s): the service starts with space that it had reserved. Nothing"
        " is stored and alerts are sent from memory until there is room",
        path.parent,
        error,
    )
    return True


async def watch_lock(lock: FolderLock, root: Path) -> None:
    """Raise `StorageUnavailableError` when the lock file is deleted."""
    while True:
        await asyncio.sleep(_CHECK_EVERY_S)
        if not await asyncio.to_thread(lock.is_in_place):
            raise StorageUnavailableError(f"the lock file of data folder {root} was deleted")


def open_and_repair_state(path: Path) -> sqlite3.Connection:
    """Open the state database for the service; rebuild a damaged one from readable rows."""
    with DatabaseFile(path, _check_and_prepare_state):
        return open_prepared(path, prepare_state)


def _check_and_prepare_state(connection: sqlite3.Connection) -> None:
    result = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if result != "ok":
        raise StorageCorruptError(result)
    prepare_state(connection)


def reconcile_journal(journal: Journal, cursor: int) -> None:
    """If the journal ends before its furthest consumer's `cursor`, continue it from there."""
    last = journal.get_last_offset()
    if last < cursor:
        log.warning(
            "the journal ends at %d but was once read up to %d: is this another journal, or a"
            " backup? New readings are added after that",
            last,
            cursor,
        )
        journal.skip_to(cursor)


@contextmanager
def open_state(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the state database for a command; raises `StorageError` if it is unusable."""
    refuse_older(path)
    with closing(open_prepared(path, prepare_state)) as connection:
        try:
            yield connection
        except sqlite3.Error as error:
            raise translate(error, path) from error


@contextmanager
def change_state(path: Path) -> Iterator[sqlite3.Connection]:
    """Change the state database in one transaction; raises like `open_state`."""
    with open_state(path) as connection, transaction(connection) as tx:
        yield tx


@contextmanager
def open_series(config: PlumewatchConfig) -> Iterator[Series]:
    """Open the time series for a command; raises `ConfigError` or `StorageError`."""
    make_data_folder(config.data_dir)
    paths = DataPaths(config.data_dir)
    for path in (paths.series, paths.influx):
        refuse_older(path)
    series = build_series(config, paths)
    series.open()
    try:
        series.check_connection()
        yield series
    finally:
        series.close()


def report_absent(journal: Journal, absent: Sequence[Path]) -> str:
    """Log which `absent` files are lost, if the journal has readings; return their names."""
    first, last = journal.get_first_offset(), journal.get_last_offset()
    if last == 0:
        return ""  # a new data folder
    for path in absent:
        log.error(
            "%s is missing, although the journal has readings: was it deleted? %s"
            " If you have a backup, stop the service and restore it (plumewatch restore)",
            path,
            _LOST[path.name] % (last - first + 1),
        )
    return ", ".join(path.name for path in absent)


def find_set_aside(root: Path) -> set[str]:
    """Find the names of damaged databases that repairs have set aside."""
    return {path.name for path in root.glob("*.db.corrupt-*") if path.name[-4:] not in _LOGS}


def record_start(
    state: sqlite3.Connection,
    config: PlumewatchConfig,
    now: float,
    lost: str = "",
    damaged: Collection[str] = (),
) -> None:
    """Record the service's start in the audit log, with files that were lost or damaged."""
    digest, model = hashlib.sha256(config.model_dump_json().encode()), Model.load_shipped()
    detail = {"version": __version__, "model": model.version, "config_sha256": digest.hexdigest()}
    if lost:
        detail["missing"] = lost
    if damaged:
        detail["damaged"] = ", ".join(sorted({name.partition(".corrupt")[0] for name in damaged}))
    with translate_errors(DataPaths(config.data_dir).state), transaction(state) as tx:
        audit.append(tx, AuditKind.START, "service", detail, now)


def read_schemas(path: Path) -> dict[str, int]:
    """Read the schema number of each component in a database; empty if there is none."""
    if not path.exists():
        return {}
    with closing(connect(path, read_only=True)) as database, translate_errors(path):
        if not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return {}
        rows = database.execute("SELECT * FROM component_version").fetchall()
    return {str(row[0]): int(row[1]) for row in rows}


def refuse_older(path: Path) -> None:
    """Refuse a database that is unreadable, or whose schema is older or newer than ours."""
    refuse_empty(path)
    found = read_schemas(path)
    _refuse_newer(path, found)
    if _find_behind(found):
        raise SchemaTooOldError(
            f"{path} was written by an older version; start the service once with this one"
            f" ({__version__}): it copies the data and upgrades it"
        )


def copy_before_upgrade(root: Path, now: float) -> Path | None:
    """Copy all databases if one has an older schema; return the copy's folder, if any."""
    files = sorted(root.glob("*.db"))
    behind = []
    for path in files:
        try:
            found = read_schemas(path)
            _refuse_newer(path, found)
            if path.name in DATABASES and not _find_behind(found):
                refuse_foreign_code(path, DATABASES[path.name])
        except StorageCorruptError:
            continue  # opening it sets it aside, which keeps a copy
        behind += [
            f"{path.name} {part} {found[part]} to {NEWEST[part]}" for part in _find_behind(found)
        ]
    if not behind:
        return None
    needed = _COPY_FACTOR * sum(path.stat().st_size for path in root.glob("*.db*"))
    free = shutil.disk_usage(root).free
    if free < needed:
        raise StorageUnavailableError(
            f"{root}: the data must be copied before the upgrade, which needs"
            f" {needed / 1e6:,.0f} MB, and only {free / 1e6:,.0f} MB are free. Free some space, or"
            " keep using the older version"
        )
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    target = root / f"{_COPY_PREFIX}{stamp}"
    log.warning("upgrading the data (%s); first copying it to %s", ", ".join(behind), target)
    older = [path for path in root.glob(f"{_COPY_PREFIX}*") if path != target]
    shutil.rmtree(target, ignore_errors=True)
    try:
        back_up(root, target, stamp, idle=True)
    except StorageCorruptError as error:
        log.error("no copy before the upgrade, because a file is damaged: %s", error)  # noqa: TRY400 - one line
        return None
    for path in older:
        shutil.rmtree(path, ignore_errors=True)
    return target


def _find_behind(found: Mapping[str, int]) -> list[str]:
    return [part for part, version in found.items() if 0 < version < NEWEST.get(part, 0)]


def _refuse_newer(path: Path, found: Mapping[str, int]) -> None:
    newer = {part: n for part, n in found.items() if n > NEWEST.get(part, 0)}
    if not newer:
        return
    parts = ", ".join(f"{part} {n}" for part, n in sorted(newer.items()))
    copies = sorted(path.parent.glob(f"{_COPY_PREFIX}*"))
    way_back = (
        f"restore the copy from before its upgrade (plumewatch restore --force {copies[-1]}),"
        " without the readings accepted since"
        if copies
        else "restore a backup made by this version"
    )
    raise SchemaTooNewError(
        f"{path} was written by a newer version than {__version__} ({parts}): use that one, or"
        f" {way_back}. Nothing was changed"
    )
