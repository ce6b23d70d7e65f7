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
from alerts.policy import Severity, grade
from language.messages import write_date

if TYPE_CHECKING:
    from alerts.policy import AlertPolicy
    from detection.events import EventKind
    from storage.registry import Room

_CONFIDENT: Final = 0.9


def write_timeline(policy: AlertPolicy, room: Room, kind: EventKind, at: float) -> list[str]:
    """Return lines that describe who is notified after an alert if nobody responds.

    If quiet hours defer the notices of everyone in a ring, the next ring follows without waiting.
    """
    severity = grade(kind, _CONFIDENT, 0.0, 0)
    labels = build_labels(room, kind=kind.value, severity=severity.value, sensor="")
    zone, early_s = ZoneInfo(room.zone or policy.zone), 0.0
    steps = plan("", policy.plan_rings(labels, at), severity, at, policy.timings)
    lines = [f"{kind} alert in {room.short_name}, severity {severity}. If nobody responds:"]
    lines += [
        _write_line("", f"receiver {one.receiver}: {one.explain()}")
        for one in policy.get_roster().match_routes(labels)
    ]
    for step, following in pairwise(steps):
        due, names, details = step.due_at - early_s, [], []
        for candidate in step.ring.people:
            name, hours = (
                policy.find_name(candidate.person),
                policy.find_quiet_hours(candidate.person),
            )
            until = None if severity is Severity.CRITICAL else find_quiet_end(hours, due)
            if until is None:
                names.append(name)
                details.append(f"{name}: {write_reason(candidate.why, policy.find_name)}")
            else:
                end = write_date(datetime.fromtimestamp(until, zone), "weekday and clock")
                details.append(f"{name}: quiet hours until {end}, notified then")
        again = f" (round {step.round})" if step.round > 1 else ""
        ring = f"{RING_WORDS[step.ring.name]}: {', '.join(names) or 'nobody'}{again}"
        lines.append(_write_line(_write_duration(due - at), ring))
        lines += [_write_line("", detail) for detail in details if step.round == 1]
        if not names and following.round == step.round and following.ring.people:
            early_s += following.due_at - step.due_at
    ended = _write_duration(steps[-1].due_at - early_s - at)
    return [*lines, _write_line(ended, "recorded: nobody responded")]


def _write_line(when: str, what: str) -> str:
    return f"  {when:>8}  {what}"


def _write_duration(seconds: float) -> str:
    """Return a duration as text.

    >>> _write_duration(95.0), _write_duration(3600.0)
    ('1:35', '1:00:00')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
