"""``plumewatch segments``: the journal, or recordings, as a history of Parquet (`scale.history`).

Readings are landed in the order in which the service judges them: a reading that overtook another
of its sensor waits for it here as there (`reorder`), and what waits at the end of a run is
part of the cursor. The cursor is committed with the parts, so each reading of the journal is landed
once, however often this is run or ended. What the journal deletes before it is landed is lost to
the history, and is said.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec
import polars as pl

from alerts.consumer.reorder import Reorder
from ingest.files.recordings import read_recordings
from plumewatch.cli.exit_codes import DONE, USAGE, UsageError, told
from plumewatch.cli.progress import progress
from plumewatch.config.paths import DataPaths
from plumewatch.config.sharding import load_shard
from scale.errors import HistoryError
from scale.history import HistoryWriter, frame_of, landed
from storage.journal import JournalReader
from storage.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from rich.progress import Progress, TaskID

    from plumewatch.cli.printer import Printer
    from storage.reading import Reading

_READ: Final = 20_000
_GROUP: Final = 500_000
"""Readings committed at once: so many rows are held in memory, as columns."""
_SENSORS_A_BUCKET: Final = 1000
"""Many sensors are judged in one pass at hardly more cost than few."""
_JOURNAL, _RECORDINGS = "journal", "recordings"


class _Cursor(msgspec.Struct):
    source: str
    offset: int = 0
    order: bytes = b""


class JournalBehindError(UsageError):
    """The journal ends before what has been landed of it."""


def land_journal(
    journal: JournalReader,
    registry: Registry,
    writer: HistoryWriter,
    on_progress: Callable[[float], None] = lambda _: None,
) -> tuple[int, int]:
    """Land what is new in a journal.

    Parameters
    ----------
    registry : Registry
        Where sensors are now.
    on_progress : callable
        Share that is done, 0 to 1.

    Returns
    -------
    landed, missed : int
        Readings landed, and readings that the journal had deleted before.

    Raises
    ------
    HistoryError
        If the history was made of something else.
    JournalBehindError
    """
    cursor = _cursor(writer, _JOURNAL)
    order = Reorder.restore(cursor.order)
    first, last = journal.span()
    if cursor.offset > last:
        raise JournalBehindError(
            f"the journal ends at {last}, and was landed up to {cursor.offset}: it was restored or"
            " begun anew; land it into a new folder"
        )
    missed = max(0, first - 1 - cursor.offset)
    start = offset = max(cursor.offset, first - 1)
    frames: list[pl.DataFrame] = []
    held = count = 0
    while True:
        entries, position = journal.read(offset, _READ)
        rows = [
            landed(reading, registry)
            for entry in entries
            for reading in order.on_reading(entry.reading)
        ]
        if rows:
            frames.append(frame_of(rows))
            held += len(rows)
        over = position == offset
        if held >= _GROUP or (over and (held or offset > cursor.offset)):
            cursor = _Cursor(_JOURNAL, offset if over else position, order.snapshot())
            writer.commit(_joined(frames), msgspec.msgpack.encode(cursor))
            count += held
            frames, held = [], 0
        if over:
            return count, missed
        offset = position
        on_progress(min(1.0, (offset - start) / max(last - start, 1)))


def land_recordings(readings: Iterable[Reading], registry: Registry, writer: HistoryWriter) -> int:
    """Land recorded readings, in time order, into a new history; return how many.

    Raises
    ------
    HistoryError
        If there are readings in the history already.
    """
    if writer.position:
        raise HistoryError("recordings need a new folder: this history has readings already")
    cursor = msgspec.msgpack.encode(_Cursor(_RECORDINGS))
    source = iter(readings)
    while batch := list(islice(source, _GROUP)):
        frames = [
            frame_of([landed(reading, registry) for reading in batch[at : at + _READ]])
            for at in range(0, len(batch), _READ)
        ]
        writer.commit(_joined(frames), cursor)
    return writer.position


def _cursor(writer: HistoryWriter, source: str) -> _Cursor:
    if not writer.cursor:
        return _Cursor(source)
    try:
        found = msgspec.msgpack.decode(writer.cursor, type=_Cursor)
    except msgspec.MsgspecError as error:
        raise HistoryError(f"the history's cursor cannot be read: {error}") from error
    if found.source != source:
        raise HistoryError(f"the history was made from {found.source}; choose another folder")
    return found


def _joined(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames) if frames else frame_of([])


@dataclass(frozen=True, slots=True)
class SegmentsOptions:
    """What was asked for.

    Attributes
    ----------
    folder : Path
        The history.
    config_path : Path or None
        Whose journal is landed, and where sensors are; not needed for recordings.
    recordings : sequence of Path
        Land these instead of a journal.
    buckets : int or None
        Of a new history; by the number of sensors, and two at least, if None.
    every_s : float
        Go on, and look for new readings so often, seconds; 0 ends when all is landed.
    """

    folder: Path
    config_path: Path | None
    recordings: Sequence[Path]
    buckets: int | None = None
    every_s: float = 0.0


@told(usage=(HistoryError, OSError))
def run_segments(
    asked: SegmentsOptions, printer: Printer, stop: threading.Event | None = None
) -> int:
    """Run ``plumewatch segments``.

    Parameters
    ----------
    stop : threading.Event, optional
        Ends the waiting.

    Returns
    -------
    int
        0 done, 1 a recording cannot be read, 2 bad configuration or another history, 3 the journal
        is not there or does not answer.
    """
    path = asked.config_path
    config = None if path is None else load_shard(path)
    if config is None and not asked.recordings:
        sys.stderr.write("--config FILE: whose journal to land; or --recording FILE\n")
        return USAGE
    registry = Registry() if config is None else config.registry()
    fitting = max(2, -(-len(registry.sensors) // _SENSORS_A_BUCKET))
    with HistoryWriter(asked.folder, asked.buckets, fitting) as writer:
        if config is None or asked.recordings:
            _tell(_of_recordings(asked.recordings, registry, writer), 0, writer, printer)
            return DONE
        while True:
            count, missed = _of_journal(DataPaths(config.data_dir).journal, registry, writer)
            if count or missed or not asked.every_s:
                _tell(count, missed, writer, printer)
            if not asked.every_s or (stop or threading.Event()).wait(asked.every_s):
                return DONE


def _of_journal(path: Path, registry: Registry, writer: HistoryWriter) -> tuple[int, int]:
    with JournalReader(path) as journal, progress() as bar:
        advance = partial(_show, bar, bar.add_task("landing", total=1.0))
        return land_journal(journal, registry, writer, advance)


def _show(bar: Progress, task: TaskID, done: float) -> None:
    bar.update(task, completed=done)


def _of_recordings(paths: Sequence[Path], registry: Registry, writer: HistoryWriter) -> int:
    with progress() as bar:
        task = bar.add_task("landing", total=sum(path.stat().st_size for path in paths))
        readings = read_recordings(paths, lambda n: bar.advance(task, n))
        return land_recordings(readings, registry, writer)


def _tell(count: int, missed: int, writer: HistoryWriter, printer: Printer) -> None:
    text = f"{count} readings landed, {writer.position} in all, in {writer.buckets} buckets"
    if missed:
        text += (
            f"\n{missed} readings had been deleted from the journal before: run this more often, or"
            " let the journal keep more (journal.keep_days)"
        )
    printer.sum_up(text, landed=count, missed=missed, readings=writer.position)
