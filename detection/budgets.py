"""Tolerable false alarms of sensors, and how they are given to a detector's levels."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from detection.decision_levels import BUDGET, FEEDBACK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detection.decision_levels import DecisionLevels


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

    def give(self, levels: DecisionLevels, row: int, sensor: str) -> None:
        """Give a sensor's level its budget, and its move if it has one; again changes nothing."""
        levels.set_budget(row, self.own.get(sensor, self.default))
        moved = self.moved.get(sensor)
        if moved is not None:
            moved = min(max(moved, -FEEDBACK), FEEDBACK)
            if levels.explain(row).feedback != moved:
                levels.set_feedback(row, moved)
