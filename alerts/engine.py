"""Events in, rows out: incidents and notices inside the caller's transaction.

The consumer of the journal commits detector state, incidents, outbox and cursor together, so a
crash repeats a batch or none of it. Nothing here opens, commits, sleeps, logs or reads a clock;
`now` comes with every call. The rules are in `alerts.incidents`, the rows in
`alerts.repository`; this module joins them.

Within a batch each event is judged at the moment it speaks of, not at the end of the batch:
incidents that had gone quiet by then are resolved first, so a replay in large batches gives what
small ones give.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol
from zoneinfo import ZoneInfo

from alerts import level_moves, repository
from alerts.errors import UnknownIncidentError
from alerts.incidents import (
    Acknowledged,
    CancelUnsent,
    Delivered,
    Detected,
    EndCooldown,
    Feedback,
    Incident,
    NewIncident,
    Page,
    Record,
    Rules,
    StartCooldown,
    TellWithdrawn,
    Tick,
    follows,
    step,
)
from alerts.notice import Notice, NoticeReason, Priority
from alerts.policy import channel_of, target_id
from alerts.routing.labels import incident_labels
from detection.events import EventKind, EventPhase
from storage.registry import Room

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from alerts.incidents import Input, Verdict
    from alerts.policy import AlertPolicy
    from detection.events import Event
    from storage.registry import Registry

__all__ = ["AlertEngine", "AlertRecord", "Told"]

_URGENT: Final = frozenset({EventKind.VAPE, EventKind.SMOKE})
_REPLAY: Final = "replay"


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """One alert that staff would have got; a row of the replay's table of alerts.

    Attributes
    ----------
    sensor : str
        Sensor whose detection decided it.
    alerted, onset : float
        Event time of the decision and of the onset, Unix seconds.
    kind : EventKind
    confidence : float
        As known at the decision.
    incident : str
        Id of the incident.
    """

    sensor: str
    alerted: float
    kind: EventKind
    onset: float
    confidence: float
    incident: str


class Told(Protocol):
    """What the engine needs to know of a delivered notice."""

    @property
    def incident(self) -> str:
        """Id of the incident."""

    @property
    def person(self) -> str:
        """Id of the staff member."""

    @property
    def channel(self) -> str:
        """Channel that took it."""

    @property
    def notice(self) -> Notice:
        """What was said."""


class AlertEngine:
    """Joins detector events, people's answers and time into incidents.

    Parameters
    ----------
    registry : Registry
        Which sensor hangs where. Events of unknown sensors are stored and never alerted on.
    policy : AlertPolicy
    replay : bool
        Judge recorded data: unknown sensors get a room of their own, nothing is late, no notice
        is written, and an alert counts as delivered at its decision.
    """

    def __init__(self, registry: Registry, policy: AlertPolicy, *, replay: bool = False) -> None:
        self.registry = registry
        self.policy = policy
        self.replay = replay
        self._rules = Rules(policy.quiet_s, policy.silent_s, policy.cooldown_s)
        self._zone = ZoneInfo(policy.zone)

    def on_events(
        self, tx: sqlite3.Connection, events: Iterable[Event], now: float
    ) -> list[AlertRecord]:
        """Take what the detector said, in its order.

        Parameters
        ----------
        tx : sqlite3.Connection
            Inside a transaction of the caller.
        events : iterable of Event
        now : float
            Unix seconds; in replay the watermark of the readings.

        Returns
        -------
        list of AlertRecord
            Alerts decided here, in order.
        """
        records: list[AlertRecord] = []
        for event in events:
            at = _said_at(event, now)
            records += self.on_time(tx, at)
            records += self._on_event(tx, event, at, now)
        return records

    def on_time(self, tx: sqlite3.Connection, now: float) -> list[AlertRecord]:
        """Resolve what has gone quiet; tell what outlasted its cooldown."""
        records: list[AlertRecord] = []
        while (incident := repository.first_due(tx, now)) is not None:
            deadline = incident.next_deadline()
            _, more = self._apply(tx, incident, Tick(now if deadline is None else deadline))
            records += more
        return records

    def next_deadline(self, tx: sqlite3.Connection) -> float | None:
        """When `on_time` will have something to do; None if never."""
        return repository.next_incident_deadline(tx)

    def acknowledge(
        self, tx: sqlite3.Connection, incident_id: str, by: str, now: float, *, channel: str = ""
    ) -> Incident:
        """Record that a person takes an incident; unsent pages of it are cancelled.

        A second acknowledgement, or one after the end, is recorded and changes nothing else.

        Raises
        ------
        UnknownIncidentError
        """
        incident, _ = self._apply(tx, self._load(tx, incident_id), Acknowledged(by, now, channel))
        return incident

    def feedback(
        self,
        tx: sqlite3.Connection,
        incident_id: str,
        by: str,
        verdict: Verdict,
        now: float,
        *,
        cause: str = "",
        note: str = "",
    ) -> Incident:
        """Record what a person found; the last word counts, all are kept.

        What was found of an alert of vaping moves its sensor's level (`alerts.level_moves`).

        Raises
        ------
        UnknownIncidentError
        FeedbackError
            If verdict, cause and note do not fit.
        """
        said = Feedback(by, verdict, now, cause, note)
        incident, _ = self._apply(tx, self._load(tx, incident_id), said)
        repository.add_feedback(tx, incident_id, said)
        level_moves.on_feedback(tx, incident, said)
        return incident

    def delivered(self, tx: sqlite3.Connection, told: Told, now: float) -> None:
        """Record that a notice reached a person; the cooldown starts at the first page."""
        incident = self._load(tx, told.incident)
        if told.notice.reason is NoticeReason.OPENED:
            self._apply(tx, incident, Delivered(told.person, told.channel, now))
        else:
            detail = f"{told.notice.reason.value}: {told.person} by {told.channel}"
            repository.add_history(tx, incident.id, Record(now, "plumewatch", "notified", detail))

    def _load(self, tx: sqlite3.Connection, incident_id: str) -> Incident:
        incident = repository.load(tx, incident_id)
        if incident is None:
            raise UnknownIncidentError(f"no incident {incident_id[:40]!r}")
        return incident

    def _room(self, event: Event) -> Room | None:
        """Where it happened; an outage of several sensors is a place of its own."""
        room = self.registry.room_of(event.sensor)
        if room is None and (self.replay or event.kind is EventKind.OFFLINE):
            return Room(id=event.sensor, name=event.sensor, floor="", building="", site="")
        return room

    def _on_event(
        self, tx: sqlite3.Connection, event: Event, at: float, now: float
    ) -> list[AlertRecord]:
        heard = repository.heard(tx, event.id)
        if heard is not None and not follows(heard[0], event.phase):
            return []
        room = self._room(event)
        late = not self.replay and now - event.alerted > self.policy.late_s
        incident = None
        new = None
        if heard is not None and heard[1] is not None:
            incident = self._load(tx, heard[1])
        elif (
            room is not None
            and not late
            and event.kind in self.policy.pages
            and not event.explained_by
            and event.confidence >= self.policy.min_confidence
            and event.phase is not EventPhase.WITHDRAWN
        ):
            incident = repository.open_incident(tx, event.kind, room.id)
            if incident is None:
                new = NewIncident(
                    self._new_id(tx, at),
                    room.id,
                    repository.cooldown_until(tx, event.kind, room.id),
                )
        if incident is None and new is None:
            self._store(tx, event, room, None, at, late=late)
            return []
        following, effects = self._step(incident, Detected(event, at, new))
        repository.save(tx, following)
        self._store(tx, event, room, following.id, at, late=late)
        return self._carry_out(tx, following, effects)

    def _store(
        self,
        tx: sqlite3.Connection,
        event: Event,
        room: Room | None,
        incident: str | None,
        at: float,
        *,
        late: bool,
    ) -> None:
        repository.save_event(
            tx,
            event,
            room=None if room is None else room.id,
            incident=incident,
            late=late,
            heard_at=at,
        )

    def _new_id(self, tx: sqlite3.Connection, at: float) -> str:
        day = datetime.fromtimestamp(at, UTC).astimezone(self._zone).strftime("%Y%m%d")
        return f"{day}-{repository.next_number(tx, day):03d}"

    def _step(self, incident: Incident | None, given: Input) -> tuple[Incident, tuple[object, ...]]:
        result = step(incident, given, self._rules)
        return result.incident, result.effects

    def _apply(
        self, tx: sqlite3.Connection, incident: Incident, given: Input
    ) -> tuple[Incident, list[AlertRecord]]:
        following, effects = self._step(incident, given)
        if following != incident:
            repository.save(tx, following)
        return following, self._carry_out(tx, following, effects)

    def _carry_out(
        self, tx: sqlite3.Connection, incident: Incident, effects: tuple[object, ...]
    ) -> list[AlertRecord]:
        records: list[AlertRecord] = []
        for effect in effects:
            if isinstance(effect, Record):
                repository.add_history(tx, incident.id, effect)
            elif isinstance(effect, Page):
                records.append(self._page(tx, incident, effect))
            elif isinstance(effect, TellWithdrawn):
                self._tell_withdrawn(tx, incident, effect.at)
            elif isinstance(effect, CancelUnsent):
                repository.cancel_unsent(
                    tx, incident.id, NoticeReason.OPENED.value, effect.why, _latest(incident)
                )
            elif isinstance(effect, StartCooldown):
                repository.start_cooldown(tx, incident.kind, incident.room, effect.until)
            elif isinstance(effect, EndCooldown):
                repository.end_cooldown(tx, incident.kind, incident.room)
        return records

    def _page(self, tx: sqlite3.Connection, incident: Incident, page: Page) -> AlertRecord:
        record = AlertRecord(
            sensor=page.detection.sensor,
            alerted=page.at,
            kind=incident.kind,
            onset=page.detection.onset,
            confidence=page.detection.confidence,
            incident=incident.id,
        )
        if self.replay:
            self._apply(tx, incident, Delivered(_REPLAY, _REPLAY, page.at))
            return record
        notice = self._notice(tx, incident, page.detection.event_id, NoticeReason.OPENED)
        count = 0
        for member in self.policy.recipients(
            self._labels(incident, page.detection.sensor), page.at
        ):
            for target in member.targets:
                count += repository.add_notice(
                    tx,
                    notice,
                    person=member.id,
                    target=target_id(target),
                    channel=channel_of(target),
                    now=page.at,
                    expires_at=page.at + self.policy.expire_s,
                )
        if count:
            what, detail = "paged", f"{count} notice{'s' if count > 1 else ''}"
        else:
            what, detail = "nobody to tell", "no staff member has a channel"
        repository.add_history(tx, incident.id, Record(page.at, "plumewatch", what, detail))
        return record

    def _labels(self, incident: Incident, sensor: str) -> dict[str, str]:
        """By what an incident is routed."""
        urgent = incident.kind in _URGENT
        return incident_labels(
            self._place(incident),
            kind=incident.kind.value,
            severity="critical" if urgent else "warning",
            sensor=sensor,
        )

    def _place(self, incident: Incident) -> Room:
        """Room of an incident; an outage of several sensors is a place of its own."""
        known = self.registry.rooms.get(incident.room)
        return known or Room(incident.room, incident.room, "", "", "", kind="")

    def _tell_withdrawn(self, tx: sqlite3.Connection, incident: Incident, at: float) -> None:
        told = repository.told(tx, incident.id, NoticeReason.OPENED.value)
        if not told:
            return
        last = incident.detections[-1].event_id
        notice = self._notice(tx, incident, last, NoticeReason.WITHDRAWN)
        for person, target, channel in told:
            repository.add_notice(
                tx,
                notice,
                person=person,
                target=target,
                channel=channel,
                now=at,
                expires_at=at + self.policy.expire_s,
            )

    def _notice(
        self, tx: sqlite3.Connection, incident: Incident, event_id: str, reason: NoticeReason
    ) -> Notice:
        room = self._place(incident)
        if reason is NoticeReason.WITHDRAWN:
            priority = Priority.QUIET
        else:
            priority = Priority.URGENT if incident.kind in _URGENT else Priority.NORMAL
        url = self.policy.page_url
        return Notice(
            incident=incident.id,
            reason=reason,
            kind=incident.kind.value,
            room=room.name,
            floor=room.floor,
            building=room.building,
            since=incident.onset,
            evidence=repository.sentence(tx, event_id),
            zone=self.policy.zone,
            link=f"{url}/incidents/{incident.id}" if url else "",
            priority=priority,
        )


def _said_at(event: Event, now: float) -> float:
    """Event time at which the detector said it, never after `now`."""
    return min(now, float(event.time))


def _latest(incident: Incident) -> float:
    times = (incident.opened_at, incident.acknowledged_at, incident.resolved_at)
    return max(t for t in times if t is not None)
