"""Predict from the configuration who will be notified and when, ignoring budgets and storms."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from alerts.duty.reasons import RING_WORDS, write_reason
from alerts.duty.roster import build_labels
from alerts.escalation.escalator import plan
from alerts.notify.notice_writer import find_quiet_end
from alerts.policy import LONG_S, Severity, grade
from language.messages import write_date

if TYPE_CHECKING:
    from alerts.policy import AlertPolicy
    from detection.events import EventKind
    from storage.registry import Room

_CONFIDENT: Final = 0.9
_CASES: Final = (
    (_CONFIDENT, 0.0, ""),
    (0.5, 0.0, "Below 70%"),
    (_CONFIDENT, LONG_S, "If it lasts over two minutes, or is the third within an hour"),
)
"""Cases that may differ in severity: confidence, duration and description."""


def write_timeline(policy: AlertPolicy, room: Room, kind: EventKind, at: float) -> list[str]:
    """Return lines that describe what follows an alert of each severity."""
    lines: list[str] = []
    cases: dict[Severity, str] = {}
    for confidence, lasted_s, words in _CASES:
        cases.setdefault(grade(kind, confidence, lasted_s, 0), words)
    for severity, words in cases.items():
        alert = f"{words}, it is" if words else f"{kind} alert in {room.short_name}, severity"
        lines.append(f"{alert} {severity}. If nobody responds:")
        lines += _list_steps(policy, room, kind, severity, at)
    remind_s = policy.timings.acknowledged_for_s
    reopen_s = remind_s + policy.timings.reminded_for_s
    return [
        *lines,
        "If somebody acknowledges:",
        _write_line(0.0, "nobody else is notified; those notified learn who is responding"),
        _write_line(remind_s, "no answer: the responder is reminded"),
        _write_line(reopen_s, "still no answer: all of the above again, from the first step"),
    ]


def _list_steps(
    policy: AlertPolicy, room: Room, kind: EventKind, severity: Severity, at: float
) -> list[str]:
    """Return the steps of a chain to which nobody responds.

    If quiet hours defer the notices of everyone in a ring, the next ring follows without waiting.
    """
    labels = build_labels(room, kind=kind.value, severity=severity.value, sensor="")
    rings = policy.plan_rings(labels, at)
    if not rings:
        return [_write_line(0.0, "nobody: there is no staff")]
    zone, early_s = ZoneInfo(room.zone or policy.zone), 0.0
    steps = plan("", rings, severity, at, policy.timings)
    lines = [
        _write_line(None, f"receiver {one.receiver}: {one.explain()}")
        for one in policy.get_roster().match_routes(labels)
    ]
    for step, following in pairwise(steps):
        due, names, details, fallback = step.due_at - early_s, [], [], []
        for candidate in step.ring.people:
            member, name = policy.find_member(candidate.person), policy.find_name(candidate.person)
            hours = member.quiet if member and severity is not Severity.CRITICAL else ()
            until = find_quiet_end(hours, due)
            if until is None:
                names.append(name)
                details.append(f"{name}: {write_reason(candidate.why, policy.find_name)}")
                if member is not None and len(member.targets) > 1:
                    fallback.append(name)
            else:
                end = write_date(datetime.fromtimestamp(until, zone), "weekday and clock")
                details.append(f"{name}: quiet hours until {end}, notified then")
        again = f" (round {step.round})" if step.round > 1 else ""
        ring = f"{RING_WORDS[step.ring.name]}: {', '.join(names) or 'nobody'}{again}"
        lines.append(_write_line(due - at, ring))
        if step.round == 1:
            lines += [_write_line(None, detail) for detail in details]
            if fallback:
                second = f"{', '.join(fallback)}: second channel, if the first has not delivered"
                lines.append(_write_line(due - at + policy.timings.fallback_after_s, second))
        if not names and following.round == step.round and following.ring.people:
            early_s += following.due_at - step.due_at
    return [*lines, _write_line(steps[-1].due_at - early_s - at, "recorded: nobody responded")]


def _write_line(seconds: float | None, what: str) -> str:
    when = "" if seconds is None else _write_duration(seconds)
    return f"  {when:>8}  {what}"


def _write_duration(seconds: float) -> str:
    """Return a duration as text.

    >>> _write_duration(95.0), _write_duration(3600.0)
    ('1:35', '1:00:00')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
