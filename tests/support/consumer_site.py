"""A minimal service: a journal, a state database and the consumer, without tasks."""

from contextlib import closing
from typing import NamedTuple

from alerts.consumer.detection_consumer import CONSUMER, DetectionConsumer
from alerts.engine import AlertEngine
from alerts.incidents import schema
from detection.events import EventKind, EventPhase
from ingest.validation import may_alert
from storage.journal import STATE_SCRIPTS, Journal, load_cursor
from storage.sqlite import connect, migrate, transaction
from tests.support import alert_records as stored


class ReportedEvent(NamedTuple):
    """An event as a detector reported it."""

    id: str
    kind: EventKind
    phase: EventPhase
    time: float
    onset: float
    end: float | None
    confidence: float


class GivenAlert(NamedTuple):
    """An alert."""

    sensor: str
    kind: EventKind
    alerted: float
    onset: float
    confidence: float


class ConsumerSite:
    """A site with a consumer that tests can restart; `options` are passed to the consumer."""

    def __init__(self, folder, registry, policy, **options):
        folder.mkdir(exist_ok=True)
        self.folder, self.registry, self.policy, self.options = folder, registry, policy, options
        self.events, self.alerts = [], []
        self.journal = Journal(folder / "journal.db")
        self.journal.open()
        self._left = []
        self.start()

    def start(self):
        """Start, or restart as after a crash, without saving or cleaning up anything."""
        self.state = connect(self.folder / "state.db")
        self._left.append(self.state)
        migrate(self.state, "state", STATE_SCRIPTS)
        migrate(self.state, schema.COMPONENT, schema.SCRIPTS)
        self.engine = AlertEngine(self.registry, self.policy)
        self.consumer = DetectionConsumer(self.state, self.engine, may_alert, **self.options)
        self.consumer.open(self.journal.read)

    def batch(self, size):
        """Return the next readings and the cursor after them."""
        entries, position = self.journal.read(self.consumer.position, size)
        return [entry.reading for entry in entries], position

    def process(self, size=50, before_commit=lambda: None):
        """Process a batch; return whether there was one."""
        readings, position = self.batch(size)
        if position == self.consumer.position:
            return False
        events = self.consumer.step(readings)
        before_commit()
        self.commit(events, position, readings[-1].received)
        return True

    def process_all(self, size=50, *, crash=False):
        """Process all batches; simulate a crash after each if requested."""
        while self.process(size):
            if crash:
                self.start()

    def arrive(self, readings, size=50, *, crash=False):
        """Commit readings to the journal and process them."""
        self.journal.commit(readings)
        self.process_all(size, crash=crash)

    def look(self, now):
        """Check for silent sensors."""
        self.commit(self.consumer.check_silence(now), self.consumer.position, now)

    def commit(self, events, position, now):
        """Commit a step."""
        alerts = self.consumer.commit(events, position, now)
        names = ReportedEvent._fields
        self.events += [
            ReportedEvent(*(getattr(event, name) for name in names)) for event in events
        ]
        names = GivenAlert._fields
        self.alerts += [GivenAlert(*(getattr(alert, name) for name in names)) for alert in alerts]

    def on_page(self, work):
        """Run work in a transaction on another connection, as the staff page does."""
        with closing(connect(self.folder / "state.db")) as page, transaction(page) as tx:
            return work(tx)

    def result(self):
        """Return the events, the alerts, and (incidents, notices, cursor)."""
        incidents, notices = stored.incidents(self.state, "id"), stored.notices(self.state, "id")
        position = load_cursor(self.state, CONSUMER)
        return self.events, self.alerts, (len(incidents), len(notices), position)

    def close(self):
        for connection in self._left:
            connection.close()
        self.journal.close()
