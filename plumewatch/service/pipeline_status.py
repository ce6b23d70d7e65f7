"""What the staff page shows of the pipeline, in words."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from alerts.page.settings import PipelineStatus, QuarantinedSensor
from plumewatch.service.sensor_counts import sensor_statuses
from plumewatch.service.unmatched import unmatched_topics
from storage.errors import StorageError

if TYPE_CHECKING:
    from alerts.consumer.detection_consumer import DetectionConsumer
    from plumewatch.service.app import Service
    from storage.journal import Journal


def pipeline_status(service: Service, watch: DetectionConsumer | None) -> PipelineStatus:
    """Return what ingest and the consumers count."""
    source, counters = service.source.state, service.counters
    outcomes: dict[str, int] = {}
    for (outcome, _, _), count in service.intake.counters.items():
        outcomes[outcome] = outcomes.get(outcome, 0) + count
    return PipelineStatus(
        counters={
            "messages received": source.received,
            "messages acknowledged": source.acknowledged,
            **{f"messages {outcome}": n for outcome, n in sorted(outcomes.items())},
            "QoS 0 messages dropped": source.dropped_qos0,
            **service.health.status(),
            **service.http.answers(),
            "readings through detection": counters.readings_detected,
            "readings in the series": service.writer.state.stored,
            "readings the series refused": service.writer.state.refused,
            "records beside them in the series": service.records.state.stored,
            "records the series refused": service.records.state.refused,
            "readings deleted before the series had them": counters.deleted_unread,
            "samples given up while the series was away": counters.samples_dropped,
            "days that deletion waits for the clock": service.house.held_back_days,
            "records of the journal that were corrupt": service.journal.corrupt_records,
            "databases rebuilt": service.journal.repairs + service.series.repairs,
            **_annotations(service),
            "events": counters.events,
            "alerts": counters.alerts,
            **{f"failing: {what}": 1 for what in sorted(service.run_until_stored.failing)},
            **({"failing: journal": 1} if service.commits.failing else {}),
            **({"failing: series": 1} if service.writer.state.failing else {}),
            **({"failing: records of the series": 1} if service.records.state.failing else {}),
            **({"alerting from memory": 1} if service.memory.active else {}),
        },
        dead_letters=_dead_letters(service.journal),
        quarantine=[
            QuarantinedSensor(q.name, q.first_seen, q.last_seen, q.count, q.decoder)
            for q in reversed(service.intake.quarantine.values())
        ],
        unmatched=unmatched_topics(service.intake),
        sensors=sensor_statuses(
            service.registry,
            watch.lives() if watch else {},
            service.intake.reading_counts,
            service.intake.firmware.known,
        ),
    )


def _annotations(service: Service) -> dict[str, int]:
    """Count what became of annotations, where a Grafana is to have them."""
    counters, asked = service.counters, service.config.outbound.grafana
    if not asked.token_file and not asked.token_env:
        return {}
    return {
        "annotations written into the Grafana": counters.annotations,
        "annotations that wait": counters.annotations_waiting,
        "annotations set aside, as the Grafana refused them": counters.annotations_set_aside,
        "attempts to annotate that failed": counters.annotation_failures,
        **({"failing: annotations": 1} if counters.annotations_failing else {}),
    }


def _dead_letters(journal: Journal) -> dict[str, int]:
    """Count the kept dead letters by reason; what the disk refuses to say is left out."""
    try:
        return journal.dead_letter_counts()
    except (StorageError, sqlite3.Error):
        return {}
