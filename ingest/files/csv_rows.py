"""Rows of a CSV of readings: readings, or one sentence why not."""

from __future__ import annotations

import csv
import gzip
import io
import math
import zlib
from collections import Counter
from contextlib import contextmanager
from datetime import datetime
from typing import IO, TYPE_CHECKING, Final

from detection.quantities import QUANTITIES
from ingest.errors import DecodeError
from ingest.validation import check_values, sensor_id
from storage.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_LATEST: Final = 1e11
_TOLD_EVERY: Final = 1000
_MAX_ROW: Final = 1_000_000
_NAMES: Final = 10_000


class HeaderError(ValueError):
    """The header lacks what is needed; the message lists all faults."""


class RowError(ValueError):
    """A row cannot be read; the message says why."""


class RowReader:
    """Reads the rows below one header; raises `HeaderError`."""

    def __init__(self, header: list[str]) -> None:
        self._width = len(header)
        headers = [name.strip() for name in header]
        faults = [f"no column {name!r}" for name in ("time", "sensor") if name not in headers]
        repeated = sorted(name for name, count in Counter(headers).items() if count > 1)
        faults += [f"column {name!r} occurs twice" for name in repeated]
        self._columns = [(at, key) for at, key in enumerate(headers) if key in QUANTITIES]
        if not self._columns:
            faults.append("no quantity column; known are " + ", ".join(QUANTITIES))
        if faults:
            raise HeaderError("; ".join(faults))
        self._time_at, self._sensor_at = headers.index("time"), headers.index("sensor")
        self._ids: dict[str, str] = {}

    def reading(self, row: list[str]) -> Reading:
        """Return the reading of a row, bad values as faults; raises `RowError`."""
        if len(row) != self._width:
            raise RowError(f"{len(row)} cells, the header has {self._width}")
        time, sensor = _time(row[self._time_at]), self._named(row[self._sensor_at])
        raw: dict[str, object] = {}
        for at, key in self._columns:
            cell = row[at]
            if cell:
                try:
                    raw[key] = float(cell)
                except ValueError:
                    raise RowError(f"{key}: {cell[:40]!r} is not a number") from None
        values, faults = check_values(raw)
        return Reading(sensor, time, time, values, (), tuple(faults))

    def _named(self, name: str) -> str:
        found = self._ids.get(name)
        if found is None:
            if len(self._ids) >= _NAMES:
                self._ids.clear()
            try:
                found = self._ids[name] = sensor_id(name)
            except DecodeError as error:
                raise RowError(f"sensor: {error.detail}") from error
        return found


def _time(cell: str) -> float:
    try:
        time = float(cell)
    except ValueError:
        try:
            stamp = datetime.fromisoformat(cell)
        except ValueError:
            stamp = None
        if stamp is None or stamp.tzinfo is None:
            raise RowError(
                f"time: {cell[:40]!r} is neither Unix seconds nor ISO 8601 with a zone"
            ) from None
        return stamp.timestamp()
    if not math.isfinite(time) or abs(time) > _LATEST:
        raise RowError(f"time: {cell[:40]!r} is no Unix time in seconds")
    return time


def readings_in(path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> Iterator[Reading]:
    """Return the readings of a file; raises `ValueError` with file and line."""
    with opened_csv(path, on_bytes) as rows:
        header = next(rows, None)
        if header is None:
            raise HeaderError(f"{path}: empty; expected a header with time, sensor and quantities")
        try:
            reader = RowReader(header)
        except HeaderError as error:
            raise HeaderError(f"{path}: header: {error}") from error
        for line, row in enumerate(rows, start=2):
            if not row:
                continue
            try:
                yield reader.reading(row)
            except RowError as error:
                raise RowError(f"{path}: line {line}: {error}") from error


@contextmanager
def opened_csv(
    path: Path, on_bytes: Callable[[int], None] = lambda _: None
) -> Iterator[Iterator[list[str]]]:
    """Open a ``.csv`` or ``.csv.gz`` and give its rows; `ValueError` if it is no whole text."""
    try:
        with path.open("rb") as stored, _text(stored, gzipped=path.suffix == ".gz") as text:
            lines = _Lines(text)
            yield _counted(csv.reader(lines), lines, stored, on_bytes)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: not a whole gzip file") from error
    except csv.Error as error:
        raise ValueError(f"{path}: {error}") from error
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from error


class _Lines:
    """Lines of a text, as long as those of one row are not too long together."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self.left = _MAX_ROW

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(self.left + 1)
        self.left -= len(line)
        if self.left < 0:
            raise csv.Error(f"a row is longer than {_MAX_ROW:,} characters")
        if not line:
            raise StopIteration
        return line


def _counted(
    rows: Iterator[list[str]], lines: _Lines, stored: IO[bytes], on_bytes: Callable[[int], None]
) -> Iterator[list[str]]:
    reported = 0
    for count, row in enumerate(rows):
        lines.left = _MAX_ROW
        if count % _TOLD_EVERY == 0:
            on_bytes(stored.tell() - reported)
            reported = stored.tell()
        yield row
    on_bytes(stored.tell() - reported)


def _text(stored: IO[bytes], *, gzipped: bool) -> io.TextIOWrapper:
    if gzipped:
        return io.TextIOWrapper(gzip.GzipFile(fileobj=stored), encoding="utf-8-sig", newline="")
    return io.TextIOWrapper(stored, encoding="utf-8-sig", newline="")
