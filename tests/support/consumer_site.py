"""A service without its tasks: a journal, a state database and the consumer between them."""

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


class SaidEvent(NamedTuple):
    """What a detector said of an event."""

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
    """It is opened again and again; `options` are those of the consumer."""

    def __init__(self, folder, registry, policy, **options):
        folder.mkdir(exist_ok=True)
        self.folder, self.registry, self.policy, self.options = folder, registry, policy, options
        self.events, self.alerts = [], []
        self.journal = Journal(folder / "journal.db")
        self.journal.open()
        self._left = []
        self.start()

    def start(self):
        """Start, or begin again as after a crash: nothing is saved and nothing tidied up."""
        self.state = connect(self.folder / "state.db")
        self._left.append(self.state)
        migrate(self.state, "state", STATE_SCRIPTS)
        migrate(self.state, schema.COMPONENT, schema.SCRIPTS)
        self.engine = AlertEngine(self.registry, self.policy)
        self.consumer = DetectionConsumer(self.state, self.engine, may_alert, **self.options)
        self.consumer.open(self.journal.read)

    def batch(self, size):
        """Return the next readings and the position behind them."""
        entries, position = self.journal.read(self.consumer.position, size)
        return [entry.reading for entry in entries], position

    def process(self, size=50, before_commit=lambda: None):
        """Take a batch; whether there was one."""
        readings, position = self.batch(size)
        if position == self.consumer.position:
            return False
        events = self.consumer.step(readings)
        before_commit()
        self.commit(events, position, readings[-1].received)
        return True

    def process_all(self, size=50, *, crash=False):
        """Take all batches; with a crash after each."""
        while self.process(size):
            if crash:
                self.start()

    def arrive(self, readings, size=50, *, crash=False):
        """Accept readings and take them."""
        self.journal.commit(readings)
        self.process_all(size, crash=crash)

    def look(self, now):
        """Find out who is silent."""
        self.commit(self.consumer.check_silence(now), self.consumer.position, now)

    def commit(self, events, position, now):
        """Commit a step."""
        alerts = self.consumer.commit(events, position, now)
        names = SaidEvent._fields
        self.events += [SaidEvent(*(getattr(event, name) for name in names)) for event in events]
        names = GivenAlert._fields
        self.alerts += [GivenAlert(*(getattr(alert, name) for name in names)) for alert in alerts]

    def on_page(self, work):
        """Do something in a transaction of another connection, as the page does."""
        with closing(connect(self.folder / "state.db")) as page, transaction(page) as tx:
            return work(tx)

    def result(self):
        """Return what was said and alerted, and how much is stored."""
        incidents, notices = stored.incidents(self.state, "id"), stored.notices(self.state, "id")
        position = load_cursor(self.state, CONSUMER)
        return self.events, self.alerts, (len(incidents), len(notices), position)

    def close(self):
        for connection in self._left:
            connection.close()
        self.journal.close()
