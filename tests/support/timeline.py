"""Give inputs at moments and state who must be notified of what and when: alerting on a fake clock.

A `Timeline` drives the real engine and the real outbox rows over a database, second by second as
the service does, with channels that succeed or fail as configured. It never sleeps. The delivered
notices are compared with the expected ones: none may be missing, and none may be left over.
"""

from __future__ import annotations

import weakref
from collections import defaultdict
from dataclasses import dataclass, field

from alerts.engine import AlertEngine
from alerts.errors import NotifyReason, PermanentNotifyError, TransientNotifyError
from alerts.incidents import schema
from alerts.notify import outbox as outbox_rows
from storage import sqlite
from tests.support import alert_records


@dataclass(frozen=True)
class Heard:
    """One notice in a person's hands."""

    at: float
    person: str
    reason: str
    place: str
    channel: str
    title: str = ""
    body: str = ""


@dataclass
class Timeline:
    """A school on a fake clock; times are seconds after `start`."""

    registry: object
    policy: object
    start: float = 1_788_789_600.0
    path: object = ":memory:"
    down: set = field(default_factory=set)
    """Channels that cannot be reached."""
    refusing: bool = False
    """Whether all channels refuse for good, as with HTTP 404."""
    hanging: set = field(default_factory=set)
    """Channels that neither take a notice nor refuse it."""

    def __post_init__(self):
        self.db = sqlite.connect(self.path)
        weakref.finalize(self, self.db.close)
        sqlite.migrate(self.db, schema.COMPONENT, schema.SCRIPTS)
        self.received_notices = []
        self.notices = []
        self.alerts = []
        self.now = 0.0
        self.script = defaultdict(list)
        self.offline = []

    @property
    def engine(self):
        """A fresh one each time, as after a restart: it has no state."""
        return AlertEngine(self.registry, self.policy)

    def at(self, t, work, *arguments, **more):
        """Do something at a moment; `work` is given the transaction and the time."""
        self.script[float(t)].append((work, arguments, more))

    def push(self, t, *events):
        """Let the detector say something."""
        self.at(t, lambda tx, now: self.engine.on_events(tx, events, now))

    def ack(self, t, person, incident=1):
        """Let a person take an incident, by its number."""
        self.at(t, lambda tx, now: self.engine.acknowledge(tx, self.id(incident), person, now))

    def stopped(self, begin, end):
        """The program is down from `begin` until before `end`."""
        self.offline.append((begin, end))

    def id(self, number):
        """Id of the incident that opened as the so-manieth."""
        return alert_records.incidents(self.db, "id")[number - 1]

    def run(self, until, step=1.0):
        """Let time pass until a moment."""
        while self.now <= until:
            self._second()
            self.now += step
        return self

    def _second(self):
        now = self.start + self.now
        if any(begin <= self.now < end for begin, end in self.offline):
            return
        for t in sorted(t for t in self.script if t <= self.now):
            for work, arguments, more in self.script.pop(t):
                with sqlite.transaction(self.db) as tx:
                    result = work(tx, now, *arguments, **more)
                self.alerts += result if isinstance(result, list) else []
        with sqlite.transaction(self.db) as tx:
            self.alerts += self.engine.on_time(tx, now)
        self._send(now)

    def _send(self, now):
        with sqlite.transaction(self.db) as tx:
            self.engine.fall_back(tx, now)
            rows = outbox_rows.lease(
                tx, now, owner="t", lease_s=60, limit=1000, free=lambda _channel: 1000
            )
            for row in rows:
                self._hand_over(tx, row, now)

    def transaction(self):
        """A transaction of the database."""
        return sqlite.transaction(self.db)

    def _hand_over(self, tx, row, now):
        if row.channel in self.hanging:
            return
        if self.refusing:
            self.engine.fall_back(tx, now, row.id)
            outbox_rows.mark_failed(tx, row, now, PermanentNotifyError(NotifyReason.REFUSED))
            self.engine.escalate_undelivered(tx, row.incident, now)
            return
        if row.channel in self.down:
            self.engine.fall_back(tx, now, row.id)
            error = TransientNotifyError(NotifyReason.CONNECTION)
            outbox_rows.mark_failed(tx, row, now, error, due_at=now + 5)
            return
        if outbox_rows.mark_sent(tx, row, now):
            self.received_notices.append(
                Heard(self.now, row.person, row.notice.reason.value, row.notice.room, row.channel)
            )
            self.notices.append(row.notice)
            self.engine.record_delivery(tx, row, now)

    def want(self, *wanted):
        """Compare: each ``(person, reason, place, from, to)`` once, and nothing else."""
        left = list(self.received_notices)
        missing = []
        for person, reason, place, begin, end in wanted:
            for found in left:
                is_wanted = (found.person, found.reason, found.place) == (person, reason, place)
                if is_wanted and begin <= found.at <= end:
                    left.remove(found)
                    break
            else:
                missing.append((person, reason, place, begin, end))
        assert not missing, f"never came: {missing}; came: {self.received_notices}"
        assert not left, f"nobody wanted: {left}"

    def history(self, number=1):
        """The history of an incident, without the entries of notices."""
        lines = alert_records.history(self.db, "what", incident=self.id(number))
        return [what for what in lines if what != "notified"]
