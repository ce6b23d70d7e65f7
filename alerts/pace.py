"""How fast the next people are asked, and how calmly anybody is told: the times of alerting.

Few knobs, each with a default; pairs that contradict each other are refused together, with what
would be right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from alerts.severity import Severity

__all__ = ["Pace"]

_WAIT: Final = {Severity.INFO: 4.0, Severity.WARNING: 1.0, Severity.CRITICAL: 0.5}
"""How long a ring has to answer, as a multiple of `Pace.escalate_after_s`."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Times of telling, all in seconds.

    Attributes
    ----------
    escalate_after_s : float
        How long a ring of people has to answer until the next one is told: half of it for what is
        critical, four times for what is info.
    repeat_after_s : float
        After the last ring the chain begins again, at the earliest so long after its last step.
    rounds : int
        How often the chain runs in all; what is info runs it once.
    acknowledged_for_s : float
        How long an acknowledgement is enough; then whoever has it is reminded.
    reminded_for_s : float
        How long the reminder has; then the chain begins again.
    """

    escalate_after_s: float = 90.0
    repeat_after_s: float = 600.0
    rounds: int = 3
    acknowledged_for_s: float = 600.0
    reminded_for_s: float = 300.0

    def wait_s(self, severity: Severity) -> float:
        """Seconds a ring has to answer."""
        return self.escalate_after_s * _WAIT[severity]

    def rounds_of(self, severity: Severity) -> int:
        """How often the chain runs."""
        return 1 if severity is Severity.INFO else self.rounds

    def faults(self) -> list[str]:
        """Everything that is out of range or contradicts something else, one line each."""
        ranges = (
            ("escalate_after_s", self.escalate_after_s, 30.0, 3600.0),
            ("repeat_after_s", self.repeat_after_s, 60.0, 86_400.0),
            ("rounds", self.rounds, 1, 10),
            ("acknowledged_for_s", self.acknowledged_for_s, 60.0, 86_400.0),
            ("reminded_for_s", self.reminded_for_s, 30.0, 86_400.0),
        )
        faults = [
            f"{name}: {value:g} is not in {low:g}..{high:g}"
            for name, value, low, high in ranges
            if not low <= value <= high
        ]
        if self.acknowledged_for_s < self.escalate_after_s:
            faults.append(
                f"acknowledged_for_s: {self.acknowledged_for_s:g} is shorter than escalate_after_s"
                f" ({self.escalate_after_s:g}): whoever takes an incident would be reminded before"
                " the next people would have been told"
            )
        if self.repeat_after_s < self.escalate_after_s:
            faults.append(
                f"repeat_after_s: {self.repeat_after_s:g} is shorter than escalate_after_s"
                f" ({self.escalate_after_s:g}): the first people would be told again before the"
                " last have had their time"
            )
        return faults
