"""Test alerting on a fake clock: define inputs and times, and who must be notified when.

A `Timeline` runs the real engine and outbox on a database, second by second as the service does,
with channels that succeed or fail as configured. It never sleeps. The delivered notices must match
the expected ones exactly.
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
class DeliveredNotice:
    """One delivered notice."""

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
    """Channels that neither accept nor refuse a notice."""

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
        """A new engine each time, as after a restart; engines have no state."""
        return AlertEngine(self.registry, self.policy)

    def at(self, t, work, *arguments, **more):
        """Schedule `work(transaction, time)`."""
        self.script[float(t)].append((work, arguments, more))

    def push(self, t, *events):
        """Schedule a detector event."""
        self.at(t, lambda tx, now: self.engine.on_events(tx, events, now))

    def ack(self, t, person, incident=1):
        """Schedule a person's acknowledgment of an incident, by its number."""
        self.at(t, lambda tx, now: self.engine.acknowledge(tx, self.id(incident), person, now))

    def stopped(self, begin, end):
        """Schedule downtime of the service from `begin` until just before `end`."""
        self.offline.append((begin, end))

    def id(self, number):
        """Return the id of an incident by its number: the first that opened is 1."""
        return alert_records.incidents(self.db, "id")[number - 1]

    def run(self, until, step=1.0):
        """Advance the clock to a time."""
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
        """Open a transaction on the database."""
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
                DeliveredNotice(
                    self.now, row.person, row.notice.reason.value, row.notice.room, row.channel
                )
            )
            self.notices.append(row.notice)
            self.engine.record_delivery(tx, row, now)

    def want(self, *wanted):
        """Assert that each ``(person, reason, place, from, to)`` was delivered once, and nothing
        else."""
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
        """Return an incident's history without entries about notices."""
        lines = alert_records.history(self.db, "what", incident=self.id(number))
        return [what for what in lines if what != "notified"]
