"""Tables of the embedded store for what it holds beside readings (`storage.timeseries.records`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from storage.timeseries.line_protocol import to_ns
from storage.timeseries.records import MEASUREMENTS, Record, checked, summable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from storage.timeseries.records import Measurement
    from storage.timeseries.resolution import Retention

_NS: Final = 1_000_000_000
_ROWS: Final = 5_000
_SQL_TYPE: Final = {float: "REAL", str: "TEXT"}


SCRIPT: Final = """
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
"""Tables with their keys; `grow` adds a column a field."""


def grow(connection: sqlite3.Connection) -> None:
    """Add the columns of keys and fields that the program knows and the tables lack."""
    for table in MEASUREMENTS.values():
        there = {row["name"] for row in connection.execute(f"PRAGMA table_info({table.name})")}
        wanted: dict[str, str] = dict.fromkeys(table.keys, "TEXT NOT NULL DEFAULT ''")
        wanted |= {f.name: _SQL_TYPE[f.type] for f in table.fields}
        for name, kind in wanted.items():  # in order, so that all files have the same words
            if name not in there:
                connection.execute(f'ALTER TABLE {table.name} ADD COLUMN "{name}" {kind}')


def _columns(table: Measurement) -> list[str]:
    return ["time", *table.keys, *(f.name for f in table.fields)]


def _insert(table: Measurement) -> str:
    columns = [f'"{column}"' for column in _columns(table)]
    marks = ", ".join("?" * len(columns))
    return f"INSERT OR REPLACE INTO {table.name} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - names from the table of measurements


_INSERTS: Final = {name: _insert(table) for name, table in MEASUREMENTS.items()}


def store(tx: sqlite3.Connection, records: Iterable[Record]) -> None:
    """Write records in order; one that is there is replaced.

    Raises `RecordError` if one does not fit its measurement.
    """
    for record in map(checked, records):
        table = MEASUREMENTS[record.measurement]
        keys = [getattr(record, key) for key in table.keys]
        fields = [record.fields.get(f.name) for f in table.fields]
        tx.execute(_INSERTS[table.name], (to_ns(record.time), *keys, *fields))


def select(
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
    quoted = ", ".join(f'"{c}"' for c in _columns(table))
    rows = connection.execute(
        f"SELECT {quoted} FROM {name} WHERE time >= ? AND time < ?{where} ORDER BY time",  # noqa: S608 - names from the table of measurements
        (to_ns(start), to_ns(end), *asked.values()),
    ).fetchall()
    return [_record(table, row) for row in rows]


def sums(
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


def delete_old(tx: sqlite3.Connection, now: float, retention: Retention) -> int:
    """Delete some of what is kept long enough; how many rows."""
    deleted = 0
    for table in MEASUREMENTS.values():
        before = to_ns(now - retention.keep_s(table.kept))
        key = ", ".join(_key(table))
        deleted += tx.execute(
            f"DELETE FROM {table.name} WHERE ({key}) IN"  # noqa: S608 - names from the table of measurements
            f" (SELECT {key} FROM {table.name} WHERE time < ? LIMIT ?)",
            (before, _ROWS),
        ).rowcount
    return deleted
