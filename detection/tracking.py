"""What is remembered of each sensor between readings: baselines, noise, the last values.

State is two matrices, one row a sensor: `Tracker.quiet` for every reading, `Tracker.episode` for
sensors in an episode. `Tracker.quiet` lies in memory column by column, so that neighbouring sensors
are moved on (`detection.motion`) where they lie.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from zipfile import BadZipFile

import numpy as np

from detection.alert_thresholds import AlertThresholds
from detection.channels import FLOOR
from detection.episodes import EpisodeColumn as E
from detection.errors import SnapshotError
from detection.motion import BLOCK, MOST, Motion, Q, Rooms, advance
from detection.single import advance_one

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT: Final = 6
_IN_PLACE: Final = 24
"""From so many neighbouring sensors on, moving them where they lie is cheaper than a copy."""


@dataclass(slots=True)
class Tracker:
    """State of all sensors.

    Attributes
    ----------
    quiet : ndarray of float64, shape (capacity, Q.WIDTH)
        In Fortran order.
    episode : ndarray of float64, shape (capacity, E.WIDTH)
        Column PHASE is 0 where there is none.
    """

    names: list[str] = field(default_factory=list)
    quiet: NDArray[np.float64] = field(default_factory=lambda: _unread(16))
    episode: NDArray[np.float64] = field(default_factory=lambda: np.zeros((16, E.WIDTH)))
    _rooms: Rooms = field(default_factory=Rooms, repr=False, compare=False)

    def add(self, name: str) -> int:
        """Append a sensor and return its row."""
        row = len(self.names)
        if row == self.quiet.shape[0]:
            quiet = _unread(2 * row)
            quiet[:row] = self.quiet
            self.quiet = quiet
            self.episode = np.concatenate([self.episode, np.zeros_like(self.episode)])
        self.names.append(name)
        return row

    def snapshot(self, model_version: str, levels: AlertThresholds) -> bytes:
        """Versioned bytes from which `restore` makes the same state."""
        n = len(self.names)
        out = io.BytesIO()
        of_levels: dict[str, Any] = levels.arrays()
        np.savez(
            out,
            format=np.array(FORMAT),
            model_version=np.array(model_version),
            names=np.array(self.names, dtype=np.str_),
            quiet=self.quiet[:n],
            episode=self.episode[:n],
            **of_levels,
        )
        return out.getvalue()

    @classmethod
    def restore(cls, body: bytes, model_level: float) -> tuple[Tracker, AlertThresholds]:
        """State and decision levels of a snapshot.

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
                levels = AlertThresholds.from_arrays(stored, model_level)
        except (KeyError, ValueError, OSError, EOFError, BadZipFile) as error:
            raise SnapshotError(f"no detector snapshot: {error}") from error
        shapes = ((len(names), Q.WIDTH), (len(names), E.WIDTH))
        if (quiet.shape, episode.shape) != shapes or len(levels) != len(names):
            raise SnapshotError(f"snapshot of shapes {quiet.shape}, {episode.shape}")
        if not names:
            return cls(), levels
        return cls(names, np.asfortranarray(quiet), episode), levels

    def restart(self, rows: NDArray[np.integer], time: NDArray[np.float64]) -> None:
        """Forget what was known of sensors' air, as before their first reading."""
        self.quiet[rows] = np.nan
        self.quiet[rows, Q.NOISE] = 2.0 * FLOOR
        self.quiet[rows, Q.FIRST] = time
        self.quiet[rows, Q.COUNT] = 0.0
        self.quiet[rows, Q.INTERVAL] = 0.0

    def advance(
        self,
        rows: NDArray[np.integer],
        time: NDArray[np.float64],
        dt: NDArray[np.float64],
        x: NDArray[np.float64],
    ) -> Motion | None:
        """Move sensors on by one reading each.

        Parameters
        ----------
        rows : ndarray of int, shape (n,)
            Distinct and ascending.
        time, dt, x : ndarray of float64, shape (n,), (n,), (n, len(CHANNELS))
            As for `detection.motion.advance`, one row a sensor.

        Returns
        -------
        Motion or None
            Of the sensors that are in an episode; None if none is.
        """
        n = rows.size
        if n <= BLOCK:
            return self._advance_block(rows, time, dt, x)
        moved: list[Motion] = []
        for start in range(0, n, BLOCK):
            part = slice(start, start + BLOCK)
            of_part = self._advance_block(rows[part], time[part], dt[part], x[part])
            if of_part is not None:
                of_part.reading[:] += start
                moved.append(of_part)
        return Motion.join(moved) if moved else None

    def _advance_block(
        self,
        rows: NDArray[np.integer],
        time: NDArray[np.float64],
        dt: NDArray[np.float64],
        x: NDArray[np.float64],
    ) -> Motion | None:
        first, last = int(rows[0]), int(rows[-1])
        if first == last:
            running = self.episode[first, E.PHASE] != 0.0
            return advance_one(self.quiet[first], running, float(time[0]), float(dt[0]), x[0])
        span = last - first + 1
        if rows.size >= _IN_PLACE and span * BLOCK <= MOST * rows.size:
            here = slice(first, last + 1)
            running = self.episode[here, E.PHASE] != 0.0
            if span > rows.size:
                return self._advance_among(rows, running, time, dt, x)
            return advance(self.quiet[here].T, running, time, dt, x.T, self._rooms.of(span))
        running = self.episode[rows, E.PHASE] != 0.0
        quiet = self.quiet.T
        columns = quiet.take(rows, axis=1)
        moved = advance(columns, running, time, dt, x.T, self._rooms.of(rows.size))
        # One index a number: with one a row and one a column numpy takes three times as long.
        place = np.arange(0, quiet.size, quiet.shape[1])[:, None] + rows
        quiet.reshape(-1)[place] = columns
        return moved

    def _advance_among(
        self,
        rows: NDArray[np.integer],
        running: NDArray[np.bool_],
        time: NDArray[np.float64],
        dt: NDArray[np.float64],
        x: NDArray[np.float64],
    ) -> Motion | None:
        """Move neighbours on where they lie, but those among them that have no reading."""
        first, span = int(rows[0]), running.size
        quiet = self.quiet[first : first + span].T
        read = np.zeros(span, np.bool_)
        read[rows - first] = True
        absent = (~read).nonzero()[0]
        before = quiet.take(absent, axis=1)
        source = read.cumsum() - 1
        columns = x.T.take(source, axis=1)
        columns[:, absent] = np.nan
        at, since = time.take(source), dt.take(source)
        running[absent] = False
        moved = advance(quiet, running, at, since, columns, self._rooms.of(span))
        quiet[:, absent] = before
        return None if moved is None else replace(moved, reading=source[moved.reading])


def _unread(capacity: int) -> NDArray[np.float64]:
    """Rows of sensors that have not been read."""
    return np.full((Q.WIDTH, capacity), np.nan).T
