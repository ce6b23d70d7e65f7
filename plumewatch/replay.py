"""Run recorded readings through the production path, on their own clock."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from alerts.consumer.detection_consumer import DetectionConsumer
from alerts.engine import AlertEngine
from alerts.incidents import schema
from alerts.policy import AlertPolicy
from detection.quantities import FINE_PARTICLES
from ingest.validation import may_alert
from language.plain_text import make_inert
from storage.files import write_csv
from storage.journal import STATE_SCRIPTS
from storage.registry import Registry
from storage.sqlite import connect, migrate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from alerts.engine import AlertRecord
    from detection.alert_rules import AlertBudgets
    from detection.events import Event
    from plumewatch.config.model import PlumewatchConfig
    from storage.reading import Reading

ALERT_COLUMNS = ("sensor", "alerted", "kind", "onset", "confidence", "incident")
EVENT_COLUMNS = ("sensor", "kind", "onset", "alerted", "peak_time", "end", "confidence", "evidence")
_BATCH = 4000


def build_replay_policy(config: PlumewatchConfig | None) -> AlertPolicy:
    """Return the alert rules for recorded readings: the school's, or the defaults."""
    if config is None:
        return AlertPolicy()
    return AlertPolicy(cooldown_s=config.alerts.cooldown_s, zone=config.timezone)


class Replayed:
    """Result of a replay; `replaced` counts future readings, `skipped` out-of-order ones."""

    def __init__(self) -> None:
        self.readings = 0
        self.replaced = 0
        self.skipped = 0
        self.has_particles = False
        self.alerts: list[AlertRecord] = []
        self.events: dict[str, Event] = {}


def replay(
    readings: Iterator[Reading],
    *,
    policy: AlertPolicy,
    registry: Registry | None = None,
    budgets: AlertBudgets | None = None,
) -> Replayed:
    """Run validated readings, in time order, through detectors and rules."""
    result, particles = Replayed(), set(FINE_PARTICLES)
    with closing(connect(":memory:")) as connection:
        migrate(connection, "state", STATE_SCRIPTS)
        migrate(connection, "alerts", schema.SCRIPTS)
        engine = AlertEngine(registry or Registry(), policy, replay=True)
        consumer = DetectionConsumer(connection, engine, may_alert, budgets=budgets)
        while batch := list(islice(readings, _BATCH)):
            result.readings += len(batch)
            result.has_particles = result.has_particles or any(
                not particles.isdisjoint(reading.values) for reading in batch
            )
            result.replaced += sum("time_replaced" in reading.flags for reading in batch)
            found = consumer.process(batch, result.readings, now=None)
            result.alerts.extend(found.alerts)
            result.events |= {event.id: event for event in found.events}
        result.skipped = consumer.skipped.total()
    return result


def write_alerts(path: Path, alerts: Iterable[AlertRecord]) -> None:
    """Write one row per alert that staff would have received."""
    rows = [
        (
            make_inert(a.sensor),
            _format_number(a.alerted),
            a.kind,
            _format_number(a.onset),
            f"{a.confidence:.4f}",
            a.incident,
        )
        for a in alerts
    ]
    write_csv(path, ALERT_COLUMNS, rows)


def write_events(path: Path, result: Replayed) -> None:
    """Write one row per event, ordered by the time of the decision."""
    rows = []
    for event in sorted(result.events.values(), key=lambda e: (e.alerted, e.sensor, e.kind, e.id)):
        evidence = {
            "channels": {key: asdict(found) for key, found in event.evidence.items()},
            "probabilities": dict(event.probabilities),
            "masked": event.masked,
            "thc_likely": event.thc_likely,
            "model_version": event.model_version,
            "details": msgspec.to_builtins(event.details),
        }
        rows.append(
            (
                make_inert(event.sensor),
                event.kind.value,
                _format_number(event.onset),
                _format_number(event.alerted),
                _format_number(event.peak_time),
                "" if event.end is None else _format_number(event.end),
                f"{event.confidence:.4f}",
                json.dumps(evidence, sort_keys=True),
            )
        )
    write_csv(path, EVENT_COLUMNS, rows)


def _format_number(value: float) -> str:
    """Format seconds to the millisecond, without trailing zeros.

    >>> _format_number(1753435860.0), _format_number(12.25)
    ('1753435860', '12.25')
    """
    text = f"{value:.3f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
