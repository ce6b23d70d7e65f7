"""The embedded time-series store: one SQLite file, clustered by sensor and time.

The rows of a sensor are stored together (`WITHOUT ROWID`, key sensor and time), so a chart needs
one range scan. The consumer's cursor is committed in the same transaction as the rows. If a crash
repeats a batch, nothing changes, because a second reading of a sensor at the same time only adds
values that the first one lacks.
"""

from __future__ import annotations

import json
import time
from functools import lru_cache, partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from detection.quantities import COLUMN_INDEX, COLUMNS
from storage.journal import STATE_SCRIPTS, save_cursor
from storage.sqlite import load_scripts, migrate_all
from storage.timeseries import rollup
from storage.timeseries.line_protocol import to_ns
from storage.timeseries.records import HEALTH, HEALTH_FIELDS, MEASUREMENTS, check_record
from storage.timeseries.series import (
    Series,
    Steps,
    find_newest,
    make_columns,
    make_health,
    make_reading,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from storage.reading import Reading
    from storage.timeseries.records import Record
    from storage.timeseries.resolution import Level, Retention
    from storage.timeseries.series import LatestReading

COMPONENTS: Final = {
    "state": STATE_SCRIPTS,
    "series": load_scripts(__package__, "series"),
}
_NS = 1_000_000_000
_LATEST_ROWS = 12
_SQL = {"mean": "avg", "min": "min", "max": "max"}
_ALL: Final = ", ".join(("time", "received", *COLUMNS, "events", "faults", "flags"))
_MAX_SHAPES: Final = 16
"""Maximum number of statements for a batch. Binding values takes time, so readings with the same
quantities share a statement that binds only these. If there are more sets of quantities, or if the
order matters because a moment occurs twice, one statement binds all quantities.
"""
_SENSORS: Final = "SELECT id, name FROM sensor"
_OF_SENSOR: Final = "sensor = (SELECT id FROM sensor WHERE name = ?)"


@lru_cache(maxsize=256)
def _write_upsert(quantities: tuple[str, ...]) -> str:
    rest = (*quantities, "events", "faults")
    names = ("sensor", "time", "received", *rest, "flags")  # keep the flags of the first reading
    return (
        f"INSERT INTO reading ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608 - names from the table of quantities
        " ON CONFLICT (sensor, time) DO UPDATE SET "
        + ", ".join(f"{name} = coalesce({name}, excluded.{name})" for name in rest)
    )


_HEALTH_COLUMNS: Final = ("sensor", "time", *HEALTH_FIELDS)
_INSERT_HEALTH: Final = (
    f"INSERT OR REPLACE INTO sensor_health ({', '.join(_HEALTH_COLUMNS)})"  # noqa: S608 - names from the table of measurements
    f" VALUES ({', '.join('?' * len(_HEALTH_COLUMNS))})"
)


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
        prepare = partial(migrate_all, schema=COMPONENTS)
        super().__init__(path, prepare, _begin_again, retention, clock)

    def check_connection(self) -> str:
        """Return where readings are stored."""
        self.get_cursor()
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
            other = set().union(*shapes) - COLUMN_INDEX.keys()
            if other or len(moments) < len(readings) or len(shapes) > _MAX_SHAPES:
                wide = [_make_row(known[r.sensor], r, map(r.values.get, COLUMNS)) for r in readings]
                shapes = {COLUMNS: wide}
            for quantities, rows in shapes.items():
                tx.executemany(_write_upsert(quantities), rows)
            rollup.mark_stale(tx, moments)

        self._store(store, cursor)

    def record(self, records: Sequence[Record]) -> None:
        """Store the ``sensor_health`` records in one transaction."""
        rows = [
            (r.sensor, to_ns(r.time), *map(r.fields.get, HEALTH_FIELDS))
            for r in map(check_record, records)
            if r.measurement == HEALTH
        ]
        self.change(lambda tx: tx.executemany(_INSERT_HEALTH, rows))

    def read_health(self, start: float, end: float) -> list[Record]:
        """Return the ``sensor_health`` records of a span, in time order."""
        statement = "SELECT * FROM sensor_health WHERE time >= ? AND time < ? ORDER BY time"
        return [
            make_health(dict(row)) for row in self.fetch_rows(statement, to_ns(start), to_ns(end))
        ]

    def _sum_health(
        self, fields: Sequence[str], first: int, last: int, sensors: Collection[str]
    ) -> Iterable[Sequence[Any]]:
        wanted = ", ".join(f"total({field})" for field in fields)
        # Look up sensors one by one, because each sensor's records are stored together.
        statement = (
            f"SELECT sensor, {wanted} FROM json_each(?) JOIN sensor_health ON sensor = value"  # noqa: S608 - names from the table of measurements
            " WHERE time >= ? AND time < ? GROUP BY sensor"
        )
        return self.fetch_rows(statement, json.dumps([*sensors]), first, last)

    def read_latest(self) -> Mapping[str, LatestReading]:
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

    def read_window(
        self, sensor: str, start: float, end: float
    ) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
        """Return all readings of one sensor in a closed interval of event time."""
        rows = self.fetch_rows(
            f"SELECT time, {', '.join(COLUMNS)} FROM reading"  # noqa: S608 - names from the table of quantities
            f" WHERE {_OF_SENSOR} AND time BETWEEN ? AND ? ORDER BY time",
            *(sensor, to_ns(start), to_ns(end)),
        )
        return make_columns(rows, COLUMNS)

    def _list_levels(self, sensor: str) -> Sequence[Level]:  # noqa: ARG002 - the same for all sensors
        return rollup.LEVELS

    def _aggregate_steps(
        self, wanted: Steps, level: Level | None, first: int, last: int
    ) -> Sequence[Sequence[Any]]:
        value = f"{_SQL[wanted.aggregate]}({{0}})"
        if level:
            value = rollup.OVER_AVERAGES[wanted.aggregate]
        chosen = ", ".join(value.format(key) for key in wanted.keys)
        return self.fetch_rows(
            f"SELECT time / ?1 * ?1 AS begins, {chosen}"  # noqa: S608 - names from tables
            f" FROM {level.measurement if level else 'reading'}"
            f" WHERE {_OF_SENSOR} AND time >= ? AND time < ? GROUP BY begins ORDER BY begins",
            *(wanted.step, wanted.sensor, first, last),
        )

    def read_between(
        self, start: float, end: float, sensors: Collection[str] | None = None
    ) -> list[Reading]:
        """Return the readings of these sensors, or of all."""
        statement = f"SELECT {_ALL} FROM reading WHERE sensor = ? AND time >= ? AND time < ?"  # noqa: S608 - names from the table of quantities

        def read(db: sqlite3.Connection) -> list[Reading]:
            return [
                make_reading(name, row)
                for sensor, name in db.execute(_SENSORS).fetchall()
                if sensors is None or name in sensors
                for row in db.execute(statement, (sensor, to_ns(start), to_ns(end)))
            ]

        return sorted(self.query(read), key=attrgetter("time", "sensor"))

    def tidy(self, now: float, old_at: float | None = None) -> bool:
        """Compute some stale averages, and delete some old data; return whether there is more."""
        old_at = now if old_at is None else old_at

        def work(tx: sqlite3.Connection) -> bool:
            more = rollup.tidy(tx, now, self._retention, old_at)
            return more or _delete_old_health(tx, old_at, self._retention) >= rollup.ROWS

        return self.change(work)


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


def _delete_old_health(tx: sqlite3.Connection, now: float, retention: Retention) -> int:
    return tx.execute(
        "DELETE FROM sensor_health WHERE (sensor, time) IN"
        " (SELECT sensor, time FROM sensor_health WHERE time < ? LIMIT ?)",
        (to_ns(now - retention.keep_s(MEASUREMENTS[HEALTH].kept)), rollup.ROWS),
    ).rowcount
