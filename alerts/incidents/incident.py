"""What an incident is, what may happen to it, and what may follow; `lifecycle` is the rules.

One incident is one kind of event in one room. Detections of any sensor in that room join it while
it is open; nobody is told twice of the same one. Everything here is a frozen record: no clock, no
database, no I/O.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from alerts.errors import FeedbackError
from alerts.incidents.severity import LONG_S, Severity, grade
from detection.events import EventKind, EventPhase

if TYPE_CHECKING:
    from detection.events import Event

_ROUNDING_S: Final = 1e-3
"""Of Unix seconds as floats: what is due at a moment is due at it."""

SYSTEM: Final = "plumewatch"
"""Author of history entries that no person made."""

MAX_NOTE: Final = 200
"""Longest free text of a feedback, in characters."""

MAX_CASE_NUMBER: Final = 32
"""Longest number of a case, in characters."""
_CASE_NUMBER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9./_-]{0,31}", re.ASCII)

FALSE_CAUSES: Final = (
    "spray",
    "steam",
    "sanitizer",
    "cleaning",
    "dust",
    "cooking",
    "sensor",
    "other",
)
"""Causes of a false alarm a person may choose."""


class Status(StrEnum):
    """How far an incident has come."""

    OPEN = "open"
    NOTIFIED = "notified"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Verdict(StrEnum):
    """What an adult found."""

    CONFIRMED = "confirmed"
    FALSE_ALARM = "false_alarm"
    NOTHING_FOUND = "nothing_found"
    TEST = "test"


class ActionClass(StrEnum):
    """What the school did, as a class: never what became of whom."""

    NONE = "none"
    REFERRAL = "referral"
    NURSE = "nurse"
    FACILITIES = "facilities"


@dataclass(frozen=True, slots=True)
class Detection:
    """One detector event inside an incident."""

    event_id: str
    sensor: str
    phase: EventPhase
    onset: float
    alerted: float
    end: float | None
    confidence: float
    heard_at: float

    @property
    def running(self) -> bool:
        """Whether neither its end nor its withdrawal has been said."""
        return self.phase in (EventPhase.ALERTED, EventPhase.UPDATED)


@dataclass(frozen=True, slots=True)
class Incident:
    """Everything the rules need to know of an incident; times are Unix seconds.

    At most one incident of a `kind` and `room` is open. `confidence` and `severity` are the highest
    so far; `repeats` counts earlier incidents (`alerts.incidents.severity`). `paged` says that the
    decision to notify people was made, `suppressed_by` what mutes it until `held_until`.
    `resolved_by` is `SYSTEM` or a person. It resolves at `resolve_due` unless the detector reports
    more; that is infinite while only an end can resolve it.
    """

    id: str
    kind: EventKind
    room: str
    status: Status
    onset: float
    opened_at: float
    sensor: str
    confidence: float
    detections: tuple[Detection, ...]
    severity: Severity = Severity.WARNING
    repeats: int = 0
    paged: bool = False
    held_until: float | None = None
    suppressed_by: str = ""
    notified_at: float | None = None
    acknowledged_at: float | None = None
    acknowledged_by: str = ""
    arrived_at: float | None = None
    resolved_at: float | None = None
    resolved_by: str = ""
    withdrawn_at: float | None = None
    verdict: Verdict | None = None
    action: ActionClass | None = None
    case_number: str = ""
    resolve_due: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it still holds its key."""
        return self.status is not Status.RESOLVED

    @property
    def awaited(self) -> bool:
        """Whether an arrival counts: while it is open, and for who set out before the air cleared.

        A plume is often gone before anybody can be there.
        """
        set_out = self.acknowledged_at is not None and self.withdrawn_at is None
        return self.is_open or (set_out and self.resolved_by == SYSTEM)

    @property
    def running(self) -> bool:
        """Whether a detection of it is going on."""
        return any(d.running for d in self.detections)

    def severity_at(self, at: float) -> Severity:
        """Severity by what is known at a moment; it never falls."""
        lasted = at - self.onset + _ROUNDING_S if self.running else 0.0
        return max(self.severity, self._grade(lasted), key=lambda s: s.rank)

    def next_deadline(self) -> float | None:
        """When a `Tick` will change something; None if never."""
        if not self.is_open:
            return None
        due = self.resolve_due
        if self.held_until is not None:
            due = min(due, self.held_until)
        if self.running and self._grade(LONG_S).rank > self.severity.rank:
            due = min(due, self.onset + LONG_S)
        return due if math.isfinite(due) else None

    def _grade(self, lasted_s: float) -> Severity:
        return grade(self.kind, self.confidence, lasted_s, self.repeats)


@dataclass(frozen=True, slots=True)
class Rules:
    """What `alerts.incidents.lifecycle.step` needs of the policy."""

    quiet_s: float
    silent_s: float
    cooldown_s: float


@dataclass(frozen=True, slots=True)
class Mute:
    """What keeps an incident from being told.

    `until`: when to look again, Unix seconds; `by`: short and stable, such as ``"cooldown"`` or
    ``"silence 7"``; `why`: for the history.
    """

    until: float
    by: str
    why: str


@dataclass(frozen=True, slots=True)
class NewIncident:
    """What the caller knows about the incident that a detection may open."""

    id: str
    room: str
    repeats: int = 0


@dataclass(frozen=True, slots=True)
class Detected:
    """The detector said something that belongs to this incident, or opens it.

    `mute` is what keeps an incident that nobody was told of from being told at `at`.
    """

    event: Event
    at: float
    new: NewIncident | None = None
    mute: Mute | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """A page reached one person."""

    person: str
    channel: str
    at: float


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A person takes it."""

    by: str
    at: float
    channel: str = ""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A person is there."""

    by: str
    at: float
    channel: str = ""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """The person who has it passes it on."""

    by: str
    to: str
    at: float
    channel: str = ""


@dataclass(frozen=True, slots=True)
class AckExpired:
    """Whoever took it has not said anything for too long."""

    at: float


@dataclass(frozen=True, slots=True)
class Resolved:
    """A person says that it is over."""

    by: str
    at: float
    channel: str = ""


@dataclass(frozen=True, slots=True)
class Feedback:
    """A person says what it was.

    Raises `FeedbackError` if a cause is given without, or missing for, a false alarm, or the note
    is too long.
    """

    by: str
    verdict: Verdict
    at: float
    cause: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        """Check that verdict, cause and note fit."""
        if self.verdict is Verdict.FALSE_ALARM and self.cause not in FALSE_CAUSES:
            raise FeedbackError(f"a false alarm needs a cause out of: {', '.join(FALSE_CAUSES)}")
        if self.verdict is not Verdict.FALSE_ALARM and self.cause:
            raise FeedbackError("only a false alarm has a cause")
        if len(self.note) > MAX_NOTE:
            raise FeedbackError(f"the note is longer than {MAX_NOTE} characters")


@dataclass(frozen=True, slots=True)
class Followed:
    """A person says what followed, after it was said what it was.

    Raises `FeedbackError` if the number of the case could be free text.
    """

    by: str
    action: ActionClass | None
    at: float
    case_number: str = ""

    def __post_init__(self) -> None:
        """Check that the number is one."""
        digits, letters = (sum(map(kind, self.case_number)) for kind in (str.isdigit, str.isalpha))
        if self.case_number and not (
            _CASE_NUMBER.fullmatch(self.case_number) and digits >= max(letters, 1)
        ):
            raise FeedbackError(
                f"a case number is at most {MAX_CASE_NUMBER} letters, digits and . / - _, begins"
                " with a letter or digit and has no more letters than digits; names do not belong"
                " there"
            )


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed; `mute` as in `Detected`."""

    at: float
    mute: Mute | None = None


Input = (
    Detected
    | Delivered
    | Acknowledged
    | Arrived
    | HandedOver
    | AckExpired
    | Resolved
    | Feedback
    | Followed
    | Tick
)


@dataclass(frozen=True, slots=True)
class Page:
    """Tell people, now: this is the one alert of the incident."""

    detection: Detection
    at: float


@dataclass(frozen=True, slots=True)
class SeverityRaised:
    """It is more severe than when people were told: what calmed notices down no longer may."""

    at: float


@dataclass(frozen=True, slots=True)
class NotifyTaken:
    """Tell those who were told, or only one of them, who has it."""

    at: float
    only: str = ""


@dataclass(frozen=True, slots=True)
class NotifyHandedOver:
    """Tell the person to whom it was passed on."""

    at: float
    by: str


@dataclass(frozen=True, slots=True)
class NotifyWithdrawn:
    """Tell those who were told that the detector took it back."""

    at: float


@dataclass(frozen=True, slots=True)
class NotifyRecovered:
    """Tell those who were told that it is over."""

    at: float


@dataclass(frozen=True, slots=True)
class ScheduleAckDeadline:
    """Whoever has it must be heard of before too long."""

    at: float


@dataclass(frozen=True, slots=True)
class Stop:
    """Run no further step of the escalation; with `unsent`, drop what nobody got yet."""

    why: str
    at: float
    unsent: bool


@dataclass(frozen=True, slots=True)
class StartCooldown:
    """Hold new incidents of the same kind and room that are no more severe, until then."""

    until: float
    severity: Severity


@dataclass(frozen=True, slots=True)
class EndCooldown:
    """Let the next incident of the same kind and room speak at once."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line of history."""

    at: float
    who: str
    what: str
    detail: str = ""


Effect = (
    Page
    | SeverityRaised
    | NotifyTaken
    | NotifyHandedOver
    | NotifyWithdrawn
    | NotifyRecovered
    | ScheduleAckDeadline
    | Stop
    | StartCooldown
    | EndCooldown
    | Record
)


@dataclass(frozen=True, slots=True)
class Step:
    """The incident as it is afterwards, and what follows from it, in order."""

    incident: Incident
    effects: tuple[Effect, ...] = ()
