"""Predict from the configuration who will be notified and when, ignoring budgets and storms."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple
from zoneinfo import ZoneInfo

from alerts.duty.reasons import RING_WORDS, write_reason
from alerts.duty.roster import build_labels
from alerts.escalation.escalator import Action, plan, plan_reminder
from alerts.notify.notice_writer import find_quiet_end
from alerts.policy import LONG_S, Severity, grade
from language.messages import write_date

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from alerts.duty.shifts import ClockHours
    from alerts.escalation.escalator import EscalationStep
    from alerts.notify.notice_writer import Deferral
    from alerts.policy import AlertPolicy
    from detection.events import EventKind
    from storage.registry import Room

_CONFIDENT: Final = 0.9
_CASES: Final = (
    (0.5, 0.0, "Below 70%"),
    (_CONFIDENT, LONG_S, "If it lasts over two minutes, or is the third within an hour"),
)
"""Cases with a different severity: confidence, duration and description."""


class PreviewStep(NamedTuple):
    """A step, its time, and the people who are not notified because of quiet hours."""

    step: EscalationStep
    due_at: float
    deferred: Mapping[str, Deferral]


def preview_steps(
    steps: Sequence[EscalationStep],
    severity: Severity,
    quiet: Callable[[str], Sequence[ClockHours]],
) -> Iterator[PreviewStep]:
    """Yield the steps as `Escalator` will run them if nobody responds.

    If nobody in a ring can be notified now, the next ring follows without waiting.
    """
    earlier = 0.0
    for k, step in enumerate(steps):
        due = step.due_at - earlier
        deferred: dict[str, Deferral] = {}
        people = [candidate.person for candidate in step.ring.people]
        if severity is not Severity.CRITICAL:
            found = ((person, find_quiet_end(quiet(person), due)) for person in people)
            deferred = {person: until for person, until in found if until is not None}
        following = steps[k + 1] if k + 1 < len(steps) else None
        last = following is None or following.action is not Action.NOTIFY
        yield PreviewStep(step, due, deferred)
        nobody = len(deferred) == len(people) > 0
        if nobody and following is not None and not last and following.round == step.round:
            earlier += following.due_at - step.due_at


def _describe_quiet_hours(deferral: Deferral, zone: ZoneInfo) -> str:
    """Describe how quiet hours affect a notice."""
    until = datetime.fromtimestamp(deferral.until, UTC).astimezone(zone)
    return f"quiet hours until {write_date(until, 'weekday and clock')}, notified then"


def write_timeline(policy: AlertPolicy, room: Room, kind: EventKind, at: float) -> list[str]:
    """Return lines that describe what happens after an alert, with and without a response."""
    severity = grade(kind, _CONFIDENT, 0.0, 0)
    others = {grade(kind, p, lasted_s, 0): words for p, lasted_s, words in _CASES}
    remind, reopen = plan_reminder("", 0.0, policy.timings, seq=1, round_=1)
    lines = [
        f"{kind} alert in {room.short_name}, severity {severity}. If nobody responds:",
        *_list_steps(policy, room, kind, severity, at),
    ]
    for other, words in others.items():
        if other is not severity:
            lines.append(f"{words}, it is {other}. If nobody responds:")
            lines += _list_steps(policy, room, kind, other, at)
    return [
        *lines,
        "If somebody acknowledges:",
        _write_line(0.0, "nobody else is notified; those notified learn who is responding"),
        _write_line(remind.due_at, "no answer: the responder is reminded"),
        _write_line(reopen.due_at, "still no answer: all of the above again, from the first step"),
    ]


def _list_steps(
    policy: AlertPolicy, room: Room, kind: EventKind, severity: Severity, at: float
) -> list[str]:
    labels = build_labels(room, kind=kind.value, severity=severity.value, sensor="")
    rings = policy.plan_rings(labels, at)
    if not rings:
        return [_write_line(0.0, "nobody: there is no staff")]
    zone = ZoneInfo(room.zone or policy.zone)
    receivers = policy.get_roster().match_routes(labels)
    lines = [_write_line("", f"receiver {one.receiver}: {one.explain()}") for one in receivers]
    steps = plan("", rings, severity, at, policy.timings)
    for step, due_at, deferred in preview_steps(steps, severity, policy.find_quiet_hours):
        after_s = due_at - at
        if step.action is Action.END:
            lines.append(_write_line(after_s, "recorded: nobody responded"))
            continue
        people = [c.person for c in step.ring.people if c.person not in deferred]
        names = ", ".join(map(policy.find_name, people))
        again = f" (round {step.round})" if step.round > 1 else ""
        lines.append(
            _write_line(after_s, f"{RING_WORDS[step.ring.name]}: {names or 'nobody'}{again}")
        )
        if step.round == 1:
            lines += [
                _write_line(
                    "", f"{policy.find_name(c.person)}: {write_reason(c.why, policy.find_name)}"
                )
                for c in step.ring.people
                if c.person in people
            ]
        lines += [
            _write_line("", f"{policy.find_name(person)}: {_describe_quiet_hours(deferral, zone)}")
            for person, deferral in deferred.items()
        ]
        fallback = [m.name for m in map(policy.find_member, people) if m and len(m.targets) > 1]
        if fallback and step.round == 1:
            after = after_s + policy.timings.fallback_after_s
            names = ", ".join(fallback)
            lines.append(
                _write_line(after, f"{names}: second channel, if the first has not delivered")
            )
    return lines


def _write_line(seconds: float | str, what: str) -> str:
    shown = seconds if isinstance(seconds, str) else _write_duration(seconds)
    return f"  {shown:>8}  {what}"


def _write_duration(seconds: float) -> str:
    """Return a duration as text.

    >>> _write_duration(95.0), _write_duration(3600.0)
    ('1:35', '1:00:00')
    """
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours}:{minutes:02}:{whole % 60:02}"
    return f"{minutes}:{whole % 60:02}"
