"""Whether the service can do its work, part by part, and its numbers.

*Alive* is the process that answers at all. *Ready* is the service whose every part works: a reading
that comes now is stored, judged in time and told. Each part says so for itself, and the words for
operators may hold paths and addresses, so strangers get yes or no (`health_page`).

Numbers carry no room, no sensor and no person: they are sums over the school.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from alerts.page import queries
from ingest.reading_counts import CountKind
from plumewatch import __version__
from plumewatch.service.lateness import Lateness
from plumewatch.service.metrics import Family, Histogram
from storage import sqlite
from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from alerts.consumer.detection_consumer import DetectionConsumer
    from alerts.incidents.engine import AlertRecord
    from alerts.notify.pump import DeliveryOutcome
    from ingest.commit import GroupCommit
    from ingest.intake import Intake
    from ingest.mqtt import MqttSource
    from plumewatch.service.observer import Counters
    from storage.journal import Journal
    from storage.reading import Reading
    from storage.retrying import RunUntilStored
    from storage.timeseries.records import Record
    from storage.timeseries.writer import SeriesWriter

MAX_LAG_S: Final = 30.0
"""How far the detector may be behind the readings that are stored."""
STALLED_S: Final = 60.0
"""Without a sign of the detector or of the commits for so long, the pipeline stands still."""
_NEAR: Final = 0.8
_PENDING: Final = 1_000
_COMMIT_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_NOTICE_BOUNDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the service.

    Attributes
    ----------
    says : str
        For operators.
    """

    name: str
    ok: bool
    says: str


class Latencies:
    """Durations that the service measures, and what came of notices."""

    def __init__(self) -> None:
        self.commit = Histogram(_COMMIT_BOUNDS)
        self.notice = Histogram(_NOTICE_BOUNDS)
        self.deliveries: Counter[str] = Counter()
        self._decided: dict[str, float] = {}

    def on_alert(self, alert: AlertRecord, received: float) -> None:
        """Note when the reading that decided an alert was received, Unix seconds."""
        while len(self._decided) >= _PENDING:
            del self._decided[next(iter(self._decided))]
        self._decided.setdefault(alert.incident, received)

    def on_delivery(self, outcome: DeliveryOutcome, now: float) -> None:
        """Count an attempt; the first that succeeds ends the time of its incident."""
        if outcome.error is None:
            self.deliveries["sent"] += 1
            decided = self._decided.pop(outcome.incident, None)
            if decided is not None:
                self.notice.observe(now - decided)
        else:
            self.deliveries["failed" if outcome.final else "retried"] += 1


class Health:
    """Look at the parts of a running service; changes nothing.

    Parameters
    ----------
    clock : callable
        Unix seconds.
    monotonic : callable
        Seconds.
    source, commits, intake, journal, writer, records, counters, retrying, latencies
        Of the service.
    watch : callable
        Returns the `DetectionConsumer`, None before it is open.
    database : Path
        The state database.
    queue_limit : int
        Messages that the broker keeps for us at most.

    Attributes
    ----------
    lateness : Lateness
        To be given a sample a minute.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        source: MqttSource,
        commits: GroupCommit,
        intake: Intake,
        journal: Journal,
        writer: SeriesWriter[Reading],
        records: SeriesWriter[Record],
        counters: Counters,
        retrying: RunUntilStored,
        latencies: Latencies,
        watch: Callable[[], DetectionConsumer | None],
        database: Path,
        queue_limit: int,
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._source = source
        self._commits = commits
        self._intake = intake
        self._journal = journal
        self._writer = writer
        self._records = records
        self._counters = counters
        self._retrying = retrying
        self._latencies = latencies
        self._watch = watch
        self._database = database
        self._queue_limit = queue_limit
        self._groups = (0, monotonic())
        self.lateness = Lateness()

    def parts(self) -> list[Part]:
        """Every part, in the order of the data."""
        return [
            self._broker(),
            self._canary(),
            self._clocks(),
            self._disk(),
            self._detector(),
            self._store(),
        ]

    def ready(self) -> bool:
        """Whether every part works."""
        return all(part.ok for part in self.parts())

    def moves(self) -> bool:
        """Whether the pipeline goes on, or waits for the disk while saying so.

        Call it at least every `STALLED_S`.
        """
        now = self._monotonic()
        groups, since = self._groups
        if self._commits.groups != groups or not self._commits.waiting or self._commits.failing:
            self._groups = (self._commits.groups, now)
        elif now - since > STALLED_S:
            return False
        beat = max(self._counters.beat, self._retrying.last_failure)
        return now - beat <= STALLED_S

    def _broker(self) -> Part:
        state = self._source.state
        if not state.connected:
            return Part("broker", ok=False, says=state.last_error or "not connected")
        if state.refused_topics:
            return Part("broker", ok=False, says=f"refuses {', '.join(state.refused_topics)}")
        return Part("broker", ok=True, says="connected and subscribed")

    def _canary(self) -> Part:
        canary = self._source.canary
        if canary is None:
            return Part("canary", ok=True, says="switched off")
        now = self._monotonic()
        age = canary.age_s(now)
        if age is None:
            says = f"none of {canary.sent} came back"
        else:
            says = f"came back {age:.0f} s ago after {canary.round_trip_s:.3f} s"
        return Part("canary", ok=canary.fresh(now), says=says)

    def _clocks(self) -> Part:
        says = self.lateness.says
        return Part("clocks", ok=not says, says=says or "readings come in time")

    def _disk(self) -> Part:
        failing = {**self._retrying.failing}
        if self._commits.failing:
            failing["journal"] = self._commits.failing
        says = "; ".join(f"{what}: {why}" for what, why in sorted(failing.items()))
        return Part("journal", ok=not failing, says=says or "written")

    def _detector(self) -> Part:
        readings, seconds = self.lag()
        says = f"{readings} readings, {seconds:.1f} s behind"
        return Part("detector", ok=seconds <= MAX_LAG_S and self.moves(), says=says)

    def _store(self) -> Part:
        failing = self._writer.state.failing or self._records.state.failing
        return Part("store", ok=not failing, says=failing or "written")

    def lag(self) -> tuple[int, float]:
        """Return how many readings the detector is behind the journal, and for how long."""
        watch = self._watch()
        behind = max(self._counters.last_offset - (watch.position if watch else 0), 0)
        since = max(self._counters.behind_since, self._counters.detected_received)
        return behind, max(self._clock() - since, 0.0) if behind else 0.0

    def status(self) -> dict[str, int]:
        """Numbers for the staff page, in words."""
        state, canary = self._source.state, self._source.canary
        trip = canary.round_trip_s if canary else None
        return {
            **{f"ready: {part.name}": int(part.ok) for part in self.parts()},
            **({} if trip is None else {"canary round trip, ms": round(trip * 1000)}),
            "connections to the broker": state.connections,
            "silences mended by subscribing": state.subscribed_anew,
            "silences mended by connecting": state.reconnected,
            "messages dropped by the broker": state.broker_dropped,
            **({} if state.broker_stored is None else {"messages held": state.broker_stored}),
            "broker queue near its limit": int(self.queue_near_limit()),
            "readings that never came": self._intake.reading_counts.total(CountKind.MISSING),
        }

    def queue_near_limit(self) -> bool:
        """Whether the broker holds nearly as many messages as it keeps."""
        return (self._source.state.broker_stored or 0) >= _NEAR * self._queue_limit

    def outbox(self) -> Mapping[str, Any]:
        """Read the outbox and open incidents; blocks, empty where the disk refuses."""
        try:
            with closing(sqlite.connect(self._database, read_only=True)) as db:
                return queries.status(db, self._clock())
        except (StorageError, sqlite3.Error):
            return {}

    def families(self, outbox: Mapping[str, Any]) -> Iterator[Family]:
        """Collect all numbers.

        Parameters
        ----------
        outbox : mapping
            From `outbox`.
        """
        yield from self._about()
        yield from self._of_broker()
        yield from self._of_readings()
        yield from self._of_notices(outbox)

    def _about(self) -> Iterator[Family]:
        yield _gauge("build_info", "Version of the program.", 1, version=__version__)
        watch = self._watch()
        if watch is not None:
            version = watch.model_version
            yield _gauge("model_info", "Version of the detector's model.", 1, version=version)
        started = self._counters.started
        yield _gauge("start_time_seconds", "When the service started, Unix seconds.", started)
        ready = [({"part": part.name}, float(part.ok)) for part in self.parts()]
        yield Family("plumewatch_ready", "gauge", "Whether a part of the service works.", ready)

    def _of_broker(self) -> Iterator[Family]:
        state, canary = self._source.state, self._source.canary
        yield _gauge("broker_connected", "Whether the broker is connected.", state.connected)
        yield _total("broker_connections", "Connections made to the broker.", state.connections)
        mended: list[tuple[Mapping[str, str], float]] = [
            ({"by": "subscribing"}, state.subscribed_anew),
            ({"by": "connecting"}, state.reconnected),
        ]
        said = "Cures of a connection on which nothing arrived."
        yield Family("plumewatch_broker_silences_total", "counter", said, mended)
        said = "Messages that the broker says it dropped."
        yield _total("broker_dropped_messages", said, state.broker_dropped)
        if state.broker_stored is not None:
            said = "Messages that the broker says it holds."
            yield _gauge("broker_stored_messages", said, state.broker_stored)
        said = "Messages that the broker keeps at most, as configured."
        yield _gauge("broker_queue_limit_messages", said, self._queue_limit)
        if canary is None:
            return
        yield _total("canaries_sent", "Canaries published.", canary.sent)
        yield _total("canaries_returned", "Canaries that came back.", canary.returned)
        if canary.round_trip_s is not None:
            said = "Round trip of the last canary through the broker."
            yield _gauge("canary_round_trip_seconds", said, canary.round_trip_s)

    def _of_readings(self) -> Iterator[Family]:
        state, counters, tally = self._source.state, self._counters, self._intake.reading_counts
        yield _total("messages_received", "MQTT messages received.", state.received)
        yield _total("messages_acknowledged", "MQTT messages acknowledged.", state.acknowledged)
        said = "QoS 0 messages dropped because more came than can be stored."
        yield _total("messages_dropped", said, state.dropped_qos0)
        outcomes = [
            ({"outcome": outcome, "reason": reason, "decoder": decoder}, float(n))
            for (outcome, reason, decoder), n in sorted(self._intake.counters.items())
        ]
        said = "Messages by what became of them; refused ones with the reason."
        yield Family("plumewatch_messages_total", "counter", said, outcomes)
        noted = [({"noted": noted.value}, float(tally.total(noted))) for noted in CountKind]
        said = (
            "Readings of registered sensors by what was noted; missing: sequence gaps;"
            " bad_firmware: their version was refused."
        )
        yield Family("plumewatch_readings_total", "counter", said, noted)
        said = "Readings that went through the detector."
        yield _total("readings_detected", said, counters.readings_detected)
        yield _total("readings_stored", "Readings in the series.", self._writer.state.stored)
        said = "Readings that the time-series store refused."
        yield _total("readings_refused_by_store", said, self._writer.state.refused)
        said = "Readings deleted from the journal before the store had them."
        yield _total("readings_deleted_unread", said, counters.deleted_unread)
        yield from self._of_journal()
        said = "Records of the journal that were corrupt."
        yield _total("journal_corrupt_records", said, self._journal.corrupt_records)
        behind, seconds = self.lag()
        unstored = max(counters.last_offset - self._writer.state.position, 0)
        lags = [({"consumer": "detector"}, float(behind)), ({"consumer": "series"}, unstored)]
        said = "Readings that a consumer is behind the journal."
        yield Family("plumewatch_journal_lag_readings", "gauge", said, lags)
        said = "How long the oldest reading waits for the detector."
        yield _gauge("detector_lag_seconds", said, seconds)
        said = "Time of a commit of the journal, with its fsync."
        commit = self._latencies.commit
        yield Family("plumewatch_commit_duration_seconds", "histogram", said, histogram=commit)

    def _of_journal(self) -> Iterator[Family]:
        try:
            letters, size = self._journal.dead_letter_counts(), self._journal.bytes_used()
        except (StorageError, sqlite3.Error):
            return
        kept = [({"reason": reason}, float(n)) for reason, n in sorted(letters.items())]
        yield Family("plumewatch_dead_letters", "gauge", "Refused messages kept.", kept)
        yield _gauge("journal_bytes", "What the journal holds; max_mb bounds it.", size)

    def _of_notices(self, outbox: Mapping[str, Any]) -> Iterator[Family]:
        yield _total("events", "Events of the detector.", self._counters.events)
        yield _total("alerts", "Alerts.", self._counters.alerts)
        tried = [({"outcome": k}, float(n)) for k, n in sorted(self._latencies.deliveries.items())]
        forgotten = [({"what": k}, float(n)) for k, n in sorted(self._counters.forgotten.items())]
        said = "Incidents and notices that a regular check found stuck."
        yield Family("plumewatch_forgotten_total", "counter", said, forgotten)
        said = "Attempts to deliver a notice."
        yield Family("plumewatch_deliveries_total", "counter", said, tried)
        said = "From the receipt of the deciding reading, at most, to the first delivered notice."
        notice = self._latencies.notice
        yield Family("plumewatch_reading_to_notice_seconds", "histogram", said, histogram=notice)
        said = "Incidents written into the Grafana as annotations, or updated there."
        yield _total("annotations", said, self._counters.annotations)
        said = "Attempts to annotate that failed."
        yield _total("annotation_failures", said, self._counters.annotation_failures)
        waiting = self._counters.annotations_waiting
        yield _gauge("annotations_waiting", "Incidents not written into the Grafana yet.", waiting)
        said = "Annotations that the Grafana refused for good."
        yield _total("annotations_refused", said, self._counters.annotations_refused)
        said = "Incidents whose last annotation it refused, until they change."
        yield _gauge("annotations_set_aside", said, self._counters.annotations_set_aside)
        if outbox:
            depth = sum(outbox["outbox"].get(status, 0) for status in ("due", "leased"))
            yield _gauge("outbox_depth_notices", "Notices that wait or are being sent.", depth)
            oldest = outbox["oldest_due_s"] or 0.0
            yield _gauge("outbox_oldest_seconds", "Age of the oldest of them.", oldest)
            yield _gauge("open_incidents", "Incidents that are not over.", outbox["open_incidents"])


def _gauge(name: str, said: str, value: float, **labels: str) -> Family:
    return Family(f"plumewatch_{name}", "gauge", said, [(labels, float(value))])


def _total(name: str, said: str, value: float) -> Family:
    return Family(f"plumewatch_{name}_total", "counter", said, [({}, float(value))])
