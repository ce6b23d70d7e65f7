"""The life of an incident: a pure function of what it was and what happened.

`step` takes the incident (or None), one input and the rules, and returns the next incident and what
to do about it. `alerts.incidents.engine` turns the effects into rows of the caller's transaction.

::

    OPEN                 --delivered-->               NOTIFIED
    OPEN, NOTIFIED       --acknowledged-->            ACKNOWLEDGED
    ACKNOWLEDGED         --acknowledgement expired--> NOTIFIED
    any of them  --quiet, ended by a person, or every detection withdrawn-->  RESOLVED

Feedback may come at any time: the last verdict counts, all are kept. Who arrives acknowledges an
unacknowledged incident; the first arrival counts, also that of somebody who set out before the air
cleared, but not after a person ended the incident or it was withdrawn.

When every detection is withdrawn, the incident is over: unsent pages are cancelled, people who were
paged get a quiet notice, and the cooldown ends, so that they learn of the next one.

An incident that opens inside a cooldown or a silence, or that another one explains, is muted:
people are notified at the end of that if it is still going on. Cooldowns start at delivery, never
at a decision, so a notice that nobody got cannot mute the next. A rise in severity checks mutes
again.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from alerts.errors import FeedbackError
from alerts.incidents.incident import (
    SYSTEM,
    AckExpired,
    Acknowledged,
    Arrived,
    Delivered,
    Detected,
    Detection,
    EndCooldown,
    Feedback,
    Followed,
    HandedOver,
    Incident,
    NotifyHandedOver,
    NotifyRecovered,
    NotifyTaken,
    NotifyWithdrawn,
    Page,
    Record,
    Resolved,
    ScheduleAckDeadline,
    SeverityRaised,
    StartCooldown,
    Status,
    Step,
    Stop,
)
from alerts.incidents.severity import HEALTH, grade
from detection.events import EventKind, EventPhase

if TYPE_CHECKING:
    from alerts.incidents.incident import ActionClass, Effect, Input, Mute, NewIncident, Rules, Tick
    from detection.events import Event

_MOST_DAMPED: Final = 6
_LONGEST_COOLDOWN_S: Final = 4 * 3600.0


def step(incident: Incident | None, given: Input, rules: Rules) -> Step:  # noqa: C901 - one arm an input
    """Apply one input.

    `incident`: none only for a `Detected` that brings `new`. Returns inputs that change nothing
    return the same incident and no effects. Raises `ValueError` if there is no incident and the
    input cannot open one or `FeedbackError` if it is said what followed before it was said what it
    was.
    """
    if incident is None:
        if isinstance(given, Detected) and given.new is not None:
            return _open(given, given.new, rules)
        raise ValueError(f"no incident to apply {type(given).__name__} to")
    match given:
        case Detected():
            result = _detected(incident, given, rules)
        case Delivered():
            result = _delivered(incident, given, rules)
        case Acknowledged():
            result = _acknowledged(incident, given)
        case Arrived():
            result = _arrived(incident, given)
        case HandedOver():
            result = _handed_over(incident, given)
        case AckExpired():
            result = _ack_expired(incident, given.at)
        case Resolved():
            result = _resolved(incident, given)
        case Feedback():
            result = _feedback(incident, given)
        case Followed():
            result = _followed(incident, given)
        case _:
            result = _tick(incident, given)
    return result


def cooldown_s(kind: EventKind, repeats: int, rules: Rules) -> float:
    """Return the seconds in which an incident mutes the next of its kind and room.

    For the health of a device it doubles with every repetition, so that a sensor that comes and
    goes is told ever more rarely.

    Examples
    --------
    >>> from alerts.incidents.incident import Rules
    >>> [cooldown_s(EventKind.OFFLINE, n, Rules(120.0, 1800.0, 300.0)) for n in (0, 1, 3)]
    [300.0, 600.0, 2400.0]
    """
    if kind not in HEALTH:
        return rules.cooldown_s
    damped = rules.cooldown_s * 2.0 ** min(repeats, _MOST_DAMPED)
    return max(rules.cooldown_s, min(damped, _LONGEST_COOLDOWN_S))


def follows(before: EventPhase, now: EventPhase) -> bool:
    """Whether a phase may come after another; an end may still be withdrawn."""
    if before is EventPhase.ENDED:
        return now is EventPhase.WITHDRAWN
    return before is not EventPhase.WITHDRAWN


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

    An offline sensor sends nothing: only its return resolves the incident.
    """
    silent_s = math.inf if kind is EventKind.OFFLINE else rules.silent_s
    return max(
        d.heard_at + (silent_s if d.running else rules.quiet_s)
        for d in detections
        if d.phase is not EventPhase.WITHDRAWN
    )


def _held(at: float, mute: Mute) -> Record:
    return Record(at, SYSTEM, "held", mute.why)


def _open(given: Detected, new: NewIncident, rules: Rules) -> Step:
    event, at, mute = given.event, given.at, given.mute
    detection = _detection(event, at)
    lasted = at - event.onset if detection.running else 0.0
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
        paged=mute is None,
        held_until=None if mute is None else mute.until,
        suppressed_by="" if mute is None else mute.by,
        resolve_due=_resolve_due(event.kind, (detection,), rules),
    )
    said = f"{event.sensor}, confidence {event.confidence:.2f}, {incident.severity}"
    opened = Record(at, SYSTEM, "opened", said)
    return Step(incident, (opened, Page(detection, at) if mute is None else _held(at, mute)))


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
        withdrawn = _withdrawn(following, at)
        return Step(withdrawn.incident, (*effects, *withdrawn.effects))
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
    speaks = before is None and now.running and untold and free
    risen = _risen(following, at, told=not speaks)
    following, effects = risen.incident, [*effects, *risen.effects]
    if speaks and given.mute is not None:
        following = replace(following, held_until=given.mute.until, suppressed_by=given.mute.by)
        effects.append(_held(at, given.mute))
    elif speaks:
        following = replace(following, paged=True, held_until=None, suppressed_by="")
        effects.append(Page(now, at))
    return Step(following, tuple(effects))


def _risen(incident: Incident, at: float, *, told: bool) -> Step:
    """Raise the severity to that of now; mutes are then checked again."""
    severity = incident.severity_at(at)
    if severity is incident.severity:
        return Step(incident)
    record = Record(at, SYSTEM, "severity", f"from {incident.severity} to {severity}")
    following = replace(incident, severity=severity)
    if incident.held_until is not None:
        return Step(replace(following, held_until=min(incident.held_until, at)), (record,))
    waiting = incident.paged and incident.status is not Status.ACKNOWLEDGED
    return Step(following, (record, SeverityRaised(at)) if told and waiting else (record,))


def _withdrawn(incident: Incident, at: float) -> Step:
    following = replace(
        incident,
        withdrawn_at=at,
        held_until=None,
        status=Status.RESOLVED,
        resolved_at=incident.resolved_at if incident.resolved_at is not None else at,
        resolved_by=incident.resolved_by or SYSTEM,
    )
    effects: list[Effect] = [
        Record(at, SYSTEM, "withdrawn", "every detection was withdrawn"),
        Stop("withdrawn", at, unsent=True),
    ]
    if incident.paged:
        effects += [EndCooldown(), NotifyWithdrawn(at)]
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
        effects.append(NotifyWithdrawn(given.at))  # it was on its way when it was taken back
        return Step(following, tuple(effects))
    if first and incident.is_open:  # a digest of last night mutes nothing this morning
        lasts = cooldown_s(incident.kind, incident.repeats, rules)
        effects.append(StartCooldown(given.at + lasts, incident.severity))
    if incident.status is Status.ACKNOWLEDGED and incident.acknowledged_by != given.person:
        effects.append(NotifyTaken(given.at, given.person))
    return Step(following, tuple(effects))


def _acknowledged(incident: Incident, given: Acknowledged) -> Step:
    detail = f"via {given.channel}" if given.channel else ""
    if not incident.is_open:
        return Step(
            incident, (Record(given.at, given.by, "acknowledged after it was over", detail),)
        )
    if incident.status is Status.ACKNOWLEDGED:
        again = given.by == incident.acknowledged_by
        what = "acknowledged again" if again else "acknowledged as well"
        return Step(incident, (Record(given.at, given.by, what, detail),))
    return _taken(incident, given.by, Record(given.at, given.by, "acknowledged", detail))


def _taken(incident: Incident, by: str, record: Record) -> Step:
    """Let a person have it: nobody else is told of it, and the others hear who has it."""
    first = incident.acknowledged_at is None
    following = replace(
        incident,
        status=Status.ACKNOWLEDGED,
        acknowledged_at=record.at if first else incident.acknowledged_at,
        acknowledged_by=by,
        held_until=None,
    )
    return Step(
        following,
        (
            record,
            Stop("acknowledged", record.at, unsent=True),
            ScheduleAckDeadline(record.at),
            NotifyTaken(record.at),
        ),
    )


def _arrived(incident: Incident, given: Arrived) -> Step:
    detail = f"via {given.channel}" if given.channel else ""
    if not incident.awaited:
        return Step(incident, (Record(given.at, given.by, "arrived after it was over", detail),))
    first = incident.arrived_at is None
    record = Record(given.at, given.by, "arrived" if first else "arrived as well", detail)
    following = replace(incident, arrived_at=given.at) if first else incident
    if not incident.is_open or (incident.status is Status.ACKNOWLEDGED and incident.verdict):
        return Step(following, (record,))
    if incident.status is Status.ACKNOWLEDGED:  # a word of it: the reminder waits anew
        waits = (Stop("arrived", given.at, unsent=False), ScheduleAckDeadline(given.at))
        return Step(following, (record, *waits))
    taken = _taken(following, given.by, Record(given.at, given.by, "acknowledged", detail))
    return Step(taken.incident, (*taken.effects, record))


def _handed_over(incident: Incident, given: HandedOver) -> Step:
    detail = f"to {given.to}" + (f" via {given.channel}" if given.channel else "")
    if not incident.is_open:
        return Step(
            incident, (Record(given.at, given.by, "handed over after it was over", detail),)
        )
    taken = _taken(incident, given.to, Record(given.at, given.by, "handed over", detail))
    return Step(taken.incident, (*taken.effects, NotifyHandedOver(given.at, given.by)))


def _ack_expired(incident: Incident, at: float) -> Step:
    if incident.status is not Status.ACKNOWLEDGED:
        return Step(incident)
    record = Record(at, SYSTEM, "acknowledgement ran out", incident.acknowledged_by)
    return Step(replace(incident, status=Status.NOTIFIED), (record,))


def _resolved(incident: Incident, given: Resolved) -> Step:
    detail = f"via {given.channel}" if given.channel else ""
    if not incident.is_open:
        return Step(incident, (Record(given.at, given.by, "resolved again", detail),))
    record = Record(given.at, given.by, "resolved", detail)
    return _over(incident, record, unsent=True)


def _over(incident: Incident, record: Record, *, unsent: bool) -> Step:
    """End an incident; of a device's health, those who were paged are notified."""
    following = replace(
        incident,
        status=Status.RESOLVED,
        resolved_at=record.at,
        resolved_by=record.who,
        held_until=None,
    )
    effects: list[Effect] = [record, Stop("resolved", record.at, unsent=unsent)]
    if incident.kind in HEALTH and incident.paged:
        effects.append(NotifyRecovered(record.at))
    return Step(following, tuple(effects))


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
    if incident.is_open:
        effects.append(Stop("feedback", given.at, unsent=True))
    return Step(following, tuple(effects))


def _followed(incident: Incident, given: Followed) -> Step:
    if incident.verdict is None:
        raise FeedbackError("first say what was found")
    told = (
        ("action", incident.action, given.action),
        ("case number", incident.case_number, given.case_number),
    )
    records = tuple(
        Record(given.at, given.by, what, _change(before, now))
        for what, before, now in told
        if (before or "") != (now or "")
    )
    return Step(replace(incident, action=given.action, case_number=given.case_number), records)


def _change(before: ActionClass | str | None, now: ActionClass | str | None) -> str:
    return f"{now or 'taken out'}, was {before}" if before else str(now)


def _tick(incident: Incident, given: Tick) -> Step:
    if not incident.is_open:
        return Step(incident)
    at, mute = given.at, given.mute
    if at >= incident.resolve_due:
        why = "no news from the detector" if incident.running else "quiet"
        return _over(incident, Record(at, SYSTEM, "resolved", why), unsent=incident.kind in HEALTH)
    risen = _risen(incident, at, told=True)
    incident, effects = risen.incident, risen.effects
    if incident.held_until is None or at < incident.held_until:
        return Step(incident, effects)
    running = [d for d in incident.detections if d.running]
    if not running:
        return Step(replace(incident, held_until=None), effects)
    if mute is not None:
        if mute.by != incident.suppressed_by:
            effects = (*effects, _held(at, mute))
        return Step(replace(incident, held_until=mute.until, suppressed_by=mute.by), effects)
    held_by = incident.suppressed_by
    following = replace(incident, held_until=None, paged=True, suppressed_by="")
    record = Record(at, SYSTEM, "released", f"still going on after the {held_by}")
    return Step(following, (*effects, record, Page(running[-1], at)))
