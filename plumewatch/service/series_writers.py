"""The consumers that fill the time-series store: one of readings, one of records beside them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from alerts.outbound.series_records import DueRecords, mark_all
from plumewatch.config.settings import school_of
from plumewatch.service.supervisor import Task
from storage.sqlite import transaction
from storage.timeseries.influx import BATCH
from storage.timeseries.writer import RECORD_REASON, SeriesWriter, WriterSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plumewatch.service.ingestion import Ingestion
    from plumewatch.service.resources import Resources

_GATHER_S: Final = 0.1
"""How long readings that arrive one by one are gathered into a batch. A picture of evidence waits
twice as long for its last reading."""
_RECORDS_GATHER_S: Final = 1.0
"""An incident changes several times in its first second, and its notice goes first."""


class SeriesWriters:
    """Consumers of the journal and of the state database."""

    def __init__(
        self,
        resources: Resources,
        ingestion: Ingestion,
    ) -> None:
        self._resources = resources
        write_dead_letters = ingestion.write_dead_letters
        series, in_series = resources.series, resources.in_series
        has_school = school_of(resources.config).has_school
        self._due = DueRecords(resources.paths.state, series, has_school)
        settings = WriterSettings(pace_s=_GATHER_S)
        if resources.config.timeseries.url:
            settings = replace(settings, batch=BATCH)
        self.readings = SeriesWriter(
            "the series",
            series,
            resources.journal.read,
            write_dead_letters,
            in_series,
            resources.clock,
            settings=settings,
        )
        self.records = SeriesWriter(
            "records of the series",
            self._due,
            self._due.read,
            write_dead_letters,
            in_series,
            resources.clock,
            settings=WriterSettings(
                batch=500, gather_s=_RECORDS_GATHER_S, origin="record", reason=RECORD_REASON
            ),
        )

        resources.growth.consumers.append(self)

    def on_stored(self, _last_offset: int) -> None:
        """Wake the writer of readings."""
        self.readings.wake.set()

    def open(self) -> None:
        """Queue every record again if the store is new."""
        if self._resources.series.cursor() == 0:
            with transaction(self._resources.state) as tx:
                mark_all(tx)

    def tasks(self) -> Iterator[Task]:
        """Return the tasks of the writers."""
        yield Task("series", self.readings.run())
        yield Task("series records", self.records.run())

    def close(self) -> None:
        """Close the connection of the records."""
        self._due.close()
