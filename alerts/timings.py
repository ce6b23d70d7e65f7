"""Timings of escalation and throttling; contradicting pairs are refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from alerts.severity import Severity

PRESENT_S: Final = 600.0
"""How long after their last response a person counts as being in the room."""
STORM_S: Final = 300.0
"""How far back pages of other rooms count for a storm."""

_WAIT: Final = {Severity.INFO: 4.0, Severity.WARNING: 1.0, Severity.CRITICAL: 0.5}
"""How long a ring has to respond, as a multiple of `EscalationTimings.escalate_after_s`."""


@dataclass(frozen=True, slots=True)
class EscalationTimings:
    """Timings of escalation and throttling."""

    escalate_after_s: float = 90.0
    """How long a ring has to respond: half of it if critical, four times as long for info."""
    repeat_after_s: float = 600.0
    """From the last step of the chain to its repetition, at least."""
    rounds: int = 3
    """How often the chain runs in all; once for info."""
    acknowledged_for_s: float = 600.0
    """From an acknowledgment to the reminder of the responder."""
    reminded_for_s: float = 300.0
    """From the reminder to the next start of the chain."""
    fallback_after_s: float = 10.0
    """Until a person's second channel is tried; at once if the first refuses."""
    notices_per_hour: int = 12
    """Notices of a person; the rest is combined into one, except critical ones."""
    storm_rooms: int = 3
    """Rooms of a floor paged one by one within `STORM_S`; twice as many of a building."""
    gather_s: float = 30.0
    """In a storm, how often further rooms are combined."""

    def wait_s(self, severity: Severity) -> float:
        """Return the seconds that a ring has to respond."""
        return self.escalate_after_s * _WAIT[severity]

    def rounds_of(self, severity: Severity) -> int:
        """Return how often the chain runs."""
        return 1 if severity is Severity.INFO else self.rounds

    def faults(self) -> list[str]:
        """Return which settings contradict each other, one line each."""
        faults = []
        if self.acknowledged_for_s < self.escalate_after_s:
            faults.append(
                f"acknowledged_for_s: {self.acknowledged_for_s:g} is shorter than escalate_after_s"
                f" ({self.escalate_after_s:g}): a responder would be reminded before the next"
                " people would be notified"
            )
        if self.storm_rooms >= self.notices_per_hour:
            faults.append(
                f"storm_rooms: {self.storm_rooms} is not below notices_per_hour"
                f" ({self.notices_per_hour}): the notices of an hour would be used up before rooms"
                " are combined"
            )
        return faults
