"""The commissioning test in simulated rooms: a person follows the steps, readings arrive."""

from __future__ import annotations

import json
import math
import random
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from alerts import sensor_tests
from alerts.incidents import threshold_adjustments
from detection.commissioning import (
    STEPS,
    CommissioningResult,
    Detected,
    Timing,
    find_adjustment,
    median_interval,
    responses,
)
from detection.quantities import COLUMNS
from plumewatch.config.load import load
from plumewatch.room_test import evaluate
from plumewatch.service.data_folder import prepare_state
from sensor_sim import simulate as simulator
from sensor_sim.devices.models import Device
from sensor_sim.schedule import _make
from sensor_sim.school import Bells, Restroom, School
from sensor_sim.simulate import simulate
from storage.journal import Journal
from storage.reading import Reading
from storage.sqlite import connect, transaction
from tests.support.alert_records import incidents

START = 1_790_000_000.0
BEFORE_S = 1200.0
LENGTH = sum(step.seconds for step in STEPS)
SOURCES = {"fan": "hand_dryer", "water": "flush", "puff": "box_mod", "deodorant": "deodorant"}
CONFIG = """\
site = "S"
timezone = "UTC"
[[room]]
id = "r"
name = "Boys' restroom"
building = "North"
[[room]]
id = "empty"
name = "Nothing"
building = "North"
[[sensor]]
id = "n2-boys-1"
room = "r"
[[staff]]
id = "ap"
name = "AP"
"""


def simulated(monkeypatch, seed, every=2, model="sen55"):
    """A room in which each step of the test is done when it is asked for."""
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
                sessions.append(_make(rng, "r", 0, number, SOURCES[step.name], at + 1, ""))
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
    def commissioned(readings):
        with Journal(site.parent / "plumewatch-data/journal.db") as journal:
            if come := sorted(readings, key=lambda r: r.received):
                journal.commit(come)
        timings, at = [], START
        for step in STEPS:
            timings.append(Timing(step, at, at + step.seconds))
            at += step.seconds
        evaluate(load(site), "r", timings, "me")
        with state(site) as db:
            (test,) = sensor_tests.load_latest(db).values()
        return json.loads(test.result)

    return commissioned


def state(site):
    return closing(connect(site.parent / "plumewatch-data/state.db"))


def test_a_room_whose_sensor_sees_the_puff(site, commissioned, monkeypatch):
    found = commissioned(simulated(monkeypatch, seed=9))
    assert found["right"]
    (vape,) = [e for e in found["said"]["puff"] if e["kind"] == "vape"]
    assert 1 < vape["late_s"] < 90
    pm = next(a for a in found["answers"]["puff"] if a["quantity"] == "pm25")
    assert pm["seen"]
    assert pm["delay_s"] < vape["late_s"] + 2
    with state(site) as db:
        assert threshold_adjustments.latest(db) == []


def test_a_puff_that_is_detected_and_not_notified(site, commissioned, monkeypatch):
    found = commissioned(simulated(monkeypatch, seed=32, model="pms5003"))
    assert not found["right"]
    assert any(answer["seen"] for answer in found["answers"]["puff"])
    with state(site) as db:
        assert threshold_adjustments.latest(db) == []


def test_a_sensor_that_sends_nothing(commissioned):
    found = commissioned([])
    assert (found["right"], found["interval_s"]) == (False, None)


@pytest.mark.parametrize("wanted", [-0.5, 0.25])
def test_the_level_is_set_on_record_and_taken_back(site, commissioned, monkeypatch, wanted):
    """The puff is detected with one adjustment only, as where it is nearly detected."""

    def find(detect, timings, current):
        late = (Detected("vape", 9.0, 0.8),)
        found = {t.step.name: late if t.step.is_vaping else () for t in timings}
        return CommissioningResult(wanted, is_right=True, detections=found)

    monkeypatch.setattr("detection.commissioning.find_adjustment", find)
    found = commissioned(simulated(monkeypatch, seed=3))
    assert found["level_moved"] == wanted
    with state(site) as db, transaction(db) as tx:
        (move,) = threshold_adjustments.latest(tx)
        assert (move.sensor, move.after, move.reason) == ("n2-boys-1", wanted, "")
        assert incidents(tx) == []
        assert threshold_adjustments.undo(tx, move.seq, "me", START, "wrong").after == 0.0


class TestAdjustment:
    """Which adjustment comes out right is found by trying them in order."""

    timings = tuple(Timing(s, START + 60 * k, START + 60 * k + 60) for k, s in enumerate(STEPS))

    def found(self, detected_at, false_at, current=0.0):
        """Puffs are detected up to one adjustment, deodorant is vaping up to another."""

        def detect(adjustment):
            vape = (Detected("vape", 9.0, 0.8),)
            found = {t.step.name: () for t in self.timings}
            found["puff"] = vape if adjustment <= detected_at else ()
            found["deodorant"] = vape if adjustment <= false_at else ()
            return found

        return find_adjustment(detect, self.timings, current)

    @pytest.mark.parametrize(
        ("detected_at", "false_at", "moved", "right"),
        [
            (0.0, -1.0, 0.0, True),
            (-0.4, -1.0, -0.5, True),
            (1.0, 0.3, 0.5, True),
            (-2.0, -3.0, 0.0, False),  # no threshold within the bounds finds it
            (2.0, 2.0, 0.0, False),  # no threshold separates them
            (-0.5, 0.5, 0.0, False),  # both are wrong
        ],
    )
    def test_the_smallest_adjustment_that_is_right(self, detected_at, false_at, moved, right):
        found = self.found(detected_at, false_at)
        assert (found.adjustment, found.is_right) == (moved, right)


class TestResponses:
    timings = (Timing(STEPS[0], 0, 60), Timing(STEPS[3], 60, 150))

    def readings(self, delay, top, efold=18.0, every=1.0):
        rng = random.Random(1)
        for k in range(int(150 / every)):
            at = k * every
            since = at - 60 - delay
            plume = top * math.exp(-since / efold) if since >= 0 else 0.0
            yield at, {"pm25": round(4 + rng.gauss(0, 0.2) + plume, 2)}

    def test_by_hand(self):
        (found,) = responses(list(self.readings(7, 50)), self.timings)["puff"]
        assert found.seen
        assert found.delay_s == 7
        assert found.peak == pytest.approx(50, abs=1)
        assert found.fall_s == pytest.approx(18, abs=2)
        assert found.baseline == pytest.approx(4, abs=0.2)

    def test_nothing_seen(self):
        (found,) = responses(list(self.readings(7, 0)), self.timings)["puff"]
        assert (found.seen, found.delay_s, found.fall_s) == (False, None, None)

    def test_a_sensor_that_warms_up_sees_nothing_by_it(self):
        rising = [(t, {"voc_index": round(1.2 * t)}) for t in range(110)]
        (found,) = responses(rising, self.timings)["puff"]
        assert found.peak > 50
        assert not found.seen

    @pytest.mark.parametrize("readings", [[], [(70.0, {"pm25": 9.0})]])
    def test_too_little(self, readings):
        assert responses(readings, self.timings) == {"puff": []}
        assert median_interval(readings) is None
