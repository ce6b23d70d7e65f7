"""Rows of a store to columns, the same for every store."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from detection.quantities import COLUMN_INDEX, COLUMNS
from storage.reading import Reading
from storage.timeseries import LatestReading

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

_NS: Final = 1_000_000_000
_LATEST_S: Final = 120


def columns(
    rows: Sequence[Sequence[Any]], keys: Sequence[str]
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Turn rows of nanoseconds and values into times and columns; absent columns are left out."""
    time = np.array([row[0] / _NS for row in rows], dtype=np.float64)
    table = np.array(
        [[math.nan if v is None else v for v in row[1:]] for row in rows], dtype=np.float64
    ).reshape(len(rows), len(keys))
    present = ~np.all(np.isnan(table), axis=0) if len(rows) else np.zeros(len(keys), bool)
    return time, {k: table[:, i] for i, k in enumerate(keys) if present[i]}


def merged(rows: Sequence[Sequence[Any]], keys: Sequence[str]) -> LatestReading:
    """Return the newest value of each quantity over rows of one sensor, newest first.

    Devices may spread their quantities over several messages: a quantity that the newest lacks
    comes from one at most two minutes older. A row without any value says that a device is
    connected, not what it measures: the newest that has one counts, if there is one.
    """
    newest = next((row[0] for row in rows if any(v is not None for v in row[1:])), rows[0][0])
    values: dict[str, float] = {}
    for row in rows:
        if newest - row[0] > _LATEST_S * _NS:
            break
        for key, value in zip(keys, row[1:], strict=True):
            if value is not None:
                values.setdefault(key, float(value))
    return LatestReading(newest / _NS, values)


def words(text: str | None) -> tuple[str, ...]:
    """Split what was joined by spaces."""
    return tuple(text.split()) if text else ()


def reading_of(sensor: str, row: Sequence[Any]) -> Reading:
    """Return the reading of a row: nanoseconds, receipt, all quantities, events, faults, flags."""
    values = {
        key: float(value)
        for key, value in zip(COLUMNS, row[2:-3], strict=True)
        if value is not None
    }
    events, faults, flags = map(words, row[-3:])
    return Reading(sensor, row[0] // 1000 / 1e6, float(row[1]), values, events, faults, flags)


def every_ns(every_s: float) -> int:
    """Return an interval in nanoseconds, rounded to milliseconds; `ValueError` if it is shorter."""
    if not every_s >= 0.001 or math.isinf(every_s):
        raise ValueError(f"an interval of {every_s} s is not possible; at least 0.001 s")
    return round(every_s * 1000) * 1_000_000


def quantities_of(keys: Iterable[str]) -> tuple[str, ...]:
    """Check quantities before they become part of a statement; `ValueError` for unknown ones."""
    found = tuple(keys)
    strange = [k for k in found if k not in COLUMN_INDEX]
    if strange or not found:
        raise ValueError(f"no such quantity: {', '.join(map(repr, strange)) or 'none given'}")
    return found


def split_at(first: int, last: int, stale: int | None, step: int, level_s: int) -> tuple[int, int]:
    """Return where averages end and readings begin, and where the averages begin.

    `first` and `last` are the span requested, `stale` is from where on averages are not up to date,
    and `step` the interval, none of which is split; nanoseconds. `level_s` is the length of the
    averages.
    """
    whole = last if stale is None else stale // step * step
    split = min(max(whole, first), last)
    return split, first // (level_s * _NS) * (level_s * _NS)
