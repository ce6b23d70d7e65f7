"""What keeps an incident from notifying people: a silence, another incident, a cooldown.

At the end of a mute the incident is checked again, and people are notified if it is still going on.
Silences and inhibiting incidents also mute escalation; a cooldown mutes no more severe incident.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from alerts.incidents import repository, silences
from alerts.incidents.incident import Mute, Suppression, labels_of
from alerts.routing.matchers import all_match
from alerts.routing.muting import inhibited_by
from language.facts import fact

if TYPE_CHECKING:
    import sqlite3

    from alerts.incidents.incident import Incident
    from alerts.policy import AlertPolicy
    from alerts.severity import Severity
    from storage.registry import Registry

_LOOK_AGAIN_S: Final = 15.0
"""After this, an incident that another one explains is looked at again."""


class Mutes:
    """Finds what mutes an incident."""

    def __init__(self, registry: Registry, policy: AlertPolicy) -> None:
        self._registry = registry
        self._policy = policy

    def of(
        self, tx: sqlite3.Connection, incident: Incident, severity: Severity, at: float
    ) -> Mute | None:
        """Return what keeps an incident from notifying people; None if nothing does."""
        muted = self.muted(tx, incident, at)
        if muted is not None:
            return muted
        cooldown = repository.cooldown(tx, incident.kind, incident.room)
        if cooldown is None or cooldown[0] <= at or severity.rank > cooldown[1].rank:
            return None
        return Mute(cooldown[0], fact(Suppression.COOLDOWN))

    def muted(self, tx: sqlite3.Connection, incident: Incident, at: float) -> Mute | None:
        """Return the silence or the other incident that mutes one; None if none does."""
        labels = labels_of(incident, self._registry)
        silence = silences.muting(tx, labels, at)
        if silence is not None:
            return Mute(silence.ends_at, silence.suppression)
        rules = [rule for rule in self._policy.inhibit if all_match(rule.target, labels)]
        if not rules:
            return None
        running = [i for i in repository.running(tx) if i.id != incident.id]
        source = inhibited_by(rules, labels, (labels_of(i, self._registry) for i in running))
        if source is None:
            return None
        by = fact(Suppression.INHIBITED, kind=source["kind"], room=source["room"])
        return Mute(at + _LOOK_AGAIN_S, by)
