"""An incident: one kind of event in one room, until it is answered or over.

`inputs` defines what can happen to it, `effects` defines the possible results, and `lifecycle`
defines the rules. Nothing here does I/O, and all records are frozen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from alerts.duty.roster import build_labels
from alerts.errors import FeedbackError
from alerts.policy import LONG_S, Severity, grade
from detection.events import KIND_NAMES, EventKind, EventPhase, is_device_alarm
from language.messages import Coded, Sentences, Words, defer, mark, write_clocks
from storage.registry import Room

if TYPE_CHECKING:
    from detection.events import Event
    from language.messages import Fact
    from storage.registry import Registry

_ROUNDING_S: Final = 1e-3
"""Tolerance for rounded Unix seconds, so that rounding errors delay no deadline."""
SYSTEM: Final = "plumewatch"
"""Author of actions by the program itself."""

MAX_NOTE: Final = 200
"""Longest note in an answer, in characters."""

MAX_CASE_NUMBER: Final = 32
"""Longest case number, in characters."""

CAUSE_WORDS: Final = Words(
    {
        "spray": mark("spray"),
        "steam": mark("steam"),
        "sanitizer": mark("sanitizer"),
        "cleaning": mark("cleaning"),
        "dust": mark("dust"),
        "cooking": mark("cooking"),
        "sensor": mark("sensor"),
        "other": mark("other"),
        "battery": mark("battery"),
        "unplugged": mark("unplugged"),
        "network": mark("network"),
        "broken": mark("broken"),
        "moved": mark("moved"),
        "covered": mark("covered"),
        "bumped": mark("bumped"),
        "maintenance": mark("maintenance"),
        "settings": mark("settings"),
        "ventilation": mark("ventilation"),
        "outdoor air": mark("outdoor air"),
    }
)
"""Causes that an answer can give, by stored name."""


class Status(StrEnum):
    """Progress of an incident."""

    OPEN = "open"
    NOTIFIED = "notified"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Verdict(Coded):
    """What an adult found."""

    CONFIRMED = "confirmed", mark("Confirmed")
    FALSE_ALARM = "false_alarm", mark("False alarm")
    NOTHING_FOUND = "nothing_found", mark("Nothing found")
    FIXED = "fixed", mark("Fixed")
    TEST = "test", mark("Test")


VERDICT_WORDS: Final = Words(Verdict.list_texts())


def write_answer(verdict: str, cause: str = "") -> str:
    """Return an answer in words.

    >>> write_answer("false_alarm", "spray")
    'False alarm: spray'
    """
    words = VERDICT_WORDS[verdict]
    return f"{words}: {CAUSE_WORDS.get(cause, cause)}" if cause else words


@dataclass(frozen=True, slots=True)
class AnswerChoices:
    """Valid answers for a kind of incident; only the verdict `explained` takes one of `causes`."""

    verdicts: tuple[Verdict, ...]
    explained: Verdict
    causes: tuple[str, ...]

    def check(self, verdict: Verdict, cause: str) -> None:
        """Raise `FeedbackError` if an answer is not valid."""
        if verdict is self.explained and cause in self.causes:
            return
        if cause or verdict not in self.verdicts:
            raise FeedbackError(
                defer(
                    "possible answers: %(verdicts)s, or %(verdict)s with one of these causes:"
                    " %(causes)s",
                    verdicts=", ".join(self.verdicts).replace("_", " "),
                    verdict=self.explained.replace("_", " "),
                    causes=", ".join(self.causes),
                )
            )


def _build_air_choices(*causes: str) -> AnswerChoices:
    verdicts = (Verdict.CONFIRMED, Verdict.NOTHING_FOUND, Verdict.TEST)
    return AnswerChoices(verdicts, Verdict.FALSE_ALARM, causes)


def _build_device_choices(*causes: str) -> AnswerChoices:
    verdicts = (Verdict.FIXED, Verdict.NOTHING_FOUND, Verdict.TEST)
    return AnswerChoices(verdicts, Verdict.FIXED, causes)


_PLUME: Final = _build_air_choices(
    *("spray", "steam", "sanitizer", "cleaning", "dust", "cooking", "sensor", "other")
)
_SETTINGS: Final = _build_device_choices("settings", "network", "maintenance", "broken", "other")
_CHOICES: Final = {
    EventKind.AMBIENT: _build_air_choices(
        *("ventilation", "outdoor air", "cleaning", "cooking", "dust", "sensor", "other")
    ),
    EventKind.TAMPER: AnswerChoices(
        (Verdict.CONFIRMED, Verdict.FIXED, Verdict.NOTHING_FOUND, Verdict.TEST),
        Verdict.FALSE_ALARM,
        ("cleaning", "maintenance", "bumped", "sensor", "other"),
    ),
    EventKind.SENSOR_FAULT: _build_device_choices(
        *("dust", "covered", "moved", "broken", "battery", "settings", "other")
    ),
    EventKind.OFFLINE: _build_device_choices(
        *("battery", "unplugged", "network", "broken", "moved", "maintenance", "other")
    ),
    EventKind.INTEGRITY: _SETTINGS,
    EventKind.SERVICE: _SETTINGS,
}


def find_answer_choices(kind: EventKind) -> AnswerChoices:
    """Return the valid answers for a kind of incident."""
    return _CHOICES.get(kind, _PLUME)


class ActionClass(Coded):
    """What the school did, in general terms, never about a particular student."""

    REFERRAL = "referral", mark("Referral")
    NURSE = "nurse", mark("Nurse")
    FACILITIES = "facilities", mark("Facilities")
    NONE = "none", mark("Nothing")


ACTION_WORDS: Final = Words(ActionClass.list_texts())


class Suppression(Coded):
    """What can mute an incident."""

    LATE = "late", mark("at %(alerted)s, received %(received)s")
    """The readings arrived too late to page anybody."""
    COOLDOWN = "cooldown", mark("cooldown after the last notice")
    SILENCE = "silence", mark("silence %(silence)d by %(owner)s")
    INHIBITED = "inhibited", mark("explained by %(kind)s in %(room)s")
    SCHOOL_CLOSED = "school_closed", mark("the school closed")
    """The school closed before anybody responded."""


SUPPRESSIONS: Final = Sentences(
    Suppression.list_texts(),
    {
        "kind": lambda kind, _params: KIND_NAMES[kind],
        **dict.fromkeys(("alerted", "received"), lambda text, _params: write_clocks(text)),
    },
)


@dataclass(frozen=True, slots=True)
class Detection:
    """One detector event inside an incident.

    `first_received_at` and `received_at` are when its first and latest phases were received. They
    move when the machine's clock is set, so that durations counted from them stay correct.
    """

    event_id: str
    sensor: str
    phase: EventPhase
    onset: float
    alerted: float
    end: float | None
    confidence: float
    received_at: float
    first_received_at: float

    @property
    def began_at(self) -> float:
        """The onset according to this machine's current clock."""
        return self.first_received_at - (self.alerted - self.onset)

    @property
    def is_running(self) -> bool:
        """Whether the detection is still going on."""
        return self.phase is not EventPhase.ENDED


@dataclass(frozen=True, slots=True)
class Incident:
    """The state of an incident; times are Unix seconds.

    `confidence` and `severity` are the highest so far; `repeats` counts earlier incidents
    (`alerts.policy`). `paged` means that paging has begun. `suppressed_by` mutes the incident until
    `held_until`. The incident resolves at `resolve_due`, which is infinite while time alone cannot
    resolve it. `answered_at` is the time of the first verdict. `again_of` is the id of the latest
    recent incident of the same kind and room that people responded to. `cleared_at` is when the
    detections were over before anybody answered. `missed_at` is when the last round of paging ended
    without a response, or a person closed the incident before anybody responded.
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
    suppressed_by: Fact | None = None
    notified_at: float | None = None
    acknowledged_at: float | None = None
    acknowledged_by: str = ""
    arrived_at: float | None = None
    resolved_at: float | None = None
    resolved_by: str = ""
    verdict: Verdict | None = None
    action: ActionClass | None = None
    case_number: str = ""
    resolve_due: float = 0.0
    answered_at: float | None = None
    again_of: str = ""
    cleared_at: float | None = None
    missed_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether the incident is not resolved yet."""
        return self.status is not Status.RESOLVED

    @property
    def is_late(self) -> bool:
        """Whether the incident is muted because its readings arrived late."""
        return self.suppressed_by is not None and self.suppressed_by.code == Suppression.LATE

    @property
    def is_held_by_test(self) -> bool:
        """Whether a room test mutes the incident.

        When the mute ends, people are paged even if the incident is over.
        """
        by = self.suppressed_by if self.held_until is not None else None
        return by is not None and "purpose" in by.params

    def becomes_likely(self, event: Event) -> bool:
        """Return whether an event turns possible vaping into likely vaping."""
        was, now = (EventKind.POSSIBLE, EventKind.VAPE)
        return self.is_open and self.kind is was and event.kind is now

    def is_responder(self, person: str) -> bool:
        """Return whether this person is the current responder."""
        return self.status is Status.ACKNOWLEDGED and self.acknowledged_by == person

    def is_answered_before(self, event: Event) -> bool:
        """Return whether an event opens a new incident, because there is a verdict on this one.

        If nobody responded in any round, our own detections open a new incident too, but a device's
        alarms don't: some devices repeat them all night.
        """
        missed_at = None if is_device_alarm(event.model_version) else self.missed_at
        return any(at is not None and at < event.alerted for at in (self.answered_at, missed_at))

    @property
    def awaits_arrival(self) -> bool:
        """Whether an arrival still counts.

        It counts while the incident is open. If somebody acknowledged the incident before it ended
        by itself, an arrival counts even after that.
        """
        return self.is_open or (self.acknowledged_at is not None and self.resolved_by == SYSTEM)

    @property
    def is_running(self) -> bool:
        """Whether any of its detections is still going on."""
        return any(d.is_running for d in self.detections)

    def grade_at(self, at: float) -> Severity:
        """Return the severity at a time; it never falls, and an answer makes it final."""
        if self.answered_at is not None:
            return self.severity
        lasts = self.is_running and not self.is_late
        lasted = at - self._began_at + _ROUNDING_S if lasts else 0.0
        return max(self.severity, self._grade(lasted), key=lambda s: s.rank)

    def next_deadline(self) -> float | None:
        """Return when a `Tick` will next change something, or None."""
        if not self.is_open:
            return None
        due = self.resolve_due
        if self.held_until is not None:
            due = min(due, self.held_until)
        lasts = self.is_running and not self.is_late and self.answered_at is None
        if lasts and self._grade(LONG_S).rank > self.severity.rank:
            due = min(due, self._began_at + LONG_S)
        return due if math.isfinite(due) else None

    @property
    def _began_at(self) -> float:
        return min(d.began_at for d in self.detections)

    def _grade(self, lasted_s: float) -> Severity:
        return grade(self.kind, self.confidence, lasted_s, self.repeats)


@dataclass(frozen=True, slots=True)
class Rules:
    """The part of the policy that `alerts.incidents.lifecycle.step` needs."""

    cooldown_s: float
    runs_chain: bool = True
    """Whether escalation runs; a replay has none."""


@dataclass(frozen=True, slots=True)
class Mute:
    """Why an incident notifies nobody, and until when."""

    until: float
    by: Fact


def find_labels(incident: Incident, registry: Registry) -> dict[str, str]:
    """Return the labels that routes and silences match."""
    return build_labels(
        find_place(registry, incident.room),
        kind=incident.kind.value,
        severity=incident.severity.value,
        sensor=incident.sensor,
    )


def find_place(registry: Registry, room: str) -> Room:
    """Return the room of an incident; for one without a registered room, make one up."""
    return registry.rooms.get(room) or Room(room, room, "", "", "", kind="")
