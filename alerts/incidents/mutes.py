"""What keeps an incident from notifying people: a silence, another incident, a cooldown.

At the end of a mute the incident is checked again, and people are notified if it is still going on.
Silences also mute escalation, and so does an offline sensor, which is not reported as faulty too; a
cooldown mutes no more severe incident.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from alerts.incidents import repository
from alerts.incidents.incident import Mute, Suppression, labels_of
from alerts.incidents.silences import read_silence
from detection.events import EventKind
from language.facts import fact

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from alerts.incidents.incident import Incident
    from alerts.incidents.silences import Silence
    from alerts.severity import Severity
    from storage.registry import Registry

_LOOK_AGAIN_S: Final = 15.0
"""After this, an incident that another one explains is looked at again."""


def mute_of(
    tx: sqlite3.Connection, incident: Incident, severity: Severity, at: float, registry: Registry
) -> Mute | None:
    """Return what keeps an incident from notifying people; None if nothing does."""
    lasting = lasting_mute_of(tx, incident, at, registry)
    if lasting is not None:
        return lasting
    cooldown = repository.cooldown(tx, incident.kind, incident.room)
    if cooldown is None or cooldown[0] <= at or severity.rank > cooldown[1].rank:
        return None
    return Mute(cooldown[0], fact(Suppression.COOLDOWN))


def lasting_mute_of(
    tx: sqlite3.Connection, incident: Incident, at: float, registry: Registry
) -> Mute | None:
    """Return the silence or the outage that mutes an incident; None if none does."""
    silence = silence_of(tx, labels_of(incident, registry), at)
    if silence is not None:
        return Mute(silence.ends_at, silence.suppression)
    if incident.kind is not EventKind.SENSOR_FAULT:
        return None
    row = tx.execute(
        "SELECT room FROM incident WHERE kind = ? AND sensor = ? AND status <> 'resolved'",
        (EventKind.OFFLINE.value, incident.sensor),
    ).fetchone()
    if row is None:
        return None
    by = fact(Suppression.INHIBITED, kind=EventKind.OFFLINE.value, room=row["room"])
    return Mute(at + _LOOK_AGAIN_S, by)


def silence_of(tx: sqlite3.Connection, labels: Mapping[str, str], at: float) -> Silence | None:
    """Of the silences that mute these labels at a moment, return the one that ends last."""
    rows = tx.execute(
        "SELECT * FROM silence WHERE ends_at > ?1 AND starts_at <= ?1 ORDER BY ends_at DESC, id",
        (at,),
    )
    return next((s for s in map(read_silence, rows) if s.mutes(labels)), None)
