"""What may follow from an input: orders to the engine, to be carried out at `at`, Unix seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from alerts.incidents.history import Record

if TYPE_CHECKING:
    from alerts.incidents.incident import Detection
    from alerts.policy import Severity


@dataclass(frozen=True, slots=True)
class Page:
    """Page people: the one alert of the incident."""

    detection: Detection
    at: float


@dataclass(frozen=True, slots=True)
class NotifyTaken:
    """Notify those who were paged, or only one of them, who responds."""

    at: float
    only: str = ""


@dataclass(frozen=True, slots=True)
class NotifyAgain:
    """Notify the person who responds of a further detection."""

    at: float
    onset: float


@dataclass(frozen=True, slots=True)
class Stop:
    """Run no further step of the escalation; with `unsent`, cancel unsent notices."""

    why: str
    at: float
    unsent: bool


@dataclass(frozen=True, slots=True)
class StartCooldown:
    """Mute new incidents of the same kind and room that are no more severe, until then."""

    until: float
    severity: Severity


@dataclass(frozen=True, slots=True)
class _AtMoment:
    at: float


@dataclass(frozen=True, slots=True)
class SeverityRaised:
    """Send deferred pages and plan the next steps anew: the incident became more severe."""

    at: float
    before: Severity


class NotifyRecovered(_AtMoment):
    """Notify those who were paged that it is over."""


class ScheduleAckDeadline(_AtMoment):
    """Remind the person who responds unless there is news of them in time."""


@dataclass(frozen=True, slots=True)
class EndCooldown:
    """End the cooldown of the same kind and room."""


Effect = (
    Record
    | Page
    | Stop
    | SeverityRaised
    | ScheduleAckDeadline
    | StartCooldown
    | EndCooldown
    | NotifyTaken
    | NotifyAgain
    | NotifyRecovered
)
