"""Averages of a minute and of 15 minutes in the embedded store, and what is deleted when.

Order of operations
-------------------
Whoever writes a reading marks its quarter of an hour as stale, in the same transaction. A quarter
that is over is computed anew from its readings, and the mark removed, in one transaction: readings
that come late, twice or after a crash give the right averages in the end. Averages of more readings
than are still there are kept as they are.

Readings are deleted by whole quarters, when both their event time and their receipt are older than
they are kept, and never before their averages are made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detection.quantities import COLUMNS
from storage.timeseries import record_tables
from storage.timeseries.resolution import MINUTE, QUARTER_HOUR

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from storage.timeseries.resolution import Level, Retention

_NS: Final = 1_000_000_000
_QUARTER_NS: Final = QUARTER_HOUR.step_s * _NS
_SETTLED_S: Final = 60.0
_BUCKETS: Final = 100
_ROWS: Final = 5_000
_ROLLED = ", ".join(f"{k} REAL, {k}_min REAL, {k}_max REAL" for k in COLUMNS)
_TABLES: Final = "".join(
    f"""
    CREATE TABLE {level.measurement} (
        sensor INTEGER NOT NULL REFERENCES sensor (id),
        time INTEGER NOT NULL,
        n INTEGER NOT NULL,
        {_ROLLED},
        PRIMARY KEY (sensor, time)
    ) WITHOUT ROWID;
    """
    for level in (MINUTE, QUARTER_HOUR)
)
_MARKS: Final = """
    CREATE TABLE stale (
        sensor INTEGER NOT NULL REFERENCES sensor (id),
        quarter INTEGER NOT NULL,
        PRIMARY KEY (sensor, quarter)
    ) WITHOUT ROWID;
    INSERT INTO stale SELECT DISTINCT sensor, time / 900000000000 FROM reading;
    """
SCRIPT: Final = _TABLES + _MARKS
_AGGREGATES: Final = ", ".join(f"avg({k}), min({k}), max({k})" for k in COLUMNS)
_IN_ROLLED: Final = {"mean": "avg({0})", "min": "min({0}_min)", "max": "max({0}_max)"}


def mark(tx: sqlite3.Connection, moments: Iterable[tuple[int, int]]) -> None:
    """Mark the quarters of moments (sensor, nanoseconds) as stale."""
    quarters = {(sensor, ns // _QUARTER_NS) for sensor, ns in moments}
    tx.executemany("INSERT OR IGNORE INTO stale VALUES (?, ?)", sorted(quarters))


def oldest_stale(connection: sqlite3.Connection, sensor: str, start_ns: int) -> int | None:
    """Find where the oldest stale quarter from a moment on begins, nanoseconds; None if none is."""
    row = connection.execute(
        "SELECT min(quarter) FROM stale WHERE sensor = (SELECT id FROM sensor WHERE name = ?)"
        " AND quarter >= ?",
        (sensor, start_ns // _QUARTER_NS),
    ).fetchone()
    return None if row[0] is None else int(row[0]) * _QUARTER_NS


def select_rolled(level: Level, aggregate: str, keys: Iterable[str]) -> str:
    """Return the statement that aggregates averages; as that over readings, with its parameters."""
    chosen = ", ".join(_IN_ROLLED[aggregate].format(key) for key in keys)
    return (
        f"SELECT time / ? * ? AS begins, {chosen} FROM {level.measurement}"  # noqa: S608 - names from tables
        " WHERE sensor = (SELECT id FROM sensor WHERE name = ?) AND time >= ? AND time < ?"
        " GROUP BY begins ORDER BY begins"
    )


def tidy(tx: sqlite3.Connection, now: float, retention: Retention, old_at: float) -> bool:
    """Make some averages that are due, delete some of what is kept long enough.

    - `tx`: in a transaction.
    - `now`: Unix seconds.
    - `old_at`: moment by which is judged what is old enough, Unix seconds.

    Returns whether there is more to do.
    """
    over = int((now - _SETTLED_S) * _NS) // _QUARTER_NS
    first_kept = int((old_at - retention.keep_s(None)) * _NS) // _QUARTER_NS
    due = tx.execute(
        "SELECT sensor, quarter FROM stale WHERE quarter < ? ORDER BY quarter LIMIT ?",
        (over, _BUCKETS),
    ).fetchall()
    for sensor, quarter in due:
        for level in (MINUTE, QUARTER_HOUR):
            step = level.step_s * _NS
            tx.execute(
                f"INSERT OR REPLACE INTO {level.measurement}"  # noqa: S608 - names from tables
                f" SELECT sensor, time / {step} * {step} AS begins, count(*), {_AGGREGATES}"
                " FROM reading WHERE sensor = ? AND time >= ? AND time < ? GROUP BY begins"
                f" HAVING count(*) >= coalesce((SELECT n FROM {level.measurement} AS kept"
                " WHERE kept.sensor = reading.sensor AND kept.time = begins), 0)",
                (sensor, quarter * _QUARTER_NS, (quarter + 1) * _QUARTER_NS),
            )
        tx.execute("DELETE FROM stale WHERE sensor = ? AND quarter = ?", (sensor, quarter))
    if len(due) == _BUCKETS:
        return True
    deleted = _delete(tx, "reading", first_kept * _QUARTER_NS, old_at - retention.keep_s(None))
    for level in (MINUTE, QUARTER_HOUR):
        before = int((old_at - retention.keep_s(level)) * _NS)
        deleted += _delete(tx, level.measurement, before, None)
    return record_tables.delete_old(tx, old_at, retention) + deleted >= _ROWS


def _delete(
    tx: sqlite3.Connection, table: str, before_ns: int, received_before: float | None
) -> int:
    """Delete up to some thousand rows; how many they were."""
    deleted = 0
    for (sensor,) in tx.execute("SELECT id FROM sensor").fetchall():
        older = "time < ?" if received_before is None else "time < ? AND received < ?"
        bounds = (before_ns,) if received_before is None else (before_ns, received_before)
        deleted += tx.execute(
            f"DELETE FROM {table} WHERE sensor = ? AND time IN (SELECT time FROM {table}"  # noqa: S608 - names from tables
            f" WHERE sensor = ? AND {older} LIMIT ?)",
            (sensor, sensor, *bounds, _ROWS - deleted),
        ).rowcount
        if deleted >= _ROWS:
            break
    return deleted
