"""Recorded readings as CSV: one row a reading, quantities as columns, empty means missing.

Header: ``time`` (Unix seconds or ISO 8601 with zone), ``sensor``, and any quantity keys. Rows are
in time order over all sensors. ``.csv`` or ``.csv.gz``.

A recording has no receive time; the rows around a row stand for it. A row that is stamped more than
a day ahead of the rows before it and of one within the next `_LOOK_AHEAD` rows comes from a clock
that was wrong: it is given a time between its neighbours and the flag ``time_replaced``, as
`ingest.validation.settle_time` does for what arrives. Left as it is, it would keep its sensor from
being judged until that day.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from ingest.errors import RefusedError
from ingest.files.csv_rows import readings_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from storage.reading import Reading

_LOOK_AHEAD = 64
_FEW = 2
_AHEAD_S = 86_400.0
_REPLACED = ("time_replaced",)


class RecordingError(RefusedError):
    """A recording cannot be read; the message says where and what is allowed."""


def read_recordings(
    paths: Sequence[Path], on_bytes: Callable[[int], None] = lambda _: None
) -> Iterator[Reading]:
    """Read all files, merged in time order; raises `RecordingError` with file and line."""
    streams = [_on_one_clock(_read_one(path, on_bytes)) for path in paths]
    if len(streams) == 1:
        yield from streams[0]
    else:
        yield from heapq.merge(*streams, key=lambda reading: reading.time)


def _on_one_clock(readings: Iterator[Reading]) -> Iterator[Reading]:
    """Give rows that are stamped far in the future a time between their neighbours."""
    held: deque[Reading] = deque()
    newest = before = -math.inf
    for reading in readings:
        if newest - reading.time > _AHEAD_S:
            held = _returned(held, before, reading.time)
            newest = max((r.time for r in held), default=before)
        newest = max(newest, reading.time)
        held.append(reading)
        if len(held) > _LOOK_AHEAD:
            before = held[0].time
            yield held.popleft()
    yield from held


def _returned(held: Sequence[Reading], before: float, after: float) -> deque[Reading]:
    """Rows with those replaced that are far ahead both of `after` and of the row before them."""
    settled: deque[Reading] = deque()
    if not math.isfinite(before) and len(held) > _FEW:
        before = held[0].time
    for reading in held:
        if min(reading.time - before, reading.time - after) > _AHEAD_S:
            start = before if math.isfinite(before) else after - 1.0
            time = (start + max(after, start + 0.002)) / 2
            settled.append(
                msgspec.structs.replace(reading, time=time, received=time, flags=_REPLACED)
            )
        else:
            settled.append(reading)
        before = settled[-1].time
    return settled


def _read_one(path: Path, on_bytes: Callable[[int], None]) -> Iterator[Reading]:
    try:
        yield from readings_in(path, on_bytes)
    except ValueError as error:
        raise RecordingError(str(error)) from error
