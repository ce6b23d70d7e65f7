"""Class probabilities are thinned, sum to one, agree with the alert, and change nothing."""

import numpy as np
import pytest

from detection.alert_rules import ClassSampler
from detection.channels import ReadingBatch
from detection.detector import Detector
from detection.events import EventPhase
from detection.quantities import COLUMN_INDEX, COLUMNS
from tests.support.plumes import readings_of_puff


def batch_of(detector, readings):
    values = np.full((len(readings), len(COLUMNS)), np.nan)
    for row, reading in enumerate(readings):
        for key, value in reading.values.items():
            values[row, COLUMN_INDEX[key]] = value
    sensor = np.array([detector.sensor_row(r.sensor) for r in readings], np.int32)
    return ReadingBatch(sensor, np.array([r.time for r in readings]), values)


def merged():
    both = readings_of_puff("s1") + readings_of_puff("s2", onset_s=200.0, top=90.0)
    return sorted(both, key=lambda r: r.time)


def run(readings, samples=None, step=10_000):
    detector = Detector(observer=samples)
    events, taken = [], []
    for k in range(0, len(readings), step):
        events += detector.step(batch_of(detector, readings[k : k + step]))
        taken += samples.drain() if samples else []
    return events, taken


def test_events_are_the_same_with_and_without():
    plain, _ = run(merged())
    watched, taken = run(merged(), ClassSampler())
    assert plain == watched
    assert taken


def test_samples_are_thinned_and_sum_to_one():
    _, taken = run(merged(), ClassSampler(every_s=10.0))
    for sensor in ("s1", "s2"):
        mine = [s for s in taken if s.sensor == sensor]
        times = [s.time for s in mine]
        assert 3 <= len(mine) <= 30
        assert min(np.diff(times)) >= 10.0
        assert all(s.onset <= s.time for s in mine)
    for sample in taken:
        assert sum(sample.probabilities.values()) == pytest.approx(1.0)
        assert min(sample.probabilities.values()) >= 0.0
        odds = 1.0 / (1.0 + np.exp(-sample.score))
        assert sample.probabilities["vape"] == pytest.approx(odds)
    assert max(s.probabilities["vape"] for s in taken) > 0.5


def test_a_sample_at_the_alert_equals_the_alert():
    events, taken = run(readings_of_puff("s1"), ClassSampler(every_s=0.0))
    (alert,) = [e for e in events if e.phase is EventPhase.ALERTED and e.kind == "vape"]
    (sample,) = [s for s in taken if s.time == alert.time]
    assert sample.probabilities["vape"] == pytest.approx(alert.confidence, abs=1e-4)
    for kind, p in alert.probabilities.items():
        assert sample.probabilities[kind] == pytest.approx(p, abs=1e-4)


@pytest.mark.parametrize("step", [1, 7, 100])
def test_any_split_gives_the_same(step):
    assert run(merged(), ClassSampler(), step) == run(merged(), ClassSampler())


def test_calm_air_gives_none():
    clean = readings_of_puff("s1", top=0.0)
    assert run(clean, ClassSampler())[1] == []


def test_a_restored_detector_is_sampled():
    readings = readings_of_puff("s1")
    samples = ClassSampler()
    first = Detector(observer=samples)
    first.step(batch_of(first, readings[:70]))
    second = Detector.restore(first.snapshot(), observer=samples)
    samples.reset()
    assert samples.drain() == []  # of the one before
    second.step(batch_of(second, readings[70:]))
    assert {s.sensor for s in samples.drain()} == {"s1"}
