"""What is remembered of each sensor between readings: baselines, noise, the last values.

State is two matrices, one row a sensor: `Tracker.quiet` for every reading, `Tracker.episode` for
sensors in an episode. Baselines are gated: they fall quickly and rise slowly, and slower still
during an episode, so that a plume does not become the baseline it is judged against.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from zipfile import BadZipFile

import numpy as np

from detection.channels import (
    BANK,
    BANK_TAU_S,
    CHANNELS,
    FINE,
    FLOOR,
    RISE,
    TAU_DOWN_S,
    TAU_UP_S,
    bank_values,
)
from detection.episodes import EpisodeColumn as E

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["WARM_UP_S", "Motion", "Q", "QuietColumn", "SnapshotError", "Tracker", "advance"]

FORMAT: Final = 2
K: Final = len(CHANNELS)
WARM_UP_S: Final = 60.0
"""A sensor is not judged before it has been read for this long."""
_LOCAL_S: Final = 45.0
_NOISE_GAIN: Final = 0.02
_PULSE: Final = 3.0
"""Least rise of a pulse, µg/m³."""


class SnapshotError(ValueError):
    """A snapshot is not one, or of another format."""


class QuietColumn:
    """Columns of the quiet matrix: three blocks of channels, then scalars."""

    BASE = slice(0, K)
    """Baseline of every channel."""
    NOISE = slice(K, 2 * K)
    """Noise scale: mean absolute step between readings while nothing happens."""
    LAST = slice(2 * K, 3 * K)
    """Last value seen of every channel."""
    TIME, FIRST, INTERVAL, COUNT, LOCAL, LEVEL = range(3 * K, 3 * K + 6)
    """Last and first event time, smoothed interval, readings since the last gap, local level of
    the fine signal (falls with it, rises over three quarters of a minute), decision level."""
    SMOOTHED = slice(3 * K + 6, 3 * K + 6 + len(BANK) * len(BANK_TAU_S))
    """Signals of the filter bank, smoothed at each time scale."""
    WIDTH = 3 * K + 6 + len(BANK) * len(BANK_TAU_S)


Q = QuietColumn


@dataclass(slots=True)
class Tracker:
    """State of all sensors.

    Attributes
    ----------
    names : list of str
    quiet : ndarray of float64, shape (capacity, Q.WIDTH)
    episode : ndarray of float64, shape (capacity, E.WIDTH)
        Column PHASE is 0 where there is none.
    """

    names: list[str] = field(default_factory=list)
    quiet: NDArray[np.float64] = field(default_factory=lambda: np.full((16, Q.WIDTH), np.nan))
    episode: NDArray[np.float64] = field(default_factory=lambda: np.zeros((16, E.WIDTH)))

    def add(self, name: str) -> int:
        """Append a sensor and return its row."""
        row = len(self.names)
        if row == self.quiet.shape[0]:
            self.quiet = np.concatenate([self.quiet, np.full_like(self.quiet, np.nan)])
            self.episode = np.concatenate([self.episode, np.zeros_like(self.episode)])
        self.names.append(name)
        self.quiet[row, Q.LEVEL] = 0.0
        return row

    def snapshot(self, model_version: str) -> bytes:
        """Versioned bytes from which `restore` makes the same state."""
        n = len(self.names)
        out = io.BytesIO()
        np.savez(
            out,
            format=np.array(FORMAT),
            model_version=np.array(model_version),
            names=np.array(self.names, dtype=np.str_),
            quiet=self.quiet[:n],
            episode=self.episode[:n],
        )
        return out.getvalue()

    @classmethod
    def restore(cls, body: bytes) -> tuple[Tracker, str]:
        """State and model version of a snapshot.

        Raises
        ------
        SnapshotError
            If the bytes are no snapshot of this format.
        """
        try:
            with np.load(io.BytesIO(body), allow_pickle=False) as stored:
                if int(stored["format"]) != FORMAT:
                    raise SnapshotError(f"snapshot format {stored['format']}, expected {FORMAT}")
                names = [str(name) for name in stored["names"]]
                quiet, episode = stored["quiet"], stored["episode"]
                version = str(stored["model_version"])
        except (KeyError, ValueError, OSError, EOFError, BadZipFile) as error:
            raise SnapshotError(f"no detector snapshot: {error}") from error
        shapes = ((len(names), Q.WIDTH), (len(names), E.WIDTH))
        if (quiet.shape, episode.shape) != shapes:
            raise SnapshotError(f"snapshot of shapes {quiet.shape}, {episode.shape}")
        if not names:
            return cls(), version
        return cls(names, quiet, episode), version


@dataclass(frozen=True, slots=True)
class Motion:
    """What one reading of each sensor changed, with what was known before it.

    Attributes
    ----------
    opening, pulse : ndarray of bool, shape (n,)
        Whether an episode opens; whether fine particles rise.
    fine_noise, local : ndarray of float64, shape (n,)
        Noise scale and local level of the fine signal before the reading.
    base, last : ndarray of float64, shape (n, len(CHANNELS))
        Baselines and last values before the reading.
    over : ndarray of float64, shape (n, len(BANK) * len(BANK_TAU_S))
        Each signal of the filter bank less its smoothed past.
    """

    opening: NDArray[np.bool_]
    pulse: NDArray[np.bool_]
    fine_noise: NDArray[np.float64]
    local: NDArray[np.float64]
    base: NDArray[np.float64]
    last: NDArray[np.float64]
    over: NDArray[np.float64]

    def part(self, rows: NDArray[np.intp]) -> Motion:
        """Return the same of some rows."""
        return Motion(
            self.opening[rows],
            self.pulse[rows],
            self.fine_noise[rows],
            self.local[rows],
            self.base[rows],
            self.last[rows],
            self.over[rows],
        )


def advance(
    quiet: NDArray[np.float64],
    running: NDArray[np.bool_],
    time: NDArray[np.float64],
    dt: NDArray[np.float64],
    x: NDArray[np.float64],
) -> Motion:
    """Move the quiet state of distinct sensors on by one reading each, in place.

    Parameters
    ----------
    quiet : ndarray of float64, shape (n, Q.WIDTH)
    running : ndarray of bool, shape (n,)
        Sensors in an episode, whose baselines are held.
    time, dt : ndarray of float64, shape (n,)
        Event time, and seconds since the last reading; 0 for a first one.
    x : ndarray of float64, shape (n, len(CHANNELS))
    """
    base, last = quiet[:, Q.BASE].copy(), quiet[:, Q.LAST].copy()
    local = quiet[:, Q.LOCAL].copy()
    unknown = np.isnan(x)
    excess = x - base
    new = np.isnan(excess) & ~unknown
    if new.any():
        base[new] = x[new]
        excess[new] = 0.0
    noise = np.maximum(quiet[:, Q.NOISE], FLOOR)
    noise = np.where(np.isnan(noise), FLOOR * 2.0, noise)
    age = time - quiet[:, Q.FIRST]
    fine = x[:, FINE]
    rise = fine - local
    fine_noise = np.maximum(noise[:, FINE], 0.02 * base[:, FINE])
    pulse = rise > np.maximum(_PULSE, 5.0 * fine_noise)
    other = (excess > RISE) & (excess > 6.0 * noise)
    other[:, FINE] = False
    opening = (pulse | other.any(axis=1)) & ~running & (age >= WARM_UP_S)
    busy = running | opening

    tau = np.where(excess > 0, TAU_UP_S, TAU_DOWN_S)
    tau = np.minimum(tau, (age + quiet[:, Q.INTERVAL])[:, None] + 1.0)
    if busy.any():
        tau[busy] = np.where(excess[busy] > 0, 6.0 * TAU_UP_S, TAU_DOWN_S)
    move = excess * (dt[:, None] / (tau + dt[:, None]))
    quiet[:, Q.BASE] = np.where(unknown, base, base + move)
    step = np.minimum(np.abs(x - last), 4.0 * noise)
    gain = np.maximum(_NOISE_GAIN, 1.0 / (quiet[:, Q.COUNT] + 2.0))[:, None]
    hold = unknown | np.isnan(step) | busy[:, None]
    quiet[:, Q.NOISE] = np.where(hold, noise, noise + gain * (step - noise))
    quiet[:, Q.LAST] = np.where(unknown, last, x)
    level = local + rise * (dt / (np.where(rise > 0, _LOCAL_S, 2.0) + dt))
    level = np.where(unknown[:, FINE], local, level)
    quiet[:, Q.LOCAL] = np.where(np.isnan(local), fine, level)
    interval = quiet[:, Q.INTERVAL]
    smoothed = np.where(interval > 0, interval + 0.2 * (dt - interval), dt)
    quiet[:, Q.INTERVAL] = np.where(dt > 0, smoothed, interval)
    over = _smooth(x, dt, quiet)
    quiet[:, Q.TIME] = time
    quiet[:, Q.COUNT] += 1.0
    return Motion(opening, pulse, fine_noise, local, base, last, over)


def _smooth(
    x: NDArray[np.float64], dt: NDArray[np.float64], quiet: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Move the filter bank on in place; return each signal less its smoothed past."""
    signal = bank_values(x)[:, :, None]
    bank = quiet[:, Q.SMOOTHED].reshape(-1, len(BANK), BANK_TAU_S.size)
    over = signal - bank
    moved = bank + over * (dt[:, None] / (BANK_TAU_S + dt[:, None]))[:, None, :]
    kept = np.where(np.isnan(signal), bank, np.where(np.isnan(bank), signal, moved))
    quiet[:, Q.SMOOTHED] = kept.reshape(x.shape[0], -1)
    return over.reshape(x.shape[0], -1)
