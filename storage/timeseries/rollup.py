"""Compute 1-minute and 15-minute averages.

Writing a reading marks its quarter hour as stale in the same transaction (for InfluxDB, in the
small file with the cursor). After the quarter hour has ended, its averages are computed from all
its readings, and the mark is removed. The averages are therefore right even if readings arrive
late, twice or after a crash.

The embedded store computes averages and removes the mark in one transaction. It never replaces an
average with one of fewer readings. It deletes readings in whole quarter hours, once both their
event time and receive time are past the retention period, but never before their averages are
computed.

For InfluxDB, the server computes the averages in a query, and `update_averages` writes them
back. Repeating this after a crash changes nothing.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from detection.quantities import COLUMNS
from storage.timeseries.line_protocol import READING, TAGS, encode_average, encode_head
from storage.timeseries.resolution import MINUTE, QUARTER_HOUR

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from storage.timeseries.influx_http import InfluxHttp
    from storage.timeseries.resolution import Level, Retention

LEVELS: Final = (MINUTE, QUARTER_HOUR)
ROWS: Final = 5_000
_NS: Final = 1_000_000_000
_QUARTER_NS: Final = QUARTER_HOUR.step_s * _NS
_LATE_S: Final = 60.0
_MAX_QUARTERS: Final = 100
_WRITES: Final = 4
"""Maximum number of requests that write 1-minute averages in one call of `update_averages`."""
_LINES: Final = 5_000
"""Averages in one request, about 4 MB; a server accepts 10 MB."""
QUARTERS_SCRIPT: Final = "CREATE TABLE stale (quarter INTEGER PRIMARY KEY);"
"""Table of stale quarter hours for InfluxDB, where a mark applies to all sensors."""
_AGGREGATES: Final = ", ".join(f"avg({k}), min({k}), max({k})" for k in COLUMNS)
OVER_AVERAGES: Final = {"mean": "avg({0})", "min": "min({0}_min)", "max": "max({0}_max)"}
INFLUXQL_AGGREGATES: Final = ", ".join(
    f'mean("{k}") AS "{k}", min("{k}") AS "{k}_min", max("{k}") AS "{k}_max"' for k in COLUMNS
)
"""Aggregates of readings in InfluxQL, except their number."""


def mark_stale(tx: sqlite3.Connection, moments: Iterable[tuple[int, ...]]) -> None:
    """Mark quarter hours as stale; moments are (sensor, nanoseconds) or (nanoseconds,)."""
    quarters = sorted({(*sensor, ns // _QUARTER_NS) for *sensor, ns in moments})
    if quarters:
        marks = ", ".join("?" * len(quarters[0]))
        tx.executemany(f"INSERT OR IGNORE INTO stale VALUES ({marks})", quarters)  # noqa: S608 - placeholders


def find_oldest_stale(
    connection: sqlite3.Connection, start_ns: int, sensor: str | None = None
) -> int | None:
    """Return the start of the oldest stale quarter hour that ends after `start_ns`, or None.

    Times are in nanoseconds. `sensor`: given only if each sensor has its own marks.
    """
    own = "" if sensor is None else " AND sensor = (SELECT id FROM sensor WHERE name = ?2)"
    parameters = (start_ns // _QUARTER_NS, *(() if sensor is None else (sensor,)))
    query = f"SELECT min(quarter) FROM stale WHERE quarter >= ?1{own}"  # noqa: S608 - constants
    (oldest,) = connection.execute(query, parameters).fetchone()
    return None if oldest is None else int(oldest) * _QUARTER_NS


def find_due(db: sqlite3.Connection, now: float, most: int) -> list[tuple[int, ...]]:
    """Return up to `most` marks of quarter hours that have ended, oldest first."""
    over = int((now - _LATE_S) * _NS) // _QUARTER_NS
    query = "SELECT * FROM stale WHERE quarter < ? ORDER BY quarter LIMIT ?"
    return [tuple(row) for row in db.execute(query, (over, most))]


def tidy(tx: sqlite3.Connection, now: float, retention: Retention, old_at: float) -> bool:
    """Compute some stale averages, and delete some old rows; return whether there are more."""
    marks = find_due(tx, now, _MAX_QUARTERS)
    for sensor, quarter in marks:
        for level in LEVELS:
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
    if len(marks) == _MAX_QUARTERS:
        return True
    received_before = old_at - retention.keep_s(None)
    first_kept = int(received_before * _NS) // _QUARTER_NS
    deleted = _delete(tx, "reading", first_kept * _QUARTER_NS, received_before)
    for level in LEVELS:
        deleted += _delete(tx, level.measurement, int((old_at - retention.keep_s(level)) * _NS))
    return deleted >= ROWS


def _delete(
    tx: sqlite3.Connection, table: str, before_ns: int, received_before: float | None = None
) -> int:
    deleted = 0
    older, bounds = "time < ?", [float(before_ns)]
    if received_before is not None:
        older, bounds = "time < ? AND received < ?", [before_ns, received_before]
    for (sensor,) in tx.execute("SELECT id FROM sensor").fetchall():
        deleted += tx.execute(
            f"DELETE FROM {table} WHERE sensor = ? AND time IN (SELECT time FROM {table}"  # noqa: S608 - names from tables
            f" WHERE sensor = ? AND {older} LIMIT ?)",
            (sensor, sensor, *bounds, ROWS - deleted),
        ).rowcount
        if deleted >= ROWS:
            break
    return deleted


def count_quarters_at_once(sensors: int) -> int:
    """Return how many quarter hours to average at once, given the number of sensors.

    More is better, because InfluxDB 3 takes a second for each write, whatever its size.
    """
    return max(
        1, min(_MAX_QUARTERS, _WRITES * _LINES // (QUARTER_HOUR.step_s // MINUTE.step_s * sensors))
    )


def update_averages(http: InfluxHttp, quarters: Sequence[int]) -> None:
    """Compute the averages of some quarter hours (ascending), and write them back."""
    for level in LEVELS:
        lines = [
            line for span in _group_spans(quarters) for line in _query_averages(http, level, *span)
        ]
        for at in range(0, len(lines), _LINES):
            http.write("\n".join(lines[at : at + _LINES]).encode(), level.name)


def _group_spans(quarters: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each run of consecutive quarter hours, in nanoseconds."""
    for _, run in groupby(enumerate(quarters), key=lambda at: at[1] - at[0]):
        found = [quarter for _, quarter in run]
        yield found[0] * _QUARTER_NS, (found[-1] + 1) * _QUARTER_NS


def _query_averages(http: InfluxHttp, level: Level, first: int, last: int) -> Iterator[str]:
    tags = ", ".join(f'"{tag}"' for tag in TAGS)
    found = http.query(
        f'SELECT {INFLUXQL_AGGREGATES}, count("received") AS "n" FROM "{READING}"'  # noqa: S608 - names from tables
        f" WHERE time >= {first} AND time < {last}"
        f" GROUP BY time({level.step_s}s), {tags} fill(none)"
    )
    for series in found:
        yield from _encode_averages(level, series)


def _encode_averages(level: Level, series: dict[str, Any]) -> Iterator[str]:
    columns = series["columns"]
    for values in series["values"]:
        row = {**dict(zip(columns, values, strict=True)), **series.get("tags", {})}
        fields = {k: row[k] for k in columns if k not in ("time", *TAGS) and row[k] is not None}
        if row.get("n"):
            place = encode_head(level.measurement, {tag: str(row.get(tag) or "") for tag in TAGS})
            yield f"{place} {encode_average(fields)} {row['time']}"
