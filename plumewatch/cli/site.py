"""A school's configuration and data folder, as commands read and write them."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plumewatch.format_time import format_time, parse_time
from storage.errors import StorageError, StorageUnavailableError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.config.paths import DataPaths
    from storage.audit import AuditKind
    from storage.timeseries import Series

_NOT_STARTED = "has `plumewatch run` been started with this configuration?"


@dataclass(frozen=True, slots=True)
class Site:
    """A configuration that was read, and its data folder."""

    config: PlumewatchConfig
    paths: DataPaths

    @classmethod
    def load(cls, path: Path) -> Site:
        """Read a configuration; raises `ConfigError` with all its faults."""
        from plumewatch.config.paths import DataPaths
        from plumewatch.config.sharding import load_shard

        config = load_shard(path)
        return cls(config, DataPaths(config.data_dir))

    def parse_time(self, text: str, *, end: bool = False) -> float:
        """Read a time in the school's zone."""
        return parse_time(text, self.config.zone(), end=end)

    def format_time(self, at: float) -> str:
        """Write a time in the school's zone."""
        return format_time(at, self.config.zone())

    @contextmanager
    def read(self, database: Path) -> Iterator[sqlite3.Connection]:
        """Open a database that the service made, read-only.

        Raises `SchemaTooOldError` or `SchemaTooNewError` if it is of another version.
        """
        from plumewatch.service.data_folder import refuse_older
        from storage.sqlite import connect

        refuse_older(database)
        try:
            connection = connect(database, read_only=True)
        except StorageError as error:
            raise StorageUnavailableError(f"{error}: {_NOT_STARTED}") from error
        with closing(connection):
            yield connection

    @contextmanager
    def state(self) -> Iterator[sqlite3.Connection]:
        """Open the state database that the service made, and may be using, for writing."""
        from plumewatch.service.data_folder import open_state

        if not self.paths.state.exists():
            raise StorageUnavailableError(f"{self.paths.state}: {_NOT_STARTED}")
        with open_state(self.paths.state) as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Change the state database in one transaction; it is made if need be."""
        from plumewatch.service.data_folder import open_state
        from storage.files import make_private_folder
        from storage.sqlite import transaction

        try:
            make_private_folder(self.paths.root)
        except OSError as error:
            raise StorageUnavailableError(f"{self.paths.root}: {error.strerror}") from error
        with open_state(self.paths.state) as connection, transaction(connection) as tx:
            yield tx

    def series(self) -> AbstractContextManager[Series]:
        """Open the time series of the readings."""
        from plumewatch.service.data_folder import open_series

        return open_series(self.config)

    def record(self, kind: AuditKind, detail: Mapping[str, str | float | None], now: float) -> None:
        """Add an entry of this machine's user to the audit log."""
        from storage.audit import append, machine_user

        with self.transaction() as tx:
            append(tx, kind, machine_user(), detail, now)
