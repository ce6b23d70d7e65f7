"""The embedded time series: one SQLite file, clustered by sensor and time.

Rows of one sensor lie together (`WITHOUT ROWID`, key sensor and time), so a chart is one range
scan. The consumer's position in the journal commits in the same transaction as its rows: a crash
repeats a batch, and repeating a batch changes nothing, because a second reading of the same sensor
and instant only fills what the first left empty.
"""

from __future__ import annotations

import math
import sqlite3
import threading
from typing import TYPE_CHECKING

import numpy as np

from detection.quantities import COLUMNS
from storage.errors import StorageUnavailableError
from storage.sqlite import connect, migrate, transaction
from storage.state import SCRIPTS as STATE_SCRIPTS
from storage.state import position, set_position
from storage.timeseries import LatestReading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from storage.reading import Reading

__all__ = ["SqliteSeries"]

_COLUMNS_DDL = ", ".join(f"{key} REAL" for key in COLUMNS)
SCRIPTS = (
    f"""
    CREATE TABLE sensor (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE
    );
    CREATE TABLE reading (
        sensor INTEGER NOT NULL REFERENCES sensor (id),
        time INTEGER NOT NULL,
        received REAL NOT NULL,
        {_COLUMNS_DDL},
        events TEXT,
        faults TEXT,
        flags TEXT,
        PRIMARY KEY (sensor, time)
    ) WITHOUT ROWID;
    """,
)

_CONSUMER = "series"
_NS = 1_000_000_000
_LATEST_ROWS = 12
_LATEST_S = 120
_ALL = ("sensor", "time", "received", *COLUMNS, "events", "faults", "flags")
_UPSERT = (
    f"INSERT INTO reading ({', '.join(_ALL)}) VALUES ({', '.join('?' * len(_ALL))})"  # noqa: S608 - names from the table of quantities
    " ON CONFLICT (sensor, time) DO UPDATE SET "
    + ", ".join(f"{c} = coalesce({c}, excluded.{c})" for c in _ALL[3:])
)


def _merged(rows: Sequence[sqlite3.Row]) -> LatestReading:
    """Newest value of each quantity over rows of one sensor, newest first."""
    newest = rows[0][0]
    values: dict[str, float] = {}
    for row in rows:
        if newest - row[0] > _LATEST_S * _NS:
            break
        for key, value in zip(COLUMNS, row[1:], strict=True):
            if value is not None:
                values.setdefault(key, value)
    return LatestReading(newest / _NS, values)


def to_ns(time: float) -> int:
    """Unix seconds to whole nanoseconds, exact to the microsecond."""
    return round(time * 1e6) * 1000


class SqliteSeries:
    """Readings by sensor and time in one SQLite file.

    Parameters
    ----------
    path : Path or str
        The file; ``":memory:"`` for a series that is not kept.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._ids: dict[str, int] = {}
        self._reading = threading.Lock()

    def open(self) -> None:
        """Open the file, creating or migrating its tables.

        Raises
        ------
        StorageUnavailableError
            If the file cannot be created or written.
        """
        connection = connect(self.path)
        try:
            migrate(connection, "state", STATE_SCRIPTS)
            migrate(connection, "series", SCRIPTS)
        except sqlite3.Error as error:
            connection.close()
            raise StorageUnavailableError(f"{self.path}: {error}") from error
        except Exception:
            connection.close()
            raise
        self._connection = connection
        self._reader = connection if str(self.path) == ":memory:" else connect(self.path)
        self._ids = {name: i for i, name in connection.execute("SELECT id, name FROM sensor")}

    def close(self) -> None:
        """Close both connections; safe to call twice."""
        for connection in (self._reader, self._connection):
            if connection is not None:
                connection.close()
        self._connection = self._reader = None

    def position(self) -> int:
        """Journal offset up to which readings are stored here."""
        return position(self._opened(), _CONSUMER)

    def write(self, readings: Sequence[Reading], behind: int) -> None:
        """Store readings and the journal position behind them, in one transaction.

        Parameters
        ----------
        readings : sequence of Reading
        behind : int
            Journal offset of the last reading of the batch.

        Raises
        ------
        StorageUnavailableError
            If the disk refuses; nothing of the batch is then stored.
        """
        connection = self._opened()
        known = dict(self._ids)
        try:
            with transaction(connection):
                rows = [
                    (
                        self._sensor_id(connection, known, r.sensor),
                        to_ns(r.time),
                        r.received,
                        *map(r.values.get, COLUMNS),
                        " ".join(r.events) or None,
                        " ".join(r.faults) or None,
                        " ".join(r.flags) or None,
                    )
                    for r in readings
                ]
                connection.executemany(_UPSERT, rows)
                set_position(connection, _CONSUMER, behind)
        except sqlite3.Error as error:
            raise StorageUnavailableError(f"{self.path}: {error}") from error
        self._ids = known

    def latest(self) -> Mapping[str, LatestReading]:
        """Newest reading of every sensor that has one.

        Devices that spread their quantities over several messages are shown whole: a quantity that
        the newest message lacks comes from one at most `_LATEST_S` older.
        """
        reader = self._readable()
        found: dict[str, LatestReading] = {}
        columns = ", ".join(COLUMNS)
        with self._reading:
            sensors = reader.execute("SELECT id, name FROM sensor").fetchall()
        for sensor_id, name in sensors:
            with self._reading:
                rows = reader.execute(
                    f"SELECT time, {columns} FROM reading WHERE sensor = ?"  # noqa: S608 - names from the table of quantities
                    " ORDER BY time DESC LIMIT ?",
                    (sensor_id, _LATEST_ROWS),
                ).fetchall()
            if rows:
                found[name] = _merged(rows)
        return found

    def window(
        self, sensor: str, start: float, end: float
    ) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
        """Return all readings of one sensor in a closed interval of event time.

        Parameters
        ----------
        sensor : str
        start, end : float
            Unix seconds.

        Returns
        -------
        time : ndarray of float64, shape (n,)
            Unix seconds, increasing; empty for an unknown sensor.
        values : dict of str to ndarray of float64, shape (n,)
            Quantities that occur at least once; NaN where absent.
        """
        reader = self._readable()
        columns = ", ".join(COLUMNS)
        with self._reading:
            rows = reader.execute(
                f"SELECT time, {columns} FROM reading"  # noqa: S608 - names from the table of quantities
                " WHERE sensor = (SELECT id FROM sensor WHERE name = ?) AND time BETWEEN ? AND ?"
                " ORDER BY time",
                (sensor, to_ns(start), to_ns(end)),
            ).fetchall()
        time = np.array([row[0] / _NS for row in rows], dtype=np.float64)
        table = np.array(
            [[math.nan if v is None else v for v in row[1:]] for row in rows], dtype=np.float64
        ).reshape(len(rows), len(COLUMNS))
        present = ~np.all(np.isnan(table), axis=0) if len(rows) else np.zeros(len(COLUMNS), bool)
        return time, {k: table[:, i] for i, k in enumerate(COLUMNS) if present[i]}

    def count(self) -> int:
        """Return the number of stored readings."""
        return int(self._readable().execute("SELECT count(*) FROM reading").fetchone()[0])

    @staticmethod
    def _sensor_id(connection: sqlite3.Connection, known: dict[str, int], name: str) -> int:
        found = known.get(name)
        if found is None:
            row = connection.execute(
                "INSERT INTO sensor (name) VALUES (?) RETURNING id", (name,)
            ).fetchone()
            found = known[name] = int(row[0])
        return found

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StorageUnavailableError(f"{self.path}: the series store is not open")
        return self._connection

    def _readable(self) -> sqlite3.Connection:
        if self._reader is None:
            raise StorageUnavailableError(f"{self.path}: the series store is not open")
        return self._reader
