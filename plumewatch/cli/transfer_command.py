"""``plumewatch export``, ``import`` and ``storage retry``: readings into and out of the store."""

from __future__ import annotations

import csv
import sqlite3
import sys
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeVar

import msgspec

from detection.quantities import QUANTITIES
from ingest.files.csv_rows import Layout
from plumewatch.cli.audit_command import on_record
from plumewatch.cli.exit_codes import DONE, REFUSED, UNREACHABLE, USAGE, told
from plumewatch.cli.format_time import SpanError, moment_of, said
from plumewatch.cli.output_file import check_output
from plumewatch.cli.progress import busy, progress
from plumewatch.config.paths import DataPaths
from plumewatch.config.sharding import load_shard
from plumewatch.config.timeseries_settings import retention_of
from plumewatch.service.data_folder import opened_series
from storage.audit import AuditKind
from storage.dead_letters import delete_dead_letters, find_dead_letters
from storage.errors import StorageError
from storage.reading import Reading
from storage.sqlite import connect, translated
from storage.timeseries.records import Record
from storage.timeseries.resolution import QUARTER_HOUR
from storage.timeseries.writer import REASON, RECORD_REASON, bisect_rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from ingest.files.readings_export import Format
    from ingest.files.readings_import import Imported, LeftOut
    from plumewatch.cli.printer import Printer
    from plumewatch.config.model import PlumewatchConfig
    from storage.timeseries import Series

_SHOWN: Final = 20
_LOOKED_BACK_S: Final = 3 * 86_400.0
T = TypeVar("T")


@told()
def run_export(
    config_path: Path,
    printer: Printer,
    *,
    start: str,
    end: str,
    kind: Format,
    out: Path | None,
    sensors: Sequence[str],
    force: bool,
    now: float,
) -> int:
    """Export readings.

    Parameters
    ----------
    start, end : str
        As people write them (`plumewatch.cli.format_time`); empty for all that is stored.
    out : Path or None
        ``readings.csv`` or ``readings.parquet`` by default.
    sensors : sequence of str
        Only these; all if empty.
    force : bool
        Write over a file that is there.
    now : float
        Unix seconds.

    Returns
    -------
    int
        0 done, 2 bad usage or configuration, 3 the store does not answer.
    """
    path = out or Path(f"readings.{kind}")
    try:
        config = load_shard(config_path)
        first = moment_of(start, config.zone()) if start else None
        last = moment_of(end, config.zone(), end=True) if end else None
        _check_export(config, path, first, last, sensors, force=force)
        with opened_series(config) as series:
            asked: dict[str, str | float | None] = {
                "readings": " ".join(sensors)[:200] or "all",
                "format": kind,
                "from": start,
                "to": end,
            }
            on_record(config, AuditKind.EXPORT, asked, now)
            return _export(
                config, printer, series, (first, last), path, kind, frozenset(sensors), now
            )
    except OSError as error:
        sys.stderr.write(f"{path}: {error.strerror or error}\n")
        return USAGE


def _check_export(
    config: PlumewatchConfig,
    path: Path,
    first: float | None,
    last: float | None,
    sensors: Sequence[str],
    *,
    force: bool,
) -> None:
    if first is not None and last is not None and first >= last:
        raise SpanError("--from is not before --to")
    known = {sensor.id for sensor in config.sensor}
    strange = [name for name in sensors if name not in known]
    if strange:
        raise SpanError(f"--sensor {strange[0]}: no sensor of the configuration has this id")
    check_output(path, force=force)


def _export(
    config: PlumewatchConfig,
    printer: Printer,
    series: Series,
    wanted: tuple[float | None, float | None],
    path: Path,
    kind: Format,
    sensors: frozenset[str],
    now: float,
) -> int:
    from ingest.files.readings_export import export_readings  # noqa: PLC0415 - loads polars

    stored = series.span()
    first, last = wanted
    first = first if first is not None else stored[0] if stored else now
    last = last if last is not None else stored[1] + 1e-3 if stored else now
    begun = max(first, stored[0]) if stored else last
    with progress() as bar:
        task = bar.add_task("exporting", total=max(last - begun, 1.0))
        count = export_readings(
            series,
            config.registry(),
            begun,
            last,
            path,
            kind,
            sensors=sensors,
            on_time=lambda at: bar.update(task, completed=at - begun),
        )
    printer.sum_up(f"{path}: {count} readings", wrote=path, readings=count)
    if first < begun and _averaged(series, sensors or {s.id for s in config.sensor}, begun):
        sys.stderr.write(
            f"readings are kept for {config.timeseries.raw_days} days; the oldest is of"
            f" {said(begun, config.zone())}, before there are averages only\n"
        )
    return DONE


def _averaged(series: Series, sensors: Collection[str], begun: float) -> bool:
    """Whether averages of the days before the oldest reading are there."""
    every_s = float(QUARTER_HOUR.step_s)
    until = begun // every_s * every_s
    return any(
        series.readings(sensor, until - _LOOKED_BACK_S, until, every_s)[0].size
        for sensor in sensors
    )


def columns_of(written: Sequence[str]) -> dict[str, str]:
    """Return headers by what they are, of ``KEY=HEADER``.

    Raises
    ------
    ValueError
        If one is not written so, or its key is none.
    """
    found: dict[str, str] = {}
    for text in written:
        key, sign, header = text.partition("=")
        if not sign or key not in ("time", "sensor", *QUANTITIES):
            keys = ", ".join(("time", "sensor", *QUANTITIES))
            raise ValueError(f"--column {text}: must be KEY=HEADER; keys are {keys}")
        found[key] = header.strip()
    return found


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How files to import are written.

    Attributes
    ----------
    columns : mapping of str to str
        Header by what it is: ``time``, ``sensor`` or a quantity.
    sensor : str
        Sensor of files without such a column.
    rejected : Path or None
        Where to write what was left out; the first few go to standard error anyway.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    sensor: str = ""
    time_format: str = ""
    rejected: Path | None = None


@told()
def run_import(
    config_path: Path, paths: Sequence[Path], options: ImportOptions, printer: Printer, now: float
) -> int:
    """Import files.

    Returns
    -------
    int
        0 all rows are stored, 1 some or all were refused, 2 bad usage or configuration, 3 the store
        does not answer.
    """
    from ingest.files.readings_import import (  # noqa: PLC0415 - loads polars
        Importer,
    )

    for path in paths:
        if not path.is_file():
            sys.stderr.write(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}\n")
            return USAGE
    try:
        config = load_shard(config_path)
        with (
            opened_series(config) as series,
            progress() as bar,
            _LeftOut(options.rejected) as left_out,
        ):
            task = bar.add_task("reading", total=1.0)

            def on_progress(what: str, share: float) -> None:
                bar.update(task, description=what, completed=share)

            importer = Importer(
                series,
                config.registry(),
                {alias: sensor.id for sensor in config.sensor for alias in sensor.aliases},
                retention_of(config),
                now,
                config.data_dir,
                on_progress,
                left_out.add,
            )
            layout = Layout(
                options.columns, options.sensor, config.zone(), options.time_format, words=True
            )
            result = importer.run(paths, layout)
    except StorageError as error:
        sys.stderr.write(f"{error}\nimport the same again: what is stored changes nothing\n")
        return UNREACHABLE
    except OSError as error:
        sys.stderr.write(f"{error.filename or options.rejected}: {error.strerror or error}\n")
        return USAGE
    _tell_import(result, config, printer)
    return REFUSED if result.left_out else DONE


class _LeftOut:
    """Rows that are left out: all of them in a file, the first of them on standard error."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stack = ExitStack()
        self._count = 0

    def __enter__(self) -> Self:
        if self._path is not None:
            file = self._path.open("w", encoding="utf-8", newline="")
            self._writer = csv.writer(self._stack.enter_context(file), lineterminator="\n")
            self._writer.writerow(("where", "why"))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, found: LeftOut) -> None:
        self._count += 1
        if self._path is not None:
            self._writer.writerow(found)
        if self._count <= _SHOWN:
            sys.stderr.write(f"left out: {found.where}: {found.why}\n")
        elif self._count == _SHOWN + 1 and self._path is None:
            sys.stderr.write("left out: more rows; --rejected FILE lists them all\n")


def _tell_import(result: Imported, config: PlumewatchConfig, printer: Printer) -> None:
    kept = config.timeseries
    lines = [f"{result.stored} readings are stored, {result.left_out} rows left out"]
    if result.averaged:
        lines.append(
            f"{result.averaged} of them are older than {kept.raw_days} days: their averages of 1"
            f" min are kept for {kept.minute_days} days, those of 15 min for"
            f" {kept.quarter_hour_days}"
        )
    if result.unregistered:
        names = ", ".join(name for name, _ in result.unregistered.most_common(5))
        more = ", ..." if len(result.unregistered) > 5 else ""
        lines.append(
            f"{result.unregistered.total()} are of {len(result.unregistered)} sensors that are not"
            f" registered ({names}{more}): make [[sensor]] entries, or aliases, and import again"
        )
    printer.sum_up(
        "\n".join(lines),
        stored=result.stored,
        left_out=result.left_out,
        averaged=result.averaged,
        not_registered=dict(result.unregistered),
    )


@told()
def run_retry(config_path: Path, printer: Printer) -> int:
    """Store readings again that the series refused, and forget the dead letters of those stored.

    Returns
    -------
    int
        0 all are stored, 1 some are refused again, 2 bad configuration, 3 the store or the data
        folder does not answer.
    """
    config = load_shard(config_path)
    journal = DataPaths(config.data_dir).journal
    connect(journal, read_only=True).close()  # not made anew
    with opened_series(config) as series, busy("storing again"):
        stored, refused = retry_refused(journal, series)
    printer.say(
        f"{stored} dead letters are stored now, {refused} are refused as before",
        stored=stored,
        refused=refused,
    )
    return REFUSED if refused else DONE


def retry_refused(path: Path, series: Series) -> tuple[int, int]:
    """Store what the series refused once more, and forget the dead letters of what it takes.

    Parameters
    ----------
    path : Path
        The journal's file.

    Returns
    -------
    tuple of int
        How many are stored now, and how many are refused as before.

    Raises
    ------
    StorageUnavailableError
    """
    with closing(connect(path)) as connection:
        try:
            readings = _again(connection, REASON, Reading, series.add)
            records = _again(connection, RECORD_REASON, Record, series.record)
        except sqlite3.Error as error:
            raise translated(error, path) from error
    return readings[0] + records[0], readings[1] + records[1]


def _again(
    connection: sqlite3.Connection,
    reason: str,
    kind: type[T],
    store: Callable[[Sequence[T]], None],
) -> tuple[int, int]:
    stored = refused = before = 0
    while letters := find_dead_letters(connection, reason=reason, before=before, limit=500):
        before = letters[-1].id
        found: dict[int, T] = {}
        for number, letter in letters:
            with suppress(msgspec.MsgspecError):  # one whose content was cut
                found[number] = msgspec.json.decode(letter.payload, type=kind)
        bad = {id(item) for item, _ in bisect_rejected(store, list(found.values()))}
        done = [number for number, item in found.items() if id(item) not in bad]
        delete_dead_letters(connection, done)
        stored += len(done)
        refused += len(letters) - len(done)
    return stored, refused
