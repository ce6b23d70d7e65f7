"""The interface of a time-series store, and the code that both stores share.

`storage.timeseries.sqlite` is the embedded store, and `storage.timeseries.influx` uses the site's
InfluxDB. Writing a reading has one of three outcomes. It is stored (`Series.write` returns), it is
rejected (`BatchRefusedError`; `storage.timeseries.writer` makes it a dead letter), or it waits in
the journal (`StorageUnavailableError`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NamedTuple

import numpy as np

from detection.quantities import COLUMN_INDEX, COLUMNS
from storage.errors import StorageUnavailableError
from storage.journal import load_cursor, save_cursor
from storage.reading import Reading
from storage.sqlite import DatabaseFile
from storage.timeseries import rollup
from storage.timeseries.line_protocol import to_ns
from storage.timeseries.records import HEALTH, HEALTH_FIELDS, Record
from storage.timeseries.resolution import Retention, choose_level, stretch_interval

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from storage.repair import Prepare
    from storage.timeseries.resolution import Level


Aggregate = Literal["mean", "min", "max"]

_NS: Final = 1_000_000_000
_LATEST_S: Final = 120


class LatestReading(NamedTuple):
    """Newest values of a sensor by quantity, and their event time in Unix seconds."""

    time: float
    values: Mapping[str, float]


def make_columns(
    rows: Sequence[Sequence[Any]], keys: Sequence[str]
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Convert rows (nanoseconds, values) to times and a column for each quantity that occurs."""
    time = np.array([row[0] / _NS for row in rows], dtype=np.float64)
    table = np.array(
        [[math.nan if v is None else v for v in row[1:]] for row in rows], dtype=np.float64
    ).reshape(len(rows), len(keys))
    present = ~np.all(np.isnan(table), axis=0) if len(rows) else np.zeros(len(keys), bool)
    return time, {k: table[:, i] for i, k in enumerate(keys) if present[i]}


def find_newest(rows: Iterable[Sequence[Any]]) -> LatestReading:
    """Return the newest value of each quantity in a sensor's rows (nanoseconds, all quantities).

    Devices may spread quantities over several messages. So a value that is missing from the newest
    row may come from a row up to two minutes older. A row without values only shows that the device
    is connected. Its time counts only if no row has values.
    """
    last, known = 0, dict[str, tuple[int, float]]()
    for at, *values in rows:
        last = max(last, at)
        for key, value in zip(COLUMNS, values, strict=True):
            if value is not None and (key not in known or known[key][0] < at):
                known[key] = at, float(value)
    last = max((at for at, _ in known.values()), default=last)
    least = last - _LATEST_S * _NS
    return LatestReading(last / _NS, {key: v for key, (at, v) in known.items() if at >= least})


def make_reading(sensor: str, row: Sequence[Any]) -> Reading:
    """Convert a row to a reading.

    The row has nanoseconds, receive time, all quantities, events, faults and flags.
    """
    values = {
        key: float(value)
        for key, value in zip(COLUMNS, row[2:-3], strict=True)
        if value is not None
    }
    events, faults, flags = (tuple((joined or "").split()) for joined in row[-3:])
    return Reading(sensor, row[0] // 1000 / 1e6, float(row[1]), values, events, faults, flags)


def make_health(row: Mapping[str, Any]) -> Record:
    """Convert a row (``time`` in nanoseconds, sensor and fields by name) to a record."""
    fields = {
        key: kind(row[key]) for key, kind in HEALTH_FIELDS.items() if row.get(key) is not None
    }
    sensor = row.get("sensor") or row.get("name") or ""
    return Record(HEALTH, row["time"] // 1000 / 1e6, fields, sensor=str(sensor))


def check_interval(every_s: float) -> int:
    """Convert seconds to nanoseconds, rounded to milliseconds; raises `ValueError` if too short."""
    if not every_s >= 0.001 or math.isinf(every_s):
        raise ValueError(f"an interval of {every_s} s is too short; use at least 0.001 s")
    return round(every_s * 1000) * 1_000_000


def check_quantities(keys: Iterable[str]) -> tuple[str, ...]:
    """Return quantities that are safe to use in a statement; raises `ValueError` if unknown."""
    found = tuple(keys)
    strange = [k for k in found if k not in COLUMN_INDEX]
    if strange or not found:
        raise ValueError(f"no such quantity: {', '.join(map(repr, strange)) or 'none given'}")
    return found


class Steps(NamedTuple):
    """A query for the aggregates of a sensor in steps of equal length, in nanoseconds."""

    sensor: str
    step: int
    aggregate: Aggregate
    keys: Sequence[str]


class Series(DatabaseFile, ABC):
    """A store of readings and their averages; its methods are thread-safe and may block.

    `CONSUMER`: name of its cursor.
    `MARKS_SENSORS`: whether each sensor has its own stale quarter hours.
    """

    CONSUMER: ClassVar[str]
    MARKS_SENSORS: ClassVar[bool] = False

    def __init__(
        self,
        path: Path | str,
        prepare: Prepare,
        complete: Prepare,
        retention: Retention | None,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(path, prepare, complete)
        self._known_cursor = 0
        self._retention = retention or Retention()
        self._clock = clock

    def open(self) -> None:
        """Open the file; does not use the network."""
        super().open()
        self._known_cursor = self.get_cursor()

    def get_cursor(self) -> int:
        """Return the journal offset up to which readings are stored."""
        return self.query(lambda db: load_cursor(db, self.CONSUMER))

    def _store(self, work: Callable[[sqlite3.Connection], None], cursor: int | None) -> None:
        """Run `work` and move the cursor in one transaction.

        Raises `StorageUnavailableError` if a repair has set the cursor back. The readings to store
        come after the old cursor, so storing them would skip the readings in between.
        """

        def run(tx: sqlite3.Connection) -> None:
            work(tx)
            if cursor is None:
                return
            known, self._known_cursor = self._known_cursor, load_cursor(tx, self.CONSUMER)
            if self._known_cursor < known:
                raise StorageUnavailableError(f"{self.path} was rebuilt; reading the journal again")
            save_cursor(tx, self.CONSUMER, cursor)

        self.change(run)
        if cursor is not None:
            self._known_cursor = cursor

    def aggregate_readings(
        self,
        sensor: str,
        start: float,
        end: float,
        every_s: float,
        aggregate: Aggregate = "mean",
        quantities: Sequence[str] = COLUMNS,
    ) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
        """Aggregate readings of ``[start, end)`` over intervals of `every_s` seconds.

        Intervals last at least a millisecond and start at multiples of `every_s` since 1970. For
        long or old spans, stored averages are used instead of readings
        (`storage.timeseries.resolution`), up to the first interval in which they are out of date.
        When averages are used, each of them has the same weight, however many readings it covers,
        and intervals are lengthened to a multiple of the resolution.

        Returns the starts of the intervals with a value (Unix seconds, ascending), and a column for
        each quantity that occurs, with NaN where it is absent.
        """
        keys, _ = check_quantities(quantities), check_interval(every_s)
        now = self._clock()
        level = choose_level(start, end, every_s, now, self._retention, self._list_levels(sensor))
        step = check_interval(stretch_interval(every_s, level))
        first, last = to_ns(start), to_ns(end)
        wanted = Steps(sensor, step, aggregate, keys)
        split = first
        rows: list[Sequence[Any]] = []
        if level is not None:
            own = sensor if self.MARKS_SENSORS else None
            stale = self.query(lambda db: rollup.find_oldest_stale(db, first, own))
            split = min(max(last if stale is None else stale // step * step, first), last)
            whole = level.step_s * _NS
            rows += self._aggregate_steps(wanted, level, first // whole * whole, split)
        if split < last:
            rows += self._aggregate_steps(wanted, None, split, last)
        return make_columns([row for row in rows if any(v is not None for v in row[1:])], keys)

    def abandon(self) -> None:
        """Make all calls that wait for a server fail immediately; callable from any thread."""

    @abstractmethod
    def check_connection(self) -> str:
        """Check that the store can be written to and read; raises `StorageUnavailableError`."""

    @abstractmethod
    def read_latest(self) -> Mapping[str, LatestReading]:
        """Return the newest values of each sensor that has any (`find_newest`)."""

    @abstractmethod
    def read_window(
        self, sensor: str, start: float, end: float
    ) -> tuple[NDArray[np.float64], Mapping[str, NDArray[np.float64]]]:
        """Return event times in ``[start, end]``, ascending, and a column for each quantity."""

    @abstractmethod
    def record(self, records: Sequence[Record]) -> None:
        """Store records (`storage.timeseries.records`), replacing those with equal keys.

        The embedded store ignores all but ``sensor_health``, because nothing would read them.

        Raises the same errors as `write`.
        """

    @abstractmethod
    def read_health(self, start: float, end: float) -> list[Record]:
        """Return the ``sensor_health`` records in ``[start, end)``, in time order."""

    def sum_health(
        self, fields: Sequence[str], start: float, end: float, sensors: Iterable[str]
    ) -> Mapping[str, tuple[float, ...]]:
        """Return sums over the ``sensor_health`` records of each sensor in ``[start, end)``.

        Sensors without records are not in the result; absent fields count as 0.
        """
        ours = frozenset(sensors)
        return {
            sensor: tuple(float(value or 0.0) for value in sums)
            for sensor, *sums in self._sum_health(fields, to_ns(start), to_ns(end), ours)
            if sensor in ours
        }

    @abstractmethod
    def read_between(
        self, start: float, end: float, sensors: Collection[str] | None = None
    ) -> list[Reading]:
        """Return the readings of some or all sensors in ``[start, end)``, by time, then sensor.

        Readings of the same sensor and moment are joined. `seq`, `packet`, `stamp` and `clock_step`
        are not stored, so they have their default values.
        """

    @abstractmethod
    def tidy(self, now: float, old_at: float | None = None) -> bool:
        """Compute some stale averages, and delete some old data; return whether there is more.

        The age of data is measured at `old_at`, by default `now`.
        """

    @abstractmethod
    def write(self, readings: Sequence[Reading], cursor: int | None = None) -> None:
        """Store readings, and move the cursor past them.

        Without readings, only the cursor moves. Readings that are not from the journal have no
        cursor. Repeating the call changes nothing.

        Raises `StorageUnavailableError` if the same call may succeed later, and `BatchRefusedError`
        if the store will never accept one of the readings. In both cases the cursor has not moved.
        """

    @abstractmethod
    def _sum_health(
        self, fields: Sequence[str], first: int, last: int, sensors: Collection[str]
    ) -> Iterable[Sequence[Any]]:
        """Return a row (id, sums) for each of these sensors; other sensors may be included."""

    @abstractmethod
    def _list_levels(self, sensor: str) -> Sequence[Level]:
        """Return the levels of averages that exist for a sensor."""

    @abstractmethod
    def _aggregate_steps(
        self, wanted: Steps, level: Level | None, first: int, last: int
    ) -> Sequence[Sequence[Any]]:
        """Aggregate the averages of a level, or readings (None), over a span in nanoseconds."""
