"""The verdict of the detector on an incident, from the stored readings again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from alerts.incidents import adaptations, threshold_adjustments
from detection.events import EventKind, EventPhase
from detection.model import Model
from ingest.files.readings_export import slices
from plumewatch.config.settings import alert_budgets
from plumewatch.replay import judged, replay_policy

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator

    from detection.alert_thresholds import AlertBudgets
    from detection.events import Event
    from plumewatch.config.model import PlumewatchConfig
    from reports.incident_file import IncidentFile
    from storage.reading import Reading
    from storage.timeseries import Series

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
    then, and the adaptation. A threshold that had moved further than feedback can move it is
    reached as far as feedback can.
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
        model=_model_then(state, found),
    )
    return [Verdict(event, _nearest(event, result.events.values())) for event in found.events]


def _model_then(state: sqlite3.Connection, found: IncidentFile) -> Model:
    """Return the model with the adaptation that was active when the incident opened."""
    model = Model.shipped()
    versions = (str(event["model_version"]) for event in found.events)
    adapted = (adaptations.model_of(state, model, version) for version in versions)
    return next((one for one in adapted if one is not model), model)


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
        health = series.records("sensor_health", onset - _THRESHOLD_S, onset, sensor=sensor)
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
