"""What will become of the steps of a chain, as far as the settings alone tell.

Quiet hours are known beforehand; budgets and storms are not, so they are left out.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from alerts.escalation.steps import Action
from alerts.incidents.severity import Severity
from alerts.incidents.throttling import quiet_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from zoneinfo import ZoneInfo

    from alerts.escalation.steps import EscalationStep
    from alerts.incidents.throttling import Deferral, QuietHours


class PreviewStep(NamedTuple):
    """One step.

    Attributes
    ----------
    due_at : float
        When it runs, Unix seconds.
    held : mapping of str to Deferral
        Whose quiet hours keep them from being told, by person.
    """

    step: EscalationStep
    due_at: float
    held: Mapping[str, Deferral]


def escalation_preview(
    steps: Sequence[EscalationStep],
    severity: Severity,
    quiet: Callable[[str], Sequence[QuietHours]],
) -> Iterator[PreviewStep]:
    """Yield the steps as `alerts.escalation.escalator` will run them if nobody answers.

    A ring in which nobody hears does not wait; the next comes at once. If nobody of the whole chain
    hears, now or later, its last ring is everybody, quiet hours or not.

    Parameters
    ----------
    steps : sequence of EscalationStep
        From `alerts.escalation.steps.plan`.
    quiet : callable
        Quiet hours of a person.
    """
    earlier = 0.0
    reached = False
    for k, step in enumerate(steps):
        due = step.due_at - earlier
        held: dict[str, Deferral] = {}
        people = [candidate.person for candidate in step.ring.people]
        if severity is not Severity.CRITICAL:
            found = ((person, quiet_until(quiet(person), due)) for person in people)
            held = {person: until for person, until in found if until is not None}
        following = steps[k + 1] if k + 1 < len(steps) else None
        last = following is None or following.action is not Action.TELL
        reached = reached or len(held) < len(people) or any(not h.divert for h in held.values())
        if step.action is Action.TELL and last and not reached:
            held = {}
        yield PreviewStep(step, due, held)
        nobody = len(held) == len(people) > 0
        if nobody and following is not None and not last and following.round == step.round:
            earlier += following.due_at - step.due_at


def quiet_words(held: Deferral, zone: ZoneInfo) -> str:
    """Say what quiet hours do to a notice."""
    until = datetime.fromtimestamp(held.until, UTC).astimezone(zone)
    what = "passed over" if held.divert else "told then"
    return f"quiet hours until {until:%a %H:%M}, {what}"
