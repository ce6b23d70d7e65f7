"""The levels inside the watch's detector: their budgets, the moves of people, what is shown.

Names here, rows in `detection.decision_levels`. The watch says when: a move is applied once, at its
place between the readings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from alerts import level_moves
from detection.decision_levels import BUDGET

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from alerts.level_moves import LevelMove
    from detection.detector import Detector

__all__ = ["AlertBudgets", "WatchedLevels"]

_SAVED_AT_ONCE: Final = 5000


@dataclass(frozen=True, slots=True)
class AlertBudgets:
    """Tolerable false alarms a week.

    Attributes
    ----------
    default : float
        Of a sensor that has none of its own.
    own : mapping of str to float
        By sensor.
    moved : mapping of str to float
        How far a sensor's level is moved from the start, log-odds, to judge again at the level that
        held once; empty in a service, whose levels are moved by feedback.
    """

    default: float = BUDGET
    own: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    moved: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


class WatchedLevels:
    """Levels of one detector after another.

    Parameters
    ----------
    budgets : AlertBudgets

    Attributes
    ----------
    applied : int
        Number of the last move that the detector's state holds; 0 for none.
    """

    def __init__(self, budgets: AlertBudgets) -> None:
        self._budgets = budgets
        self._detector: Detector | None = None
        self.applied = 0

    def adopt(self, detector: Detector, applied: int = 0) -> None:
        """Give a new or restored detector its budgets; it holds the moves up to `applied`."""
        self.applied = applied
        self._detector = detector
        levels = detector.levels
        levels.budget = self._budgets.default
        for row, sensor in enumerate(detector.names):
            if sensor not in self._budgets.own:
                levels.set_budget(row, self._budgets.default)
        for sensor, budget in self._budgets.own.items():
            levels.set_budget(detector.sensor_row(sensor), budget)
        for sensor, moved in self._budgets.moved.items():
            levels.set_feedback(detector.sensor_row(sensor), moved)

    def apply(self, moves: Iterable[LevelMove]) -> None:
        """Apply moves that have their place; in order, each once."""
        for move in moves:
            self.applied = move.seq
            if self._detector is not None:
                row = self._detector.sensor_row(move.sensor)
                self._detector.levels.settle(row, move.event_time, vaping=move.settled)
                self._detector.levels.set_feedback(row, move.after)

    def save(self, tx: sqlite3.Connection) -> NDArray[np.intp] | None:
        """Store levels that were set anew, not too many at once; return their rows.

        Pass the rows to `mark_saved` when the transaction is committed.
        """
        if self._detector is None:
            return None
        levels, names = self._detector.levels, self._detector.names
        rows = levels.changed()[:_SAVED_AT_ONCE]
        level_moves.save_levels(tx, [(names[row], levels.explain(row)) for row in rows.tolist()])
        return rows

    def mark_saved(self, rows: NDArray[np.intp] | None) -> None:
        """Do not save these again until they change."""
        if self._detector is not None and rows is not None:
            self._detector.levels.mark_told(rows)
