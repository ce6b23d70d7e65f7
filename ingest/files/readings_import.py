"""``plumewatch import``: a school's old readings into the store, whichever it is.

Old readings go into the series with the flag ``history``, not into the journal, so nothing is
detected in them. Importing a file again changes nothing. A row that cannot be read is left out with
its line and reason. Memory holds a batch. Times are taken as they are written.

The embedded store averages rows as they come. InfluxDB keeps readings for `raw_days` and refuses
older ones, so rows are gathered in a store beside the data, averaged there, and what the server
still keeps is sent: readings that it does not have yet, and averages of 1 and 15 minutes.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import msgspec

from ingest.errors import DecodeError, RefusedError
from ingest.files.csv_rows import RowError, readings_in
from ingest.files.readings_export import slices
from ingest.validation import fold_id, sensor_id
from storage.timeseries.influx import InfluxSeries
from storage.timeseries.resolution import MINUTE, QUARTER_HOUR, Retention
from storage.timeseries.sqlite import SqliteSeries
from storage.timeseries.writer import bisect_rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ingest.files.csv_rows import Layout
    from storage.errors import BatchRefusedError
    from storage.reading import Reading
    from storage.registry import Registry
    from storage.timeseries import Series

T = TypeVar("T")

_BATCH: Final = 2_000
_NAMED: Final = 50
"""Sensors that are named in a request; beyond them, those of all are read."""
_MARGIN_S: Final = 3_600.0
_EARLIEST: Final = 946_684_800.0  # 2000: before, a clock was not set
_AHEAD_S: Final = 86_400.0
_FOR_EVER: Final = Retention(36_500, 36_500, 36_500)
_NS: Final = 1_000_000_000
_MOST_UNREGISTERED: Final = 1_000
_HISTORY: Final = "history"


class ImportRefusedError(RefusedError):
    """A file cannot be imported at all; the message says why."""


class LeftOut(NamedTuple):
    """A row that was not imported: where it is, and why."""

    where: str
    why: str


@dataclass(slots=True)
class Imported:
    """What became of the rows; `averaged` are older than the store keeps readings."""

    stored: int = 0
    averaged: int = 0
    left_out: int = 0
    unregistered: Counter[str] = field(default_factory=Counter)


class Importer:
    """Imports CSV files into an open store; `folder` gathers readings for an InfluxDB."""

    def __init__(
        self,
        series: Series,
        registry: Registry,
        aliases: Mapping[str, str],
        retention: Retention,
        now: float,
        folder: Path,
        on_progress: Callable[[str, float], None] = lambda *_: None,
        on_left_out: Callable[[LeftOut], None] = lambda _: None,
    ) -> None:
        self._series = series
        self._registered = registry.sensors
        self._names = {fold_id(name): name for name in registry.sensors}
        self._names |= {_folded(alias): name for alias, name in aliases.items()}
        self._retention = retention
        self._now = now
        self._folder = folder
        self._on_progress = on_progress
        self._on_left_out = on_left_out
        self.result = Imported()

    def run(self, paths: Sequence[Path], layout: Layout) -> Imported:
        """Import files; may be repeated after `ImportRefusedError` or `StorageUnavailableError`."""
        rows = self._rows(paths, layout)
        if isinstance(self._series, InfluxSeries):
            self._series.check_set_up()
            with (
                tempfile.TemporaryDirectory(dir=self._folder, prefix=".import-") as within,
                SqliteSeries(Path(within) / "series.db", _FOR_EVER) as gathered,
            ):
                for batch in _batches(rows):
                    gathered.add(batch)
                self._average(gathered)
                self._send(gathered, self._series)
        else:
            for batch in _batches(rows):
                self._keep(bisect_rejected(self._series.add, batch), len(batch))
            self._average(self._series)
        return self.result

    def _rows(self, paths: Sequence[Path], layout: Layout) -> Iterator[Reading]:
        total = max(1, sum(path.stat().st_size for path in paths))
        done = 0

        def on_bytes(count: int) -> None:
            nonlocal done
            done += count
            self._on_progress("reading", done / total)

        for path in paths:
            try:
                yield from readings_in(path, self._leave_out, on_bytes, layout, self._settled)
            except ValueError as error:
                raise ImportRefusedError(str(error)) from error

    def _settled(self, reading: Reading) -> Reading:
        name = self._names.get(fold_id(reading.sensor), reading.sensor)
        age = self._now - reading.time
        if age < -_AHEAD_S:
            raise RowError("time: in the future")
        if reading.time < _EARLIEST:
            raise RowError("time: before 2000")
        if age > self._retention.keep_s(QUARTER_HOUR) - _MARGIN_S:
            days = self._retention.quarter_hour_days
            raise RowError(f"time: older than anything is kept ({days} days)")
        only_averages = age > self._retention.keep_s(None) - _MARGIN_S
        is_unregistered = name not in self._registered
        if only_averages and is_unregistered and isinstance(self._series, InfluxSeries):
            raise RowError(
                f"sensor: {name} is not registered, and of readings this old InfluxDB keeps"
                " averages of registered sensors only"
            )
        if is_unregistered:
            self.result.unregistered[name] += 1
            if len(self.result.unregistered) > _MOST_UNREGISTERED:
                raise ImportRefusedError(
                    f"more than {_MOST_UNREGISTERED} sensors that are not registered, such as"
                    f" {name}: is it the right column?"
                )
        self.result.averaged += only_averages
        flags = tuple(dict.fromkeys((*reading.flags, _HISTORY)))
        return msgspec.structs.replace(reading, sensor=name, received=self._now, flags=flags)

    def _keep(self, rejected: Iterable[tuple[Reading, BatchRefusedError]], count: int) -> None:
        self.result.stored += count
        for reading, error in rejected:
            self.result.stored -= 1
            self._leave_out(f"{reading.sensor} at {reading.time:.3f}", str(error))

    def _leave_out(self, where: str, why: str) -> None:
        self.result.left_out += 1
        self._on_left_out(LeftOut(where, why))

    def _average(self, series: Series) -> None:
        most = 0
        while series.tidy(self._now, 0.0):
            left = series.unaveraged()
            most = max(most, left)
            self._on_progress("making averages", 1.0 - left / most if most else 1.0)

    def _send(self, gathered: SqliteSeries, series: InfluxSeries) -> None:
        span = gathered.span()
        if span is None:
            return
        self.result.stored = self.result.averaged
        first = max(span[0], self._now - self._retention.keep_s(None) + _MARGIN_S)
        last = span[1] + 1e-3

        def on_time(at: float) -> None:
            self._on_progress("sending readings", (at - first) / max(last - first, 1.0))

        for found in slices(gathered, first, last, on_time):
            new = _without_stored(found, series)
            self.result.stored += len(found) - len(new)
            series.mark_for_averages(found)
            for batch in _batches(iter(new)):
                self._keep(bisect_rejected(series.add, batch), len(batch))
        for level in (MINUTE, QUARTER_HOUR):
            kept_from = (self._now - self._retention.keep_s(level) + _MARGIN_S) * _NS
            rows = (row for row in gathered.averages(level) if row[1] >= kept_from)
            for k, averages in enumerate(_batches(rows)):
                for (sensor, at, _), error in bisect_rejected(
                    partial(series.add_averages, level), averages
                ):
                    where = f"average of {level.step_s} s of {sensor} at {at / _NS:.0f}"
                    self._leave_out(where, str(error))
                done = 1.0 - 1.0 / (k + 2)
                self._on_progress(f"sending averages of {level.step_s // 60} min", done)


def _without_stored(readings: Sequence[Reading], series: InfluxSeries) -> list[Reading]:
    """Leave out what is stored already, also as points that import alone would not overwrite.

    These are of the service, which did not flag them, and of versions that hashed the receipt.
    """
    left = {(reading.sensor, reading.time): reading for reading in readings}
    names = {reading.sensor for reading in readings}
    only = names if len(names) <= _NAMED else None
    for stored in slices(series, readings[0].time, readings[-1].time + 1e-3, sensors=only):
        for one in stored:
            new = left.get((one.sensor, one.time))
            if (
                new is not None
                and new.values.items() <= one.values.items()
                and {*new.events, *new.faults} <= {*one.events, *one.faults}
            ):
                del left[one.sensor, one.time]
    return [*left.values()]


def _folded(alias: str) -> str:
    try:
        return fold_id(sensor_id(alias))
    except DecodeError:  # no file can name it so
        return fold_id(alias)


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, _BATCH)):
        yield batch
