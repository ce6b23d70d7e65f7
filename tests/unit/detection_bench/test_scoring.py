"""The benchmark's scorer against hand-made days."""

import math

import numpy as np
import pytest

from benchmarks.detection_bench.scoring import (
    calibrate,
    is_visible,
    score_sensor,
    summarise,
    window,
)
from sensor_sim.trace import Truth


def happening(start, kind="vape", source="nicotine_pod", *, excess=50.0, baseline=5.0, **other):
    fields = {
        "session": f"{source}/{start}",
        "sensor": "a",
        "room": "r",
        "source": source,
        "kind": kind,
        "start": start,
        "end": start + 20,
        "arrival": start + 5.0,
        "peak_time": start + 30.0,
        "peak_excess": excess,
        "baseline": baseline,
        "masked_by": "",
        "puffs": 1,
    }
    return Truth(**(fields | other))


def score(truths, *times, confidence=None, **who):
    said = None if confidence is None else np.array(confidence, float)
    return score_sensor(truths, np.array(times, float), said, **who)


@pytest.mark.parametrize(
    ("excess", "baseline", "visible"),
    [(8.0, 3.0, True), (7.9, 3.0, False), (20.0, 20.0, True), (19.9, 20.0, False)],
)
def test_visible_needs_eight_and_the_baseline(excess, baseline, visible):
    assert is_visible(happening(0, excess=excess, baseline=baseline)) is visible


def test_what_never_arrived_is_not_visible_and_has_no_window():
    truth = happening(0, arrival=math.nan)
    assert not is_visible(truth)
    assert all(math.isnan(t) for t in window(truth))


@pytest.mark.parametrize(("at", "found"), [(994.9, 0), (995, 1), (1120, 1), (1120.1, 0)])
def test_window_is_ten_before_arrival_to_ninety_after_the_last_of_end_and_peak(at, found):
    result = score([happening(1000)], at)
    assert result.n_found == found
    assert result.n_false == 1 - found


def test_a_late_end_moves_the_window():
    assert score([happening(1000, end=1400)], 1485).n_found == 1


def test_nothing_said_and_nothing_done():
    result = score([])
    assert not result.sessions
    assert not result.incidents
    total = summarise([result])
    assert math.isnan(total.recall)
    assert math.isnan(total.precision)
    assert total.false_per_day == 0


def test_several_alerts_in_one_session_count_once():
    result = score([happening(1000)], 1010, 1020, 1100)
    assert (result.n_found, result.n_false) == (1, 0)
    assert len(result.incidents) == 1


def test_alerts_merge_for_two_minutes_from_the_first_only():
    result = score([], *np.arange(0, 600, 10))
    assert [i.time for i in result.incidents] == [0, 120, 240, 360, 480]


def test_an_incident_with_one_right_alert_is_right():
    result = score([happening(1000)], 940, 1010)
    assert [i.right for i in result.incidents] == [True]
    assert result.sessions[0].latency_s == 5.0


def test_weak_session_counts_neither_way():
    result = score([happening(1000, excess=4.0)], 1010)
    assert not result.sessions
    assert result.n_false == 0


def test_session_below_two_is_nobody_s_excuse():
    assert score([happening(1000, excess=1.5)], 1010).n_false == 1


def test_latency_is_not_negative():
    assert score([happening(1000)], 998).sessions[0].latency_s == 0


def test_alerts_in_any_order():
    assert score([happening(1000)], 5000, 1010).n_found == 1


def test_cause_is_the_largest_excess_around():
    others = [
        happening(1000, "spray", "deodorant", excess=300),
        happening(1010, "dust", "paper_dust", excess=30),
        happening(1020, "voc", "hand_sanitizer", excess=0.0),
    ]
    assert score(others, 1100).incidents[0].cause == "deodorant"


def test_cause_without_particles_is_the_last_arrived():
    others = [
        happening(1000, "voc", "perfume", excess=0.0, peak_time=math.nan),
        happening(1020, "voc", "hand_sanitizer", excess=0.0),
    ]
    assert score(others, 1100).incidents[0].cause == "hand_sanitizer"


@pytest.mark.parametrize(("at", "cause"), [(1330, "deodorant"), (1331, "none"), (980, "none")])
def test_cause_is_near_in_time(at, cause):
    assert score([happening(1000, "spray", "deodorant")], at).incidents[0].cause == cause


def test_summary_by_hand():
    one = score([happening(1000), happening(9000, masked_by="deodorant")], 1010, 5000)
    two = score([happening(1000)], 1025, days=3.0)
    total = summarise([one, two])
    assert (total.visible, total.found, total.false) == (3, 2, 1)
    assert total.recall == pytest.approx(2 / 3)
    assert total.precision == pytest.approx(2 / 3)
    assert total.f1 == pytest.approx(2 / 3)
    assert total.false_per_day == pytest.approx(1 / 4)
    assert total.latency_p50_s == 12.5
    assert (total.masked, total.masked_found, total.masked_recall) == (1, 0, 0.0)
    assert total.causes == {"none": 1}


def test_summary_of_chosen_sensors():
    scores = [score([happening(0)], 10, family="x"), score([happening(0)], family="y")]
    assert summarise(scores, keep=lambda s: s.family == "x").recall == 1
    assert summarise(scores, keep=lambda s: s.family == "y").recall == 0


def test_bootstrap_holds_the_figure_and_repeats():
    rng = np.random.default_rng(3)
    scores = []
    for seed in range(4):
        for _ in range(5):
            times = [10.0] if rng.random() < 0.6 else []
            scores.append(score([happening(0)], *times, 5000, seed=seed))
    total = summarise(scores, draws=200)
    low, high = total.interval["recall"]
    assert low <= total.recall <= high
    assert low < high
    assert summarise(scores, draws=200).interval == total.interval


def test_bootstrap_of_equal_sensors_has_no_width():
    scores = [score([happening(0)], 10, seed=s) for s in (1, 1, 2)]
    assert summarise(scores, draws=20).interval["recall"] == (1.0, 1.0)


def test_calibration_by_hand():
    result = calibrate(
        np.array([0.1, 0.15, 0.9, 1.0, np.nan]), np.array([False, True, True, True, True])
    )
    assert result.count[1] == 2
    assert result.count[9] == 2
    assert result.stated[1] == pytest.approx(0.125)
    assert result.observed[1] == 0.5
    assert result.brier == pytest.approx((0.01 + 0.7225 + 0.01 + 0) / 4, abs=1e-6)
    assert result.base_rate == 0.75


def test_calibration_without_probabilities():
    result = calibrate(np.array([np.nan]), np.array([True]))
    assert math.isnan(result.brier)
    assert sum(result.count) == 0


def test_input_is_not_written_to():
    times = np.array([30.0, 10.0])
    times.flags.writeable = False
    score_sensor([happening(0)], times)
