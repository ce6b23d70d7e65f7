"""The embedded time series: one SQLite file, clustered by sensor and time.

Rows of one sensor lie together (`WITHOUT ROWID`, key sensor and time), so a chart is one range
scan. The consumer's position in the journal commits in the same transaction as its rows: a crash
repeats a batch, and repeating a batch changes nothing, because a second reading of the same sensor
and instant only fills what the first left empty.
"""

from __future__ import annotations

import time
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from detection.quantities import COLUMNS
from storage.database_file import DatabaseFile, KeptInFile
from storage.sqlite import migrate
from storage.state import SCRIPTS as STATE_SCRIPTS
from storage.state import position, set_position
from storage.timeseries import StoredEvent, rollup
from storage.timeseries.line_protocol import to_ns
from storage.timeseries.records import MEASUREMENTS, Record, checked, summable
from storage.timeseries.resolution import Retention, choose, stretched
from storage.timeseries.tables import (
    columns,
    coverages,
    every_ns,
    merged,
    quantities_of,
    reading_of,
    split_at,
    words,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from storage.reading import Reading
    from storage.timeseries import Aggregate, Coverage, LatestReading
    from storage.timeseries.records import Measurement
    from storage.timeseries.resolution import Level

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
    rollup.SCRIPT,
)

_CONSUMER = "series"
_NS = 1_000_000_000
_LATEST_ROWS = 12
_PAGE = 5_000
_SQL = {"mean": "avg", "min": "min", "max": "max"}
_ALL = ("sensor", "time", "received", *COLUMNS, "events", "faults", "flags")
_UPSERT = (
    f"INSERT INTO reading ({', '.join(_ALL)}) VALUES ({', '.join('?' * len(_ALL))})"  # noqa: S608 - names from the table of quantities
    " ON CONFLICT (sensor, time) DO UPDATE SET "
    + ", ".join(f"{c} = coalesce({c}, excluded.{c})" for c in _ALL[3:-1])  # flags are of the first
)


class SqliteSeries(KeptInFile):
    """Readings by sensor and time in one SQLite file.

    `path`: the file; ``":memory:"`` for a series that is not kept. `clock`: Unix seconds; decides
    which resolution still has what is asked for.
    """

    def __init__(
        self,
        path: Path | str,
        retention: Retention | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self._retention = retention or Retention()
        self._clock = clock
        self._ids: dict[str, int] = {}
        self._file = DatabaseFile(path, _prepare, _begin_again)

    def greet(self) -> str:
        """Say where readings are kept."""
        self.position()
        return f"readings are kept in {self.path}"

    def position(self) -> int:
        """Journal offset up to which readings are stored here."""
        return self._file.found(lambda db: position(db, _CONSUMER))

    def write(self, readings: Sequence[Reading], behind: int) -> None:
        """Store readings and the journal position behind them, in one transaction.

        `behind`: journal offset of the last reading of the batch. Raises
        `StorageUnavailableError` if the disk refuses; nothing of the batch is then stored.
        """
        self._store(readings, behind)

    def add(self, readings: Sequence[Reading]) -> None:
        """Store readings that are not from the journal; see `storage.timeseries.Series`."""
        self._store(readings, None)

    def _store(self, readings: Sequence[Reading], behind: int | None) -> None:
        repairs = self._file.repairs
        known = dict(self._ids)

        def store(tx: sqlite3.Connection) -> None:
            nonlocal known
            if not known or self._file.repairs != repairs:
                known = {name: i for i, name in tx.execute("SELECT id, name FROM sensor")}
            rows = [
                (
                    self._sensor_id(tx, known, r.sensor),
                    to_ns(r.time),
                    r.received,
                    *map(r.values.get, COLUMNS),
                    " ".join(r.events) or None,
                    " ".join(r.faults) or None,
                    " ".join(r.flags) or None,
                )
                for r in readings
            ]
            tx.executemany(_UPSERT, rows)
            rollup.mark(tx, ((known[r.sensor], to_ns(r.time)) for r in readings))
            if behind is not None:
                set_position(tx, _CONSUMER, behind)

        self._file.written(store)
        self._ids = known

    def record(self, records: Sequence[Record]) -> None:
        """Store records beside readings, in one transaction; one that is there is replaced.

        Raises `StorageUnavailableError` if the disk refuses; nothing of them is then stored.
        """
        self._file.written(lambda tx: _store_records(tx, records))

    def records(
        self, measurement: str, start: float, end: float, *, sensor: str = "", room: str = ""
    ) -> list[Record]:
        """Return what a measurement holds; see `storage.timeseries.Series`."""
        return self._file.found(
            lambda db: _select_records(db, measurement, start, end, sensor=sensor, room=room)
        )

    def sums(
        self,
        measurement: str,
        fields: Sequence[str],
        start: float,
        end: float,
        sensors: Iterable[str],
    ) -> dict[str, tuple[float, ...]]:
        """Add fields up by sensor; see `storage.timeseries.Series`."""
        return self._file.found(lambda db: _sums(db, measurement, fields, start, end, sensors))

    def latest(self) -> Mapping[str, LatestReading]:
        """Newest reading of every sensor that has one.

        Devices that spread their quantities over several messages are shown whole: a quantity that
        the newest message lacks comes from one at most two minutes older.
        """
        found: dict[str, LatestReading] = {}
        columns = ", ".join(COLUMNS)
        sensors = self._file.found(lambda db: db.execute("SELECT id, name FROM sensor").fetchall())
        for sensor_id, name in sensors:
            rows = self._file.found(
                lambda db, chosen=sensor_id: db.execute(  # type: ignore[misc]
                    f"SELECT time, {columns} FROM reading WHERE sensor = ?"  # noqa: S608 - names from the table of quantities
                    " ORDER BY time DESC LIMIT ?",
                    (chosen, _LATEST_ROWS),
                ).fetchall()
            )
            if rows:
                found[name] = merged(rows, COLUMNS)
        return found

    def window(
        self, sensor: str, start: float, end: float
    ) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
        """Return all readings of one sensor in a closed interval of event time.

        `start`, `end`: Unix seconds. Returns `time`, Unix seconds, increasing; empty for an
        unknown sensor; `values`, quantities that occur at least once; NaN where absent.
        """
        chosen = ", ".join(COLUMNS)
        rows = self._file.found(
            lambda db: db.execute(
                f"SELECT time, {chosen} FROM reading"  # noqa: S608 - names from the table of quantities
                " WHERE sensor = (SELECT id FROM sensor WHERE name = ?) AND time BETWEEN ? AND ?"
                " ORDER BY time",
                (sensor, to_ns(start), to_ns(end)),
            ).fetchall()
        )
        return columns(rows, COLUMNS)

    def readings(
        self,
        sensor: str,
        start: float,
        end: float,
        every_s: float,
        aggregate: Aggregate = "mean",
        quantities: Sequence[str] = COLUMNS,
    ) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
        """Aggregate readings over intervals of equal length; see `storage.timeseries.Series`."""
        keys, _ = quantities_of(quantities), every_ns(every_s)
        level = choose(start, end, every_s, self._clock(), self._retention)
        step = every_ns(stretched(every_s, level))
        first, last = to_ns(start), to_ns(end)
        chosen = ", ".join(f"{_SQL[aggregate]}({key})" for key in keys)
        raw = (
            f"SELECT time / ? * ? AS begins, {chosen} FROM reading"  # noqa: S608 - names from the table of quantities
            " WHERE sensor = (SELECT id FROM sensor WHERE name = ?) AND time >= ? AND time < ?"
            " GROUP BY begins ORDER BY begins"
        )

        def found(db: sqlite3.Connection) -> list[sqlite3.Row]:
            split, begins = first, first
            if level is not None:
                stale = rollup.oldest_stale(db, sensor, first)
                split, begins = split_at(first, last, stale, step, level.step_s)
            older, newer = (step, step, sensor, begins, split), (step, step, sensor, split, last)
            rolled = rollup.select_rolled(level, aggregate, keys) if level else raw
            return [*db.execute(rolled, older), *db.execute(raw, newer)]

        rows = self._file.found(found)
        return columns([row for row in rows if any(v is not None for v in row[1:])], keys)

    def between(self, start: float, end: float, sensors: Collection[str] = ()) -> list[Reading]:
        """Return readings of these sensors, or all; see `storage.timeseries.Series`."""
        chosen = ", ".join(("time", "received", *COLUMNS, "events", "faults", "flags"))
        statement = f"SELECT {chosen} FROM reading WHERE sensor = ? AND time >= ? AND time < ?"  # noqa: S608 - names from the table of quantities

        def found(db: sqlite3.Connection) -> list[Reading]:
            known = db.execute("SELECT id, name FROM sensor").fetchall()
            return [
                reading_of(name, row)
                for sensor, name in known
                if not sensors or name in sensors
                for row in db.execute(statement, (sensor, to_ns(start), to_ns(end)))
            ]

        return sorted(self._file.found(found), key=attrgetter("time", "sensor"))

    def span(self) -> tuple[float, float] | None:
        """Event times of the oldest and the newest reading; None if there is none."""
        first, last = self._file.found(
            lambda db: db.execute(
                "SELECT min(first), max(last) FROM (SELECT"
                " (SELECT min(time) FROM reading WHERE sensor = id) AS first,"
                " (SELECT max(time) FROM reading WHERE sensor = id) AS last FROM sensor)"
            ).fetchone()
        )
        return None if first is None else (first / _NS, last / _NS)

    def averages(self, level: Level) -> Iterator[tuple[str, int, dict[str, float]]]:
        """Averages of all sensors: sensor, nanoseconds, fields with ``n``; in no order.

        Raises `StorageUnavailableError`.
        """
        names = ["n", *(f"{key}{suffix}" for key in COLUMNS for suffix in ("", "_min", "_max"))]
        statement = f"SELECT time, {', '.join(names)} FROM {level.measurement}"  # noqa: S608 - names from tables
        sensors = self._file.found(lambda db: db.execute("SELECT id, name FROM sensor").fetchall())
        for sensor, name in sensors:
            behind = -(2**62)
            while rows := self._file.found(
                lambda db, chosen=(sensor, behind): db.execute(  # type: ignore[misc]
                    f"{statement} WHERE sensor = ? AND time > ? ORDER BY time LIMIT {_PAGE}", chosen
                ).fetchall()
            ):
                behind = rows[-1][0]
                for row in rows:
                    pairs = zip(names, row[1:], strict=True)
                    yield name, row[0], {k: float(v) for k, v in pairs if v is not None}

    def events(self, start: float, end: float, sensor: str | None = None) -> list[StoredEvent]:
        """Return what devices reported in ``[start, end)``, by time, then sensor."""
        rows = self._file.found(
            lambda db: db.execute(
                "SELECT time, name, events, faults FROM sensor JOIN reading ON sensor = id"
                " WHERE (name = ? OR ? IS NULL) AND time >= ? AND time < ?"
                " AND (events IS NOT NULL OR faults IS NOT NULL) ORDER BY time, name",
                (sensor, sensor, to_ns(start), to_ns(end)),
            ).fetchall()
        )
        return [
            StoredEvent(time / _NS, name, words(events), words(faults))
            for time, name, events, faults in rows
        ]

    def coverage(
        self, start: float, end: float, intervals: Mapping[str, float]
    ) -> dict[str, Coverage]:
        """Count readings in ``[start, end)`` against what sensors should have sent."""
        rows = self._file.found(
            lambda db: db.execute(
                "SELECT name, (SELECT count(*) FROM reading WHERE sensor = id AND time >= ?"
                " AND time < ?) FROM sensor",
                (to_ns(start), to_ns(end)),
            ).fetchall()
        )
        return coverages({name: int(n) for name, n in rows}, start, end, intervals)

    def tidy(self, now: float, old_at: float | None = None) -> bool:
        """Make averages that are due, delete what is kept long enough; whether there is more.

        Raises `StorageUnavailableError` if the disk refuses.
        """
        old_at = now if old_at is None else old_at

        def work(tx: sqlite3.Connection) -> bool:
            more = rollup.tidy(tx, now, self._retention, old_at)
            return more or _delete_old_records(tx, old_at, self._retention) >= rollup.ROWS

        return self._file.written(work)

    def unaveraged(self) -> int:
        """Return the number of quarters of an hour of sensors that wait for `tidy`."""
        row = self._file.found(lambda db: db.execute("SELECT count(*) FROM stale").fetchone())
        return int(row[0])

    def count(self) -> int:
        """Return the number of stored readings."""
        row = self._file.found(lambda db: db.execute("SELECT count(*) FROM reading").fetchone())
        return int(row[0])

    @staticmethod
    def _sensor_id(connection: sqlite3.Connection, known: dict[str, int], name: str) -> int:
        found = known.get(name)
        if found is None:  # another process may have made it meanwhile
            connection.execute("INSERT OR IGNORE INTO sensor (name) VALUES (?)", (name,))
            row = connection.execute("SELECT id FROM sensor WHERE name = ?", (name,)).fetchone()
            found = known[name] = int(row[0])
        return found


def _prepare(connection: sqlite3.Connection) -> None:
    migrate(connection, "state", STATE_SCRIPTS)
    migrate(connection, "series", SCRIPTS)
    migrate(connection, "records", (_RECORDS_SCRIPT,))
    _add_columns(connection)


def _begin_again(rebuilt: sqlite3.Connection) -> None:
    """Have a rebuilt series read again what the journal still has."""
    set_position(rebuilt, _CONSUMER, 0)


_SQL_TYPE: Final = {float: "REAL", str: "TEXT"}


_RECORDS_SCRIPT: Final = """
    CREATE TABLE detection (
        sensor TEXT NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (sensor, time)
    ) WITHOUT ROWID;
    CREATE INDEX detection_time ON detection (time);
    CREATE TABLE event (id TEXT PRIMARY KEY, time INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX event_time ON event (time);
    CREATE TABLE incident (id TEXT PRIMARY KEY, time INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX incident_time ON incident (time);
    CREATE TABLE sensor_health (
        sensor TEXT NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (sensor, time)
    ) WITHOUT ROWID;
    CREATE INDEX sensor_health_time ON sensor_health (time);
    CREATE TABLE pipeline (time INTEGER PRIMARY KEY) WITHOUT ROWID;
    """
"""Tables with their keys; `_add_columns` adds a column a field."""


def _add_columns(connection: sqlite3.Connection) -> None:
    """Add the columns of keys and fields that the program knows and the tables lack."""
    for table in MEASUREMENTS.values():
        there = {row["name"] for row in connection.execute(f"PRAGMA table_info({table.name})")}
        wanted: dict[str, str] = dict.fromkeys(table.keys, "TEXT NOT NULL DEFAULT ''")
        wanted |= {f.name: _SQL_TYPE[f.type] for f in table.fields}
        for name, kind in wanted.items():  # in order, so that all files have the same words
            if name not in there:
                connection.execute(f'ALTER TABLE {table.name} ADD COLUMN "{name}" {kind}')


def _columns_of(table: Measurement) -> list[str]:
    return ["time", *table.keys, *(f.name for f in table.fields)]


def _insert(table: Measurement) -> str:
    columns = [f'"{column}"' for column in _columns_of(table)]
    marks = ", ".join("?" * len(columns))
    return f"INSERT OR REPLACE INTO {table.name} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - names from the table of measurements


_RECORD_INSERTS: Final = {name: _insert(table) for name, table in MEASUREMENTS.items()}


def _store_records(tx: sqlite3.Connection, records: Iterable[Record]) -> None:
    """Write records in order; one that is there is replaced.

    Raises `RecordError` if one does not fit its measurement.
    """
    for record in map(checked, records):
        table = MEASUREMENTS[record.measurement]
        keys = [getattr(record, key) for key in table.keys]
        fields = [record.fields.get(f.name) for f in table.fields]
        tx.execute(_RECORD_INSERTS[table.name], (to_ns(record.time), *keys, *fields))


def _select_records(
    connection: sqlite3.Connection,
    name: str,
    start: float,
    end: float,
    *,
    sensor: str = "",
    room: str = "",
) -> list[Record]:
    """Return the records of a measurement in ``[start, end)``, of a sensor or room, by time."""
    table = MEASUREMENTS[name]
    asked = {key: text for key, text in (("sensor", sensor), ("room", room)) if text}
    if not asked.keys() <= set(table.keys):
        return []
    where = "".join(f" AND {key} = ?" for key in asked)
    quoted = ", ".join(f'"{c}"' for c in _columns_of(table))
    rows = connection.execute(
        f"SELECT {quoted} FROM {name} WHERE time >= ? AND time < ?{where} ORDER BY time",  # noqa: S608 - names from the table of measurements
        (to_ns(start), to_ns(end), *asked.values()),
    ).fetchall()
    return [_record(table, row) for row in rows]


def _sums(
    connection: sqlite3.Connection,
    name: str,
    fields: Sequence[str],
    start: float,
    end: float,
    sensors: Iterable[str],
) -> dict[str, tuple[float, ...]]:
    """Add fields up over the records of each sensor in ``[start, end)``."""
    totals = ", ".join(f'total("{field}")' for field in summable(name, fields))
    statement = f"SELECT count(*), {totals} FROM {name} WHERE sensor = ? AND time >= ? AND time < ?"  # noqa: S608 - names from the table of measurements
    window = (to_ns(start), to_ns(end))
    found = {}
    for sensor in sensors:
        count, *rest = connection.execute(statement, (sensor, *window)).fetchone()
        if count:
            found[sensor] = tuple(rest)
    return found


def _record(table: Measurement, row: Sequence[Any]) -> Record:
    time, *values = row
    keys = dict(zip(table.keys, values, strict=False))
    fields = {
        f.name: value
        for f, value in zip(table.fields, values[len(table.keys) :], strict=True)
        if value is not None
    }
    return Record(table.name, time / _NS, fields, **keys, id=str(fields.get("id", "")))


def _key(table: Measurement) -> tuple[str, ...]:
    return ("id",) if table.has_id else ("sensor", "time") if table.keys else ("time",)


def _delete_old_records(tx: sqlite3.Connection, now: float, retention: Retention) -> int:
    """Delete some of what is kept long enough; how many rows."""
    deleted = 0
    for table in MEASUREMENTS.values():
        before = to_ns(now - retention.keep_s(table.kept))
        key = ", ".join(_key(table))
        deleted += tx.execute(
            f"DELETE FROM {table.name} WHERE ({key}) IN"  # noqa: S608 - names from the table of measurements
            f" (SELECT {key} FROM {table.name} WHERE time < ? LIMIT ?)",
            (before, rollup.ROWS),
        ).rowcount
    return deleted
