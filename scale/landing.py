"""Writes the readings of the journal to a history of Parquet files (`scale.history`).

Readings are written in the order in which the service evaluates them. As in the service, a reading
that overtook another reading of its sensor waits for it (`alerts.consumer.reading_judge`). Readings
that still wait at the end of a run are stored in the cursor. The cursor is committed with the
parts, so each reading is written once, no matter how often this runs or dies. Readings that the
journal deletes before they are written are lost to the history, and counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import polars as pl

from alerts.consumer.reading_judge import Reorder
from scale.errors import HistoryError
from scale.history import build_frame, place_reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scale.history import HistoryWriter
    from storage.journal import JournalReader
    from storage.registry import Registry

_READ: Final = 20_000
_GROUP: Final = 500_000
"""Readings committed at once, which are held in memory as columns."""


class _Cursor(msgspec.Struct):
    offset: int = 0
    order: bytes = b""


def land_journal(
    journal: JournalReader,
    registry: Registry,
    writer: HistoryWriter,
    on_progress: Callable[[float], None] = lambda _: None,
) -> tuple[int, int]:
    """Write new readings of a journal; `on_progress` gets the share that is done, 0 to 1.

    Returns how many readings were written, and how many the journal had already deleted. Raises
    `HistoryError` if this is not the journal of the last run.
    """
    cursor = _read_cursor(writer)
    order = Reorder.restore(cursor.order) if cursor.order else Reorder()
    first, last = journal.span()
    if cursor.offset > last:
        raise HistoryError(
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
            place_reading(reading, registry)
            for entry in entries
            for reading in order.on_reading(entry.reading)
        ]
        if rows:
            frames.append(build_frame(rows))
            held += len(rows)
        at_end = position == offset
        if held >= _GROUP or (at_end and (held or offset > cursor.offset)):
            cursor = _Cursor(offset if at_end else position, order.snapshot())
            writer.commit(_join_frames(frames), msgspec.msgpack.encode(cursor))
            count += held
            frames, held = [], 0
        if at_end:
            return count, missed
        offset = position
        on_progress(min(1.0, (offset - start) / max(last - start, 1)))


def _read_cursor(writer: HistoryWriter) -> _Cursor:
    if not writer.cursor:
        return _Cursor()
    try:
        return msgspec.msgpack.decode(writer.cursor, type=_Cursor)
    except msgspec.MsgspecError as error:
        raise HistoryError(f"the history's cursor cannot be read: {error}") from error


def _join_frames(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames) if frames else build_frame([])
