"""Readings in the site's InfluxDB.

The cursor is in a small SQLite file on this machine. It moves only after the server has stored a
batch. If the service crashes in between, the batch is written again and overwrites itself
(`storage.timeseries.line_protocol`). `open` reads only this file. While the server is unavailable
or set up wrong, readings wait in the journal, and `storage.timeseries.writer` retries.

Two readings of one sensor at the same microsecond are two points. Queries join them as the embedded
store does: the second only adds values that the first lacks. Aggregates count both.
"""

from __future__ import annotations

import time
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from detection.quantities import COLUMNS
from storage.errors import BatchRefusedError, StorageUnavailableError
from storage.journal import STATE_SCRIPTS, save_cursor
from storage.sqlite import migrate_all
from storage.timeseries import rollup
from storage.timeseries.influx_answers import Meaning
from storage.timeseries.influx_http import InfluxHttp, quote_string
from storage.timeseries.line_protocol import QUARANTINE, READING, LineEncoder, RecordEncoder, to_ns
from storage.timeseries.records import HEALTH
from storage.timeseries.resolution import MINUTE, QUARTER_HOUR
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
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from storage.reading import Reading
    from storage.registry import Registry
    from storage.timeseries.influx_http import InfluxSettings
    from storage.timeseries.records import Record
    from storage.timeseries.resolution import Level, Retention
    from storage.timeseries.series import LatestReading

BATCH: Final = 10_000
"""Readings in one write, 2 to 7 MB. InfluxDB 3 accepts up to 10 MB, and takes a second for a write
of any size."""
_LATEST_ROWS: Final = 24
_RECENT_S: Final = 3600
_MARGIN_S: Final = 3600.0
"""Readings this close to the end of retention may already be deleted on the server."""
_NAMES: Final = 50
"""Maximum number of sensors named in one statement, because it must fit into a URL."""
_REPORTED: Final = '"events", "faults", "flags"'
_ALL: Final = ", ".join(f'"{key}"' for key in COLUMNS)


class InfluxSeries(Series):
    """Readings in one database (bucket) of InfluxDB; see `storage.timeseries.Series`."""

    CONSUMER = "influx"

    def __init__(
        self,
        settings: InfluxSettings,
        registry: Registry,
        cursor: Path | str,
        retention: Retention | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.http = InfluxHttp(settings)
        self._registry = registry
        self._encoder = LineEncoder(registry)
        self._record_encoder = RecordEncoder(registry)
        super().__init__(cursor, prepare, begin_again, retention, clock)

    def abandon(self) -> None:
        """Stop waiting for the server."""
        self.http.abandon()

    def close(self) -> None:
        """Close the file and the connections; safe to call twice."""
        super().close()
        self.http.close()

    def check_connection(self) -> str:
        """Check the server; see `InfluxHttp.check_connection`."""
        return self.http.check_connection()

    def check_set_up(self) -> None:
        """Check that the policies or databases for averages exist.

        For 2.x, also check that they can be written to, because 2.x returns no error if a query
        uses a deleted bucket.
        """
        for level in (MINUTE, QUARTER_HOUR):
            place = self.http.name_measurement(level.measurement, level.name)
            self.http.query(f'SELECT "n" FROM {place} LIMIT 1', level.name)  # noqa: S608 - our own names
            if self.http.get_server().major == 2:
                self.http.check_write(level.name)

    def write(self, readings: Sequence[Reading], cursor: int | None = None) -> None:
        """Store readings, and then the cursor if given."""
        self._send(readings)
        moments = [(to_ns(reading.time),) for reading in readings]
        self._store(lambda tx: rollup.mark_stale(tx, moments), cursor)

    def _send(self, readings: Sequence[Reading]) -> None:
        if not readings:
            return
        try:
            self.http.write(self._encoder.encode(readings))
        except BatchRefusedError as error:
            kept_from = self._clock() - self._retention.keep_s(None) + _MARGIN_S
            if error.meaning == Meaning.TOO_OLD and all(r.time > kept_from for r in readings):
                raise StorageUnavailableError(
                    f"{self.http.settings.url} refuses current readings as older than it keeps:"
                    " its clock is wrong, or `plumewatch storage setup` was not run after"
                    f" timeseries.raw_days was changed ({error})"
                ) from error
            raise

    def record(self, records: Sequence[Record]) -> None:
        """Store records, replacing those with equal keys."""
        for policy, lines in self._record_encoder.group_by_policy(records).items():
            self.http.write(lines, policy)

    def read_health(self, start: float, end: float) -> list[Record]:
        """Return the ``sensor_health`` records of a span, in time order."""
        found = self.http.query(
            f"SELECT * FROM {self.http.name_measurement(HEALTH, MINUTE.name)}"  # noqa: S608 - our own names
            f" WHERE time >= {to_ns(start)} AND time < {to_ns(end)}",
            MINUTE.name,
        )
        rows = (
            dict(zip(series["columns"], row, strict=True))
            for series in found
            for row in series["values"]
        )
        return sorted(map(make_health, rows), key=attrgetter("time"))

    def _sum_health(
        self, fields: Sequence[str], first: int, last: int, _sensors: Collection[str]
    ) -> Iterable[Sequence[Any]]:
        wanted = ", ".join(f'sum("{field}")' for field in fields)
        found = self.http.query(
            f"SELECT {wanted} FROM {self.http.name_measurement(HEALTH, MINUTE.name)}"  # noqa: S608 - names from the table of measurements
            f' WHERE time >= {first} AND time < {last} GROUP BY "sensor"',
            MINUTE.name,
        )
        return ([name, *rows[0][1:]] for name, rows in _group_by_sensor(found))

    def read_latest(self) -> Mapping[str, LatestReading]:
        """Return the newest values of each registered sensor (`find_newest`)."""
        found = self._query_latest(f"time > now() - {_RECENT_S}s")
        silent = [name for name in self._registry.sensors if name not in found]
        for i in range(0, len(silent), _NAMES):
            names = " OR ".join(
                f'"sensor" = {quote_string(name)}' for name in silent[i : i + _NAMES]
            )
            found.update(self._query_latest(f"({names})"))
        return found

    def read_window(
        self, sensor: str, start: float, end: float
    ) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
        """Return all readings of one sensor in a closed interval of event time; NaN if absent."""
        measurement, mine = self._find_place(sensor)
        found = self.http.query(
            f'SELECT {_ALL}, "received" FROM "{measurement}" WHERE {mine}'  # noqa: S608 - quoted
            f" AND time >= {to_ns(start)} AND time <= {to_ns(end) + 999}"
        )
        rows = [row for series in found for row in _keep_numbers(series["values"])]
        return make_columns(_join_rows(rows), COLUMNS)

    def _aggregate_steps(
        self, wanted: Steps, level: Level | None, first: int, last: int
    ) -> Sequence[Sequence[Any]]:
        _, step, aggregate, keys = wanted
        measurement, mine = self._find_place(wanted.sensor)
        end = f"_{aggregate}" if level and aggregate != "mean" else ""
        chosen = ", ".join(f'{aggregate}("{key}{end}") AS "{key}"' for key in keys)
        policy = level.name if level else ""
        place = self.http.name_measurement(level.measurement if level else measurement, policy)
        return _keep_numbers(
            self._query_rows(
                f"SELECT {chosen} FROM {place} WHERE {mine}"  # noqa: S608 - quoted
                f" AND time >= {first} AND time < {last}"
                f" GROUP BY time({step // 1_000_000}ms) fill(none)",
                policy,
            )
        )

    def read_between(
        self, start: float, end: float, sensors: Collection[str] | None = None
    ) -> list[Reading]:
        """Return the readings of these sensors, or of all."""
        found: dict[str, list[list[Any]]] = {}
        places = ((READING, "sensor"), (QUARANTINE, "name"))
        for measurement, name in places if sensors is None or sensors else ():
            asked = " OR ".join(f'"{name}" = {quote_string(sensor)}' for sensor in sensors or ())
            only = f" AND ({asked})" if asked else ""
            for row in self._query_rows(
                f'SELECT "{name}", {_ALL}, {_REPORTED}, "received" FROM "{measurement}"'  # noqa: S608 - constants
                f" WHERE time >= {to_ns(start)} AND time < {to_ns(end)}{only}"
            ):
                received, flags = row[-1], row[-2] or ""  # keep the flags of the first reading
                if not isinstance(received, int | float):
                    continue  # another program wrote this point
                (numbers,) = _keep_numbers([row[1:-4]])
                joined = [row[0], received, *numbers[1:], *row[-4:-2], flags, received]
                found.setdefault(str(row[1]), []).append(joined)
        return sorted(
            (make_reading(name, row) for name, rows in found.items() for row in _join_rows(rows)),
            key=attrgetter("time", "sensor"),
        )

    def tidy(self, now: float, old_at: float | None = None) -> bool:  # noqa: ARG002 - the server deletes old data
        """Compute some stale averages; return whether there are more."""
        most = rollup.count_quarters_at_once(max(1, len(self._registry.sensors)))
        due = self.query(lambda db: rollup.find_due(db, now, most))
        kept_from = now - self._retention.keep_s(None) + _MARGIN_S
        rollup.update_averages(
            self.http, [q for (q,) in due if q * QUARTER_HOUR.step_s > kept_from]
        )
        self.change(lambda tx: tx.executemany("DELETE FROM stale WHERE quarter = ?", due))
        return bool(due)

    def _list_levels(self, sensor: str) -> Sequence[Level]:
        return rollup.LEVELS if self._registry.has_sensor(sensor) else ()

    def _query_latest(self, which: str) -> dict[str, LatestReading]:
        found = self.http.query(
            f'SELECT {_ALL}, "received" FROM "{READING}" WHERE {which}'  # noqa: S608 - quoted
            f' GROUP BY "sensor" ORDER BY time DESC LIMIT {_LATEST_ROWS}'
        )
        return {
            name: find_newest(_join_rows(_keep_numbers(rows)))
            for name, rows in _group_by_sensor(found)
        }

    def _query_rows(self, statement: str, policy: str = "") -> list[list[Any]]:
        return [row for series in self.http.query(statement, policy) for row in series["values"]]

    def _find_place(self, sensor: str) -> tuple[str, str]:
        """Return the measurement of a sensor, and the condition for its points."""
        if self._registry.has_sensor(sensor):
            return READING, f'"sensor" = {quote_string(sensor)}'
        return QUARANTINE, f'"name" = {quote_string(sensor)}'


def _keep_numbers(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """Replace text with None; another program may have written text to fields of this name."""
    return [[row[0], *(None if isinstance(v, str) else v for v in row[1:])] for row in rows]


def _group_by_sensor(found: Iterable[dict[str, Any]]) -> Iterator[tuple[str, list[list[Any]]]]:
    for series in found:
        yield str(series["tags"]["sensor"]), series["values"]


def _join_rows(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """Join the rows (nanoseconds, values, receive time) of each microsecond, in time order."""
    ordered = sorted(rows, key=lambda row: (row[0] // 1000, row[-1] or 0.0, row[0]))
    found: list[list[Any]] = []
    for micro, same in groupby(ordered, key=lambda row: row[0] // 1000):
        first, *others = (list(row[1:-1]) for row in same)
        for other in others:
            first = [b if a is None else a for a, b in zip(first, other, strict=True)]
        found.append([micro * 1000, *first])
    return found


COMPONENTS: Final = {"state": STATE_SCRIPTS, "averages": (rollup.QUARTERS_SCRIPT,)}
"""Schema scripts of the SQLite file with the cursor."""


prepare: Final = partial(migrate_all, schema=COMPONENTS)


def begin_again(rebuilt: sqlite3.Connection) -> None:
    """Set the cursor to 0 so the journal is written again, because stale marks may be lost."""
    save_cursor(rebuilt, InfluxSeries.CONSUMER, 0)
