"""Read and write recorded readings as CSV files; ``.csv.gz`` is read too.

Each row is a reading. The columns are ``time`` (Unix seconds, or ISO 8601 with a zone), ``sensor``,
and any quantities. The cell of a missing value is empty. The rows of all sensors are in time order.
`write_recordings` adds the columns ``events``, ``faults`` and ``flags``, which are not read.

A recording has no receive times, so a time stamp is checked against the rows around it. If it is
more than a day ahead of the previous row and of most of the next `_LOOK_AHEAD` rows, the sensor's
clock was wrong. The reading then gets a time between its neighbors and the flag ``time_replaced``
(a live message would get its receive time, see `ingest.validation.settle_time`). If the wrong stamp
were kept, the sensor would not be evaluated again until that time.
"""

from __future__ import annotations

import csv
import gzip
import heapq
import io
import math
import zlib
from collections import Counter, deque
from datetime import UTC, datetime
from itertools import islice
from typing import IO, TYPE_CHECKING, Final

import msgspec

from detection.quantities import COLUMNS, QUANTITIES
from ingest.errors import DecodeError, RefusedError
from ingest.names import describe_unknown
from ingest.validation import check_values, make_sensor_id, parse_time
from language.plain_text import make_inert
from storage.files import write_csv
from storage.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

_LOOK_AHEAD: Final = 64
_AHEAD_S: Final = 86_400.0
_LATEST: Final = 1e11
_REPORT_ROWS: Final = 1000
_NAMES: Final = 10_000


class RecordingError(RefusedError):
    """A recording cannot be read; the message gives the place and explains what is allowed."""


class _RowError(Exception):
    """A row or the header cannot be read; the message explains why."""


def read_recordings(
    paths: Sequence[Path], on_bytes: Callable[[int], None] = lambda _: None
) -> Iterator[Reading]:
    """Read all files and merge them in time order; raises `RecordingError` with file and line."""
    streams = [_correct_clocks(_read_one(path, on_bytes)) for path in paths]
    yield from heapq.merge(*streams, key=lambda reading: reading.time)


def write_recordings(path: Path, readings: Iterable[Reading]) -> int:
    """Write readings to a CSV file, completely or not at all; return their number."""
    rows = 0

    def make_rows() -> Iterator[Sequence[object]]:
        nonlocal rows
        for reading in readings:
            rows += 1
            time = datetime.fromtimestamp(reading.time, UTC).isoformat(timespec="microseconds")
            values = map(reading.values.get, COLUMNS)
            more = (reading.events, reading.faults, reading.flags)
            yield time, make_inert(reading.sensor), *values, *map(make_inert, map(" ".join, more))

    write_csv(path, ("time", "sensor", *COLUMNS, "events", "faults", "flags"), make_rows())
    return rows


def _correct_clocks(readings: Iterator[Reading]) -> Iterator[Reading]:
    """Replace time stamps that are far ahead of their neighbors with a time between them."""
    ahead = deque(islice(readings, _LOOK_AHEAD))
    before = -math.inf
    while ahead:
        reading = ahead.popleft()
        ahead.extend(islice(readings, 1))
        if reading.time - before > _AHEAD_S:
            earlier = [r.time for r in ahead if reading.time - r.time > _AHEAD_S]
            if 2 * len(earlier) > len(ahead):
                begin = before if math.isfinite(before) else earlier[0] - 1.0
                time = (begin + max(begin + 0.002, earlier[0])) / 2
                flags = ("time_replaced",)
                reading = msgspec.structs.replace(reading, time=time, received=time, flags=flags)
        before = reading.time
        yield reading


def _read_one(path: Path, on_bytes: Callable[[int], None]) -> Iterator[Reading]:
    where = "header"
    try:
        with path.open("rb") as stored, _open_text(stored, gzipped=path.suffix == ".gz") as text:
            rows = _report_bytes(csv.reader(text), stored, on_bytes)
            reader = _RowReader(next(rows, []))
            for line, row in enumerate(rows, start=2):
                where = f"line {line}"
                if row:
                    yield reader.make_reading(row)
    except _RowError as error:
        raise RecordingError(f"{path}: {where}: {error}") from error
    except UnicodeDecodeError as error:
        raise RecordingError(f"{path}: not UTF-8 text") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RecordingError(f"{path}: not a complete gzip file") from error
    except csv.Error as error:
        raise RecordingError(f"{path}: {error}") from error
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror or error}") from error


class _RowReader:
    """Parses the rows of one file, given its header."""

    def __init__(self, header: list[str]) -> None:
        self._width = len(header)
        headers = [name.strip() for name in header]
        faults = [f"no column {name!r}" for name in ("time", "sensor") if name not in headers]
        repeated = sorted(name for name, count in Counter(headers).items() if count > 1)
        faults += [f"column {name!r} occurs twice" for name in repeated]
        self._columns = [(at, key) for at, key in enumerate(headers) if key in QUANTITIES]
        if not self._columns:
            known = "no quantity column; known quantities: " + ", ".join(QUANTITIES)
            faults.append(describe_unknown(headers, "column") or known)
        if faults:
            raise _RowError("; ".join(faults))
        self._time_at, self._sensor_at = headers.index("time"), headers.index("sensor")
        self._ids: dict[str, str] = {}

    def make_reading(self, row: list[str]) -> Reading:
        """Return the reading in a row; impossible values become faults."""
        if len(row) != self._width:
            raise _RowError(f"{len(row)} cells, but the header has {self._width}")
        time, sensor = _parse_time(row[self._time_at]), self._check_name(row[self._sensor_at])
        raw: dict[str, object] = {}
        for at, key in self._columns:
            cell = row[at]
            if cell:
                try:
                    raw[key] = float(cell)
                except ValueError:
                    raise _RowError(f"{key}: {cell[:40]!r} is not a number") from None
        values, faults = check_values(raw)
        return Reading(sensor, time, time, values, (), tuple(faults))

    def _check_name(self, name: str) -> str:
        found = self._ids.get(name)
        if found is None:
            if len(self._ids) >= _NAMES:
                self._ids.clear()
            try:
                found = self._ids[name] = make_sensor_id(name)
            except DecodeError as error:
                raise _RowError(f"sensor: {error.detail}") from error
        return found


def _parse_time(cell: str) -> float:
    try:
        time = float(cell)
    except ValueError:
        stamp = parse_time(cell, 0.0)
        if stamp is None:
            raise _RowError(
                f"time: {cell[:40]!r} is neither Unix seconds nor ISO 8601 with a zone"
            ) from None
        return stamp
    if not math.isfinite(time) or abs(time) > _LATEST:
        raise _RowError(f"time: {cell[:40]!r} is not a Unix time in seconds")
    return time


def _report_bytes(
    rows: Iterator[list[str]], stored: IO[bytes], on_bytes: Callable[[int], None]
) -> Iterator[list[str]]:
    reported = 0
    for count, row in enumerate(rows):
        if count % _REPORT_ROWS == 0:
            on_bytes(stored.tell() - reported)
            reported = stored.tell()
        yield row
    on_bytes(stored.tell() - reported)


def _open_text(stored: IO[bytes], *, gzipped: bool) -> io.TextIOWrapper:
    if gzipped:
        return io.TextIOWrapper(gzip.GzipFile(fileobj=stored), encoding="utf-8-sig", newline="")
    return io.TextIOWrapper(stored, encoding="utf-8-sig", newline="")
