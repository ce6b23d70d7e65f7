"""Time series of readings: one protocol, two kinds of store.

`storage.timeseries.sqlite` is the embedded one, `storage.timeseries.influx` writes into an
InfluxDB of the site. What a reading becomes on its way is one of three, here as everywhere:
accepted (`Series.write` returns), rejected (`BatchRefusedError`; `storage.timeseries.writer` makes
the one reading a dead letter), or kept (`StorageUnavailableError`; it stays in the journal).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from detection.quantities import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from storage.reading import Reading
    from storage.timeseries.records import Record

__all__ = ["Aggregate", "Coverage", "LatestReading", "Series", "SeriesReader", "StoredEvent"]

Aggregate = Literal["mean", "min", "max"]


class LatestReading(NamedTuple):
    """Newest reading of a sensor: event time in Unix seconds and its values by quantity."""

    time: float
    values: Mapping[str, float]


class StoredEvent(NamedTuple):
    """Device events of a device, and the quantities it reports as faulty."""

    time: float
    sensor: str
    events: tuple[str, ...]
    faults: tuple[str, ...]


class Coverage(NamedTuple):
    """Readings expected of a sensor by its interval, and readings stored."""

    expected: float
    received: int


class SeriesReader(Protocol):
    """Where readings are read back; safe from several threads, may block."""

    def latest(self) -> Mapping[str, LatestReading]:
        """Newest reading of each sensor that has one."""

    def window(
        self, sensor: str, start: float, end: float
    ) -> tuple[NDArray[np.float64], Mapping[str, NDArray[np.float64]]]:
        """Event times in ``[start, end]``, ascending, and one column a quantity; NaN if absent."""


class Series(SeriesReader, Protocol):
    """A store of readings: what `SeriesWriter` fills, with its queries."""

    def open(self) -> None:
        """Open what it needs on this machine; no network.

        Raises `StorageUnavailableError`, `SchemaTooNewError`.
        """

    def close(self) -> None:
        """Close it; safe to call twice."""

    @property
    def repairs(self) -> int:
        """Times that a file of it was set aside and rebuilt since the start."""

    def check_connection(self) -> str:
        """Ask whether it can be written and read; see `writer.SeriesStore`."""

    def cursor(self) -> int:
        """Journal offset up to which readings are stored for good."""

    def write(self, readings: Sequence[Reading], cursor: int) -> None:
        """Store readings and the cursor behind them; see `writer.SeriesStore`."""

    def add(self, readings: Sequence[Reading]) -> None:
        """Store readings that are not from the journal; those there already change nothing.

        Raises `StorageUnavailableError`. Raises `BatchRefusedError` as `write`.
        """

    def readings(
        self,
        sensor: str,
        start: float,
        end: float,
        every_s: float,
        aggregate: Aggregate = "mean",
        quantities: Sequence[str] = COLUMNS,
    ) -> tuple[NDArray[np.float64], Mapping[str, NDArray[np.float64]]]:
        """Aggregate readings over intervals of equal length.

        Of long or old spans, averages are read instead of readings (`storage.timeseries.
        resolution`): each minute then weighs the same, and intervals are lengthened to whole ones
        of what is kept.

        `start`, `end`: Unix seconds, half-open: ``[start, end)``. `every_s`: length of an
        interval, seconds, at least a millisecond; intervals begin at multiples of it since 1970.
        Returns `time`, beginnings of the intervals that hold a value, Unix seconds, ascending;
        `values`, quantities that occur at least once; NaN where absent.
        """

    def record(self, records: Sequence[Record]) -> None:
        """Store records beside readings (`storage.timeseries.records`); those there are replaced.

        Raises `StorageUnavailableError`: nothing may be taken for stored; the same call may
        succeed later. Raises `BatchRefusedError`: at least one of them is refused for good.
        """

    def records(
        self, measurement: str, start: float, end: float, *, sensor: str = "", room: str = ""
    ) -> list[Record]:
        """Return the records of a measurement in ``[start, end)``, by time.

        - `measurement`: one of `storage.timeseries.records.MEASUREMENTS`.
        - `start`, `end`: Unix seconds.
        - `sensor`, `room`: only of this one; a measurement that is not about such has none.
        """

    def sums(
        self,
        measurement: str,
        fields: Sequence[str],
        start: float,
        end: float,
        sensors: Iterable[str],
    ) -> Mapping[str, tuple[float, ...]]:
        """Add fields up over the records of each sensor in ``[start, end)``.

        - `measurement`: one that is about sensors.
        - `fields`: numbers; what a record lacks adds nothing.
        - `start`, `end`: Unix seconds.
        - `sensors`: those without a record are not in the result.
        """

    def between(self, start: float, end: float, sensors: Collection[str] = ()) -> list[Reading]:
        """Return the readings in ``[start, end)``, by time, then sensor.

        Of these sensors only; of all if none is given.

        As they were received, but for `Reading.seq`, which is not stored; of one sensor and moment
        there is one, which joins several.
        """

    def span(self) -> tuple[float, float] | None:
        """Event times of the oldest and the newest reading, Unix seconds; None if there is none."""

    def events(self, start: float, end: float, sensor: str | None = None) -> list[StoredEvent]:
        """Return what devices reported in ``[start, end)``, by time, then sensor."""

    def coverage(
        self, start: float, end: float, intervals: Mapping[str, float]
    ) -> Mapping[str, Coverage]:
        """Count readings in ``[start, end)`` against what sensors should have sent.

        `start`, `end`: Unix seconds. `intervals`: seconds between readings of each sensor.
        """

    def tidy(self, now: float, old_at: float | None = None) -> bool:
        """Make averages that are due, delete what is kept long enough; whether there is more.

        `now`: Unix seconds. `old_at`: moment by which is judged what is old enough; `now` by
        default. Raises `StorageUnavailableError`.
        """

    def unaveraged(self) -> int:
        """Return the number of quarters of an hour that wait for `tidy`."""

    def count(self) -> int:
        """Return the number of stored readings."""
