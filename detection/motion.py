"""What one reading of each sensor changes: the arithmetic of baselines, noise and local levels.

Baselines are gated: they fall quickly and rise slowly, and slower still during an episode, so that
a plume does not become the baseline it is judged against.

Nearly all readings are quiet, so the detector is as fast as `advance` is. State comes column by
column, one column a sensor: one operation on all sensors runs over contiguous numbers. Each number
is made by the same operations whatever else is in the block, and logarithms are taken of contiguous
arrays alone, where numpy gives the same bits at any length; so any split of a stream leaves the
same state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import numpy as np

from detection.channels import (
    BANK,
    BANK_TAU_S,
    CHANNELS,
    FINE,
    FLOOR,
    OPENERS,
    RISE,
    TAU_DOWN_S,
    TAU_UP_S,
    bank_signals,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

K: Final = len(CHANNELS)
BLOCK: Final = 1024
"""Most readings taken together: the state of their sensors fits a core's cache."""
MOST: Final = BLOCK + BLOCK // 4
"""Most sensors moved on together: with those among them that have no reading, if they are few."""
WARM_UP_S: Final = 60.0
"""A sensor is not judged before it has been read for this long."""
NOISE_GAIN: Final = 0.02
_PULSE: Final = float(RISE[FINE])
"""Least rise of a pulse, µg/m³."""
HELD: Final = 6.0
"""How much slower baselines rise during an episode."""
_PACES: Final = sorted(
    {(tau, tau) for tau in TAU_DOWN_S.tolist()} | {(tau, HELD * tau) for tau in TAU_UP_S.tolist()}
)
_PACE_S: Final = np.array([[pace] for pace, _ in _PACES])
"""Time constants of baselines, each once, shape (n, 1)."""
_HELD_PACE_S: Final = np.array([[held] for _, held in _PACES])
"""The same during an episode."""
LOCAL_PACE_S: Final = np.array([[45.0], [2.0]])
"""Of the local level, up and down."""
_PACE_UP: Final = np.array(
    [*(_PACES.index((tau, HELD * tau)) for tau in TAU_UP_S.tolist()), len(_PACES)]
)
"""Which of them moves each level up."""
_PACE_DOWN: Final = np.array(
    [*(_PACES.index((tau, tau)) for tau in TAU_DOWN_S.tolist()), len(_PACES) + 1]
)
"""Which of them moves it down."""
_FLOOR: Final = FLOOR[:, None]
_OTHERS: Final = slice(OPENERS.start + 1, OPENERS.stop)
"""Channels other than the fine signal of which a rise opens an episode."""
_RISE: Final = RISE[_OTHERS, None]
_BANK_TAU_S: Final = BANK_TAU_S[:, None]


class QuietColumn:
    """Columns of the quiet matrix: blocks of channels, and scalars."""

    BASE = slice(0, K)
    """Baseline of every channel."""
    LOCAL = K
    """Local level of the fine signal: falls with it, rises over three quarters of a minute."""
    LEVELS = slice(0, K + 1)
    """Baselines and local level, which move by one rule."""
    LAST = slice(K + 1, 2 * K + 1)
    """Last value seen of every channel."""
    NOISE = slice(2 * K + 1, 2 * K + 1 + len(FLOOR))
    """Noise scale of `OPENERS`: mean absolute step while nothing happens, at least `FLOOR`."""
    TIME, FIRST, INTERVAL, COUNT = range(2 * K + 1 + len(FLOOR), 2 * K + 5 + len(FLOOR))
    """Last and first event time, smoothed interval, readings since the last gap."""
    WIDTH = COUNT + 1 + len(BANK) * len(BANK_TAU_S)
    SMOOTHED = slice(COUNT + 1, WIDTH)
    """Signals of the filter bank, smoothed at each time scale."""


Q = QuietColumn


@dataclass(frozen=True, slots=True)
class Room:
    """Memory for what `advance` works out on the way to a block's new state."""

    excess: NDArray[np.float64]
    rising: NDArray[np.float64]
    spare: NDArray[np.float64]
    pace: NDArray[np.float64]
    over: NDArray[np.float64]
    unknown: NDArray[np.bool_]


class Rooms:
    """The same memory for blocks of any number of sensors.

    Asking for it anew at each step costs as much as the arithmetic: blocks of this size go back to
    the system when they are freed, and each page of them has to be fetched again.
    """

    _SHAPES: Final = (
        (K + 1,),
        (K + 1,),
        (K + 1,),
        (len(_PACES) + 2,),
        (len(BANK), BANK_TAU_S.size),
    )

    def __init__(self) -> None:
        self._numbers = np.empty(sum(math.prod(shape) for shape in self._SHAPES) * MOST)
        self._flags = np.empty(K * MOST, np.bool_)
        self._of: dict[int, Room] = {}

    def of(self, n: int) -> Room:
        """Room for `n` sensors, at most `MOST`."""
        room = self._of.get(n)
        if room is None:
            if len(self._of) == BLOCK // 8:
                self._of.clear()
            parts, start = [], 0
            for shape in self._SHAPES:
                size = math.prod(shape) * n
                parts.append(self._numbers[start : start + size].reshape(*shape, n))
                start += size
            excess, rising, spare, pace, over = parts
            unknown = self._flags[: K * n].reshape(K, n)
            room = self._of[n] = Room(excess, rising, spare, pace, over, unknown)
        return room


@dataclass(frozen=True, slots=True)
class Motion:
    """What one reading changed for each sensor in an episode, with what was known before it.

    Attributes
    ----------
    reading : ndarray of intp, shape (n,)
        Which of the readings.
    opening, pulse : ndarray of bool, shape (n,)
        Whether an episode opens; whether fine particles rise.
    fine_noise, local : ndarray of float64, shape (n,)
        Noise scale and local level of the fine signal before the reading.
    base, last : ndarray of float64, shape (n, len(CHANNELS))
        Baselines and last values before the reading.
    over : ndarray of float64, shape (n, len(BANK) * len(BANK_TAU_S))
        Each signal of the filter bank less its smoothed past.
    """

    reading: NDArray[np.intp]
    opening: NDArray[np.bool_]
    pulse: NDArray[np.bool_]
    fine_noise: NDArray[np.float64]
    local: NDArray[np.float64]
    base: NDArray[np.float64]
    last: NDArray[np.float64]
    over: NDArray[np.float64]

    @classmethod
    def join(cls, parts: Sequence[Motion]) -> Motion:
        """Return several as one."""
        if len(parts) == 1:
            return parts[0]
        names = [entry.name for entry in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def advance(
    quiet: NDArray[np.float64],
    running: NDArray[np.bool_],
    time: NDArray[np.float64],
    dt: NDArray[np.float64],
    x: NDArray[np.float64],
    room: Room,
) -> Motion | None:
    """Move the quiet state of distinct sensors on by one reading each, in place.

    Parameters
    ----------
    quiet : ndarray of float64, shape (Q.WIDTH, n)
        One column a sensor.
    running : ndarray of bool, shape (n,)
        Sensors in an episode, whose baselines are held.
    time, dt : ndarray of float64, shape (n,)
        Event time, and seconds since the last reading; 0 for a first one.
    room : Room
        Of `n` sensors.

    Returns
    -------
    Motion or None
        Of the sensors in an episode or opening one; None if there is none.
    """
    base, last, local = quiet[Q.BASE], quiet[Q.LAST], quiet[Q.LOCAL]
    unknown = np.isnan(x, out=room.unknown)
    excess = room.excess
    np.subtract(x, base, out=excess[:K])
    np.subtract(x[FINE], local, out=excess[K])
    if np.count_nonzero(np.isnan(excess[:K])) != np.count_nonzero(unknown):
        _begin(quiet, x, unknown, excess)
    age = time - quiet[Q.FIRST]
    noise = quiet[Q.NOISE]
    fine_noise = np.maximum(noise[0], 0.02 * base[FINE])
    pulse = excess[K] > np.maximum(5.0 * fine_noise, _PULSE)
    clear = excess[_OTHERS] > np.maximum(6.0 * noise[1:], _RISE)
    opening = np.logical_or.reduce(clear, axis=0)
    opening |= pulse
    busy = running
    if np.count_nonzero(opening):
        opening &= ~running
        opening &= age >= WARM_UP_S
        busy = running | opening
    signal = bank_signals(x, unknown)
    bank = quiet[Q.SMOOTHED].reshape(room.over.shape)
    over = np.subtract(signal[:, None, :], bank, out=room.over)
    moved = None
    held = busy.nonzero()[0]
    if held.size:
        moved = Motion(
            held,
            opening[held],
            pulse[held],
            fine_noise[held],
            local[held],
            base.take(held, axis=1).T,
            last.take(held, axis=1).T,
            over.take(held, axis=2).reshape(-1, held.size).T,
        )
    _move_levels(quiet, age, dt, held, room)
    _move_noise(quiet, x, held, room)
    _smooth(signal, over, dt, bank)
    last[:] = np.where(unknown, last, x)
    interval, count = quiet[Q.INTERVAL], quiet[Q.COUNT]
    interval += (dt - interval) * np.maximum(2.0 - count, 0.2)
    quiet[Q.TIME] = time
    count += 1.0
    return moved


def _begin(
    quiet: NDArray[np.float64],
    x: NDArray[np.float64],
    unknown: NDArray[np.bool_],
    excess: NDArray[np.float64],
) -> None:
    """Take the first value of a channel for its baseline, in place."""
    base, local = quiet[Q.BASE], quiet[Q.LOCAL]
    new = np.isnan(base) & ~unknown
    base[new] = x[new]
    excess[:K][new] = 0.0
    local[new[FINE]] = x[FINE, new[FINE]]
    excess[K, new[FINE]] = 0.0


def _move_levels(
    quiet: NDArray[np.float64],
    age: NDArray[np.float64],
    dt: NDArray[np.float64],
    held: NDArray[np.intp],
    room: Room,
) -> None:
    """Move baselines and the local level towards the reading, in place; `room.excess` is spent."""
    excess, rising, pace = room.excess, room.rising, room.pace
    np.minimum(_PACE_S, age + quiet[Q.INTERVAL] + 1.0, out=pace[:-2])
    if held.size:
        pace[:-2, held] = _HELD_PACE_S
    pace[-2:] = LOCAL_PACE_S
    pace += dt
    np.divide(dt, pace, out=pace)
    # The larger and the smaller of 0 and an unknown number are 0: such a level does not move.
    np.fmax(excess, 0.0, out=rising)
    rising *= pace.take(_PACE_UP, axis=0, out=room.spare, mode="clip")
    np.fmin(excess, 0.0, out=excess)
    excess *= pace.take(_PACE_DOWN, axis=0, out=room.spare, mode="clip")
    rising += excess
    levels = quiet[Q.LEVELS]
    levels += rising


def _move_noise(
    quiet: NDArray[np.float64], x: NDArray[np.float64], held: NDArray[np.intp], room: Room
) -> None:
    """Move the noise scales on, in place, but those of the `held` sensors."""
    noise, step, limit = quiet[Q.NOISE], room.excess[: len(FLOOR)], room.spare[: len(FLOOR)]
    np.subtract(x[OPENERS], quiet[Q.LAST][OPENERS], out=step)
    np.abs(step, out=step)
    np.multiply(noise, 4.0, out=limit)
    np.minimum(step, limit, out=step)
    step -= noise
    gain = np.maximum(1.0 / (quiet[Q.COUNT] + 2.0), NOISE_GAIN)
    if held.size:
        gain[held] = 0.0
    step *= gain
    np.putmask(step, np.isnan(step), 0.0)
    noise += step
    np.maximum(noise, _FLOOR, out=noise)


def _smooth(
    signal: NDArray[np.float64],
    over: NDArray[np.float64],
    dt: NDArray[np.float64],
    bank: NDArray[np.float64],
) -> None:
    """Move the filter bank on, in place; `over` is spent."""
    unknown = np.isnan(over)
    missing = np.isnan(signal)
    if np.count_nonzero(unknown) != BANK_TAU_S.size * np.count_nonzero(missing):
        new = np.isnan(bank[:, :1]) & ~missing[:, None, :]
        np.copyto(bank, signal[:, None, :], where=new)
    over *= dt / (_BANK_TAU_S + dt)
    np.putmask(over, unknown, 0.0)
    bank += over
