"""Readings through the production path again: of files on their own clock, or of an incident."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from alerts.consumer.detection_consumer import DetectionConsumer
from alerts.engine import AlertEngine
from alerts.incidents import schema, threshold_adjustments
from alerts.policy import AlertPolicy
from detection.events import EventKind, EventPhase
from detection.quantities import FINE_PARTICLES
from ingest.files.readings_export import slices
from ingest.files.recordings import read_recordings
from ingest.validation import may_alert
from plumewatch.config.settings import alert_budgets
from storage import state
from storage.files import write_csv
from storage.registry import Registry
from storage.sqlite import connect, migrate

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from alerts.engine import AlertRecord
    from detection.alert_thresholds import AlertBudgets
    from detection.events import Event
    from plumewatch.config.model import PlumewatchConfig
    from reports.incident_file import IncidentFile
    from storage.reading import Reading
    from storage.timeseries import Series

ALERT_COLUMNS = ("sensor", "alerted", "kind", "onset", "confidence", "incident")
EVENT_COLUMNS = (
    *("sensor", "kind", "onset", "alerted", "peak_time"),
    *("end", "confidence", "withdrawn", "evidence"),
)
_BATCH = 4000


def replay_policy(config: PlumewatchConfig | None) -> AlertPolicy:
    """Return the alert rules for recorded readings: the school's, or the defaults."""
    if config is None:
        return AlertPolicy()
    return AlertPolicy(cooldown_s=config.alerts.cooldown_s, zone=config.timezone)


class Replayed:
    """What a replay led to; `replaced` readings were of the future, `unjudged` out of order."""

    def __init__(self) -> None:
        self.readings = 0
        self.replaced = 0
        self.unjudged = 0
        self.has_particles = False
        self.alerts: list[AlertRecord] = []
        self.events: dict[str, Event] = {}
        self.withdrawn: set[str] = set()

    def add(self, events: Iterable[Event], alerts: Iterable[AlertRecord]) -> None:
        """Keep what one batch led to."""
        self.alerts.extend(alerts)
        for event in events:
            self.events[event.id] = event
            if event.phase is EventPhase.WITHDRAWN:
                self.withdrawn.add(event.id)

    def not_withdrawn(self, kind: str) -> list[AlertRecord]:
        """Alerts of a kind whose event was not withdrawn."""
        kept = {
            (e.sensor, e.onset)
            for e in self.events.values()
            if e.kind.value == kind and e.id not in self.withdrawn
        }
        return [a for a in self.alerts if a.kind == kind and (a.sensor, a.onset) in kept]


def replay(
    paths: Sequence[Path],
    *,
    policy: AlertPolicy,
    registry: Registry | None = None,
    budgets: AlertBudgets | None = None,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> Replayed:
    """Push recorded readings through validation, detectors and rules; raises `RecordingError`."""
    return judged(
        read_recordings(paths, on_bytes), policy=policy, registry=registry, budgets=budgets
    )


def judged(
    readings: Iterator[Reading],
    *,
    policy: AlertPolicy,
    registry: Registry | None = None,
    budgets: AlertBudgets | None = None,
) -> Replayed:
    """Push validated readings, in time order, through detectors and rules; see `replay`."""
    result, particles = Replayed(), set(FINE_PARTICLES)
    with closing(connect(":memory:")) as connection:
        migrate(connection, "state", state.SCRIPTS)
        migrate(connection, "alerts", schema.SCRIPTS)
        engine = AlertEngine(registry or Registry(), policy, replay=True)
        watch = DetectionConsumer(connection, engine, may_alert, budgets=budgets)
        while batch := list(islice(readings, _BATCH)):
            result.readings += len(batch)
            result.has_particles = result.has_particles or any(
                not particles.isdisjoint(reading.values) for reading in batch
            )
            result.replaced += sum("time_replaced" in reading.flags for reading in batch)
            watched = watch.process(batch, result.readings, now=None)
            result.add(watched.events, watched.alerts)
        result.unjudged = watch.skipped.total()
    return result


def write_alerts(path: Path, alerts: Iterable[AlertRecord]) -> None:
    """Write one row an alert that staff would have got."""
    rows = [
        (a.sensor, _number(a.alerted), a.kind, _number(a.onset), f"{a.confidence:.4f}", a.incident)
        for a in alerts
    ]
    write_csv(path, ALERT_COLUMNS, rows)


def write_events(path: Path, result: Replayed) -> None:
    """Write one row an event, in order of the decision."""
    rows = []
    for event in sorted(result.events.values(), key=lambda e: (e.alerted, e.sensor, e.kind, e.id)):
        evidence = {
            "channels": {key: asdict(found) for key, found in event.evidence.items()},
            "probabilities": dict(event.probabilities),
            "masked": event.masked,
            "thc_likely": event.thc_likely,
            "model_version": event.model_version,
            "detail": event.detail,
        }
        rows.append(
            (
                event.sensor,
                event.kind.value,
                _number(event.onset),
                _number(event.alerted),
                _number(event.peak_time),
                "" if event.end is None else _number(event.end),
                f"{event.confidence:.4f}",
                "true" if event.id in result.withdrawn else "false",
                json.dumps(evidence, ensure_ascii=False, sort_keys=True),
            )
        )
    write_csv(path, EVENT_COLUMNS, rows)


def _number(value: float) -> str:
    """Seconds to the millisecond without trailing zeros.

    >>> _number(1753435860.0), _number(12.25)
    ('1753435860', '12.25')
    """
    text = f"{value:.3f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


_WARM_UP_S: Final = 86_400.0
"""Readings before the incident from which the detector learns its baselines again."""
_SAME_ONSET_S: Final = 10.0
_THRESHOLD_S: Final = 900.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """A detection as it is stored, and the event that the detector finds now (None: none)."""

    stored: dict[str, object]
    again: Event | None

    @property
    def is_same(self) -> bool:
        """Whether kind and end are the same: kept, or withdrawn."""
        if self.again is None:
            return False
        return (self.again.phase is EventPhase.WITHDRAWN) is (self.stored["phase"] == "withdrawn")


def rerun(
    config: PlumewatchConfig,
    state: sqlite3.Connection,
    series: Series,
    found: IncidentFile,
    on_progress: Callable[[float, float], None] = lambda _done, _of: None,
) -> list[Verdict]:
    """Run the detector again on the readings of an incident; empty if they are not stored any more.

    The detector starts a day before the first evidence with the alert threshold that its sensor had
    then, as far as feedback can move it.
    """
    registry = config.registry()
    sensors = set(found.sensors)
    if found.incident["kind"] == EventKind.AMBIENT.value:
        rooms = registry.rooms.values()
        near = {r.id for r in rooms if r.building == found.incident["building"]}
        sensors |= {s.id for s in registry.sensors.values() if s.room in near}
    onset = found.incident["onset"]
    start, end = onset - _WARM_UP_S, found.span[1]
    if not series.between(onset, found.incident["opened_at"] + 1e-3, found.sensors):
        return []

    def readings() -> Iterator[Reading]:
        for piece in slices(
            series, start, end, lambda at: on_progress(at - start, end - start), sensors
        ):
            yield from piece

    result = judged(
        readings(),
        policy=replay_policy(config),
        registry=registry,
        budgets=_budgets_then(config, state, series, sensors, onset),
    )
    return [Verdict(event, _nearest(event, result.events.values())) for event in found.events]


def _budgets_then(
    config: PlumewatchConfig,
    state: sqlite3.Connection,
    series: Series,
    sensors: set[str],
    onset: float,
) -> AlertBudgets:
    reports = threshold_adjustments.load_thresholds(state)
    moved = {}
    for sensor in sensors & reports.keys():
        health = series.records("sensor_health", onset - _THRESHOLD_S, onset, sensors=[sensor])
        levels = [r.fields["level"] for r in health if "level" in r.fields]
        if levels:
            moved[sensor] = float(levels[-1]) - reports[sensor].model_level
    return replace(alert_budgets(config), moved=moved)


def _nearest(event: dict[str, object], events: Iterable[Event]) -> Event | None:
    onset = float(str(event["onset"]))
    near = [
        found
        for found in events
        if found.sensor == event["sensor"]
        and found.kind.value == event["kind"]
        and abs(found.onset - onset) <= _SAME_ONSET_S
    ]
    return min(near, key=lambda found: abs(found.onset - onset), default=None)
