"""Run the detector and the published rules over recordings, and score them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from detection.channels import ReadingBatch
from detection.detector import Detector
from detection.events import EventKind, EventPhase
from detection.model import Model
from research.benchmark import peers
from research.benchmark.people import People, Room
from research.benchmark.scoring import Alerts, SensorScore, score_sensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detection.events import Event
    from research.benchmark.recordings import Recording, Series
    from research.worlds.world import Happening

SHIPPED: Final = "shipped"
WITHOUT: Final = "without"
"""Method whose model was trained without the world in which it is evaluated."""
MODELS: Final = Path(__file__).with_name("without")
"""Models from ``make train ARGS=--left-out``, named after the worlds left out."""
FLOORS: Final = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
"""Stated probabilities to try as a single threshold for all worlds."""
COLD, TESTED, ANSWERED = "cold", "after the room test", "after two weeks of answers"
LEAD_IN_DAYS: Final = {COLD: 1.0, TESTED: 3.0, ANSWERED: math.inf}
"""Days of readings before the scored days, by the feedback given in that time."""
_SLICE_S: Final = 3600.0
_RULE_LEAD_S: Final = 3600.0
"""Time before the scored part from which published rules also get readings, s.

They look back a few minutes."""


@dataclass(frozen=True, slots=True)
class Result:
    """Result of one method at one sensor.

    `by_floor` has the counts of found sessions and false alarms for each of `FLOORS`.
    `with_possible` also counts possible vaping as an alert.
    """

    recording: str
    program: str
    method: str
    score: SensorScore
    by_floor: tuple[tuple[int, int], ...] = ()
    people: str = COLD
    with_possible: SensorScore | None = None


def load_model_without(world: str) -> Model | None:
    """Return the model trained without a world, or None."""
    paths = (path for path in MODELS.glob("*.npz") if world in path.stem.split("-"))
    path = next(paths, None)
    return Model.from_bytes(path.read_bytes()) if path else None


def run_detector(
    series: Sequence[Series],
    detector: Detector,
    adjust: Callable[[Detector, float, list[list[Event]]], None] | None = None,
) -> list[list[Event]]:
    """Run one detector over all series in time order; return each series' events.

    The detector identifies series by index, so a later call can continue with later readings.
    `adjust` is called after every hour with the events so far.
    """
    rows = [detector.assign_row(f"{k}") for k in range(len(series))]
    found: list[list[Event]] = [[] for _ in series]
    first, last = min(s.time[0] for s in series), max(s.time[-1] for s in series)
    edges = np.append(np.arange(first, last, _SLICE_S), np.inf)
    cuts = [np.searchsorted(s.time, edges) for s in series]
    for k in range(edges.size - 1):
        spans = [(int(c[k]), int(c[k + 1])) for c in cuts]
        time = np.concatenate([s.time[a:b] for s, (a, b) in zip(series, spans, strict=True)])
        if time.size:
            sensor = np.repeat(np.array(rows, np.int32), [b - a for a, b in spans])
            values = np.concatenate(
                [s.build_matrix(a, b) for s, (a, b) in zip(series, spans, strict=True)]
            )
            order = np.argsort(time, kind="stable")
            for event in detector.step(ReadingBatch(sensor[order], time[order], values[order])):
                found[int(event.sensor)].append(event)
        if adjust is not None:
            adjust(detector, float(edges[k + 1]), found)
    return found


def select_vape_alerts(
    events: Sequence[Event], kinds: tuple[EventKind, ...] = (EventKind.VAPE,)
) -> Alerts:
    """Return the vaping alerts, each at the time of the reading that triggered it."""
    alerts = [e for e in events if e.kind in kinds and e.phase is EventPhase.ALERTED]
    return Alerts(
        np.array([e.time for e in alerts], float),
        np.array([e.confidence for e in alerts], float),
    )


def evaluate(
    recordings: Sequence[tuple[str, Recording]],
    method: str,
    model: Model,
    people: Sequence[str] = (COLD,),
) -> list[Result]:
    """Score a model on one period's recordings; with the shipped model, also the published rules.

    Each recording comes with the program of its rooms. One detector processes all sensors together,
    once for each of `people`, so its run time depends on the longest stream, not on their sum.
    """
    cases = [
        (feedback, program, r, s)
        for feedback in people
        for program, r in recordings
        for s in r.series
    ]
    series: list[Series] = []
    truths: list[list[Happening]] = []
    rooms: dict[int, Room] = {}
    for row, (feedback, _, recording, whole) in enumerate(cases):
        series.append(whole.select_after(recording.spans[0][0] - 86_400.0 * LEAD_IN_DAYS[feedback]))
        truths.append([h for h in recording.happenings if h.sensor == whole.sensor.name])
        if feedback != COLD:
            rooms[row] = Room(truths[row], float(series[row].time[0]), feedback == ANSWERED)
    staff = People(rooms)
    events = run_detector(
        series, Detector(model, staff if rooms else None), staff.adjust_thresholds
    )
    results = []
    for (feedback, program, recording, one), truth, mine in zip(cases, truths, events, strict=True):
        spans = recording.spans
        alerts = select_vape_alerts(mine)
        seen = select_vape_alerts(mine, (EventKind.VAPE, EventKind.POSSIBLE))
        with_possible = score_sensor(truth, seen, one.sensor, spans)
        scores = [
            score_sensor(truth, alerts[~(alerts.confidence < floor)], one.sensor, spans)
            for floor in FLOORS
        ]
        by_floor = tuple((s.n_found, s.n_false) for s in scores)
        results.append(
            Result(recording.name, program, method, scores[0], by_floor, feedback, with_possible)
        )
        part = one.select_after(spans[0][0] - _RULE_LEAD_S)
        for key, (_, rule) in (peers.RULES if method == SHIPPED else {}).items():
            at = rule(part)
            if at is not None:
                score = score_sensor(truth, Alerts.from_times(at), one.sensor, spans)
                results.append(Result(recording.name, program, key, score))
    return results
