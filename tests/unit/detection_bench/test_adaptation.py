"""The benchmark of an adaptation: weeks of answers once, then days that judge from there."""

import pytest

from benchmarks.adaptation import measure
from benchmarks.detection_bench.recordings import Recording, series_of
from benchmarks.detection_bench.run import run_detector, vape_alerts
from benchmarks.detection_bench.scoring import score_sensor, summarize
from detection.detector import Detector
from detection.model import Model
from sensor_sim.worlds import WORLDS
from sensor_sim.worlds.world import EPOCH

HOURS = 3.0


@pytest.fixture(scope="module")
def recordings():
    """Two kinds of rooms, of which the last hour is scored."""
    spans = ((EPOCH + 2 * 3600.0, EPOCH + HOURS * 3600.0),)
    found = []
    for seed in (3, 1):
        readings, truth = WORLDS["mixing_jets"](seed, 1, HOURS, 8.0, 1.0)
        found.append(Recording("a", spans, series_of(readings, truth, "a"), tuple(truth)))
    return found


def test_days_judged_from_the_state_before_them_are_judged_as_in_one_run(recordings):
    model = Model.shipped()
    (before,) = measure(recordings, model, [], seed=1)
    series = [one for recording in recordings for one in recording.series]
    events = iter(run_detector(series, Detector(model)))
    alerts = 0
    for name, recording in zip(("busy", "ordinary"), recordings, strict=True):
        scores = []
        for one in recording.series:
            mine = [h for h in recording.happenings if h.sensor == one.sensor.name]
            found = vape_alerts(next(events))
            alerts += found.time.size
            scores.append(score_sensor(mine, found, one.sensor, recording.spans))
        whole = summarize(scores)
        assert before[f"{name}_false_a_day"] == whole.false_per_day
        assert before[f"{name}_recall"] == pytest.approx(whole.recall, nan_ok=True)
    assert alerts, "nothing was alerted"


def test_no_row_is_printed_for_weeks_with_too_few_answers(recordings):
    rows = list(measure(recordings, Model.shipped(), [1e-6], seed=1))
    assert [row["weeks"] for row in rows] == [0.0]
