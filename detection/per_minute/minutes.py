"""Readings of many sensors, minute by minute, for the minute detectors.

Sensor faults and building-wide changes of air take minutes to hours to show. Their detectors
(`sensor_faults`, `ambient`) therefore get one row per sensor and minute: the lowest and the highest
value of each channel, and its *zigzag*: the noise, not counting steady rises and falls.

Minutes follow the stream: a minute closes with the first reading past its end, from any sensor, and
contains the readings that came before. It consists of minima, maxima and sums of whole numbers, so
any split of the stream gives the same minutes, bit for bit. A reading that is not newer than its
sensor's last is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from detection.channels import MASS_OF_N03
from detection.quantities import COLUMN_INDEX, FINE_PARTICLES, QUANTITIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from detection.channels import ReadingBatch

MINUTE_S: Final = 60.0

CHANNELS: Final = (
    "pm1", "pm25", "pm4", "pm10", "n03", "n05", "n10", "n25",
    "tvoc_ppb", "tvoc_ugm3", "voc_index", "voc_raw", "rh", "temp", "co2",
)  # fmt: skip
"""Quantities collected in minutes. Quantities that stay constant for days in a healthy sensor
(pressure, light, vendor ratings, the NOx index) are left out."""
CHANNEL_INDEX: Final[Mapping[str, int]] = {key: i for i, key in enumerate(CHANNELS)}

_K: Final = len(CHANNELS)
_SOURCE: Final = np.array([COLUMN_INDEX[key] for key in CHANNELS])
_UNIT: Final = np.array([[QUANTITIES[key].resolution] for key in CHANNELS]) / 10.0
_LARGEST: Final = 1e9
_TOGETHER: Final = 2000
"""Approximate number of readings added at once, so that the work fits a core's cache."""
_FINE: Final = tuple(CHANNEL_INDEX[key] for key in FINE_PARTICLES[:-1])
_BY_CHANNEL: Final = ("low", "high", "zigzag", "pairs", "last", "before")
_NEW: Final = np.array([np.nan, np.nan, 0.0, 0.0, np.nan, np.nan])[:, None, None]
"""State of each channel, in the order of `_BY_CHANNEL`, for a new sensor."""
_OF_MINUTE: Final = slice(0, _BY_CHANNEL.index("last"))
"""The part of the state that starts over every minute."""


@dataclass(frozen=True, slots=True)
class Minute:
    """One minute of the stream, for the sensors with readings in it.

    Attributes
    ----------
    start : float
        Unix seconds; a multiple of `MINUTE_S`.
    closed : float
        Time of the reading that closed it, Unix seconds.
    rows : ndarray of int64, shape (m,)
        Rows of the sensors, from `Minutes.assign_row`.
    count : ndarray of float64, shape (m,)
        Number of readings of each sensor.
    low, high : ndarray of float64, shape (m, len(CHANNELS))
        Lowest and highest value in the unit of the quantity; NaN where absent.
    zigzag : ndarray of float64, shape (m, len(CHANNELS))
        Mean over pairs of consecutive steps, in the unit of the quantity. A pair counts as its
        smaller step if the two have opposite directions, otherwise as 0. NaN without three
        consecutive values. White noise of standard deviation s has a zigzag of 0.56 s.
    """

    start: float
    closed: float
    rows: NDArray[np.int64]
    count: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    zigzag: NDArray[np.float64]


class Minutes:
    """Collects readings into minutes."""

    KEPT: ClassVar[Mapping[str, Any]] = {
        "names": list[str],
        "_rows": dict[str, int],
        "_now": float,
        "_time": np.ndarray,
        "_count": np.ndarray,
        "_channels": np.ndarray,
    }
    """Attributes that a snapshot contains, with their types."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._rows: dict[str, int] = {}
        self._now = -np.inf
        self._time = np.empty(0)
        self._count = np.empty(0)
        # Sensors are the last axis, so that one operation on all sensors runs over contiguous
        # numbers. All state is in one array, so that a few sensors are read and written at once.
        self._channels = np.empty((len(_BY_CHANNEL), _K, 0))

    @property
    def now(self) -> float:
        """Start of the open minute, Unix seconds; minus infinity before the first reading."""
        return self._now * MINUTE_S

    def assign_row(self, sensor: str) -> int:
        """Return the row of a sensor; a new sensor gets the next row."""
        row = self._rows.get(sensor)
        if row is None:
            row = self._rows[sensor] = len(self.names)
            self.names.append(sensor)
        return row

    def step(self, batch: ReadingBatch) -> list[Minute]:
        """Return the minutes that a batch of readings closes; sensors can be in any order."""
        self._grow()
        minute = np.maximum.accumulate(np.floor(batch.time / MINUTE_S))
        minute = np.maximum(minute, self._now)
        closing = np.flatnonzero(minute > np.concatenate([[self._now], minute[:-1]]))
        closed: list[Minute] = []
        done = 0
        for at in closing.tolist():
            self._gather(batch, done, at)
            done = at
            closed += self._close(float(batch.time[at]))
            self._now = float(minute[at])
        self._gather(batch, done, len(batch))
        return closed

    def set_back(self, now: float) -> None:
        """Continue at `now`, after the readings' clock was set back to it."""
        self._now = min(self._now, np.floor(now / MINUTE_S))
        self._time = np.minimum(self._time, now)

    def _grow(self) -> None:
        n = len(self.names)
        if n > self._time.size:
            self._time = grow(self._time, n, -np.inf)
            self._count = grow(self._count, n, 0.0)
            self._channels = grow(self._channels, n, _NEW, axis=-1)

    def _gather(self, batch: ReadingBatch, begin: int, end: int) -> None:
        """Add the readings from `begin` to `end` to the open minute."""
        if begin == end:
            return
        order = np.argsort(batch.sensor[begin:end], kind="stable")
        rows, time = batch.sensor[begin:end].take(order), batch.time[begin:end].take(order)
        starts = _find_starts(rows)
        of = rows[starts]
        newer = np.empty(rows.size, np.bool_)
        np.greater(time[1:], time[:-1], out=newer[1:])
        newer[starts] = time[starts] > self._time[of]
        self._time[of] = time[_find_ends(starts, rows.size)]
        if not newer.all():
            order, rows = order[newer], rows[newer]
            if not rows.size:
                return
            starts = _find_starts(rows)
            of = rows[starts]
        values, bounds = batch.values[begin:end].T, np.append(starts, rows.size)
        cuts = np.searchsorted(starts, np.arange(0, rows.size, _TOGETHER)).tolist()
        for a, b in pairwise(sorted({*cuts, starts.size})):
            part = values.take(order[bounds[a] : bounds[b]], axis=1)
            self._add(part.take(_SOURCE, axis=0), starts[a:b] - starts[a], of[a:b])

    def _add(self, x: NDArray[np.float64], starts: NDArray[np.intp], of: NDArray[np.int32]) -> None:
        """Add readings of sensors `of`, shape (len(CHANNELS), n), grouped by sensor."""
        first, n = int(of[0]), of.size
        run = int(of[-1]) - first + 1 == n
        kept = self._channels[..., first : first + n] if run else self._channels.take(of, axis=-1)
        low, high, zigzag, pairs, last, before = kept
        size, known = _measure_zigzag(x, starts, last, before)
        if n == x.shape[1]:  # one reading each, as in most batches
            lowest = highest = x
            self._count[of] += 1
            before[:] = last
            last[:] = x
        else:
            ends = _find_ends(starts, x.shape[1])
            lowest, highest = (f.reduceat(x, starts, axis=1) for f in (np.fmin, np.fmax))
            size = np.add.reduceat(size, starts, axis=1)
            known = np.add.reduceat(known, starts, axis=1, dtype=np.int64)
            self._count[of] += ends - starts + 1
            several = ends > starts
            before[:] = np.where(several, x.take(ends - several, axis=1), last)
            last[:] = x.take(ends, axis=1)
        np.fmin(low, lowest, out=low)
        np.fmax(high, highest, out=high)
        zigzag += size
        pairs += known
        if not run:
            # Use one flat index per number: row and column indexes take numpy three times as long.
            rows = np.arange(0, self._channels.size, self._time.size)
            self._channels.reshape(-1)[rows.reshape(*kept.shape[:2], 1) + of] = kept

    def _close(self, at: float) -> list[Minute]:
        """Return the open minute, if it has readings, and clear it."""
        rows = np.flatnonzero(self._count > 0)
        if not rows.size:
            return []
        low, high, total, pairs = self._channels[_OF_MINUTE].take(rows, axis=-1)
        zigzag = np.where(pairs > 0, total * _UNIT / np.maximum(pairs, 1.0), np.nan)
        minute = Minute(
            start=self._now * MINUTE_S,
            closed=at,
            rows=rows,
            count=self._count[rows],
            low=np.ascontiguousarray(low.T),
            high=np.ascontiguousarray(high.T),
            zigzag=np.ascontiguousarray(zigzag.T),
        )
        self._count[rows] = 0.0
        self._channels[_OF_MINUTE, :, rows] = _NEW[_OF_MINUTE]
        return [minute]


def _measure_zigzag(
    x: NDArray[np.float64],
    starts: NDArray[np.intp],
    last: NDArray[np.float64],
    before: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the smaller of two consecutive steps where their directions are opposite.

    Parameters
    ----------
    x : ndarray of float64, shape (len(CHANNELS), n)
        Readings, grouped by sensor.
    starts : ndarray of intp, shape (m,)
        Position where each sensor's readings begin.
    last, before : ndarray of float64, shape (len(CHANNELS), m)
        Last value of each sensor before these readings, and the value before that.

    Returns
    -------
    zigzag : ndarray of float64, shape (len(CHANNELS), n)
        Whole tenths of the channel's resolution; 0 where both steps go the same way.
    known : ndarray of bool, shape (len(CHANNELS), n)
        Whether there are three consecutive values.
    """
    if starts.size == x.shape[1]:
        step, earlier = x - last, last - before
    else:
        step, earlier = np.empty_like(x), np.empty_like(x)
        np.subtract(x[:, 1:], x[:, :-1], out=step[:, 1:])
        step[:, starts] = x.take(starts, axis=1) - last
        earlier[:, 1:] = step[:, :-1]
        earlier[:, starts] = last - before
    known = ~(np.isnan(step) | np.isnan(earlier))
    opposite = step * earlier < 0.0
    size = np.minimum(np.abs(step, out=step), np.abs(earlier, out=earlier), out=step)
    size /= _UNIT
    np.rint(size, out=size)
    return np.where(opposite, np.minimum(size, _LARGEST, out=size), 0.0), known


def _find_starts(rows: NDArray[np.int32]) -> NDArray[np.intp]:
    """Return the position at which each run of equal rows begins."""
    return np.append(True, rows[1:] != rows[:-1]).nonzero()[0]


def _find_ends(starts: NDArray[np.intp], n: int) -> NDArray[np.intp]:
    """Return the last position of each run that begins at `starts`; `n` is the total length."""
    return np.append(starts[1:], n) - 1


def select_fine(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the fine particles of each sensor: PM2.5 or the closest quantity, in µg/m³.

    Returns
    -------
    ndarray of float64, shape (m,)
        NaN where the sensor measures no particles.
    """
    found = MASS_OF_N03 * values[:, CHANNEL_INDEX[FINE_PARTICLES[-1]]]
    for column in reversed(_FINE):
        found = np.where(np.isnan(values[:, column]), found, values[:, column])
    return found


def grow(
    array: NDArray[np.float64], n: int, fill: float | NDArray[np.float64], axis: int = 0
) -> NDArray[np.float64]:
    """Return `array` with at least `n` places on an axis; new places get `fill`.

    The size doubles, so that growing is rare.
    """
    have = array.shape[axis]
    if have >= n:
        return array
    shape = list(array.shape)
    shape[axis] = max(n, 2 * have, 16) - have
    return np.concatenate([array, np.full(shape, fill)], axis=axis)
