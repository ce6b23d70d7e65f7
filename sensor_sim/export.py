"""Readings and truth as CSV files: the input of a replay, and what it is judged by.

Readings have the header ``time,sensor,<quantities>``, Unix seconds of the device's clock to the
millisecond, an empty cell where there is no value, and rows in order of time over all sensors.
Devices report at their own intervals and by their own clocks, so rows wait until no device can
send an earlier one; what a clock that jumped back would put more than `HOLD_S` behind its sending
is left out and counted. A reading without any value (a device that warms up) is no row.

The bytes depend on the readings alone. Numbers are looked up, not printed: tables of numerals,
eight bytes an entry, padded with zero bytes that are dropped in the end.
"""

from __future__ import annotations

import csv
import gzip
import math
import os
from dataclasses import astuple, fields
from functools import cache
from typing import IO, TYPE_CHECKING, Final, Self, cast

import numpy as np

from detection.quantities import COLUMN_INDEX, COLUMNS, QUANTITIES
from sensor_sim.trace import Truth

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from sensor_sim.trace import DeviceTrace

HOLD_S: Final = 7200.0
"""How far behind its sending a device's time may be and still find its place in the order, s."""

_TABLE: Final = 1_000_000
_GZIP_LEVEL: Final = 1


def decimals(quantity: str) -> int:
    """Decimals printed for a quantity: one more than its resolution where that is a fraction.

    Examples
    --------
    >>> decimals("pm25"), decimals("n03"), decimals("tvoc_ppb")
    (2, 3, 0)
    """
    resolution = QUANTITIES[quantity].resolution
    return 0 if resolution >= 1 else 1 - round(math.log10(resolution))


@cache
def _wholes() -> NDArray[np.uint64]:
    """Whole numbers 0 to `_TABLE` - 1 as text of eight bytes; the last entry is empty."""
    text = np.arange(_TABLE + 1).astype("S8")
    text[_TABLE] = b""
    return text.view(np.uint64)


@cache
def _fractions(places: int) -> NDArray[np.uint32]:
    """Fractions in steps of the last place as text of four bytes, without trailing zeros."""
    text = [f"{i / 10**places:.{places}f}"[1:].rstrip("0").rstrip(".") for i in range(10**places)]
    return np.array(text, dtype="S4").view(np.uint32)


@cache
def _numerals(places: int) -> NDArray[np.uint64]:
    """Numbers of `_TABLE` steps of the last place as text of eight bytes; the last one is empty."""
    if not places:
        return _wholes()
    steps = 10**places
    text = np.zeros((_TABLE // steps, steps, 8), dtype=np.uint8)
    whole = np.arange(_TABLE // steps).astype("S4").view(np.uint8).reshape(-1, 1, 4)
    text[:, :, :4] = whole
    text[:, :, 4:] = _fractions(places).view(np.uint8).reshape(1, -1, 4)
    return np.append(text.reshape(-1).view(np.uint64), np.uint64(0))


@cache
def _thousandths() -> NDArray[np.uint32]:
    return np.array([f".{i:03d}" for i in range(1000)], dtype="S4").view(np.uint32)


@cache
def _four_digits() -> NDArray[np.uint32]:
    return np.array([f"{i:04d}" for i in range(10_000)], dtype="S4").view(np.uint32)


class _Sheet:
    """Rows of text cells of fixed width, zero bytes where a cell is shorter."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._cells: list[NDArray[np.uint8]] = []

    def text(self, text: bytes) -> None:
        cell = np.frombuffer(text, dtype=np.uint8)
        self._cells.append(np.broadcast_to(cell, (self._rows, len(cell))))

    def cells(self, cells: NDArray[np.generic]) -> None:
        self._cells.append(np.ascontiguousarray(cells).view(np.uint8).reshape(self._rows, -1))

    def tobytes(self) -> bytes:
        width = sum(cell.shape[1] for cell in self._cells)
        sheet = np.empty((self._rows, width), dtype=np.uint8)
        at = 0
        for cell in self._cells:
            sheet[:, at : at + cell.shape[1]] = cell
            at += cell.shape[1]
        return sheet.tobytes().translate(None, b"\0")


def _numbers(sheet: _Sheet, values: NDArray[np.float64], places: int) -> None:
    """Put a column of numbers on the sheet; nothing where it is NaN."""
    absent = np.isnan(values)
    scaled = np.rint(values * 10**places)
    scaled[absent] = 0.0
    negative = scaled < 0
    if negative.any():
        sheet.cells(np.where(negative, np.uint8(ord("-")), np.uint8(0)))
        np.abs(scaled, out=scaled)
    if scaled.max() < _TABLE:
        scaled[absent] = _TABLE
        sheet.cells(_numerals(places)[scaled.astype(np.intp)])
        return
    whole, fraction = np.divmod(scaled.astype(np.int64), 10**places)
    cells = _wholes()[np.where(absent, _TABLE, np.minimum(whole, _TABLE))]
    big = whole >= _TABLE
    cells[big] = whole[big].astype("S8").view(np.uint64)
    sheet.cells(cells)
    if places:
        sheet.cells(_fractions(places)[fraction])


def _times(sheet: _Sheet, time: NDArray[np.float64]) -> None:
    seconds, milli = np.divmod(np.rint(np.maximum(time, 0.0) * 1000).astype(np.int64), 1000)
    high, low = np.divmod(seconds, 10_000)
    sheet.cells(_wholes()[high])
    sheet.cells(_four_digits()[low])
    sheet.cells(_thousandths()[milli])


class _CsvFile:
    """A file that appears under its name when it is complete; gzip by its suffix."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._raw: IO[bytes] = self._part.open("wb")
        self._out: IO[bytes] = self._raw
        if path.name.endswith(".gz"):
            zipped = gzip.GzipFile("", "wb", _GZIP_LEVEL, self._raw, mtime=0)
            self._out = cast("IO[bytes]", zipped)

    def write(self, data: bytes) -> None:
        self._out.write(data)

    def close(self, *, keep: bool) -> None:
        if self._out is not self._raw:
            self._out.close()
        self._raw.close()
        if keep:
            os.replace(self._part, self._path)  # noqa: PTH105 - atomic on all systems
        else:
            self._part.unlink()


class ReadingsCsv:
    """Writes readings; use as a context manager, the file is there after a clean exit.

    Parameters
    ----------
    path : Path
        Ends in ``.csv`` or ``.csv.gz``.
    quantities : iterable of str, optional
        Columns, in table order; all by default.
    sensors : iterable of str, optional
        Order of sensors among readings of the same time; of first appearance by default.
    """

    def __init__(
        self, path: Path, quantities: Iterable[str] = COLUMNS, sensors: Iterable[str] = ()
    ) -> None:
        chosen = set(quantities)
        self._quantities = tuple(q for q in COLUMNS if q in chosen)
        self._columns = [COLUMN_INDEX[q] for q in self._quantities]
        self._number = {sensor: i for i, sensor in enumerate(dict.fromkeys(sensors))}
        self._time = np.empty(0)
        self._sensor = np.empty(0, dtype=np.int64)
        self._values = np.empty((0, len(self._columns)))
        self._written_to = -math.inf
        self.rows = 0
        self.left_out = 0
        self._file = _CsvFile(path)
        self._file.write(",".join(("time", "sensor", *self._quantities)).encode() + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *exc: object) -> None:
        if exc_type is None:
            self._release(math.inf)
        self._file.close(keep=exc_type is None)

    def add(self, traces: Iterable[DeviceTrace]) -> None:
        """Take the readings of one stretch of time over all devices."""
        taken = [trace for trace in traces if len(trace.time)]
        if not taken:
            return
        numbers = [self._number.setdefault(t.sensor, len(self._number)) for t in taken]
        lengths = [len(t.time) for t in taken]
        self._time = np.concatenate([self._time, *(t.time for t in taken)])
        self._sensor = np.concatenate([self._sensor, np.repeat(numbers, lengths)])
        self._values = np.concatenate([self._values, *(t.values[:, self._columns] for t in taken)])
        safe = min(float(t.time[-1]) for t in taken)
        self._release(max(safe, min(float(t.sent[-1]) for t in taken) - HOLD_S))

    def _release(self, until: float) -> None:
        order = np.lexsort((self._sensor, self._time))
        time = self._time[order]
        first = int(np.searchsorted(time, self._written_to, "left"))
        last = max(first, int(np.searchsorted(time, until, "left")))
        self.left_out += first
        rows = order[first:last]
        rows = rows[~np.isnan(self._values[rows]).all(axis=1)]
        if len(rows):
            self._write(self._time[rows], self._sensor[rows], self._values[rows])
        keep = np.sort(order[last:])
        self._time, self._sensor = self._time[keep], self._sensor[keep]
        self._values = self._values[keep]
        self._written_to = max(self._written_to, until)

    def _write(
        self,
        time: NDArray[np.float64],
        sensor: NDArray[np.int64],
        values: NDArray[np.float64],
    ) -> None:
        sheet = _Sheet(len(time))
        _times(sheet, time)
        names = np.array([f",{name}".encode() for name in self._number], dtype=np.bytes_)
        sheet.cells(names[sensor])
        commas = b""
        for i, quantity in enumerate(self._quantities):
            commas += b","
            column = values[:, i]
            if np.isnan(column).all():
                continue
            sheet.text(commas)
            commas = b""
            _numbers(sheet, column, decimals(quantity))
        sheet.text(commas + b"\n")
        self._file.write(sheet.tobytes())
        self.rows += len(time)


class TruthCsv:
    """Writes truth, one row a happening and sensor, with the fields of `Truth` as header.

    Parameters
    ----------
    path : Path
        Ends in ``.csv`` or ``.csv.gz``.
    """

    def __init__(self, path: Path) -> None:
        self._file = _CsvFile(path)
        self._writer = csv.writer(_Encoding(self._file), lineterminator="\n")
        self._writer.writerow([f.name for f in fields(Truth)])
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *exc: object) -> None:
        self._file.close(keep=exc_type is None)

    def add(self, truths: Iterable[Truth]) -> None:
        """Take the truth of one stretch of time; an absent number is an empty cell."""
        for truth in truths:
            self._writer.writerow([_plain(value) for value in astuple(truth)])
            self.rows += 1


class _Encoding:
    def __init__(self, file: _CsvFile) -> None:
        self._file = file

    def write(self, text: str) -> int:
        self._file.write(text.encode())
        return len(text)


def _plain(value: object) -> object:
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        return value if math.isinf(value) else round(value, 3)
    return value
