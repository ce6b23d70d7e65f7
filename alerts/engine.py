"""Create and update incidents and notices from detector events, staff responses and time.

All rows are written in the caller's transaction; nothing here commits, sleeps, logs or reads a
clock. Each event in a batch is processed at its own time, after incidents with an earlier deadline
are updated. A replay therefore gives the same result no matter how it is split into batches.
Escalation steps run by the clock instead, because they wait for people. Overdue steps never run all
at once.

Methods that record what a person did raise `UnknownIncidentError` if there is no such incident.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from alerts.duty.roster import build_labels
from alerts.errors import AnsweredError, UnknownIncidentError
from alerts.escalation import escalator as escalation
from alerts.escalation.escalator import Action, Escalator
from alerts.incidents import effects, inputs, repository, silences, threshold_adjustments
from alerts.incidents.history import Happened, Record
from alerts.incidents.incident import SYSTEM, Mute, Rules, Status, Suppression, Verdict
from alerts.incidents.lifecycle import step
from alerts.incidents.repository import find_lasting_mute, find_mute
from alerts.incidents.stuck_incidents import StuckKind, find_stuck
from alerts.notify import outbox as outbox_rows
from alerts.notify.notice import Note, NoticeReason
from alerts.notify.notice_writer import NoticeWriter, drop_deferred
from alerts.policy import ROUTED, Severity, get_repeat_window_s
from detection.events import UNRELIABLE, EventKind, EventPhase, is_device_alarm
from language.messages import Fact, build_fact
from storage.registry import Room

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from alerts.incidents.incident import ActionClass, Incident
    from alerts.incidents.lifecycle import Step
    from alerts.incidents.silences import Silence
    from alerts.incidents.stuck_incidents import StuckItem
    from alerts.notify.outbox import OutboxRow
    from alerts.policy import AlertPolicy
    from detection.events import Event
    from storage.registry import Registry

_REPLAY: Final = "replay"
_LASTS_S: Final = 6 * 3600.0
"""A device event that continues this many seconds after people answered it is reported again."""
_MAX_DECLINED: Final = 2
"""How many times a person can decline an incident; each time, other people are paged."""
_LATE_RECHECK_S: Final = 60.0
"""Seconds until an incident opened by late readings is checked again."""


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """One alert: a row in the replay's alert table. Times are event times in Unix seconds."""

    sensor: str
    alerted: float
    kind: EventKind
    onset: float
    confidence: float
    incident: str


class AlertEngine:
    """Creates and updates incidents from detector events, staff responses and time.

    Events from unregistered sensors are stored but never raise an alert. In a `replay`, an
    unregistered sensor gets its own room, nothing counts as late, no notices are written, and each
    alert counts as delivered at once.
    """

    def __init__(self, registry: Registry, policy: AlertPolicy, *, replay: bool = False) -> None:
        self.registry = registry
        self.replay = replay
        self.use_policy(policy)

    def use_policy(self, policy: AlertPolicy) -> None:
        """Switch to another policy; a running transaction may still use the previous one."""
        registry, self.policy = self.registry, policy
        self._rules = Rules(policy.cooldown_s, runs_chain=not self.replay)
        self._zone = ZoneInfo(policy.zone)
        self._notices = NoticeWriter(registry, policy)
        self._escalator = Escalator(registry, policy, self._notices)

    def on_events(
        self, tx: sqlite3.Connection, events: Iterable[Event], now: float, step_s: float = 0.0
    ) -> list[AlertRecord]:
        """Process events in order; the clock was set ahead by `step_s` since their detection."""
        records: list[AlertRecord] = []
        for event in events:
            time = float(event.time) + step_s
            at = now if self._is_late(time, now) else min(now, time)
            records += self._pass_time(tx, at, now)
            records += self._on_event(tx, event, at, now, step_s)
        return records

    def on_time(self, tx: sqlite3.Connection, now: float) -> list[AlertRecord]:
        """Update incidents, run escalation steps and send deferred notices that are due."""
        records = self._pass_time(tx, now, now)
        while (due := escalation.load_first_due(tx, now)) is not None:
            incident = self._load(tx, due.incident)
            if due.action is Action.REOPEN:
                incident, _ = self._apply(tx, incident, inputs.AckExpired(now), now)
            self._escalator.run(tx, incident, due, now)
            if due.action is Action.END:
                self._apply(tx, incident, inputs.ChainEnded(now), now)
        self._notices.flush(tx, now)
        return records

    def next_deadline(self, tx: sqlite3.Connection) -> float | None:
        """Return when `on_time` next has work to do, or None."""
        due: float | None = tx.execute(
            "SELECT min(at) FROM (SELECT min(next_deadline) AS at FROM incident"
            " WHERE next_deadline IS NOT NULL UNION ALL"
            " SELECT min(due_at) FROM escalation_step WHERE done_at IS NULL UNION ALL"
            " SELECT min(due_at) FROM held_notice WHERE done_at IS NULL)"
        ).fetchone()[0]
        return due

    def acknowledge(
        self, tx: sqlite3.Connection, incident_id: str, by: str, now: float, *, channel: str = ""
    ) -> Incident:
        """Record that a person is responding, stop paging, and notify everyone who was paged.

        The acknowledgment expires unless the person reports back in time (`EscalationTimings`).
        Repeats are ignored, and so is anyone who has already declined `_MAX_DECLINED` times.
        """
        same = (Happened.ACKNOWLEDGED, Happened.ACKNOWLEDGED_TOO)
        return self._respond(tx, incident_id, inputs.Acknowledged(by, now, channel), *same)

    def arrive(
        self, tx: sqlite3.Connection, incident_id: str, by: str, now: float, *, channel: str = ""
    ) -> Incident:
        """Record that a person is on site, which acknowledges the incident; ignore repeats."""
        return self._respond(tx, incident_id, inputs.Arrived(by, now, channel), *repository.ARRIVED)

    def _respond(
        self,
        tx: sqlite3.Connection,
        incident_id: str,
        given: inputs.Acknowledged | inputs.Arrived,
        *same: Happened,
    ) -> Incident:
        incident = self._load(tx, incident_id)
        unanswered = incident.status in (Status.OPEN, Status.NOTIFIED)
        count = partial(repository.count_answers, tx, incident_id, given.by)
        if count([Happened.DECLINED]) >= _MAX_DECLINED or (not unanswered and count(same)):
            return incident
        return self._record(tx, incident_id, given, given.at)

    def decline(
        self, tx: sqlite3.Connection, incident_id: str, by: str, now: float, *, channel: str = ""
    ) -> Incident:
        """Record that a person can't go, and page the next people now; repeats are ignored."""
        before = self._load(tx, incident_id)
        number = repository.count_answers(tx, incident_id, by, [Happened.DECLINED])
        if number >= _MAX_DECLINED or repository.has_declined(tx, incident_id, by):
            return before
        incident = self._record(tx, incident_id, inputs.Declined(by, now, channel), now)
        if incident.is_open and not incident.verdict:
            self._escalator.decline(tx, incident, by, now, responded=before.is_responder(by))
        return incident

    def resolve(
        self, tx: sqlite3.Connection, incident_id: str, by: str, now: float, *, channel: str = ""
    ) -> Incident:
        """Record that a person closed the incident, and stop paging."""
        return self._record(tx, incident_id, inputs.Resolved(by, now, channel), now)

    def answer_test(
        self, tx: sqlite3.Connection, room: str, span: tuple[float, float], by: str
    ) -> list[str]:
        """Answer a room's unanswered incidents in a time span with "test".

        Return the ids of all the room's incidents in the span.
        """
        rows = tx.execute(
            "SELECT id, verdict FROM incident WHERE room = ? AND opened_at BETWEEN ? AND ?"
            " ORDER BY opened_at",
            (room, *span),
        ).fetchall()
        for row in rows:
            if not row["verdict"]:
                self.record_feedback(tx, row["id"], by, Verdict.TEST, span[1])
        return [str(row["id"]) for row in rows]

    def record_feedback(
        self,
        tx: sqlite3.Connection,
        incident_id: str,
        by: str,
        verdict: Verdict,
        now: float,
        *,
        cause: str = "",
        note: str = "",
        replaces: int | None = None,
    ) -> Incident:
        """Record a person's verdict. The latest verdict counts, but all are kept except repeats.

        A verdict on a vaping alert adjusts its sensor's alert threshold (`threshold_adjustments`).
        If it contradicts another person's verdict, that person is notified. `replaces` is the
        number of the verdict that the person saw. Raises `FeedbackError` for an answer that is not
        possible, and `AnsweredError` if another person has since given a different verdict.
        """
        feedback = inputs.Feedback(by, verdict, now, cause, note)
        incident = self._load(tx, incident_id)
        unanswered = incident.status in (Status.OPEN, Status.NOTIFIED)
        number, before = repository.load_last_feedback(tx, incident_id) or (0, None)
        if not unanswered and before and replace(before, at=now) == feedback:
            return incident
        found = (verdict, cause)
        contradicts = before and before.by != by and (before.verdict, before.cause) != found
        if before and contradicts and replaces not in (None, number):
            raise AnsweredError(number, before.by, before.at, before.verdict, before.cause)
        incident = self._record(tx, incident_id, feedback, now)
        repository.add_feedback(tx, incident_id, feedback)
        if before and contradicts:
            self._notices.notify_replaced(tx, incident, before, feedback, str(number))
        threshold_adjustments.adjust_from_feedback(tx, incident, feedback)
        return incident

    def record_action(
        self,
        tx: sqlite3.Connection,
        incident_id: str,
        by: str,
        action: ActionClass | None,
        now: float,
        *,
        case_number: str = "",
    ) -> Incident:
        """Record the action taken; raise `FeedbackError` if it is invalid or has no verdict."""
        given = inputs.ActionReported(by, action, now, case_number)
        return self._record(tx, incident_id, given, now)

    def record_delivery(self, tx: sqlite3.Connection, row: OutboxRow, now: float) -> None:
        """Record that a notice reached a person; the first page starts the cooldown."""
        reason = row.notice.reason
        if reason in (NoticeReason.OPENED, NoticeReason.DIGEST):
            for incident_id in row.notice.incidents or (row.incident,):
                self._record(tx, incident_id, inputs.Delivered(row.person, row.channel, now), now)
        else:
            delivered = {"reason": reason, **row.recipient}
            repository.note(tx, row.incident, now, Happened.NOTIFIED, **delivered)

    def fall_back(self, tx: sqlite3.Connection, now: float, refused: int | None = None) -> None:
        """Try the next channel for undelivered notices that are due, and for notice `refused`."""
        self._notices.fall_back(tx, now, refused)

    def escalate_undelivered(self, tx: sqlite3.Connection, incident_id: str, now: float) -> None:
        """Escalate after a notice has failed for good, unless another was sent or is pending."""
        self._escalator.advance_undelivered(tx, incident_id, now)

    def check_stuck(self, tx: sqlite3.Connection, now: float) -> list[StuckItem]:
        """Find stuck items, and restart incidents that have no next step or no reminder."""
        found = find_stuck(tx, now)
        for item in found:
            if item.what not in (StuckKind.NO_STEP, StuckKind.NO_REMINDER):
                continue
            incident = self._load(tx, item.subject)
            repository.note(tx, incident.id, now, Happened.RESTARTED, stuck=item.what)
            if item.what is StuckKind.NO_STEP:
                self._escalator.begin(tx, incident, now)
            else:
                self._escalator.await_answer(tx, incident, now)
        return found

    def report_lasting(self, tx: sqlite3.Connection, now: float) -> None:
        """Open a new incident for each device event that continues long after its answer."""
        for event in repository.load_lasting(tx, now - _LASTS_S):
            over = replace(event, phase=EventPhase.ENDED, end=now, time=now)
            new_id = event.id + repository.AGAIN
            again = replace(
                event, id=new_id, phase=EventPhase.ALERTED, onset=now, alerted=now, time=now
            )
            self._on_event(tx, over, now, now, 0.0)
            self._on_event(tx, again, now, now, 0.0)

    def close_former(self, tx: sqlite3.Connection, now: float) -> None:
        """Close open incidents in closed schools and record why; nobody is paged."""
        former = json.dumps(list(self.registry.former))
        rows = tx.execute(
            "SELECT id FROM incident WHERE status <> 'resolved'"
            " AND room IN (SELECT value FROM json_each(?))",
            (former,),
        )
        for row in rows.fetchall() if self.registry.former else ():
            ended = inputs.Resolved(SYSTEM, now, because={"because": "school_closed"})
            self._record(tx, row["id"], ended, now)

    def end_silence(self, tx: sqlite3.Connection, silence_id: int, by: str, now: float) -> Silence:
        """End a silence early; people are then paged for incidents still in progress."""
        ended = silences.end(tx, silence_id, by, now)
        for incident in repository.load_suppressed(tx, ended.suppression):
            repository.save(tx, replace(incident, held_until=now))
        return ended

    def _record(
        self, tx: sqlite3.Connection, incident_id: str, given: inputs.Input, now: float
    ) -> Incident:
        incident, _ = self._apply(tx, self._load(tx, incident_id), given, now)
        return incident

    def _load(self, tx: sqlite3.Connection, incident_id: str) -> Incident:
        incident = repository.load(tx, incident_id)
        if incident is None:
            raise UnknownIncidentError(f"no incident {incident_id[:40]!r}")
        return incident

    def _pass_time(self, tx: sqlite3.Connection, at: float, now: float) -> list[AlertRecord]:
        """Advance incidents to `at`, each at its own deadline."""
        records: list[AlertRecord] = []
        while (incident := repository.load_first_due(tx, at)) is not None:
            deadline = incident.next_deadline()
            due = at if deadline is None else min(deadline, at)
            repository.save(tx, incident)  # a clock step may have moved the stored deadline
            records += self._advance(tx, incident, due, now)
        return records

    def _is_late(self, time: float, now: float) -> bool:
        return not self.replay and now - time > self.policy.late_s

    def _advance(
        self,
        tx: sqlite3.Connection,
        incident: Incident,
        at: float,
        now: float,
        *,
        is_live: bool = False,
    ) -> list[AlertRecord]:
        held = incident.held_until is not None
        mute = find_mute(tx, incident, at, self.registry) if held else None
        if incident.suppressed_by and incident.is_late and held and not is_live:
            mute = Mute(at + _LATE_RECHECK_S, incident.suppressed_by)
        _, records = self._apply(tx, incident, inputs.Tick(at, mute), now)
        return records

    def _find_room(self, event: Event) -> Room | None:
        """Return the event's room, or None; events without a place get a room of their own."""
        room = self.registry.find_room(event.sensor)
        placeless = event.kind in {EventKind.OFFLINE, EventKind.SERVICE}
        if room is None and (self.replay or placeless):
            return Room(id=event.sensor, name=event.sensor, floor="", building="", site="")
        return room

    def _add_device_name(self, event: Event) -> Event:
        sensor = self.registry.sensors.get(event.sensor)
        name = sensor.model or sensor.decoder if sensor else ""
        if not name or not is_device_alarm(event.model_version):
            return event
        named = (Fact(detail.code, {**detail.params, "device": name}) for detail in event.details)
        return replace(event, details=tuple(named))

    def _on_event(
        self, tx: sqlite3.Connection, event: Event, at: float, now: float, step_s: float
    ) -> list[AlertRecord]:
        event = self._add_device_name(event)
        known = repository.find_event(tx, event.id)
        if known is not None:
            if known["phase"] == EventPhase.ENDED:
                return []
            event = replace(event, id=known["id"], onset=known["onset"])
        room = self._find_room(event)
        incident, given = None, None
        notifies = room is not None and self._wants_notice(event, room)
        if known is not None and known["incident"] is not None:
            incident = self._load(tx, known["incident"])
            given = inputs.Detected(event, at, notifies=notifies)
        elif room is not None and event.kind in ROUTED and not event.explained_by:
            incident = repository.load_open(tx, event.kind, room.id)
            answered = incident if incident and incident.is_answered_before(event) else None
            incident = None if answered else incident
            late = self._is_late(event.alerted + step_s, now)
            mute = self._build_late_mute(event, room, at) if late else None
            given = inputs.Detected(event, at, None, mute, notifies)
            given = self._join(tx, incident, given) if incident else self._open(tx, given, room)
            if answered and given.new:
                ended = inputs.Resolved(SYSTEM, at, because={"follows": given.new.id})
                self._apply(tx, answered, ended, now)
        store = partial(repository.save_event, tx, event, room.id if room else None, at)
        if given is None:
            store()
            return []
        result = step(incident, given, self._rules)
        repository.save(tx, result.incident)
        store(incident=result.incident.id)
        records = self._carry_out(tx, result, now)
        if known is None and not self.replay:
            self._follow_up(tx, event, result.incident, now)
        following, is_live = result.incident, not self._is_late(event.time + step_s, now)
        if following.held_until is not None and following.is_late and is_live:
            following = replace(following, held_until=at)
        if following.held_until is not None and following.held_until <= at:
            records += self._advance(tx, following, at, now, is_live=is_live)
        return records

    def _follow_up(
        self, tx: sqlite3.Connection, event: Event, incident: Incident, now: float
    ) -> None:
        """Page people whose deferral a new event ends; warn of an unreliable sensor."""
        self._notices.page_deferred(tx, incident, now)
        if any(detail.code in UNRELIABLE for detail in event.details):
            self._escalator.warn_on_duty(tx, incident, now)

    def _wants_notice(self, event: Event, room: Room) -> bool:
        """Return whether an event notifies people; possible vaping needs a route that names it."""
        if event.kind is not EventKind.POSSIBLE:
            return True
        labels = build_labels(room, kind=event.kind, severity=Severity.INFO, sensor=event.sensor)
        return any(
            node.constrains("kind") for node in self.policy.get_roster().match_routes(labels)
        )

    def _join(
        self, tx: sqlite3.Connection, incident: Incident, given: inputs.Detected
    ) -> inputs.Detected:
        """Add the applicable mute, if any, to a detection that joins an open incident."""
        event, at = given.event, given.at
        becomes = replace(incident, kind=event.kind) if incident.becomes_likely(event) else incident
        mute, unpaged = given.mute, incident.status is Status.OPEN and not incident.paged
        if mute is None and incident.status is Status.ACKNOWLEDGED:
            mute = find_lasting_mute(tx, becomes, at, self.registry)
        elif mute is None and (unpaged or becomes is not incident):
            mute = find_mute(tx, becomes, at, self.registry)
        return replace(given, mute=mute)

    def _open(self, tx: sqlite3.Connection, given: inputs.Detected, room: Room) -> inputs.Detected:
        """Add the new incident and its mute, if any, to a detection that opens an incident."""
        at, kind = given.at, given.event.kind
        since = at - get_repeat_window_s(kind)
        new = inputs.NewIncident(
            self._assign_id(tx, at),
            room.id,
            repository.count_repeats(tx, kind, room.id, since),
            repository.find_last_answered(tx, kind, room.id, since),
        )
        given = replace(given, new=new)
        if given.mute is not None:
            return given
        opened = step(None, given, self._rules).incident
        is_responding = self._escalator.find_responder(tx, opened, at)
        find = find_lasting_mute if is_responding else find_mute
        return replace(given, mute=find(tx, opened, at, self.registry))

    def _build_late_mute(self, event: Event, room: Room, at: float) -> Mute:
        zone = ZoneInfo(room.zone or self.policy.zone)
        alerted, received = (datetime.fromtimestamp(t, zone) for t in (event.alerted, at))
        form = "%H:%M:%S" if alerted.date() == received.date() else "%Y-%m-%d %H:%M:%S"
        times = {"alerted": f"{alerted:{form}}", "received": f"{received:{form}}"}
        return Mute(at + _LATE_RECHECK_S, Fact(Suppression.LATE, {**times}))

    def _assign_id(self, tx: sqlite3.Connection, at: float) -> str:
        day = datetime.fromtimestamp(at, UTC).astimezone(self._zone).strftime("%Y%m%d")
        return f"{day}-{repository.find_next_number(tx, day):03d}"

    def _apply(
        self, tx: sqlite3.Connection, incident: Incident, given: inputs.Input, now: float
    ) -> tuple[Incident, list[AlertRecord]]:
        result = step(incident, given, self._rules)
        if result.incident != incident:
            repository.save(tx, result.incident)
        return result.incident, self._carry_out(tx, result, now)

    def _carry_out(  # noqa: C901 - one arm per effect
        self, tx: sqlite3.Connection, result: Step, now: float
    ) -> list[AlertRecord]:
        incident, notices = result.incident, self._notices
        records: list[AlertRecord] = []
        for effect in result.effects:
            match effect:
                case Record():
                    repository.add_history(tx, incident.id, effect)
                case effects.Page():
                    records.append(self._page(tx, incident, effect, now))
                case effects.Stop():
                    escalation.finish_steps(tx, incident.id, effect.at)
                    if effect.unsent:
                        outbox_rows.cancel_unsent(tx, incident.id, effect.at)
                        drop_deferred(tx, incident.id, effect.at)
                case effects.SeverityRaised():
                    notices.page_deferred(tx, incident, effect.at)
                    self._escalator.reschedule(tx, incident, effect.before, effect.at)
                case effects.ScheduleAckDeadline():
                    self._escalator.await_answer(tx, incident, effect.at)
                case effects.NotifyAgain():
                    note, reason = build_fact(Note.RESPONDING), NoticeReason.AGAIN
                    notices.notify_responder(tx, incident, effect.at, reason, note, effect.onset)
                case effects.NotifyOutcome(at, only, is_over):
                    reason = NoticeReason.RECOVERED if is_over else NoticeReason.TAKEN
                    steps = escalation.load_steps(tx, incident.id)
                    # a new number each time the incident is acknowledged
                    occasion = str(escalation.find_last_round(steps)[0])
                    notices.notify_outcome(tx, incident, reason, at, occasion, only=only)
                case effects.StartCooldown(until, severity):  # never shorten a running cooldown
                    tx.execute(
                        "INSERT INTO cooldown VALUES (?, ?, ?, ?) ON CONFLICT (kind, room)"
                        " DO UPDATE SET severity = excluded.severity,"
                        " until = max(until, excluded.until)",
                        (incident.kind.value, incident.room, until, severity.value),
                    )
                case effects.EndCooldown():
                    ended = "DELETE FROM cooldown WHERE kind = ? AND room = ?"
                    tx.execute(ended, (incident.kind.value, incident.room))
        return records

    def _page(
        self, tx: sqlite3.Connection, incident: Incident, page: effects.Page, now: float
    ) -> AlertRecord:
        if self.replay:
            self._apply(tx, incident, inputs.Delivered(_REPLAY, _REPLAY, page.at), now)
        else:
            self._escalator.begin(tx, incident, now, anew=True)
        decided = page.detection
        return AlertRecord(
            decided.sensor, page.at, incident.kind, decided.onset, decided.confidence, incident.id
        )
