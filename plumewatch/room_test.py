"""Evaluate a room's commissioning test, in a separate process."""

from __future__ import annotations

import json
import math
from contextlib import closing
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import msgspec

from alerts import sensor_tests
from alerts.engine import AlertEngine
from alerts.incidents.threshold_adjustments import (
    adjust_from_test,
    get_adjustment,
    sum_test_adjustments,
)
from detection import commissioning
from detection.alert_rules import AlertBudgets
from detection.commissioning import STEPS, Timing
from detection.model import Model
from detection.quantities import FINE_PARTICLES
from plumewatch.config.paths import DataPaths
from plumewatch.config.settings import build_alert_policy
from plumewatch.replay import build_replay_policy, replay
from plumewatch.service.data_folder import change_state
from storage.reading import Reading
from storage.sqlite import connect

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

    from plumewatch.config.model import PlumewatchConfig


SETTLE_S: Final = 5.0
"""Time in which the last reading of a test is stored, in seconds."""
_BEFORE_S: Final = 3_600.0
"""How long before the test the replay begins, so that the detector learns the baseline."""


def evaluate(config: PlumewatchConfig, room: str, starts: Sequence[float], who: str) -> None:
    """Evaluate a test whose steps began at `starts`, and adjust thresholds."""
    timings = [Timing(s, at, at + s.seconds) for s, at in zip(STEPS, starts, strict=True)]
    start, end = timings[0].start, timings[-1].end
    sensors = [sensor.id for sensor in config.sensor if sensor.room == room]
    journal = DataPaths(config.data_dir).journal
    readings = _read_readings(journal, start - _BEFORE_S, frozenset(sensors))
    results = [_evaluate(config, sensor, readings, timings) for sensor in sensors]
    steps = [{"step": t.step.name, "start": t.start, "end": t.end} for t in timings]
    result = {"room": room, "who": who, "steps": steps, "sensors": results}
    engine = AlertEngine(config.build_registry(), build_alert_policy(config))
    with change_state(DataPaths(config.data_dir).state) as tx:
        incidents = engine.answer_test(tx, room, (start, end + SETTLE_S), who)
        sensor_tests.add_result(tx, result)
        incident = incidents[0] if incidents else ""
        for one in results:
            if one["level_moved"] is not None:
                step = one["level_moved"] - get_adjustment(tx, one["sensor"])
                adjust_from_test(tx, one["sensor"], step, who, end, incident)
        for sensor, adjustment in _find_usual(tx, config, room).items():
            step = adjustment - sum_test_adjustments(tx, sensor)
            adjust_from_test(tx, sensor, step, who, end)


def _find_usual(tx: sqlite3.Connection, config: PlumewatchConfig, room: str) -> dict[str, float]:
    """Return the adjustments of untested sensors in the school of a room.

    Each adjustment is the median of the tests of the same model in that school; at least two rooms
    must have been tested. A test determines the thresholds of its own sensors. The other sensors
    also keep their adjustments from answers.
    """
    registry, tests = config.build_registry(), sensor_tests.load_latest(tx)
    site = registry.rooms[room].site
    school = [s for s in registry.sensors.values() if registry.rooms[s.room].site == site]
    found: dict[str, dict[str, float]] = {}
    for sensor in school:
        test = sensor_tests.find_valid_test(tests, sensor)
        moved = json.loads(test.result)["level_moved"] if test else None
        if moved is not None:
            found.setdefault(sensor.model, {})[sensor.room] = moved
    return {
        sensor.id: median(found[sensor.model].values())
        for sensor in school
        if sensor.model
        and len(found.get(sensor.model, ())) > 1
        and sensor_tests.find_valid_test(tests, sensor) is None
    }


def _read_readings(journal: Path, since: float, sensors: frozenset[str]) -> list[Reading]:
    decoder = msgspec.msgpack.Decoder(Reading)
    with closing(connect(journal, read_only=True)) as db:
        rows = db.execute(
            "SELECT body FROM journal WHERE received >= ? ORDER BY offset", (since,)
        ).fetchall()
    found = (decoder.decode(row["body"]) for row in rows)
    return sorted((r for r in found if r.sensor in sensors), key=lambda r: r.time)


def _evaluate(
    config: PlumewatchConfig, sensor: str, readings: Sequence[Reading], timings: Sequence[Timing]
) -> dict[str, Any]:
    """Return the result of one sensor; its interval is None without at least two readings."""
    mine = [r for r in readings if r.sensor == sensor and r.time < timings[-1].end]
    samples = [(r.time, r.values) for r in mine]
    scores = commissioning.score_steps(samples, timings)
    adjustment = commissioning.find_adjustment(scores, Model.load_shipped().level)
    with change_state(DataPaths(config.data_dir).state) as tx:
        moved = get_adjustment(tx, sensor) if adjustment is None else adjustment
    policy, registry = build_replay_policy(config), config.build_registry()
    budgets = AlertBudgets(offsets={sensor: moved})
    replayed = replay(iter(mine), policy=policy, registry=registry, budgets=budgets)
    detected = commissioning.group_by_step(replayed.events.values(), timings)
    during = [sample for sample in samples if sample[0] >= timings[0].start]
    return {
        "sensor": sensor,
        "interval_s": commissioning.compute_median_interval(during),
        "has_particles": any(not values.keys().isdisjoint(FINE_PARTICLES) for _, values in during),
        "sees_puff": any(scores[step.name] > -math.inf for step in STEPS if step.is_vaping),
        "said": {step: [each._asdict() for each in found] for step, found in detected.items()},
        "right": commissioning.is_right(detected),
        "level_moved": adjustment,
    }
