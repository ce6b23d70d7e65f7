"""How fast the next people are asked, and how calmly anybody is told: the times of alerting.

Few knobs, each with a default; pairs that contradict each other are refused together, with what
would be right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from alerts.incidents.severity import Severity

STORM_S: Final = 300.0
"""How far back pages of other rooms make a storm."""

_WAIT: Final = {Severity.INFO: 4.0, Severity.WARNING: 1.0, Severity.CRITICAL: 0.5}
"""How long a ring has to answer, as a multiple of `EscalationTimings.escalate_after_s`."""


@dataclass(frozen=True, slots=True)
class EscalationTimings:
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
    fallback_after_s : float
        A person who has a second channel is told there if the first has not taken the notice by
        then; at once if it refuses.
    notices_per_hour : int
        So many notices a person gets within an hour; what comes beyond is gathered into one, except
        what is critical.
    storm_rooms : int
        After pages of so many rooms of a floor within `STORM_S`, or of twice as many of a building,
        a person gets those of further rooms together, every `gather_s`.
    """

    escalate_after_s: float = 90.0
    repeat_after_s: float = 600.0
    rounds: int = 3
    acknowledged_for_s: float = 600.0
    reminded_for_s: float = 300.0
    fallback_after_s: float = 10.0
    notices_per_hour: int = 12
    storm_rooms: int = 3
    gather_s: float = 30.0

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
            ("fallback_after_s", self.fallback_after_s, 1.0, 15.0),
            ("notices_per_hour", self.notices_per_hour, 2, 1000),
            ("storm_rooms", self.storm_rooms, 1, 1000),
            ("gather_s", self.gather_s, 5.0, 300.0),
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
        if self.gather_s > self.escalate_after_s / 2:
            faults.append(
                f"gather_s: {self.gather_s:g} is more than half of escalate_after_s"
                f" ({self.escalate_after_s:g}): the next people would be told before the first have"
                " heard"
            )
        if self.storm_rooms >= self.notices_per_hour:
            faults.append(
                f"storm_rooms: {self.storm_rooms} is not below notices_per_hour"
                f" ({self.notices_per_hour}): the notices of an hour would be spent before rooms"
                " are told together"
            )
        if self.repeat_after_s < self.escalate_after_s:
            faults.append(
                f"repeat_after_s: {self.repeat_after_s:g} is shorter than escalate_after_s"
                f" ({self.escalate_after_s:g}): the first people would be told again before the"
                " last have had their time"
            )
        return faults
