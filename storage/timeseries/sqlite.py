"""The embedded time-series store: one SQLite file, clustered by sensor and time.

The rows of a sensor are stored together (`WITHOUT ROWID`, key sensor and time), so a chart needs
one range scan. The consumer's cursor is committed in the same transaction as the rows. If a crash
repeats a batch, nothing changes, because a second reading of a sensor at the same time only adds
values that the first one lacks.
"""

from __future__ import annotations

import json
import time
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from detection.quantities import COLUMN_INDEX, COLUMNS
from storage.journal import STATE_SCRIPTS, save_cursor
from storage.sqlite import load_scripts, migrate, transaction
from storage.timeseries import rollup
from storage.timeseries.line_protocol import to_ns
from storage.timeseries.records import MEASUREMENTS, check_record
from storage.timeseries.series import Series, Steps, find_newest, make_columns, make_reading

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from storage.reading import Reading
    from storage.timeseries.records import Measurement, Record
    from storage.timeseries.resolution import Level, Retention
    from storage.timeseries.series import LatestReading

COMPONENTS: Final = {
    "state": STATE_SCRIPTS,
    "series": load_scripts(__package__, "series"),
}
"""Schema scripts of the SQLite file."""
_NS = 1_000_000_000
_LATEST_ROWS = 12
_SQL = {"mean": "avg", "min": "min", "max": "max"}
_ALL = ("sensor", "time", "received", *COLUMNS, "events", "faults", "flags")
_MAX_SHAPES: Final = 16
"""Largest number of statements for a batch. Binding values takes time, so readings with the same
quantities share a statement that binds only these. If there are more sets of quantities, or if the
order matters because a moment occurs twice, one statement binds all quantities.
"""
_SENSORS: Final = "SELECT id, name FROM sensor"
_OF_SENSOR: Final = "sensor = (SELECT id FROM sensor WHERE name = ?)"
_SQL_TYPE: Final = {float: "REAL", str: "TEXT"}


@lru_cache(maxsize=256)
def _write_upsert(quantities: tuple[str, ...]) -> str:
    rest = (*quantities, "events", "faults")
    names = ("sensor", "time", "received", *rest, "flags")  # keep the flags of the first reading
    return (
        f"INSERT INTO reading ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608 - names from the table of quantities
        " ON CONFLICT (sensor, time) DO UPDATE SET "
        + ", ".join(f"{name} = coalesce({name}, excluded.{name})" for name in rest)
    )


def _find_key(table: Measurement) -> str:
    return "id" if table.has_id else "sensor, time" if table.keys else "time"


def _write_insert(table: Measurement) -> str:
    names = ("time", *table.keys, *(f.name for f in table.fields))
    columns = ", ".join(f'"{name}"' for name in names)
    marks = ", ".join("?" * len(names))
    return f"INSERT OR REPLACE INTO {table.name} ({columns}) VALUES ({marks})"  # noqa: S608 - names from the table of measurements


_INSERTS: Final = {name: _write_insert(table) for name, table in MEASUREMENTS.items()}


class SqliteSeries(Series):
    """Readings by sensor and time in one SQLite file; see `storage.timeseries.Series`."""

    CONSUMER = "series"
    MARKS_SENSORS = True

    def __init__(
        self,
        path: Path | str,
        retention: Retention | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(path, _prepare, _begin_again, retention, clock)

    def check_connection(self) -> str:
        """Return where readings are stored."""
        self.cursor()
        return f"readings are kept in {self.path}"

    def write(self, readings: Sequence[Reading], cursor: int | None = None) -> None:
        """Store readings, and the cursor if given."""

        def store(tx: sqlite3.Connection) -> None:
            known = {name: i for i, name in tx.execute(_SENSORS)}
            shapes: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
            for r in readings:
                row = _make_row(_find_sensor_id(tx, known, r.sensor), r, r.values.values())
                shapes.setdefault(tuple(r.values), []).append(row)
            moments = {row[:2] for rows in shapes.values() for row in rows}
            if len(moments) < len(readings) or len(shapes) > _MAX_SHAPES or not _is_known(shapes):
                wide = [_make_row(known[r.sensor], r, map(r.values.get, COLUMNS)) for r in readings]
                shapes = {COLUMNS: wide}
            for quantities, rows in shapes.items():
                tx.executemany(_write_upsert(quantities), rows)
            rollup.mark(tx, moments)

        self._store(store, cursor)

    def record(self, records: Sequence[Record]) -> None:
        """Store records in one transaction, replacing those with equal keys."""

        def store(tx: sqlite3.Connection) -> None:
            for record in map(check_record, records):
                table = MEASUREMENTS[record.measurement]
                keys = [getattr(record, key) for key in table.keys]
                fields = [record.fields.get(f.name) for f in table.fields]
                tx.execute(_INSERTS[table.name], (to_ns(record.time), *keys, *fields))

        self.change(store)

    def _records(
        self, table: Measurement, first: int, last: int, sensor: str | None
    ) -> Iterable[Mapping[str, Any]]:
        where = "" if sensor is None else " AND sensor = ?3"
        statement = f"SELECT * FROM {table.name} WHERE time >= ?1 AND time < ?2{where}"  # noqa: S608 - names from the table of measurements
        values = (first, last) if sensor is None else (first, last, sensor)
        return map(dict, self.rows(statement, *values))

    def _sums(
        self,
        table: Measurement,
        fields: Sequence[str],
        first: int,
        last: int,
        sensors: Collection[str],
    ) -> Iterable[Sequence[Any]]:
        wanted = ", ".join(f'total("{field}")' for field in fields)
        # Each sensor is read on its own, because a sensor's records are stored together.
        statement = (
            f"SELECT sensor, {wanted} FROM json_each(?) JOIN {table.name} ON sensor = value"  # noqa: S608 - names from the table of measurements
            " WHERE time >= ? AND time < ? GROUP BY sensor"
        )
        return self.rows(statement, json.dumps([*sensors]), first, last)

    def latest(self) -> Mapping[str, LatestReading]:
        """Return the newest values of each sensor (`find_newest`)."""
        statement = (
            f"SELECT time, {', '.join(COLUMNS)} FROM reading WHERE sensor = ?"  # noqa: S608 - names from the table of quantities
            f" ORDER BY time DESC LIMIT {_LATEST_ROWS}"
        )

        def read(db: sqlite3.Connection) -> dict[str, LatestReading]:
            found = {}
            for sensor, name in db.execute(_SENSORS).fetchall():
                if rows := db.execute(statement, (sensor,)).fetchall():
                    found[name] = find_newest(rows)
            return found

        return self.query(read)

    def window(
        self, sensor: str, start: float, end: float
    ) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
        """Return all readings of one sensor in a closed interval of event time."""
        rows = self.rows(
            f"SELECT time, {', '.join(COLUMNS)} FROM reading"  # noqa: S608 - names from the table of quantities
            f" WHERE {_OF_SENSOR} AND time BETWEEN ? AND ? ORDER BY time",
            *(sensor, to_ns(start), to_ns(end)),
        )
        return make_columns(rows, COLUMNS)

    def _averages(self, sensor: str) -> Sequence[Level]:  # noqa: ARG002 - the same for all sensors
        return rollup.LEVELS

    def _aggregated(
        self, wanted: Steps, level: Level | None, first: int, last: int
    ) -> Sequence[Sequence[Any]]:
        value = rollup.IN_ROLLED[wanted.aggregate] if level else f"{_SQL[wanted.aggregate]}({{0}})"
        chosen = ", ".join(value.format(key) for key in wanted.keys)
        return self.rows(
            f"SELECT time / ?1 * ?1 AS begins, {chosen}"  # noqa: S608 - names from tables
            f" FROM {level.measurement if level else 'reading'}"
            f" WHERE {_OF_SENSOR} AND time >= ? AND time < ? GROUP BY begins ORDER BY begins",
            *(wanted.step, wanted.sensor, first, last),
        )

    def between(
        self, start: float, end: float, sensors: Collection[str] | None = None
    ) -> list[Reading]:
        """Return the readings of these sensors, or of all."""
        chosen = ", ".join(_ALL[1:])
        statement = f"SELECT {chosen} FROM reading WHERE sensor = ? AND time >= ? AND time < ?"  # noqa: S608 - names from the table of quantities

        def found(db: sqlite3.Connection) -> list[Reading]:
            return [
                make_reading(name, row)
                for sensor, name in db.execute(_SENSORS).fetchall()
                if sensors is None or name in sensors
                for row in db.execute(statement, (sensor, to_ns(start), to_ns(end)))
            ]

        return sorted(self.query(found), key=attrgetter("time", "sensor"))

    def tidy(self, now: float, old_at: float | None = None) -> bool:
        """Compute some stale averages, and delete some old data; return whether there is more."""
        old_at = now if old_at is None else old_at

        def work(tx: sqlite3.Connection) -> bool:
            more = rollup.tidy(tx, now, self._retention, old_at)
            return more or _delete_old_records(tx, old_at, self._retention) >= rollup.ROWS

        return self.change(work)


def _is_known(shapes: Iterable[tuple[str, ...]]) -> bool:
    return COLUMN_INDEX.keys() >= set().union(*shapes)


def _make_row(sensor: int, reading: Reading, values: Iterable[float | None]) -> tuple[Any, ...]:
    return (
        sensor,
        to_ns(reading.time),
        reading.received,
        *values,
        " ".join(reading.events) or None,
        " ".join(reading.faults) or None,
        " ".join(reading.flags) or None,
    )


def _find_sensor_id(tx: sqlite3.Connection, known: dict[str, int], name: str) -> int:
    if name not in known:
        known[name] = tx.execute("INSERT INTO sensor (name) VALUES (?)", (name,)).lastrowid or 0
    return known[name]


def _prepare(connection: sqlite3.Connection) -> None:
    for component, scripts in COMPONENTS.items():
        migrate(connection, component, scripts)
    with transaction(connection):
        for table in MEASUREMENTS.values():
            _make_table(connection, table)


def _make_table(tx: sqlite3.Connection, table: Measurement) -> None:
    """Create the table of a measurement, or add columns for new fields."""
    there = {row["name"] for row in tx.execute(f"PRAGMA table_info({table.name})")}
    columns: dict[str, str] = dict.fromkeys(table.keys, "TEXT NOT NULL DEFAULT ''")
    columns |= {f.name: _SQL_TYPE[f.type] for f in table.fields}
    if there:
        for name in (name for name in columns if name not in there):
            tx.execute(f'ALTER TABLE {table.name} ADD COLUMN "{name}" {columns[name]}')
        return
    columns = {"time": "INTEGER NOT NULL"} | columns
    listed = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
    key = _find_key(table)
    tx.execute(f"CREATE TABLE {table.name} ({listed}, PRIMARY KEY ({key})) WITHOUT ROWID")
    if key != "time":
        tx.execute(f"CREATE INDEX {table.name}_time ON {table.name} (time)")


def _begin_again(rebuilt: sqlite3.Connection) -> None:
    """Make a rebuilt series store the whole journal again.

    Sensors that lost their names get new names, so that no other sensor gets their ids.
    """
    for table in ("reading", *(level.measurement for level in rollup.LEVELS)):
        rebuilt.execute(
            "INSERT OR IGNORE INTO sensor (id, name)"  # noqa: S608 - names from tables
            f" SELECT DISTINCT sensor, 'recovered sensor ' || sensor FROM {table}"
        )
    save_cursor(rebuilt, SqliteSeries.CONSUMER, 0)


def _delete_old_records(tx: sqlite3.Connection, now: float, retention: Retention) -> int:
    deleted = 0
    for table in MEASUREMENTS.values():
        key = _find_key(table)
        deleted += tx.execute(
            f"DELETE FROM {table.name} WHERE ({key}) IN"  # noqa: S608 - names from the table of measurements
            f" (SELECT {key} FROM {table.name} WHERE time < ? LIMIT ?)",
            (to_ns(now - retention.keep_s(table.kept)), rollup.ROWS),
        ).rowcount
    return deleted
