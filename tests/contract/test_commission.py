"""Run the commissioning test in simulated rooms: a person follows the steps."""

from __future__ import annotations

import json
import math
import statistics
from contextlib import closing
from dataclasses import replace
from itertools import accumulate

import msgspec
import numpy as np
import pytest

from alerts import sensor_tests
from alerts.incidents import threshold_adjustments
from detection import commissioning
from detection.commissioning import STEPS, find_adjustment
from detection.model import Model
from detection.quantities import COLUMNS
from plumewatch.config.load import load
from plumewatch.room_test import evaluate
from plumewatch.service.data_folder import prepare_state
from sensor_sim import simulate as simulator
from sensor_sim.devices.models import Device
from sensor_sim.schedule import _make_session
from sensor_sim.school import Bells, Restroom, School
from sensor_sim.simulate import simulate
from storage.journal import Journal
from storage.reading import Reading
from storage.sqlite import connect
from tests.support.config_entries import entry, one_room

START = 1_790_000_000.0
BEFORE_S = 1200.0
LENGTH = sum(step.seconds for step in STEPS)
SOURCES = {"fan": "hand_dryer", "water": "flush", "puff": "box_mod", "deodorant": "deodorant"}
CONFIG = (
    one_room("n2-boys-1", model="sen55")
    + entry("room", id="empty", name="Nothing", building="North")
    + entry("staff", id="ap", name="AP")
)
SECOND_ROOM = (
    entry("sensor", id="n2-girls-1", room="r2", model="sen55")
    + entry("sensor", id="n3-boys-1", room="empty", model="sen55")
    + entry("sensor", id="other", room="empty", model="sps30")
    + entry("room", id="r2", name="Girls' restroom", building="North")
)


def replace_sensor(readings, sensor):
    return [msgspec.structs.replace(reading, sensor=sensor) for reading in readings]


def simulated(monkeypatch, seed, every=2, model="sen55"):
    """Simulate a room in which each step of the test is performed when requested."""
    device = Device("n2-boys-1", "r", model, every)
    room = Restroom("r", "student", (device,), 35.0)
    school = School("S", (room,), Bells(), 0)
    real = simulator.plan_day

    def planned(*arguments, **options):
        plan = real(*arguments, **options)
        at, sessions = START, []
        for number, step in enumerate(STEPS):
            if step.name in SOURCES and arguments[3] == int(START // 86_400):
                rng = np.random.default_rng(seed + number)
                sessions.append(_make_session(rng, "r", 0, number, SOURCES[step.name], at + 1))
            at += step.seconds
        return replace(plan, people=plan.people * 0, sessions=tuple(sessions))

    monkeypatch.setattr(simulator, "plan_day", planned)
    chunks = simulate(school, seed=seed, start=START - BEFORE_S, duration_s=BEFORE_S + LENGTH + 10)
    for chunk in chunks:
        for trace in chunk.traces:
            for k, at in enumerate(trace.time):
                values = {
                    key: float(v)
                    for key, v in zip(COLUMNS, trace.values[k], strict=True)
                    if not math.isnan(v)
                }
                if values:
                    yield Reading("n2-boys-1", float(at), float(trace.sent[k]), values)


@pytest.fixture
def site(tmp_path):
    path = tmp_path / "plumewatch.toml"
    path.write_text(CONFIG)
    (tmp_path / "plumewatch-data").mkdir()
    with state(path) as db:
        prepare_state(db)
    return path


@pytest.fixture
def commissioned(site):
    def commissioned(readings, room="r"):
        with Journal(site.parent / "plumewatch-data/journal.db") as journal:
            if come := sorted(readings, key=lambda r: r.received):
                journal.commit(come)
        starts = list(accumulate((step.seconds for step in STEPS[:-1]), initial=START))
        evaluate(load(site), room, starts, "me")
        with state(site) as db:
            (test,) = (test for test in sensor_tests.load_latest(db).values() if test.room == room)
        return json.loads(test.result)

    return commissioned


def state(site):
    return closing(connect(site.parent / "plumewatch-data/state.db"))


def test_a_room_whose_sensor_sees_the_puff(site, commissioned, monkeypatch):
    found = commissioned(simulated(monkeypatch, seed=9))
    assert found["right"]
    (vape,) = [e for e in found["said"]["puff"] if e["kind"] == "vape"]
    assert 1 < vape["late_s"] < 90
    assert found["sees_puff"]
    assert found["level_moved"] is not None


def test_a_puff_that_is_detected_and_not_notified(site, commissioned, monkeypatch):
    found = commissioned(simulated(monkeypatch, seed=32, model="pms5003"))
    assert not found["right"]
    assert found["sees_puff"]
    with state(site) as db:
        assert threshold_adjustments.list_adjustments(db) == []


def test_a_sensor_that_sends_nothing(commissioned):
    found = commissioned([])
    assert (found["right"], found["interval_s"]) == (False, None)


def test_the_threshold_lies_between_puff_and_spray_and_the_model_follows_two_rooms(
    site, commissioned, monkeypatch
):
    scores = []
    score_steps = commissioning.score_steps

    def score(samples, timings):
        scores.append(score_steps(samples, timings))
        return scores[-1]

    monkeypatch.setattr(commissioning, "score_steps", score)
    site.write_text(CONFIG + SECOND_ROOM)
    readings = list(simulated(monkeypatch, seed=9))
    moved = [commissioned(readings, "r")["level_moved"]]
    with state(site) as db:
        assert {move.sensor for move in threshold_adjustments.list_adjustments(db)} == {"n2-boys-1"}
    moved.append(commissioned(replace_sensor(readings, "n2-girls-1"), "r2")["level_moved"])
    level = Model.load_shipped().level
    for found, by in zip(scores, moved, strict=True):
        puff = found.pop("puff")
        assert max(found.values()) < level + by < puff
    with state(site) as db:
        by_sensor = {move.sensor: move for move in threshold_adjustments.list_adjustments(db)}
        assert by_sensor["n3-boys-1"].after == pytest.approx(statistics.median(moved))
        assert "other" not in by_sensor


@pytest.mark.parametrize(
    ("puff", "spray", "level"),
    [
        (3.0, -3.0, 1 / 3),  # a third of the way to the midpoint, which is 0 here
        (-1.0, -4.0, -1.25),  # low enough to detect the puff
        (3.0, 1.0, 1.25),  # high enough to exclude the spray
        (0.6, 0.5, 0.55),
        (-4.0, -9.0, -2.5),  # at most three log-odds from the model's threshold
        (4.0, 3.0, 2.0),
        (4.0, -math.inf, 2 / 3),
        (1.0, 1.5, None),
        (-math.inf, -math.inf, None),
    ],
)
def test_the_level_that_a_test_asks_for(puff, spray, level):
    scores = {step.name: -9.0 for step in STEPS} | {"puff": puff, "deodorant": spray}
    if spray == -math.inf:
        scores = dict.fromkeys(scores, spray) | {"puff": puff}
    moved = find_adjustment(scores, 0.5)
    assert moved == (None if level is None else pytest.approx(level - 0.5))
