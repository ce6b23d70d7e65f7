"""Effects of an input, for the engine to carry out; `at` is a time in Unix seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from alerts.incidents.history import Record

if TYPE_CHECKING:
    from alerts.incidents.incident import Detection
    from alerts.policy import Severity


@dataclass(frozen=True, slots=True)
class Page:
    """Page people about a detection."""

    detection: Detection
    at: float


@dataclass(frozen=True, slots=True)
class NotifyOutcome:
    """Tell everyone paged, or person `only`, who is responding or that the incident `is_over`."""

    at: float
    only: str = ""
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class NotifyAgain:
    """Notify the responder of another detection."""

    at: float
    onset: float


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop the escalation; with `unsent`, also cancel unsent notices."""

    at: float
    unsent: bool


@dataclass(frozen=True, slots=True)
class StartCooldown:
    """Mute new incidents of the same kind and room until `until`, unless more severe."""

    until: float
    severity: Severity


@dataclass(frozen=True, slots=True)
class SeverityRaised:
    """The incident became more severe: page people who no longer have to wait; reschedule steps."""

    at: float
    before: Severity


@dataclass(frozen=True, slots=True)
class ScheduleAckDeadline:
    """Schedule the responder's reminder, and then the restart of the escalation."""

    at: float


@dataclass(frozen=True, slots=True)
class EndCooldown:
    """End the cooldown for the same kind and room."""


Effect = (
    Record
    | Page
    | Stop
    | SeverityRaised
    | ScheduleAckDeadline
    | StartCooldown
    | EndCooldown
    | NotifyOutcome
    | NotifyAgain
)
