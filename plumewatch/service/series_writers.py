"""The time-series store with its two writers: of readings, and of records beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from alerts.outbound.series_records import DueRecords, mark_all
from plumewatch.config.report_settings import school_of
from plumewatch.config.timeseries_settings import series_of
from plumewatch.service.supervisor import Task
from storage.sqlite import transaction
from storage.timeseries.writer import RECORD_REASON, SeriesWriter, WriterSettings

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.config.paths import DataPaths
    from storage.journal import DeadLetter, Journal
    from storage.timeseries.writer import InThread

_PACE_S: Final = 0.05
"""Readings that arrive one by one are gathered for so long."""
_RECORDS_WAIT_S: Final = 1.0
"""An incident changes several times in its first second, and its notice goes first."""


class SeriesWriters:
    """Consumers that fill the store from the journal and from the state database.

    Parameters
    ----------
    bury : callable
        ``await bury(dead_letters)`` returns once they are durable.
    in_series : InThread
        Runs work in the thread of the store.
    clock : callable
        Unix seconds.
    """

    def __init__(
        self,
        config: PlumewatchConfig,
        paths: DataPaths,
        journal: Journal,
        bury: Callable[[Sequence[DeadLetter]], Awaitable[None]],
        in_series: InThread,
        clock: Callable[[], float],
    ) -> None:
        self.series = series_of(config, paths)
        self._due = DueRecords(paths.state, self.series, school_of(config).has_school)
        self.readings = SeriesWriter(
            "the series",
            self.series,
            journal.read,
            bury,
            in_series,
            clock,
            settings=WriterSettings(pace_s=_PACE_S),
        )
        self.records = SeriesWriter(
            "records of the series",
            self._due,
            self._due.read,
            bury,
            in_series,
            clock,
            settings=WriterSettings(
                batch=500, gather_s=_RECORDS_WAIT_S, origin="record", reason=RECORD_REASON
            ),
        )

    def open(self, state: sqlite3.Connection) -> None:
        """Begin with an open store; a new one is given every record again."""
        if self.series.cursor() == 0:
            with transaction(state) as tx:
                mark_all(tx)

    def tasks(self) -> Iterator[Task]:
        """Return what runs while the service does."""
        yield Task("series", self.readings.run())
        yield Task("series records", self.records.run())

    def close(self) -> None:
        """Close the store."""
        self._due.close()
        self.series.close()
