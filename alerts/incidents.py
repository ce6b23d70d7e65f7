"""The life of an incident: a pure function of what it was and what happened.

One incident is one kind of event in one room. Detections of any sensor in that room join it while
it is open; nobody is told twice of the same one. No clock, no database, no I/O: `step` takes the
incident (or None), one input and the rules, and returns the next incident and what to do about
it. `alerts.engine` turns the effects into rows of the caller's transaction.

::

    OPEN       --delivered-->  NOTIFIED
    OPEN, NOTIFIED  --ack-->   ACKNOWLEDGED
    any of them  --quiet, or every detection taken back-->  RESOLVED

Feedback may come at any time, again and again: the last word counts, all are kept.

A detection that its detector takes back leaves the incident. When all have left, the incident is
over and marked withdrawn, unsent pages are cancelled, only those who were told get a quiet word,
and the cooldown ends: who was told "never mind" must hear of the next one.

An incident that opens inside the cooldown is recorded and held: it is told at the end of the
cooldown if it is still going on. Cooldowns start at delivery, never at a decision, so a notice
nobody got cannot mute the next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from alerts.errors import FeedbackError
from detection.events import EventKind, EventPhase

if TYPE_CHECKING:
    from detection.events import Event

__all__ = [
    "FALSE_CAUSES",
    "MAX_NOTE",
    "Acknowledged",
    "CancelUnsent",
    "Delivered",
    "Detected",
    "Detection",
    "Effect",
    "EndCooldown",
    "Feedback",
    "Incident",
    "Input",
    "NewIncident",
    "Page",
    "Record",
    "Rules",
    "StartCooldown",
    "Status",
    "Step",
    "TellWithdrawn",
    "Tick",
    "Verdict",
    "follows",
    "step",
]

SYSTEM: Final = "plumewatch"
"""Author of history entries that no person made."""

MAX_NOTE: Final = 200
"""Longest free text of a feedback, in characters."""

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
    """Everything the rules need to know of an incident.

    Attributes
    ----------
    id : str
    kind, room : EventKind, str
        The key under which at most one incident is not resolved.
    status : Status
    onset, opened_at : float
        Earliest onset of its detections; when it opened.
    sensor, confidence : str, float
        Sensor that opened it; highest confidence so far.
    detections : tuple of Detection
    paged : bool
        Whether the decision to tell people was made.
    held_until : float or None
        End of the cooldown that holds it back.
    suppressed_by : str
        What kept it from being told; empty if nothing did.
    notified_at, acknowledged_at, resolved_at, withdrawn_at : float or None
    acknowledged_by : str
    verdict : Verdict or None
        The last feedback.
    resolve_due : float
        When it resolves unless something is heard; infinite while only an end can resolve it.
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
    paged: bool = False
    held_until: float | None = None
    suppressed_by: str = ""
    notified_at: float | None = None
    acknowledged_at: float | None = None
    acknowledged_by: str = ""
    resolved_at: float | None = None
    withdrawn_at: float | None = None
    verdict: Verdict | None = None
    resolve_due: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it still holds its key."""
        return self.status is not Status.RESOLVED

    def next_deadline(self) -> float | None:
        """When a `Tick` will change something; None if never."""
        if not self.is_open:
            return None
        due = (
            self.resolve_due if self.held_until is None else min(self.resolve_due, self.held_until)
        )
        return due if math.isfinite(due) else None


@dataclass(frozen=True, slots=True)
class Rules:
    """What `step` needs of the policy."""

    quiet_s: float
    silent_s: float
    cooldown_s: float


@dataclass(frozen=True, slots=True)
class NewIncident:
    """What the caller knows about the incident that a detection may open."""

    id: str
    room: str
    cooldown_until: float | None = None


@dataclass(frozen=True, slots=True)
class Detected:
    """The detector said something that belongs to this incident, or opens it."""

    event: Event
    at: float
    new: NewIncident | None = None


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
class Feedback:
    """A person says what it was.

    Raises
    ------
    FeedbackError
        If a cause is given without, or missing for, a false alarm, or the note is too long.
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
class Tick:
    """Time passed."""

    at: float


Input = Detected | Delivered | Acknowledged | Feedback | Tick


@dataclass(frozen=True, slots=True)
class Page:
    """Tell people, now: this is the one alert of the incident."""

    detection: Detection
    at: float


@dataclass(frozen=True, slots=True)
class TellWithdrawn:
    """Tell those who were told that the detector took it back."""

    at: float


@dataclass(frozen=True, slots=True)
class CancelUnsent:
    """Drop pages that nobody got yet."""

    why: str


@dataclass(frozen=True, slots=True)
class StartCooldown:
    """Hold new incidents of the same kind and room until then."""

    until: float


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


Effect = Page | TellWithdrawn | CancelUnsent | StartCooldown | EndCooldown | Record


@dataclass(frozen=True, slots=True)
class Step:
    """The incident as it is afterwards, and what follows from it, in order."""

    incident: Incident
    effects: tuple[Effect, ...] = ()


def step(incident: Incident | None, given: Input, rules: Rules) -> Step:
    """Apply one input.

    Parameters
    ----------
    incident : Incident or None
        None only for a `Detected` that brings `new`.
    given : Input
    rules : Rules

    Returns
    -------
    Step
        Inputs that change nothing return the same incident and no effects.

    Raises
    ------
    ValueError
        If there is no incident and the input cannot open one.
    """
    if incident is None:
        if isinstance(given, Detected) and given.new is not None:
            return _open(given, given.new, rules)
        raise ValueError(f"no incident to apply {type(given).__name__} to")
    if isinstance(given, Detected):
        return _detected(incident, given, rules)
    if isinstance(given, Delivered):
        return _delivered(incident, given, rules)
    if isinstance(given, Acknowledged):
        return _acknowledged(incident, given)
    if isinstance(given, Feedback):
        return _feedback(incident, given)
    return _tick(incident, given)


def _detection(event: Event, at: float) -> Detection:
    return Detection(
        event.id,
        event.sensor,
        event.phase,
        event.onset,
        event.alerted,
        event.end,
        event.confidence,
        at,
    )


def _resolve_due(kind: EventKind, detections: tuple[Detection, ...], rules: Rules) -> float:
    """Latest of: quiet time after what is over, silence after what is still running.

    A sensor that is offline is not heard of by nature: only its end resolves it.
    """
    silent_s = math.inf if kind is EventKind.OFFLINE else rules.silent_s
    return max(
        d.heard_at + (silent_s if d.running else rules.quiet_s)
        for d in detections
        if d.phase is not EventPhase.WITHDRAWN
    )


def _open(given: Detected, new: NewIncident, rules: Rules) -> Step:
    event, at = given.event, given.at
    detection = _detection(event, at)
    held = new.cooldown_until is not None and at < new.cooldown_until
    incident = Incident(
        id=new.id,
        kind=event.kind,
        room=new.room,
        status=Status.OPEN,
        onset=event.onset,
        opened_at=at,
        sensor=event.sensor,
        confidence=event.confidence,
        detections=(detection,),
        paged=not held,
        held_until=new.cooldown_until if held else None,
        suppressed_by="cooldown" if held else "",
        resolve_due=_resolve_due(event.kind, (detection,), rules),
    )
    opened = Record(at, SYSTEM, "opened", f"{event.sensor}, confidence {event.confidence:.2f}")
    if held:
        return Step(
            incident, (opened, Record(at, SYSTEM, "held", "cooldown after the last notice"))
        )
    return Step(incident, (opened, Page(detection, at)))


def _detected(incident: Incident, given: Detected, rules: Rules) -> Step:
    event, at = given.event, given.at
    known = {d.event_id: d for d in incident.detections}
    before = known.get(event.id)
    if not incident.is_open and before is None:
        raise ValueError(f"incident {incident.id} is resolved; a new detection opens a new one")
    now = _detection(event, at)
    if before is not None and not follows(before.phase, now.phase):
        return Step(incident)  # the last word of a detection has been said
    known[event.id] = now
    detections = tuple(known.values())
    standing = [d for d in detections if d.phase is not EventPhase.WITHDRAWN]
    following = replace(incident, detections=detections)
    effects: list[Effect] = []
    if before is None:
        detail = f"{event.sensor}, confidence {event.confidence:.2f}"
        effects.append(Record(at, SYSTEM, "joined", detail))
    if event.phase is EventPhase.ENDED:
        effects.append(Record(at, SYSTEM, "detection ended", event.sensor))
    elif event.phase is EventPhase.WITHDRAWN:
        detail = event.sensor + (f": {event.detail}" if event.detail else "")
        effects.append(Record(at, SYSTEM, "detection withdrawn", detail))
    if not standing:
        taken_back = _withdrawn(following, at)
        return Step(taken_back.incident, (*effects, *taken_back.effects))
    following = replace(
        following,
        onset=min(d.onset for d in standing),
        confidence=max(d.confidence for d in standing),
    )
    if not incident.is_open:
        return Step(following, tuple(effects))
    following = replace(following, resolve_due=_resolve_due(incident.kind, detections, rules))
    free = incident.held_until is None or at >= incident.held_until
    untold = incident.status is Status.OPEN and not incident.paged
    if before is None and now.running and untold and free:
        following = replace(following, paged=True, held_until=None, suppressed_by="")
        effects.append(Page(now, at))
    return Step(following, tuple(effects))


def follows(before: EventPhase, now: EventPhase) -> bool:
    """Whether a phase may come after another; an end may still be taken back."""
    if before is EventPhase.ENDED:
        return now is EventPhase.WITHDRAWN
    return before is not EventPhase.WITHDRAWN


def _withdrawn(incident: Incident, at: float) -> Step:
    following = replace(
        incident,
        withdrawn_at=at,
        held_until=None,
        status=Status.RESOLVED,
        resolved_at=incident.resolved_at if incident.resolved_at is not None else at,
    )
    effects: list[Effect] = [
        Record(at, SYSTEM, "withdrawn", "every detection was taken back"),
        CancelUnsent("withdrawn"),
    ]
    if incident.paged:
        effects += [EndCooldown(), TellWithdrawn(at)]
    return Step(following, tuple(effects))


def _delivered(incident: Incident, given: Delivered, rules: Rules) -> Step:
    first = incident.notified_at is None
    following = replace(
        incident,
        status=Status.NOTIFIED if incident.status is Status.OPEN else incident.status,
        notified_at=given.at if first else incident.notified_at,
    )
    effects: list[Effect] = [
        Record(given.at, SYSTEM, "notified", f"{given.person} by {given.channel}")
    ]
    if incident.withdrawn_at is not None:
        effects.append(TellWithdrawn(given.at))  # it was on its way when it was taken back
    elif first:
        effects.append(StartCooldown(given.at + rules.cooldown_s))
    return Step(following, tuple(effects))


def _acknowledged(incident: Incident, given: Acknowledged) -> Step:
    detail = f"via {given.channel}" if given.channel else ""
    if not incident.is_open:
        return Step(
            incident, (Record(given.at, given.by, "acknowledged after it was over", detail),)
        )
    if incident.status is Status.ACKNOWLEDGED:
        return Step(incident, (Record(given.at, given.by, "acknowledged as well", detail),))
    following = replace(
        incident,
        status=Status.ACKNOWLEDGED,
        acknowledged_at=given.at,
        acknowledged_by=given.by,
        held_until=None,
    )
    return Step(
        following,
        (Record(given.at, given.by, "acknowledged", detail), CancelUnsent("acknowledged")),
    )


def _feedback(incident: Incident, given: Feedback) -> Step:
    detail = ", ".join(part for part in (given.cause, given.note) if part)
    what = f"feedback: {given.verdict.value.replace('_', ' ')}"
    following = replace(incident, verdict=given.verdict)
    effects: list[Effect] = []
    if incident.is_open and incident.status is not Status.ACKNOWLEDGED:
        # whoever says what it was has been there
        taken = _acknowledged(following, Acknowledged(given.by, given.at))
        following = taken.incident
        effects += taken.effects
    effects.append(Record(given.at, given.by, what, detail))
    return Step(following, tuple(effects))


def _tick(incident: Incident, given: Tick) -> Step:
    if not incident.is_open:
        return Step(incident)
    at = given.at
    if at >= incident.resolve_due:
        over = all(not d.running for d in incident.detections)
        why = "quiet" if over else "nothing heard any more"
        following = replace(incident, status=Status.RESOLVED, resolved_at=at, held_until=None)
        return Step(following, (Record(at, SYSTEM, "resolved", why),))
    if incident.held_until is not None and at >= incident.held_until:
        running = [d for d in incident.detections if d.running]
        if not running:
            return Step(replace(incident, held_until=None))
        following = replace(incident, held_until=None, paged=True, suppressed_by="")
        record = Record(at, SYSTEM, "released", "still going on after the cooldown")
        return Step(following, (record, Page(running[-1], at)))
    return Step(incident)
