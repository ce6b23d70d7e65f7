"""Rows of a CSV of readings, however its columns are named: readings, or one sentence why not."""

from __future__ import annotations

import csv
import gzip
import io
import math
import zlib
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, TYPE_CHECKING, Final

from detection.quantities import QUANTITIES
from ingest.errors import DecodeError
from ingest.validation import check_values, sensor_id
from storage.reading import DEVICE_EVENTS, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import tzinfo
    from pathlib import Path

FORMULA: Final = ("=", "+", "-", "@")
"""Beginnings of a cell that a spreadsheet takes for a formula; an export writes ' before them."""
_LATEST: Final = 1e11
_TOLD_EVERY: Final = 1000
_MAX_ROW: Final = 1_000_000
_NAMES: Final = 10_000
_WORDS: Final = ("events", "faults", "flags")


class HeaderError(ValueError):
    """The header lacks what is needed; the message lists all faults."""


class RowError(ValueError):
    """A row cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file names and writes things.

    `names`: header by what it is: ``time``, ``sensor`` or a quantity; others have their own names.
    `sensor`: sensor of all rows, of a file without such a column; empty for none.
    `zone`: of times that name none; without it such times are refused.
    `time_format`: as of `datetime.strptime`; empty for Unix seconds and ISO 8601.
    `words`: whether columns ``events``, ``faults`` and ``flags`` are read, as an export writes
    them.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    sensor: str = ""
    zone: tzinfo | None = None
    time_format: str = ""
    words: bool = False


class RowReader:
    """Reads the rows below one header; raises `HeaderError`."""

    def __init__(self, header: list[str], layout: Layout | None = None) -> None:
        self._layout = layout = layout or Layout()
        self._width = len(header)
        headers = [name.strip() for name in header]
        wanted = {key: layout.names.get(key, key) for key in ("time", "sensor", *QUANTITIES)}
        missing = [wanted["time"]] if wanted["time"] not in headers else []
        if not layout.sensor and wanted["sensor"] not in headers:
            missing.append(wanted["sensor"])
        missing += [
            name
            for key, name in layout.names.items()
            if key not in ("time", "sensor") and name not in headers
        ]
        columns = [
            (headers.index(name), key)
            for key, name in wanted.items()
            if key in QUANTITIES and name in headers
        ]
        columns.sort()
        repeated = sorted(name for name, count in Counter(headers).items() if count > 1)
        if missing or not columns or repeated:
            faults = [f"no column {name!r}" for name in missing]
            faults += [f"column {name!r} occurs twice" for name in repeated]
            if not columns:
                faults.append("no quantity column; known are " + ", ".join(QUANTITIES))
            raise HeaderError("; ".join(faults))
        self._columns = columns
        self._time_at = headers.index(wanted["time"])
        self._sensor_at = -1 if layout.sensor else headers.index(wanted["sensor"])
        self._words_at = [
            headers.index(word) if layout.words and word in headers else -1 for word in _WORDS
        ]
        self._ids: dict[str, str] = {}
        self._sensor = self._id(layout.sensor) if layout.sensor else ""

    def reading(self, row: list[str]) -> Reading:
        """Return the reading of a row, bad values as faults; raises `RowError`."""
        if len(row) != self._width:
            raise RowError(f"{len(row)} cells, the header has {self._width}")
        time = self._time(row[self._time_at])
        sensor = self._sensor or self._named(row[self._sensor_at])
        raw: dict[str, object] = {}
        for at, key in self._columns:
            cell = row[at]
            if cell:
                try:
                    raw[key] = float(cell)
                except ValueError:
                    raise RowError(f"{key}: {cell[:40]!r} is not a number") from None
        values, bad = check_values(raw)
        events, faults, flags = (tuple(row[at].split()) if at >= 0 else () for at in self._words_at)
        strange = [word for word in events if word not in DEVICE_EVENTS]
        strange += [word for word in faults if word not in QUANTITIES]
        if strange:
            raise RowError(f"{strange[0][:40]!r} is no event of a device or no quantity")
        faults = tuple(dict.fromkeys((*faults, *bad)))
        return Reading(sensor, time, time, values, events, faults, flags)

    def _named(self, name: str) -> str:
        found = self._ids.get(name)
        if found is None:
            if len(self._ids) >= _NAMES:
                self._ids.clear()
            found = self._ids[name] = self._id(name)
        return found

    def _id(self, name: str) -> str:
        if self._layout.words and name[:1] == "'" and name[1:2] in FORMULA:
            name = name[1:]
        try:
            return sensor_id(name)
        except DecodeError as error:
            raise RowError(f"sensor: {error.detail}") from error

    def _time(self, cell: str) -> float:
        if self._layout.time_format:
            return self._written(cell)
        try:
            time = float(cell)
        except ValueError:
            try:
                stamp = datetime.fromisoformat(cell)
            except ValueError:
                stamp = None
            if stamp is not None and stamp.tzinfo is None and self._layout.zone is not None:
                stamp = stamp.replace(tzinfo=self._layout.zone)
            if stamp is None or stamp.tzinfo is None:
                zone = " with a zone" if self._layout.zone is None else ""
                raise RowError(
                    f"time: {cell[:40]!r} is neither Unix seconds nor ISO 8601{zone}"
                ) from None
            return stamp.timestamp()
        if not math.isfinite(time) or abs(time) > _LATEST:
            raise RowError(f"time: {cell[:40]!r} is no Unix time in seconds")
        return time

    def _written(self, cell: str) -> float:
        wanted = self._layout.time_format
        try:
            stamp = datetime.strptime(cell, wanted)  # noqa: DTZ007 - the zone follows
        except ValueError:
            raise RowError(f"time: {cell[:40]!r} is not written as {wanted!r}") from None
        if stamp.tzinfo is None and self._layout.zone is not None:
            stamp = stamp.replace(tzinfo=self._layout.zone)
        return stamp.timestamp()


def readings_in(
    path: Path,
    on_fault: Callable[[str, str], None],
    on_bytes: Callable[[int], None] = lambda _: None,
    layout: Layout | None = None,
    finish: Callable[[Reading], Reading] = lambda reading: reading,
) -> Iterator[Reading]:
    """Return the readings of a file, as `finish` returns them; refused rows go to `on_fault`."""
    with opened_csv(path, on_bytes) as rows:
        header = next(rows, None)
        if header is None:
            raise HeaderError(f"{path}: empty; expected a header with time, sensor and quantities")
        try:
            reader = RowReader(header, layout)
        except (HeaderError, RowError) as error:
            raise HeaderError(f"{path}: header: {error}") from error
        for line, row in enumerate(rows, start=2):
            if not row:
                continue
            try:
                yield finish(reader.reading(row))
            except RowError as error:
                on_fault(f"{path}: line {line}", str(error))


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
