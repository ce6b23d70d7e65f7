"""What the settings lead to, moment by moment, so that nobody has to work it out in their head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from alerts.escalation.preview import escalation_preview, quiet_words
from alerts.escalation.steps import Action, after_acknowledgement, plan
from alerts.escalation.timings import STORM_S
from alerts.incidents.incident import Rules
from alerts.incidents.lifecycle import cooldown_s
from alerts.incidents.severity import grade
from alerts.routing.labels import incident_labels

if TYPE_CHECKING:
    from alerts.incidents.severity import Severity
    from alerts.policy import AlertPolicy
    from detection.events import EventKind
    from storage.registry import Room

_SURE: Final = 0.9


def timeline(policy: AlertPolicy, room: Room, kind: EventKind, at: float) -> list[str]:
    """Return what follows an alert if nobody answers, and if somebody does, one line each.

    Parameters
    ----------
    kind : EventKind
        Of a sure detection that ends soon.
    at : float
        When it is told, Unix seconds: decides who is on duty.
    """
    severity = grade(kind, _SURE, 0.0, 0)
    lines = [f"An alert of {kind} in {room.name}: {severity}. If nobody answers:"]
    lines += _unanswered(policy, room, kind, severity, at)
    lines.append("If somebody takes it:")
    lines.append(_at(0.0, "nobody else is asked; those told hear who has it"))
    remind, reopen = after_acknowledgement("", 0.0, policy.timings, seq=1, round_=1)
    lines.append(_at(remind.due_at, "no word from them: a reminder"))
    lines.append(_at(reopen.due_at, "still no word: all of the above again, from the first"))
    lines.append("In between:")
    return lines + _calm(policy, kind)


def _unanswered(
    policy: AlertPolicy, room: Room, kind: EventKind, severity: Severity, at: float
) -> list[str]:
    labels = incident_labels(room, kind=kind.value, severity=severity.value, sensor="")
    rings = policy.rings(labels, at)
    if not rings:
        return [_at(0.0, "nobody: there is no staff")]
    zone = ZoneInfo(policy.zone)
    lines = []
    for step, due_at, held in escalation_preview(
        plan("", rings, severity, at, policy.timings), severity, policy.quiet_of
    ):
        after_s = due_at - at
        if step.action is Action.END:
            lines.append(_at(after_s, "on record: nobody answered"))
            continue
        people = [c.person for c in step.ring.people]
        names = ", ".join(policy.name_of(person) for person in people if person not in held)
        again = f" (round {step.round})" if step.round > 1 else ""
        lines.append(_at(after_s, f"{step.ring.name}: {names or 'nobody'}{again}"))
        lines += [
            _at("", f"{policy.name_of(person)}: {quiet_words(until, zone)}")
            for person, until in held.items()
        ]
        second = [p for p in people if p not in held and _has_second(policy, p)]
        if second and step.round == 1:
            after = after_s + policy.timings.fallback_after_s
            names = ", ".join(map(policy.name_of, second))
            lines.append(_at(after, f"{names}: the next channel, where the first has not taken it"))
    return lines


def _has_second(policy: AlertPolicy, person: str) -> bool:
    member = policy.member(person)
    return member is not None and len(member.targets) > 1


def _calm(policy: AlertPolicy, kind: EventKind) -> list[str]:
    timings = policy.timings
    rules = Rules(policy.quiet_s, policy.silent_s, policy.cooldown_s)
    quiet = cooldown_s(kind, 0, rules)
    return [
        _at(quiet, "after a delivered notice: until then the same room and kind stay quiet,"),
        _at("", "unless it is more severe; what still goes on then is told"),
        _at(policy.quiet_s, "after the last detection has ended: over, nobody is asked any more"),
        _at(timings.gather_s, "in a storm: so often further rooms of a floor come, together, once"),
        _at("", f"{timings.storm_rooms} were told one by one within {_clock(STORM_S)}"),
        _at(
            3600.0, f"holds {timings.notices_per_hour} notices a person at most; what comes beyond"
        ),
        _at("", "is one notice, except what is critical"),
    ]


def _at(seconds: float | str, what: str) -> str:
    shown = seconds if isinstance(seconds, str) else _clock(seconds)
    return f"  {shown:>8}  {what}"


def _clock(seconds: float) -> str:
    """Write a duration.

    Examples
    --------
    >>> _clock(95.0), _clock(3600.0)
    ('1:35', '1:00:00')
    """
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours}:{minutes:02}:{whole % 60:02}"
    return f"{minutes}:{whole % 60:02}"
