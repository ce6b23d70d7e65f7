"""Run every method over one world and count; worlds run in parallel."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.detection_bench import learned, ours, peers, worlds
from benchmarks.detection_bench.scoring import window
from detection.events import EventKind, EventPhase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.detection_bench.learned import Trained
    from benchmarks.detection_bench.scoring import SensorScore
    from benchmarks.detection_bench.worlds import Series, World, WorldSpec
    from detection.events import Event
    from sensor_sim.trace import Truth

__all__ = [
    "ANOMALY",
    "BOOSTED",
    "METHODS",
    "OURS",
    "Counts",
    "Outcome",
    "Said",
    "run_world",
    "run_worlds",
]

OURS: Final = "ours"
BOOSTED: Final = "boosted"
ANOMALY: Final = "anomaly"
METHODS: Final[Mapping[str, str]] = {
    OURS: "Plumewatch",
    BOOSTED: "boosted trees, 50 features",
    ANOMALY: "half-space trees (river)",
    **{key: name for key, (name, _) in peers.RULES.items()},
}
"""Key and name in tables, in their order."""
CURVE_OURS: Final = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
CURVE_BOOSTED: Final = (0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999)
CURVE_ANOMALY: Final = (0.5, 0.7, 0.8, 0.9, 0.94, 0.96, 0.98, 0.99, 0.995, 0.998)


@dataclass(slots=True)
class Counts:
    """A point of a curve, added up."""

    found: int = 0
    visible: int = 0
    false: int = 0
    days: float = 0.0

    def add(self, score: SensorScore) -> None:
        """Take a sensor in."""
        self.found += score.n_found
        self.visible += len(score.sessions)
        self.false += score.n_false
        self.days += score.days

    def merge(self, other: Counts) -> None:
        """Take another world in."""
        self.found += other.found
        self.visible += other.visible
        self.false += other.false
        self.days += other.days


@dataclass(frozen=True, slots=True)
class Said:
    """A word of our detector: when (true time), in which phase, of what, how sure, P(vape)."""

    time: float
    phase: str
    kind: str
    confidence: float
    vape: float


@dataclass(slots=True)
class Outcome:
    """What one or more worlds gave.

    Attributes
    ----------
    scores : dict of str to list of SensorScore
        By method; only sensors it could run on.
    curves : dict of str to dict of float to Counts
        By method and decision level.
    events : dict of str to int
        Our events by kind, at their first word; ``withdrawn`` are vape alerts taken back.
    sensors, readings : int
    step_s : float
        CPU seconds inside our detector.
    version : str
        Of our model.
    attributes : dict of str to int
        Right vaping events by attribute (``masked``, ``thc``) and whether it was ``said``,
        ``true`` or ``both``, by the last word of each; ``right`` and ``false`` vaping events by
        whether they were ``withdrawn`` or ``kept``.
    said : dict of (int, str) to list of Said
        By seed and sensor, every word of our detector, for plots.
    """

    scores: dict[str, list[SensorScore]] = field(default_factory=dict)
    curves: dict[str, dict[float, Counts]] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    sensors: int = 0
    readings: int = 0
    step_s: float = 0.0
    version: str = ""
    attributes: dict[str, int] = field(default_factory=dict)
    said: dict[tuple[int, str], list[Said]] = field(default_factory=dict)

    def merge(self, other: Outcome) -> None:
        """Take another world in."""
        for method, scores in other.scores.items():
            self.scores.setdefault(method, []).extend(scores)
        for method, curve in other.curves.items():
            mine = self.curves.setdefault(method, {})
            for level, counts in curve.items():
                mine.setdefault(level, Counts()).merge(counts)
        for kind, n in other.events.items():
            self.events[kind] = self.events.get(kind, 0) + n
        for key, n in other.attributes.items():
            self.attributes[key] = self.attributes.get(key, 0) + n
        self.sensors += other.sensors
        self.readings += other.readings
        self.step_s += other.step_s
        self.version = other.version or self.version
        self.said |= other.said


class _World:
    """One world being scored."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.truths: dict[str, list[Truth]] = learned.truths_by_sensor(world)
        readings = sum(s.time.size for s in world.series)
        self.outcome = Outcome(sensors=len(world.series), readings=readings)

    def score(
        self,
        series: Series,
        at: NDArray[np.float64],
        confidence: NDArray[np.float64] | None = None,
    ) -> SensorScore:
        return learned.score_with(self.world, self.truths, series, at, confidence)

    def put(self, method: str, score: SensorScore) -> None:
        self.outcome.scores.setdefault(method, []).append(score)

    def point(self, method: str, level: float, score: SensorScore) -> None:
        curve = self.outcome.curves.setdefault(method, {})
        curve.setdefault(level, Counts()).add(score)

    def run_ours(self) -> None:
        begun = time.process_time()
        events = ours.run_detector(self.world.series)
        self.outcome.step_s = time.process_time() - begun
        self.outcome.version = events[0].model_version if events else ""
        self.outcome.events = _count(events)
        for series in self.world.series:
            alerts = ours.vape_alerts(events, series)
            self.outcome.said[self.world.spec.seed, series.sensor] = [
                Said(
                    float(series.true_time(np.array([e.time]))[0]),
                    e.phase.value,
                    e.kind.value,
                    e.confidence,
                    float(e.probabilities.get("vape", np.nan)),
                )
                for e in events
                if e.sensor == series.sensor
            ]
            self.put(OURS, self.score(series, alerts.time, alerts.confidence))
            self._count_attributes(events, series)
            for level in CURVE_OURS:
                sure = alerts.time[alerts.confidence >= level]
                self.point(OURS, level, self.score(series, sure))

    def _count_attributes(self, events: Sequence[Event], series: Series) -> None:
        mine = [e for e in events if e.sensor == series.sensor and e.kind is EventKind.VAPE]
        last = {e.id: e for e in mine}
        back = {e.id for e in mine if e.phase is EventPhase.WITHDRAWN}
        for event in last.values():
            at = float(series.true_time(np.array([event.alerted]))[0])
            spans = [(t, *window(t)) for t in self.truths[series.sensor] if t.kind == "vape"]
            held = [t for t, begin, end in spans if begin <= at <= end]
            key = f"{'right' if held else 'false'} {'withdrawn' if event.id in back else 'kept'}"
            self.outcome.attributes[key] = self.outcome.attributes.get(key, 0) + 1
            if not held:
                continue
            truth = max(held, key=lambda t: t.peak_excess)
            for name, said, true in (
                ("masked", event.masked, bool(truth.masked_by)),
                ("thc", event.thc_likely, truth.source == "thc_cartridge"),
            ):
                if said or true:
                    key = f"{name} {'both' if said and true else 'said' if said else 'true'}"
                    self.outcome.attributes[key] = self.outcome.attributes.get(key, 0) + 1

    def run_learned(self, trained: Trained) -> None:
        for series in self.world.series:
            chance = trained.chance(series)
            rows = learned.alerts_over(series.sent, chance, trained.boosted_level(series))
            # The level is where it speaks; how sure it is, is the probability it then states.
            self.put(BOOSTED, self.score(series, series.sent[rows], chance[rows]))
            for level in CURVE_BOOSTED:
                at = series.sent[learned.alerts_over(series.sent, chance, level)]
                self.point(BOOSTED, level, self.score(series, at))
            fed, scores = learned.anomaly_scores(series)
            sent = series.sent[fed]
            rows = learned.alerts_over(sent, scores, trained.anomaly_level)
            self.put(ANOMALY, self.score(series, sent[rows]))
            for level in CURVE_ANOMALY:
                at = sent[learned.alerts_over(sent, scores, level)]
                self.point(ANOMALY, level, self.score(series, at))

    def run_rules(self, options: Mapping[str, Mapping[str, float]]) -> None:
        for key, (_, rule) in peers.RULES.items():
            for series in self.world.series:
                at = rule(series, **options.get(key, {}))
                if at is not None:
                    self.put(key, self.score(series, series.true_time(at)))


def _count(events: Sequence[Event]) -> dict[str, int]:
    found: dict[str, int] = {}
    for event in events:
        if event.phase is EventPhase.ALERTED:
            found[event.kind.value] = found.get(event.kind.value, 0) + 1
        elif event.phase is EventPhase.WITHDRAWN and event.kind is EventKind.VAPE:
            found["withdrawn"] = found.get("withdrawn", 0) + 1
    return found


def run_world(spec: WorldSpec, trained: Trained | None, build: Path = worlds.BUILD) -> Outcome:
    """Run every method over one world.

    Parameters
    ----------
    spec : WorldSpec
    trained : Trained or None
        Without it only the product's detector runs.
    build : Path

    Returns
    -------
    Outcome
    """
    job = _World(worlds.load_world(spec, build))
    job.run_ours()
    if trained is not None:
        job.run_rules(trained.rules)
        job.run_learned(trained)
    return job.outcome


def run_worlds(
    specs: Sequence[WorldSpec],
    trained: Trained | None,
    *,
    build: Path = worlds.BUILD,
    workers: int = 2,
    on_done: Callable[[], None] = lambda: None,
) -> Outcome:
    """Run every method over all worlds, in parallel; the result does not depend on the order."""
    results: dict[int, Outcome] = {}
    with ProcessPoolExecutor(workers) as pool:
        jobs = {pool.submit(run_world, spec, trained, build): spec.seed for spec in specs}
        for job in as_completed(jobs):
            results[jobs[job]] = job.result()
            on_done()
    total = Outcome()
    for seed in sorted(results):
        total.merge(results[seed])
    return total
