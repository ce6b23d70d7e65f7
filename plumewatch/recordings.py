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

import csv
import gzip
import heapq
import io
import math
import zlib
from collections import deque
from datetime import datetime
from typing import IO, TYPE_CHECKING

import msgspec

from detection.quantities import QUANTITIES
from ingest.errors import DecodeError
from ingest.validation import check_values, sensor_id
from storage.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

__all__ = ["RecordingError", "read_recordings"]

_TELL_EVERY = 1000
_LOOK_AHEAD = 64
_FEW = 2
_AHEAD_S = 86_400.0
_REPLACED = ("time_replaced",)


class RecordingError(Exception):
    """A recording cannot be read; the message says where and what is allowed."""


def read_recordings(
    paths: Sequence[Path], on_bytes: Callable[[int], None] = lambda _: None
) -> Iterator[Reading]:
    """Read all files, merged in time order.

    Parameters
    ----------
    paths : sequence of Path
    on_bytes : callable
        Told how many bytes of the files (as stored) have been read since it was told last.

    Yields
    ------
    Reading
        Validated; values that are not finite or out of range are faults.

    Raises
    ------
    RecordingError
        With file, line and what is allowed.
    """
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
    """Rows with those replaced that are far ahead both of `after` and of the row before them.

    At the beginning of a recording no row is before: one or two that are ahead of the third are
    wrong, of more than two it is the following one that is late.
    """
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
    told = 0
    try:
        with path.open("rb") as stored, _text(stored, gzipped=path.suffix == ".gz") as text:
            for count, reading in enumerate(_rows(path, csv.reader(text))):
                if count % _TELL_EVERY == 0:
                    on_bytes(stored.tell() - told)
                    told = stored.tell()
                yield reading
            on_bytes(stored.tell() - told)
    except UnicodeDecodeError as error:
        raise RecordingError(f"{path}: not UTF-8 text") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RecordingError(f"{path}: not a whole gzip file") from error
    except csv.Error as error:
        raise RecordingError(f"{path}: {error}") from error
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror or error}") from error


def _text(stored: IO[bytes], *, gzipped: bool) -> io.TextIOWrapper:
    if gzipped:
        return io.TextIOWrapper(gzip.GzipFile(fileobj=stored), encoding="utf-8-sig", newline="")
    return io.TextIOWrapper(stored, encoding="utf-8-sig", newline="")


def _rows(path: Path, rows: Iterator[list[str]]) -> Iterator[Reading]:
    header = next(rows, None)
    if header is None:
        raise RecordingError(f"{path}: empty; expected a header with time, sensor and quantities")
    time_at, sensor_at, columns = _columns(path, header)
    names: dict[str, str] = {}
    for line, row in enumerate(rows, start=2):
        if not row:
            continue
        if len(row) != len(header):
            raise RecordingError(
                f"{path}: line {line}: {len(row)} cells, the header has {len(header)}"
            )
        time = _time(path, line, row[time_at])
        name = row[sensor_at]
        sensor = names.get(name)
        if sensor is None:
            try:
                sensor = names[name] = sensor_id(name)
            except DecodeError as error:
                raise RecordingError(f"{path}: line {line}: sensor: {error.detail}") from error
        raw: dict[str, object] = {}
        for at, key in columns:
            cell = row[at]
            if cell:
                try:
                    raw[key] = float(cell)
                except ValueError:
                    raise RecordingError(
                        f"{path}: line {line}: {key}: {cell[:40]!r} is not a number"
                    ) from None
        values, faults = check_values(raw)
        yield Reading(sensor, time, time, values, (), tuple(faults))


def _columns(path: Path, header: list[str]) -> tuple[int, int, list[tuple[int, str]]]:
    names = [name.strip() for name in header]
    missing = [name for name in ("time", "sensor") if name not in names]
    columns = [(i, name) for i, name in enumerate(names) if name in QUANTITIES]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if missing or not columns or repeated:
        faults = [f"no column {name!r}" for name in missing]
        faults += [f"column {name!r} occurs twice" for name in repeated]
        if not columns:
            faults.append("no quantity column; known are " + ", ".join(QUANTITIES))
        raise RecordingError(f"{path}: header: " + "; ".join(faults))
    return names.index("time"), names.index("sensor"), columns


def _time(path: Path, line: int, cell: str) -> float:
    try:
        time = float(cell)
    except ValueError:
        try:
            stamp = datetime.fromisoformat(cell)
        except ValueError:
            stamp = None
        if stamp is None or stamp.tzinfo is None:
            raise RecordingError(
                f"{path}: line {line}: time: {cell[:40]!r} is neither Unix seconds nor ISO 8601"
                " with a zone"
            ) from None
        return stamp.timestamp()
    if not math.isfinite(time) or abs(time) > 1e11:
        raise RecordingError(f"{path}: line {line}: time: {cell[:40]!r} is no Unix time in seconds")
    return time
