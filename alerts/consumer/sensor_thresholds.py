"""Alert thresholds inside the detector: sensors by name, adjustments by people, what is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from alerts.incidents import threshold_adjustments

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from alerts.incidents.threshold_adjustments import ThresholdAdjustment
    from detection.alert_thresholds import AlertBudgets
    from detection.detector import Detector

_SAVED_AT_ONCE: Final = 5000


class SensorThresholds:
    """Thresholds of the current detector, which holds adjustments up to `last_adjustment`."""

    _detector: Detector

    def __init__(self, budgets: AlertBudgets) -> None:
        self._budgets = budgets
        self.last_adjustment = 0

    def adopt(self, detector: Detector, last_adjustment: int = 0) -> None:
        """Set the budgets of a new or restored detector, which holds some adjustments."""
        self.last_adjustment = last_adjustment
        self._detector = detector
        thresholds = detector.thresholds
        thresholds.budget = self._budgets.default
        for sensor in dict.fromkeys((*detector.names, *self._budgets.own, *self._budgets.moved)):
            self._budgets.give(thresholds, detector.sensor_row(sensor), sensor)

    def apply(self, adjustments: Iterable[ThresholdAdjustment]) -> None:
        """Apply placed adjustments, in order, each once."""
        for one in adjustments:
            self.last_adjustment = one.seq
            row = self._detector.sensor_row(one.sensor)
            self._detector.thresholds.set_feedback(row, one.after)

    def save(self, tx: sqlite3.Connection) -> NDArray[np.intp]:
        """Store thresholds that changed, a bounded number; return their rows for `mark_saved`."""
        thresholds, names = self._detector.thresholds, self._detector.names
        rows = thresholds.changed()[:_SAVED_AT_ONCE]
        threshold_adjustments.save_thresholds(
            tx, [(names[row], thresholds.explain(row)) for row in rows.tolist()]
        )
        return rows

    def mark_saved(self, rows: NDArray[np.intp]) -> None:
        """Skip these in `save` until they change; call it when the transaction is committed."""
        self._detector.thresholds.mark_reported(rows)
