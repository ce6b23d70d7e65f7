"""Write the journal's readings to a history of Parquet files (`scale.history`).

Readings are written in the order in which the service evaluates them. As in the service, a reading
that overtook another reading of its sensor waits for it (`alerts.consumer.reading_selector`).
Readings that still wait at the end of a run are stored in the cursor. The cursor is committed
together with the parts, so each reading is written once, no matter how often this runs or is
killed. Readings that the journal deletes before they are written are missing from the history, and
counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from alerts.consumer.reading_selector import Reorder
from scale.errors import HistoryError
from scale.history import build_frame, place_reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from scale.history import HistoryWriter
    from storage.journal import JournalReader
    from storage.registry import Registry

_READ: Final = 50_000
"""Readings per commit. More would need more memory, and fewer would make many small parts."""


class _Cursor(msgspec.Struct):
    offset: int = 0
    order: bytes = b""


def land_journal(
    journal: JournalReader,
    registry: Registry,
    writer: HistoryWriter,
    on_progress: Callable[[float], None] = lambda _: None,
) -> tuple[int, int]:
    """Write a journal's new readings; `on_progress` gets the share that is done, 0 to 1.

    Returns how many readings were written, and how many the journal had already deleted. Raises
    `HistoryError` if this is not the journal of the last run.
    """
    cursor = msgspec.msgpack.decode(writer.cursor, type=_Cursor) if writer.cursor else _Cursor()
    order = Reorder.restore(cursor.order) if cursor.order else Reorder()
    first, last = journal.get_span()
    if cursor.offset > last:
        raise HistoryError(
            f"the journal ends at {last}, but the history goes up to {cursor.offset}: the"
            " journal was restored or started over; write it to a new folder"
        )
    missed = max(0, first - 1 - cursor.offset)
    start = offset = max(cursor.offset, first - 1)
    count = 0
    while True:
        entries, position = journal.read(offset, _READ)
        if position > cursor.offset:
            in_order = (one for e in entries for one in order.on_reading(e.reading))
            rows = [place_reading(reading, registry) for reading in in_order]
            cursor = _Cursor(position, order.snapshot())
            writer.commit(build_frame(rows), msgspec.msgpack.encode(cursor))
            count += len(rows)
        if position == offset:
            return count, missed
        offset = position
        on_progress(min(1.0, (offset - start) / max(last - start, 1)))
