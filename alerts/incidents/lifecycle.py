"""The incident lifecycle as a pure function.

`step` takes the incident (or None), one input and the rules, and returns the changed incident and
the effects. `alerts.engine` turns the effects into rows in the caller's transaction.

::

    OPEN                 --delivered-->               NOTIFIED
    OPEN, NOTIFIED       --acknowledged-->            ACKNOWLEDGED
    ACKNOWLEDGED         --acknowledgment expired, or the responder cannot go--> NOTIFIED
    any of them          --over, closed, or followed by a new incident--> RESOLVED

Somebody has to check on vaping, smoke or tampering. Such an incident stays open after the air
clears until somebody reports what was found or closes it, or until its escalation ends. An
acknowledgment alone does not end it.

Feedback is accepted at any time; the latest verdict counts, and all are kept. An arrival
acknowledges an open incident that has no responder. `arrived_at` is the first arrival. If somebody
acknowledged the incident before it ended by itself, an arrival counts even after that. After
feedback, the next detection opens a new incident, and no cooldown mutes it, except for device
health. If the last round ends without a response, the next detection by the service itself (not a
device's alarm) also opens a new incident. The responder is notified of detections that join an
acknowledged incident.

An incident is muted if it opens during a cooldown or a silence, if another incident explains it, or
if its readings arrived late. If it is still in progress when the mute ends, people are notified
then. After a room test that nobody finished, people are notified even if the incident is over. A
cooldown starts only when a notice is delivered, so an undelivered notice never mutes the next
incident. Mutes are checked again when the severity rises.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from alerts.errors import FeedbackError
from alerts.incidents import effects, inputs
from alerts.incidents.history import Happened, Record
from alerts.incidents.incident import (
    SYSTEM,
    Detection,
    Incident,
    Status,
    Suppression,
    find_answer_choices,
)
from alerts.policy import HEALTH, LONGEST_COOLDOWN_S, PRESENCE, grade
from detection.events import EventKind, EventPhase
from language.messages import build_fact, defer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from alerts.incidents.effects import Effect
    from alerts.incidents.incident import Mute, Rules
    from detection.events import Event
    from language.messages import Parameter

QUIET_S: Final = 120.0
"""Seconds from the end of its last detection until an incident resolves."""
SILENT_S: Final = 1800.0
"""Seconds from its last update until a detection counts as over."""
_ONE_REPORT_S: Final = 60.0
"""Detections no further apart than this, in seconds, cause one notice to the responder."""
_SECOND_PUFF_S: Final = 600.0
"""How long a possible-vaping incident waits for more evidence, in seconds."""
_MAX_DAMPED: Final = 6


@dataclass(frozen=True, slots=True)
class Step:
    """The incident after an input, and the effects in order."""

    incident: Incident
    effects: tuple[Effect, ...] = ()

    def change(self, *more: Effect, **fields: Any) -> Step:
        """Change fields of the incident, and append effects."""
        return Step(replace(self.incident, **fields), (*self.effects, *more))


def step(incident: Incident | None, given: inputs.Input, rules: Rules) -> Step:  # noqa: C901 - one arm per input
    """Apply one input; if nothing changes, return the same incident without effects.

    Only a `Detected` with `new` can open an incident. Any other input raises `ValueError` if
    `incident` is None. Raises `FeedbackError` for an invalid answer, or for an action reported
    before any feedback.
    """
    if incident is None:
        if isinstance(given, inputs.Detected) and given.new is not None:
            return _open(given, given.new)
        raise ValueError(f"no incident to apply {type(given).__name__} to")
    match given:
        case inputs.Detected():
            result = _on_detected(incident, given)
        case inputs.Delivered():
            result = _on_delivered(incident, given, rules)
        case inputs.Response():
            result = _RESPONSES[type(given)](incident, given)
        case inputs.AckExpired():
            result = _on_ack_expired(incident, given.at)
        case inputs.ChainEnded():
            result = _on_chain_ended(incident, given.at)
        case inputs.Feedback():
            result = _on_feedback(incident, given)
        case inputs.ActionReported():
            result = _on_action_reported(incident, given)
        case inputs.Tick():
            result = _on_tick(incident, given, rules)
    return result


def compute_cooldown_s(kind: EventKind, repeats: int, rules: Rules) -> float:
    """Return how long, in seconds, an incident mutes new ones of the same kind and room.

    For device health, the time doubles with every repeat, so a sensor that keeps dropping out
    notifies people less and less often.

    >>> from alerts.incidents.incident import Rules
    >>> [compute_cooldown_s(EventKind.OFFLINE, n, Rules(300.0)) for n in (0, 1, 3)]
    [300.0, 600.0, 2400.0]
    """
    if kind not in HEALTH:
        return rules.cooldown_s
    damped = rules.cooldown_s * 2.0 ** min(repeats, _MAX_DAMPED)
    return max(rules.cooldown_s, min(damped, LONGEST_COOLDOWN_S))


def _build_detection(event: Event, at: float, before: Detection | None = None) -> Detection:
    return Detection(
        event.id,
        event.sensor,
        event.phase,
        event.onset,
        event.alerted,
        event.end,
        event.confidence,
        at,
        at if before is None else before.first_received_at,
    )


def _find_resolve_due(kind: EventKind, detections: tuple[Detection, ...]) -> float:
    """Return when an incident resolves without further detections; infinite while offline."""
    silent_s = math.inf if kind is EventKind.OFFLINE else SILENT_S
    quiet_s = _SECOND_PUFF_S if kind is EventKind.POSSIBLE else QUIET_S
    return max(d.received_at + (silent_s if d.is_running else quiet_s) for d in detections)


def _notify(step: Step, at: float, detection: Detection, mute: Mute | None) -> Step:
    """Page people about a detection unless the incident is muted."""
    if mute is None:
        page = effects.Page(detection, at)
        return step.change(page, paged=True, held_until=None, suppressed_by=None)
    held = Record(at, SYSTEM, Happened.HELD, {"mute": mute.by})
    return step.change(held, held_until=mute.until, suppressed_by=mute.by)


def _open(given: inputs.Detected, new: inputs.NewIncident) -> Step:
    event, at = given.event, given.at
    detection = _build_detection(event, at)
    lasted = min(at, event.time) - event.onset if detection.is_running else 0.0
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
        severity=grade(event.kind, event.confidence, lasted, new.repeats),
        repeats=new.repeats,
        again_of=new.again_of,
        resolve_due=_find_resolve_due(event.kind, (detection,)),
    )
    seen = _describe_event(event) | {"severity": incident.severity}
    if new.again_of:
        seen["again_after"] = new.again_of
    opened = Step(incident, (Record(at, SYSTEM, Happened.OPENED, seen),))
    return _notify(opened, at, detection, given.mute) if given.notifies else opened


def _describe_event(event: Event) -> dict[str, Parameter]:
    return {"sensor": event.sensor, "confidence": event.confidence}


def _on_detected(incident: Incident, given: inputs.Detected) -> Step:
    event, at = given.event, given.at
    known = {d.event_id: d for d in incident.detections}
    before = known.get(event.id)
    if not incident.is_open and before is None:
        raise ValueError(f"incident {incident.id} is resolved; a new detection opens a new one")
    detection = _build_detection(event, at, before)
    if before is not None and not before.is_running:
        return Step(incident)
    if incident.becomes_likely(event):
        return _become_likely(incident, given, detection)
    known[event.id] = detection
    detections = tuple(known.values())
    result = Step(incident).change(
        detections=detections,
        onset=min(incident.onset, detection.onset) if before is None else incident.onset,
        confidence=max(d.confidence for d in detections),
    )
    if before is None:
        result = result.change(Record(at, SYSTEM, Happened.JOINED, _describe_event(event)))
    if event.phase is EventPhase.ENDED:
        result = result.change(Record(at, SYSTEM, Happened.ENDED, {"sensor": event.sensor}))
    if not incident.is_open:
        return result
    due = _find_resolve_due(incident.kind, detections)
    free = incident.held_until is None or at >= incident.held_until
    unpaged = incident.status is Status.OPEN and not incident.paged
    is_news = before is None and detection.is_running and given.notifies
    may_page = is_news and unpaged and free
    result = result.change(resolve_due=due, cleared_at=None)
    result = _regrade(result, at, send_deferred=not may_page)
    if may_page:
        return _notify(result, at, detection, given.mute)
    latest = max(d.alerted for d in incident.detections)
    separate = is_news and detection.alerted - latest > _ONE_REPORT_S
    if separate and incident.status is Status.ACKNOWLEDGED and given.mute is None:
        result = result.change(effects.NotifyAgain(at, detection.onset))
    return result


def _become_likely(incident: Incident, given: inputs.Detected, detection: Detection) -> Step:
    """Turn a possible-vaping incident into a vaping incident, and notify people unless muted."""
    event, at = given.event, given.at
    detections = (*incident.detections, detection)
    responding = incident.status is Status.ACKNOWLEDGED
    result = Step(incident).change(
        kind=event.kind,
        paged=responding,
        held_until=None,
        suppressed_by=None,
        sensor=event.sensor,
        confidence=max(d.confidence for d in detections),
        detections=detections,
        severity=grade(event.kind, event.confidence, 0.0, incident.repeats),
        resolve_due=_find_resolve_due(event.kind, detections),
    )
    seen = _describe_event(event) | {"severity": result.incident.severity}
    result = result.change(Record(at, SYSTEM, Happened.LIKELY, seen))
    if responding:
        return result if given.mute else result.change(effects.NotifyAgain(at, detection.onset))
    result = result.change(
        effects.Stop(at, unsent=True),
        onset=detection.onset,
        opened_at=at,
        notified_at=None,
        status=Status.OPEN,
    )
    return _notify(result, at, detection, given.mute)


def _regrade(step: Step, at: float, *, send_deferred: bool) -> Step:
    """Raise the severity if it is now higher, and have mutes checked again."""
    incident = step.incident
    severity = incident.grade_at(at)
    if severity is incident.severity:
        return step
    change: dict[str, Parameter] = {"severity": severity, "before": incident.severity}
    record = Record(at, SYSTEM, Happened.SEVERITY, change)
    held_until = None if incident.held_until is None else min(incident.held_until, at)
    result = step.change(record, severity=severity, held_until=held_until)
    waiting = incident.paged and incident.status is not Status.ACKNOWLEDGED
    if send_deferred and waiting and held_until is None:
        result = result.change(effects.SeverityRaised(at, incident.severity))
    return result


def _on_delivered(incident: Incident, given: inputs.Delivered, rules: Rules) -> Step:
    first = incident.notified_at is None
    notified: dict[str, Parameter] = {"person": given.person, "channel": given.channel}
    result = Step(incident).change(
        Record(given.at, SYSTEM, Happened.NOTIFIED, notified),
        status=Status.NOTIFIED if incident.status is Status.OPEN else incident.status,
        notified_at=given.at if first else incident.notified_at,
    )
    if first and incident.is_open:  # a digest sent after the end starts no cooldown
        lasts = compute_cooldown_s(incident.kind, incident.repeats, rules)
        result = result.change(effects.StartCooldown(given.at + lasts, incident.severity))
    if incident.status is Status.ACKNOWLEDGED and incident.acknowledged_by != given.person:
        result = result.change(effects.NotifyOutcome(given.at, given.person))
    return result


def _record_response(given: inputs.Response, what: Happened) -> Record:
    return Record(given.at, given.by, what, {"channel": given.channel} if given.channel else {})


def _on_acknowledged(incident: Incident, given: inputs.Acknowledged) -> Step:
    if not incident.is_open or incident.status is Status.ACKNOWLEDGED:
        return Step(incident, (_record_response(given, Happened.ACKNOWLEDGED_TOO),))
    return _assign(incident, given.by, _record_response(given, Happened.ACKNOWLEDGED))


def _assign(incident: Incident, by: str, record: Record) -> Step:
    """Make a person the responder, stop paging, and tell others who is responding."""
    first = incident.acknowledged_at is None
    return Step(incident).change(
        record,
        effects.Stop(record.at, unsent=True),
        effects.ScheduleAckDeadline(record.at),
        effects.NotifyOutcome(record.at),
        status=Status.ACKNOWLEDGED,
        acknowledged_at=record.at if first else incident.acknowledged_at,
        acknowledged_by=by,
        held_until=None,
        missed_at=None,
    )


def _on_arrived(incident: Incident, given: inputs.Arrived) -> Step:
    if not incident.awaits_arrival:
        return Step(incident)
    first = incident.arrived_at is None
    record = _record_response(given, Happened.ARRIVED if first else Happened.ARRIVED_TOO)
    following = replace(incident, arrived_at=given.at) if first else incident
    if incident.is_open and incident.status is not Status.ACKNOWLEDGED:
        acknowledged = _record_response(given, Happened.ACKNOWLEDGED)
        return _assign(following, given.by, acknowledged).change(record)
    result = Step(following, (record,))
    if incident.is_open and not incident.verdict:  # restart the wait for the next answer
        stop = effects.Stop(given.at, unsent=False)
        result = result.change(stop, effects.ScheduleAckDeadline(given.at))
    return result


def _on_declined(incident: Incident, given: inputs.Declined) -> Step:
    record = _record_response(given, Happened.DECLINED)
    if not incident.is_responder(given.by) or incident.verdict:
        return Step(incident, (record,))
    stop = effects.Stop(given.at, unsent=True)
    return Step(incident).change(record, stop, status=Status.NOTIFIED, acknowledged_by="")


def _on_ack_expired(incident: Incident, at: float) -> Step:
    if incident.status is not Status.ACKNOWLEDGED:
        return Step(incident)
    record = Record(at, SYSTEM, Happened.ACK_EXPIRED, {"person": incident.acknowledged_by})
    return Step(incident).change(record, status=Status.NOTIFIED)


def _on_chain_ended(incident: Incident, at: float) -> Step:
    if not _is_unanswered(incident):
        return Step(incident)
    following = replace(incident, missed_at=at)
    if incident.cleared_at is None:
        return Step(following)
    because = "missed" if incident.acknowledged_at is None else "quiet"
    return _close(following, Record(at, SYSTEM, Happened.RESOLVED, {"because": because}))


def _is_unanswered(incident: Incident) -> bool:
    """Return whether people were paged to check the room and nobody is responding."""
    asked = incident.paged or incident.acknowledged_at is not None
    waiting = incident.status in (Status.OPEN, Status.NOTIFIED)
    return asked and waiting and incident.kind in PRESENCE


def _is_awaiting_answer(incident: Incident) -> bool:
    """Return whether a responder, or somebody still to be paged, may yet report what was found."""
    if incident.status is Status.ACKNOWLEDGED:
        return incident.kind in PRESENCE and incident.verdict is None
    return _is_unanswered(incident) and incident.missed_at is None


def _on_resolved(incident: Incident, given: inputs.Resolved) -> Step:
    if not incident.is_open:
        return Step(incident)
    record = _record_response(given, Happened.RESOLVED)
    outcome: tuple[Effect, ...] = ()
    if given.because:
        record = Record(given.at, SYSTEM, Happened.RESOLVED, given.because)
        if incident.acknowledged_at is None and incident.missed_at is None:
            incident = replace(incident, suppressed_by=build_fact(Suppression.SCHOOL_CLOSED))
    elif _is_unanswered(incident):  # it counts as missed until someone reports what was found
        incident = replace(incident, missed_at=given.at)
        outcome = (effects.NotifyOutcome(given.at, is_over=True),)
    return _close(incident, record, unsent=True).change(*outcome, *_end_cooldown(incident))


def _end_cooldown(incident: Incident) -> tuple[Effect, ...]:
    """End the cooldown after an answer, except for device health."""
    return () if incident.kind in HEALTH else (effects.EndCooldown(),)


def _close(incident: Incident, record: Record, *, unsent: bool = False) -> Step:
    unsent = unsent or incident.kind in HEALTH
    result = Step(incident).change(
        record,
        effects.Stop(record.at, unsent=unsent),
        status=Status.RESOLVED,
        resolved_at=record.at,
        resolved_by=record.who,
        held_until=None,
    )
    if incident.kind in HEALTH and incident.paged:
        result = result.change(effects.NotifyOutcome(record.at, is_over=True))
    return result


def _on_feedback(incident: Incident, given: inputs.Feedback) -> Step:
    find_answer_choices(incident.kind).check(given.verdict, given.cause)
    answered_at = given.at if incident.answered_at is None else incident.answered_at
    result = Step(incident).change(verdict=given.verdict, answered_at=answered_at)
    if incident.is_open and incident.cleared_at is not None:
        result = result.change(resolve_due=given.at, cleared_at=None)
    if incident.is_open and incident.status is not Status.ACKNOWLEDGED:
        # a person who reports a finding was there, so this acknowledges the incident too
        result = _on_acknowledged(result.incident, inputs.Acknowledged(given.by, given.at))
    found = {"verdict": given.verdict.value, "cause": given.cause, "note": given.note}
    if incident.verdict not in (None, given.verdict):
        found["before"] = incident.verdict.value
    params = {name: value for name, value in found.items() if value}
    result = result.change(Record(given.at, given.by, Happened.FEEDBACK, params))
    if incident.is_open:  # keep the notices of the acknowledgment above
        was_acknowledged = incident.status is Status.ACKNOWLEDGED
        result = result.change(effects.Stop(given.at, unsent=was_acknowledged))
    return result.change(*_end_cooldown(incident))


def _on_action_reported(incident: Incident, given: inputs.ActionReported) -> Step:
    if incident.verdict is None:
        raise FeedbackError(defer("first report what was found"))
    result = Step(replace(incident, action=given.action, case_number=given.case_number))
    for what, before, now in (
        (Happened.ACTION, incident.action, given.action),
        (Happened.CASE_NUMBER, incident.case_number, given.case_number),
    ):
        if (before or "") != (now or ""):
            change = {what.value: now or ""} | ({"before": before} if before else {})
            result = result.change(Record(given.at, given.by, what, change))
    return result


def _on_tick(incident: Incident, given: inputs.Tick, rules: Rules) -> Step:
    if not incident.is_open:
        return Step(incident)
    at, mute = given.at, given.mute
    is_in_test = incident.is_held_by_test
    if at >= incident.resolve_due and is_in_test:
        incident = replace(incident, resolve_due=max(at, incident.held_until or at))
    elif at >= incident.resolve_due:
        if rules.runs_chain and _is_awaiting_answer(incident):
            cleared = Record(at, SYSTEM, Happened.CLEARED)
            return Step(incident).change(cleared, resolve_due=math.inf, cleared_at=at)
        because = {"because": "no_news" if incident.is_running else "quiet"}
        record = Record(at, SYSTEM, Happened.RESOLVED, because)
        return _close(incident, record)
    result = _regrade(Step(incident), at, send_deferred=True)
    incident = result.incident
    if incident.held_until is None or at < incident.held_until:
        return result
    running = [d for d in incident.detections if d.is_running or is_in_test]
    if not running:
        result = result.change(held_until=None)
    elif mute is not None and mute.by == incident.suppressed_by:
        result = result.change(held_until=mute.until)
    else:
        released = () if mute else (Record(at, SYSTEM, Happened.RELEASED),)
        result = _notify(result.change(*released), at, running[-1], mute)
    return result


_RESPONSES: Final[Mapping[type[inputs.Response], Callable[[Incident, Any], Step]]] = {
    inputs.Acknowledged: _on_acknowledged,
    inputs.Arrived: _on_arrived,
    inputs.Declined: _on_declined,
    inputs.Resolved: _on_resolved,
}
