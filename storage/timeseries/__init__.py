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

__all__ = ["Aggregate", "LatestReading", "Series", "SeriesReader"]

Aggregate = Literal["mean", "min", "max"]


class LatestReading(NamedTuple):
    """Newest reading of a sensor: event time in Unix seconds and its values by quantity."""

    time: float
    values: Mapping[str, float]


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
        """Open the files on this machine; no network."""

    def close(self) -> None:
        """Close it; safe to call twice."""

    @property
    def repairs(self) -> int:
        """Times that a file of it was set aside and rebuilt since the start."""

    def check_connection(self) -> str:
        """Check that it can be written and read; see `writer.SeriesStore`."""

    def cursor(self) -> int:
        """Return the journal offset up to which readings are durably stored."""

    def write(self, readings: Sequence[Reading], cursor: int) -> None:
        """Store readings and the cursor behind them; see `writer.SeriesStore`."""

    def add(self, readings: Sequence[Reading]) -> None:
        """Store readings that are not from the journal; repeating it changes nothing."""

    def readings(
        self,
        sensor: str,
        start: float,
        end: float,
        every_s: float,
        aggregate: Aggregate = "mean",
        quantities: Sequence[str] = COLUMNS,
    ) -> tuple[NDArray[np.float64], Mapping[str, NDArray[np.float64]]]:
        """Aggregate readings of ``[start, end)`` over intervals of equal length.

        For long or old spans, averages are read instead of readings
        (`storage.timeseries.resolution`): each minute then has the same weight, and intervals are
        lengthened to multiples of the averages. Intervals of `every_s` seconds (at least a
        millisecond) begin at multiples of it since 1970.

        Returns the beginnings of the intervals with a value, Unix seconds, ascending; and the
        quantities that occur at least once, NaN where absent.
        """

    def record(self, records: Sequence[Record]) -> None:
        """Store records beside readings (`storage.timeseries.records`), replacing equal keys.

        Errors are those of `write`.
        """

    def records(
        self,
        measurement: str,
        start: float,
        end: float,
        *,
        sensors: Collection[str] | None = None,
        rooms: Collection[str] | None = None,
    ) -> list[Record]:
        """Return the records in ``[start, end)`` by time, of these sensors or rooms, or of all."""

    def sums(
        self,
        measurement: str,
        fields: Sequence[str],
        start: float,
        end: float,
        sensors: Iterable[str],
    ) -> Mapping[str, tuple[float, ...]]:
        """Add numeric fields up over the records of each sensor in ``[start, end)``.

        Sensors without a record are not in the result; what a record lacks adds nothing.
        """

    def between(
        self, start: float, end: float, sensors: Collection[str] | None = None
    ) -> list[Reading]:
        """Return the readings in ``[start, end)`` of these or all sensors, by time, then sensor.

        They are as received, but without `Reading.seq`; several of one sensor and moment are
        joined.
        """

    def span(self) -> tuple[float, float] | None:
        """Event times of the oldest and the newest reading, Unix seconds; None if there is none."""

    def tidy(self, now: float, old_at: float | None = None) -> bool:
        """Make averages that are due and delete what is old; return whether there is more.

        What is old enough is judged at `old_at`, by default `now`.
        """

    def unaveraged(self) -> int:
        """Return the number of quarters of an hour that wait for `tidy`."""

    def count(self) -> int:
        """Return the number of stored readings."""
