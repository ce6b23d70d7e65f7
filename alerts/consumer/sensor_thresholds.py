"""The levels inside the watch's detector: their budgets, the moves of people, what is shown.

Names here, rows in `detection.alert_thresholds`. The consumer says when: a move is applied once, at
its place between the readings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from alerts.consumer import threshold_adjustments

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from alerts.consumer.threshold_adjustments import ThresholdAdjustment
    from detection.alert_thresholds import AlertBudgets
    from detection.detector import Detector

_SAVED_AT_ONCE: Final = 5000


class WatchedLevels:
    """Levels of one detector after another.

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
        for sensor in dict.fromkeys((*detector.names, *self._budgets.own, *self._budgets.moved)):
            self._budgets.give(levels, detector.sensor_row(sensor), sensor)

    def apply(self, moves: Iterable[ThresholdAdjustment]) -> None:
        """Apply moves that have their place; in order, each once."""
        for move in moves:
            self.applied = move.seq
            if self._detector is not None:
                row = self._detector.sensor_row(move.sensor)
                self._detector.levels.label_cluster(row, move.event_time, vaping=move.settled)
                self._detector.levels.set_feedback(row, move.after)

    def save(self, tx: sqlite3.Connection) -> NDArray[np.intp] | None:
        """Store levels that were set anew, not too many at once; return their rows.

        Pass the rows to `mark_saved` when the transaction is committed.
        """
        if self._detector is None:
            return None
        levels, names = self._detector.levels, self._detector.names
        rows = levels.changed()[:_SAVED_AT_ONCE]
        threshold_adjustments.save_thresholds(
            tx, [(names[row], levels.explain(row)) for row in rows.tolist()]
        )
        return rows

    def mark_saved(self, rows: NDArray[np.intp] | None) -> None:
        """Do not save these again until they change."""
        if self._detector is not None and rows is not None:
            self._detector.levels.mark_reported(rows)
