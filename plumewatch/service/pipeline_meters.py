"""Declarations of the service's meters, in the order in which readings become notices.

To add a metric, count it in its component and declare it here; ``make docs`` updates the table of
metrics. No label names a room, a sensor or a person: numbers are totals for the school.
"""

from __future__ import annotations

import shutil
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from alerts.page.queries import measure_waiting
from ingest.integrity import CountKind
from plumewatch import __version__
from plumewatch.service.meters import Meter, Value
from storage.sqlite import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plumewatch.service.alerting import Alerting
    from plumewatch.service.consumers import DetectionLoop, SeriesWriters
    from plumewatch.service.health import Health
    from plumewatch.service.ingestion import Ingestion
    from plumewatch.service.resources import Resources


gauge, counter = Meter, partial(Meter, kind="counter")


def declare_service(
    resources: Resources, detection: DetectionLoop, health: Health
) -> Iterator[Meter]:
    """Yield the meters of the program and its readiness."""
    version = ("version",)
    yield gauge("build_info", "Version of the program.", lambda: {__version__: 1}, labels=version)

    def read_model() -> Value:
        return {detection.model_version: 1} if detection.model_version else None

    yield gauge("model_info", "Version of the detector's model.", read_model, labels=version)

    def read_parts() -> Value:
        return {part.name: part.ok for part in health.check_parts()}

    yield gauge("ready", "Whether a part of the service works.", read_parts, labels=("part",))
    text = "Storage work that is currently failing."
    yield gauge("failing", text, lambda: dict.fromkeys(health.find_failing(), 1), labels=("what",))

    text = "Free space for the data folder, bytes."
    folder = resources.config.data_dir
    yield gauge("disk_free_bytes", text, lambda: shutil.disk_usage(folder).free, blocks=True)


def declare_ingestion(resources: Resources, ingestion: Ingestion) -> Iterator[Meter]:
    """Yield the meters of the broker, of messages, and of the readings in them."""
    source, tally = ingestion.source, ingestion.intake.reading_counts
    state, canary, broker = source.state, source.canary, resources.config.broker
    yield gauge("broker_connected", "Whether the broker is connected.", lambda: state.connected)
    text = "Messages that the broker reports as dropped."
    yield counter("broker_dropped_messages", text, lambda: state.broker_dropped)
    text = "Messages that the broker reports as stored."
    yield gauge("broker_stored_messages", text, lambda: state.broker_stored)
    text = "Queue limit of the broker, as configured."
    yield gauge("broker_queue_limit_messages", text, lambda: broker.max_queued_messages)
    if canary is not None:
        yield counter("canaries_returned", "Canaries that returned.", lambda: canary.returned)
    yield counter("messages_received", "MQTT messages received.", lambda: state.received)
    text = "MQTT messages acknowledged."
    yield counter("messages_acknowledged", text, lambda: state.acknowledged)
    text = "QoS 0 messages dropped because more arrived than could be stored."
    yield counter("messages_dropped", text, lambda: state.dropped_qos0)

    labels = ("outcome", "reason", "decoder")
    text = "Messages by outcome; rejected ones also by reason."
    yield counter("messages", text, lambda: ingestion.intake.counters, labels=labels)

    text = (
        "Readings of registered sensors by anomaly; missing: gaps in sequence numbers;"
        " unread: a value was dropped because its unit is unknown."
    )

    def read_anomalies() -> Value:
        return {kind.value: tally.total(kind) for kind in CountKind}

    yield counter("readings", text, read_anomalies, labels=("noted",), continues=True)

    def read_answers() -> dict[tuple[str, ...], float]:
        found = ingestion.http_ingest.answers.items()
        return {(name, str(status)): n for (name, status), n in found}

    text = "Responses of HTTP ingest."
    yield counter("http_answers", text, read_answers, labels=("source", "status"))


def declare_storage(
    resources: Resources, ingestion: Ingestion, detection: DetectionLoop, writers: SeriesWriters
) -> Iterator[Meter]:
    """Yield the meters of the journal and its consumers."""
    journal, series = resources.journal, resources.series
    readings = writers.readings.state
    text = "Readings evaluated by the detector."
    yield counter("readings_detected", text, lambda: detection.counts.readings)
    yield counter("readings_stored", "Readings stored in the series.", lambda: readings.stored)
    text = "Readings that the time-series store refused."
    yield counter("readings_refused_by_store", text, lambda: readings.refused)
    text = "Readings deleted from the journal before they were stored in the series."
    yield counter(
        "readings_deleted_unread", text, journal.count_deleted_unread, continues=True, blocks=True
    )
    text = "Rejected messages that are kept."
    yield gauge("dead_letters", text, journal.count_dead_letters, labels=("reason",), blocks=True)
    text = "Size of the journal's content, limited by max_mb."
    yield gauge("journal_bytes", text, journal.get_bytes_used, blocks=True)
    text = "Corrupt journal records."
    yield counter("journal_corrupt_records", text, lambda: journal.corrupt_records)
    yield counter(
        "databases_rebuilt", "Rebuilt databases.", lambda: journal.repairs + series.repairs
    )

    def read_lag() -> Value:
        unstored = max(detection.last_offset - readings.cursor, 0)
        return {"detector": detection.measure_lag()[0], "series": unstored}

    text = "How many readings a consumer is behind the journal."
    yield gauge("journal_lag_readings", text, read_lag, labels=("consumer",))
    text = "Age of the oldest reading not yet evaluated."
    yield gauge("detector_lag_seconds", text, lambda: detection.measure_lag()[1])
    text = "Duration of a journal commit, including its fsync."
    yield Meter("commit_duration_seconds", text, lambda: ingestion.writer.seconds, kind="histogram")


def declare_alerts(
    resources: Resources, detection: DetectionLoop, alerting: Alerting
) -> Iterator[Meter]:
    """Yield the meters of events, alerts and notices."""
    counts, outcomes, stuck = detection.counts, alerting.deliveries.outcomes, alerting.stuck
    yield counter("events", "Events of the detector.", lambda: counts.events)
    yield counter("alerts", "Alerts.", lambda: counts.alerts)
    text = "Whether alerts are decided in memory because the state cannot be written."
    yield gauge("alerting_from_memory", text, lambda: alerting.memory.active)
    text = "Incidents and notices that a regular check found stuck."
    yield counter("stuck", text, lambda: stuck, labels=("what",))
    text = "Attempts to deliver a notice."
    yield counter("deliveries", text, lambda: outcomes, labels=("outcome",))
    text = "Upper bound of the time from the deciding reading to the first delivered notice."
    yield Meter(
        "reading_to_notice_seconds", text, lambda: alerting.deliveries.latency, kind="histogram"
    )

    def read_outbox(column: int) -> float:
        with closing(connect(resources.paths.state, read_only=True)) as db:
            return measure_waiting(db, resources.clock())[column]

    text = "Age of the oldest notice waiting or being sent."
    yield gauge("outbox_oldest_seconds", text, partial(read_outbox, 0), blocks=True)
    text = "Incidents that are not resolved."
    yield gauge("open_incidents", text, partial(read_outbox, 1), blocks=True)
