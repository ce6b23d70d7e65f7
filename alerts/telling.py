"""Who gets which notice of an incident: rows of the outbox, in the caller's transaction.

One notice for a person, an incident and an occasion, whatever happens: the occasion is the reason
for telling and, where that can come again, its number or its moment. Those who were told hear what
became of it; nobody else does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from alerts import escalation, repository
from alerts.notice import Notice, NoticeReason, Priority
from alerts.policy import channel_of, target_id
from alerts.routing.labels import incident_labels
from alerts.severity import Severity
from storage.registry import Room

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

    from alerts.incidents import Incident
    from alerts.policy import AlertPolicy
    from storage.registry import Registry

__all__ = ["Teller", "labels_of", "place_of"]

_LOUDNESS: Final = {
    Severity.INFO: Priority.NORMAL,
    Severity.WARNING: Priority.HIGH,
    Severity.CRITICAL: Priority.URGENT,
}


def labels_of(incident: Incident, registry: Registry) -> dict[str, str]:
    """Labels by which an incident is routed and silenced."""
    return incident_labels(
        place_of(registry, incident.room),
        kind=incident.kind.value,
        severity=incident.severity.value,
        sensor=incident.sensor,
    )


def place_of(registry: Registry, room: str) -> Room:
    """Room of an incident; an outage of several sensors is a place of its own."""
    return registry.rooms.get(room) or Room(room, room, "", "", "", kind="")


class Teller:
    """Writes notices.

    Parameters
    ----------
    registry : Registry
    policy : AlertPolicy
    """

    def __init__(self, registry: Registry, policy: AlertPolicy) -> None:
        self._registry = registry
        self._policy = policy

    def page(
        self,
        tx: sqlite3.Connection,
        incident: Incident,
        people: Collection[str],
        at: float,
        *,
        round_: int = 1,
        note: str = "",
    ) -> int:
        """Tell people of an incident, each once a round; how many notices that makes."""
        notice = self._notice(tx, incident, NoticeReason.OPENED, note=note)
        occasion = "" if round_ == 1 else str(round_)
        return sum(self._tell(tx, notice, person, at, occasion) for person in people)

    def hand_over(self, tx: sqlite3.Connection, incident: Incident, by: str, at: float) -> int:
        """Tell whoever has it now that it was handed over by somebody."""
        giver = self._policy.name_of(by)
        notice = self._notice(tx, incident, NoticeReason.HANDED_OVER, by=giver)
        return self._tell(tx, notice, incident.acknowledged_by, at, f"{at:.0f}")

    def remind(self, tx: sqlite3.Connection, incident: Incident, at: float, note: str) -> int:
        """Remind whoever has it."""
        notice = self._notice(tx, incident, NoticeReason.REMINDER, note=note)
        return self._tell(tx, notice, incident.acknowledged_by, at, f"{at:.0f}")

    def follow_up(
        self,
        tx: sqlite3.Connection,
        incident: Incident,
        reason: NoticeReason,
        at: float,
        *,
        only: str = "",
    ) -> None:
        """Tell those who were told what became of it, on the channel that reached them.

        Parameters
        ----------
        tx : sqlite3.Connection
        incident : Incident
        reason : NoticeReason
            `TAKEN`, `WITHDRAWN` or `RECOVERED`.
        at : float
        only : str
            Just this person of them; empty for all. Who has it is never told that they have.
        """
        by, occasion = "", ""
        if reason is NoticeReason.TAKEN:
            by = self._policy.name_of(incident.acknowledged_by)
            occasion = str(escalation.last_round(tx, incident.id)[0])  # grows each time it is taken
        told = repository.told(tx, incident.id)
        notice = self._notice(tx, incident, reason, by=by)
        for person, target, channel in told:
            has_it = by and by == self._policy.name_of(person)
            if has_it or (only and person != only):
                continue
            repository.add_notice(
                tx,
                notice,
                person=person,
                target=target,
                channel=channel,
                now=at,
                expires_at=at + self._policy.expire_s,
                occasion=occasion,
            )

    def _tell(
        self, tx: sqlite3.Connection, notice: Notice, person: str, at: float, occasion: str
    ) -> int:
        member = self._policy.member(person)
        if member is None:
            return 0
        return sum(
            repository.add_notice(
                tx,
                notice,
                person=member.id,
                target=target_id(target),
                channel=channel_of(target),
                now=at,
                expires_at=at + self._policy.expire_s,
                occasion=occasion,
            )
            for target in member.targets
        )

    def _notice(
        self,
        tx: sqlite3.Connection,
        incident: Incident,
        reason: NoticeReason,
        *,
        by: str = "",
        note: str = "",
    ) -> Notice:
        room = place_of(self._registry, incident.room)
        url = self._policy.page_url
        return Notice(
            incident=incident.id,
            reason=reason,
            kind=incident.kind.value,
            room=room.name,
            floor=room.floor,
            building=room.building,
            since=incident.onset,
            evidence=repository.sentence(tx, incident.detections[-1].event_id),
            zone=self._policy.zone,
            link=f"{url}/incidents/{incident.id}" if url else "",
            priority=_LOUDNESS[incident.severity] if reason.asks else Priority.QUIET,
            by=by,
            note=note,
        )
