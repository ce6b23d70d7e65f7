"""Averages in an InfluxDB that makes none by itself: InfluxDB 3.

Constraints
-----------
As in the embedded store (`storage.timeseries.rollup`): whoever writes a reading marks its quarter
of an hour as stale, together with the position in the journal; a quarter that is over is computed
anew from all its readings, so what comes late or twice is right in the end. The marks are in the
small file that keeps the position, the averages in the databases ``NAME/m1`` and ``NAME/m15``.

A quarter whose readings the server may have begun to delete is left as it is.

Order of operations
-------------------
The server aggregates; the answer is written back; then the mark is removed. A crash in between
writes the same averages again, onto themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from detection.quantities import COLUMNS
from storage.timeseries.line_protocol import READING, TAGS, average_fields, head, to_ns
from storage.timeseries.resolution import QUARTER_HOUR

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from storage.reading import Reading
    from storage.timeseries.influx_http import InfluxHttp
    from storage.timeseries.resolution import Level

_NS: Final = 1_000_000_000
_QUARTER_NS: Final = QUARTER_HOUR.step_s * _NS
_SETTLED_S: Final = 60.0
_AT_ONCE: Final = 20
SCRIPT: Final = "CREATE TABLE stale (quarter INTEGER PRIMARY KEY);"
FOLDED: Final = ", ".join(
    f'mean("{k}") AS "{k}", min("{k}") AS "{k}_min", max("{k}") AS "{k}_max"' for k in COLUMNS
)
"""What an average is made of, beside the number of readings."""


def mark(tx: sqlite3.Connection, readings: Iterable[Reading]) -> None:
    """Mark the quarters of readings as stale."""
    quarters = {to_ns(r.time) // _QUARTER_NS for r in readings}
    tx.executemany("INSERT OR IGNORE INTO stale VALUES (?)", [(q,) for q in sorted(quarters)])


def due(db: sqlite3.Connection, now: float) -> list[int]:
    """Return some stale quarters that are over, oldest first."""
    over = int((now - _SETTLED_S) * _NS) // _QUARTER_NS
    rows = db.execute(
        "SELECT quarter FROM stale WHERE quarter < ? ORDER BY quarter LIMIT ?", (over, _AT_ONCE)
    )
    return [int(row[0]) for row in rows]


def clear(tx: sqlite3.Connection, quarter: int) -> None:
    """Remove a mark."""
    tx.execute("DELETE FROM stale WHERE quarter = ?", (quarter,))


def oldest_stale(db: sqlite3.Connection, start_ns: int) -> int | None:
    """Find where the oldest stale quarter from a moment on begins, nanoseconds; None if none is."""
    row = db.execute(
        "SELECT min(quarter) FROM stale WHERE quarter >= ?", (start_ns // _QUARTER_NS,)
    ).fetchone()
    return None if row[0] is None else int(row[0]) * _QUARTER_NS


def fold(http: InfluxHttp, level: Level, start: float, end: float) -> None:
    """Make the averages of a span: the server aggregates, the answer is written back.

    `start`, `end`: Unix seconds, multiples of the level's step. Raises `StorageUnavailableError`,
    `BatchRefusedError`.
    """
    tags = ", ".join(f'"{tag}"' for tag in TAGS)
    found = http.query(
        f'SELECT {FOLDED}, count("received") AS "n" FROM "{READING}"'  # noqa: S608 - names from tables
        f" WHERE time >= {to_ns(start)} AND time < {to_ns(end)}"
        f" GROUP BY time({level.step_s}s), {tags} fill(none)"
    )
    lines = [line for series in found for line in _lines(level, series)]
    if lines:
        http.write("\n".join(lines).encode(), level.name)


def _lines(level: Level, series: dict[str, Any]) -> Iterator[str]:
    columns = series["columns"]
    for values in series["values"]:
        row = {**dict(zip(columns, values, strict=True)), **series.get("tags", {})}
        fields = {k: row[k] for k in columns if k not in ("time", *TAGS) and row[k] is not None}
        if row.get("n"):
            place = head(level.measurement, {tag: str(row.get(tag) or "") for tag in TAGS})
            yield f"{place} {average_fields(fields)} {row['time']}"
