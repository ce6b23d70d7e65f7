"""The data folder at the start: whose it is, and whether its state can be read."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Final

from detection.model import Model
from plumewatch import __version__
from plumewatch.config.paths import DataPaths
from plumewatch.config.timeseries_settings import series_of
from plumewatch.service.upgrade import STATE_SCRIPTS, refuse_older
from storage import audit
from storage.audit import AuditKind
from storage.errors import StorageCorruptError, StorageUnavailableError
from storage.lease import BEAT_S, WATCH_S
from storage.repair import finish_repair, salvage, swap
from storage.schema_damage import refuse_damaged_schema
from storage.sqlite import connect, migrate, transaction, translated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from plumewatch.config.model import PlumewatchConfig
    from storage.journal import Journal
    from storage.lease import Lease
    from storage.timeseries import Series

log = logging.getLogger(__name__)

_POLL_S: Final = 1.0


class LeaseHeldError(StorageUnavailableError):
    """Another service holds the data folder."""


class LeaseLostError(StorageUnavailableError):
    """Another service took the data folder, or may do so."""


class StandbyEndedError(Exception):
    """The service was stopped while it stood by."""


async def take_lease(lease: Lease, root: Path, stop: asyncio.Event, *, standby: bool) -> None:
    """Return once the data folder is ours.

    Parameters
    ----------
    root : Path
        The data folder; it is made if need be.
    stop : asyncio.Event
        Ends the waiting.
    standby : bool
        Wait for as long as another service holds it. Without, only as long as it takes to see
        whether the row of another host is left over.

    Raises
    ------
    LeaseHeldError
        It says who holds it.
    StandbyEndedError
        `stop` was set.
    StorageUnavailableError
        If the folder cannot be made.
    """
    _make(root)
    deadline = time.monotonic() + WATCH_S + BEAT_S
    said = False
    while (holder := lease.take()) is not None:
        elsewhere = lease.is_elsewhere(holder) and time.monotonic() < deadline
        if not standby and not elsewhere:
            raise LeaseHeldError(f"data folder {root} is in use by {holder}")
        if not said:
            log.warning("standing by: data folder %s is in use by %s", root, holder)
            said = True
        with suppress(TimeoutError):
            async with asyncio.timeout(_POLL_S):
                await stop.wait()
            raise StandbyEndedError
    if said:
        log.warning("taking over data folder %s", root)


async def hold_lease(lease: Lease, root: Path) -> None:
    """Renew the lease until cancelled.

    Raises
    ------
    LeaseLostError
        If it is not ours any more: two services must not write at once.
    """
    while True:
        await asyncio.sleep(BEAT_S)
        if not lease.beat():
            raise LeaseLostError(
                f"the lock file of data folder {root} was deleted or taken by another service"
            )


def _make(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageUnavailableError(f"data folder {root}: {error.strerror}") from error


def open_state(path: Path) -> sqlite3.Connection:
    """Open the state database; one that is damaged is set aside for what can be read of it.

    Raises
    ------
    StorageUnavailableError
        If it cannot be opened, created or rebuilt.
    SchemaTooNewError
        If a newer program wrote it.
    """
    finish_repair(path)
    try:
        return _opened(path)
    except StorageCorruptError as error:
        log.error("%s", error)  # noqa: TRY400 - one line
        salvage(path, prepare_state)
        swap(path)
        return _opened(path)


def reconcile_journal(journal: Journal, read: int) -> None:
    """Let a journal that ends before what was read of it go on behind that.

    Parameters
    ----------
    read : int
        The largest position over all consumers.

    Raises
    ------
    StorageUnavailableError
        If the disk refuses.
    """
    last = journal.last_offset()
    if last < read:
        log.warning(
            "the journal ends at %d and was read up to %d: another journal, or a backup of it?"
            " New readings go on behind that",
            last,
            read,
        )
        journal.continue_behind(read)


def _opened(path: Path) -> sqlite3.Connection:
    connection = connect(path)
    try:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found == "ok":
            refuse_damaged_schema(connection, prepare_state, path)
            prepare_state(connection)
            return connection
    except sqlite3.Error as error:
        connection.close()
        raise translated(error, path) from error
    except Exception:
        connection.close()
        raise
    connection.close()
    raise StorageCorruptError(f"{path}: {found}")


@contextmanager
def opened_state(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the state database for a command, which a service may be using meanwhile.

    Raises
    ------
    SchemaTooOldError, SchemaTooNewError
        If it is of another version; only the service upgrades.
    StorageUnavailableError
        If it cannot be opened or created.
    """
    refuse_older(path)
    with closing(connect(path)) as connection:
        prepare_state(connection)
        yield connection


def prepare_state(connection: sqlite3.Connection) -> None:
    """Make the tables of the state database, or bring them to the newest schema.

    Raises
    ------
    SchemaTooNewError
        If a newer program wrote it.
    """
    for component, scripts in STATE_SCRIPTS.items():
        migrate(connection, component, scripts)


@contextmanager
def opened_series(config: PlumewatchConfig) -> Iterator[Series]:
    """Open the time series of a configuration and check that they can be used.

    Raises `ConfigError` if a secret cannot be read, `StorageError` if the store cannot be used.
    """
    config.data_dir.mkdir(parents=True, exist_ok=True)
    paths = DataPaths(config.data_dir)
    for path in (paths.series, paths.influx):
        refuse_older(path)
    series = series_of(config, paths)
    series.open()
    try:
        series.check_connection()
        yield series
    finally:
        series.close()


def record_start(state: sqlite3.Connection, config: PlumewatchConfig, now: float) -> None:
    """Record in the audit log what the service runs with; the configuration by its hash."""
    detail = {
        "version": __version__,
        "model": Model.shipped().version,
        "config_sha256": hashlib.sha256(config.model_dump_json().encode()).hexdigest(),
    }
    with transaction(state) as tx:
        audit.append(tx, AuditKind.START, "service", detail, now)
