"""Who will be notified when, as far as the configuration says: without budgets and storms."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple
from zoneinfo import ZoneInfo

from alerts.duty.reasons import RING_WORDS, reason_text
from alerts.duty.roster import incident_labels
from alerts.escalation.escalator import Action, after_acknowledgment, plan
from alerts.incidents.throttling import quiet_until
from alerts.policy import LONG_S, Severity, grade
from language.dates import date_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from alerts.duty.shifts import QuietHours
    from alerts.escalation.escalator import EscalationStep
    from alerts.incidents.throttling import Deferral
    from alerts.policy import AlertPolicy
    from detection.events import EventKind
    from storage.registry import Room

_CONFIDENT: Final = 0.9
_CASES: Final = (
    (0.5, 0.0, "Below 70%"),
    (_CONFIDENT, LONG_S, "After two minutes without an end, or the third time in an hour"),
)
"""Confidence and duration of incidents of another severity than usual."""


class PreviewStep(NamedTuple):
    """A step, when it runs, and whose quiet hours defer it, by person."""

    step: EscalationStep
    due_at: float
    deferred: Mapping[str, Deferral]


def escalation_preview(
    steps: Sequence[EscalationStep],
    severity: Severity,
    quiet: Callable[[str], Sequence[QuietHours]],
) -> Iterator[PreviewStep]:
    """Yield the steps as `Escalator` will run them if nobody responds.

    A ring in which nobody is notified does not wait, but for the last if nobody at all would be.
    """
    earlier = 0.0
    reached = False
    for k, step in enumerate(steps):
        due = step.due_at - earlier
        deferred: dict[str, Deferral] = {}
        people = [candidate.person for candidate in step.ring.people]
        if severity is not Severity.CRITICAL:
            found = ((person, quiet_until(quiet(person), due)) for person in people)
            deferred = {person: until for person, until in found if until is not None}
        following = steps[k + 1] if k + 1 < len(steps) else None
        last = following is None or following.action is not Action.NOTIFY
        reached |= len(deferred) < len(people) or any(not d.divert for d in deferred.values())
        if step.action is Action.NOTIFY and last and not reached:
            deferred = {}
        yield PreviewStep(step, due, deferred)
        nobody = len(deferred) == len(people) > 0
        if nobody and following is not None and not last and following.round == step.round:
            earlier += following.due_at - step.due_at


def _quiet_words(deferral: Deferral, zone: ZoneInfo) -> str:
    """Say what quiet hours do to a notice."""
    until = datetime.fromtimestamp(deferral.until, UTC).astimezone(zone)
    what = "skipped" if deferral.divert else "notified then"
    return f"quiet hours until {date_text(until, 'weekday and clock')}, {what}"


def timeline(policy: AlertPolicy, room: Room, kind: EventKind, at: float) -> list[str]:
    """Return what follows an alert at a moment, with and without a response, one line each."""
    severity = grade(kind, _CONFIDENT, 0.0, 0)
    others = {grade(kind, p, lasted_s, 0): words for p, lasted_s, words in _CASES}
    remind, reopen = after_acknowledgment("", 0.0, policy.timings, seq=1, round_=1)
    lines = [
        f"An alert of {kind} in {room.short_name}: {severity}. If nobody responds:",
        *_without_response(policy, room, kind, severity, at),
    ]
    for other, words in others.items():
        if other is not severity:
            lines.append(f"{words}, it is {other}. If nobody responds:")
            lines += _without_response(policy, room, kind, other, at)
    return [
        *lines,
        "If somebody acknowledges:",
        _line(0.0, "nobody else is notified; those notified learn who is responding"),
        _line(remind.due_at, "no answer: the responder is reminded"),
        _line(reopen.due_at, "still no answer: all of the above again, from the first step"),
    ]


def _without_response(
    policy: AlertPolicy, room: Room, kind: EventKind, severity: Severity, at: float
) -> list[str]:
    labels = incident_labels(room, kind=kind.value, severity=severity.value, sensor="")
    rings = policy.rings(labels, at)
    if not rings:
        return [_line(0.0, "nobody: there is no staff")]
    zone = ZoneInfo(room.zone or policy.zone)
    receivers = policy.duty_roster().routes(labels)
    lines = [_line("", f"receiver {one.receiver}: {one.why()}") for one in receivers]
    steps = plan("", rings, severity, at, policy.timings)
    for step, due_at, deferred in escalation_preview(steps, severity, policy.quiet_of):
        after_s = due_at - at
        if step.action is Action.END:
            lines.append(_line(after_s, "recorded: nobody responded"))
            continue
        people = [c.person for c in step.ring.people if c.person not in deferred]
        names = ", ".join(map(policy.name_of, people))
        again = f" (round {step.round})" if step.round > 1 else ""
        lines.append(_line(after_s, f"{RING_WORDS[step.ring.name]}: {names or 'nobody'}{again}"))
        if step.round == 1:
            lines += [
                _line("", f"{policy.name_of(c.person)}: {reason_text(c.why)}")
                for c in step.ring.people
                if c.person in people
            ]
        lines += [
            _line("", f"{policy.name_of(person)}: {_quiet_words(deferral, zone)}")
            for person, deferral in deferred.items()
        ]
        fallback = [m.name for m in map(policy.member, people) if m and len(m.targets) > 1]
        if fallback and step.round == 1:
            after = after_s + policy.timings.fallback_after_s
            names = ", ".join(fallback)
            lines.append(_line(after, f"{names}: second channel, if the first has not delivered"))
    return lines


def _line(seconds: float | str, what: str) -> str:
    shown = seconds if isinstance(seconds, str) else _clock(seconds)
    return f"  {shown:>8}  {what}"


def _clock(seconds: float) -> str:
    """Write a duration.

    >>> _clock(95.0), _clock(3600.0)
    ('1:35', '1:00:00')
    """
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours}:{minutes:02}:{whole % 60:02}"
    return f"{minutes}:{whole % 60:02}"
