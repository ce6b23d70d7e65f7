"""Test the benchmark's scoring on hand-made days."""

import math

import numpy as np
import pytest

from research.benchmark.recordings import Sensor
from research.benchmark.scoring import (
    Alerts,
    calibrate,
    get_match_window,
    is_visible,
    score_sensor,
    summarize,
)
from research.worlds.world import Happening


def happening(start, kind="vape", style="pod", *, excess=50.0, background=5.0, **other):
    fields = {
        "sensor": "a",
        "kind": kind,
        "style": style,
        "onset": start,
        "end": start + 30,
        "device": "sen55",
        "interval_s": 1,
        "volume_m3": 40,
        "air_changes_h": 4,
        "seen_pm25": excess,
        "base_pm25": background,
        "arrival": start + 5.0,
    }
    return Happening(**(fields | other))


def score(truths, *times, confidence=None, group="", interval_s=1, spans=((0, 86_400),)):
    n = len(times)
    confidences = np.full(n, np.nan) if confidence is None else np.array(confidence, float)
    sensor = Sensor("a", group, "sen55", interval_s, ("pm25",))
    return score_sensor(truths, Alerts(np.array(times, float), confidences), sensor, spans)


@pytest.mark.parametrize(
    ("excess", "background", "visible"),
    [(8.0, 3.0, True), (7.9, 3.0, False), (20.0, 20.0, True), (19.9, 20.0, False)],
)
def test_visible_needs_eight_and_the_background(excess, background, visible):
    assert is_visible(happening(0, excess=excess, background=background)) is visible


def test_what_never_arrived_is_not_visible_and_has_the_window_of_the_act():
    truth = happening(100, arrival=math.nan)
    assert not is_visible(truth)
    assert get_match_window(truth) == (90, 220)


@pytest.mark.parametrize(("at", "found"), [(994.9, 0), (995, 1), (1120, 1), (1120.1, 0)])
def test_window_is_ten_before_arrival_to_ninety_after_the_end(at, found):
    result = score([happening(1000)], at)
    assert result.n_found == found
    assert result.n_false == 1 - found


def test_a_late_arrival_moves_the_window():
    assert score([happening(1000, arrival=1400)], 1485).n_found == 1


def test_no_alerts_and_no_sessions():
    result = score([])
    assert not result.sessions
    assert not result.incidents
    total = summarize([result])
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


def test_cause_is_what_began_last():
    others = [happening(1000, "spray"), happening(1010, "dust"), happening(1200, "voc")]
    assert score(others, 1100).incidents[0].cause == "dust"


@pytest.mark.parametrize(("at", "cause"), [(1330, "spray"), (1331, "none"), (984, "none")])
def test_cause_is_near_in_time(at, cause):
    assert score([happening(1000, "spray")], at).incidents[0].cause == cause


def test_only_the_spans_are_scored():
    spans = ((0, 500), (2000, 3000))
    result = score([happening(1000), happening(2500)], 100, 1010, 2510, 4000, spans=spans)
    assert [f.session.onset for f in result.sessions] == [2500]
    assert [(i.time, i.right) for i in result.incidents] == [(100, False), (2510, True)]
    assert result.days == 1500 / 86_400


def test_summary_by_hand():
    one = score([happening(1000), happening(9000)], 1010, 5000)
    two = score([happening(1000)], 1025, interval_s=10, spans=((0, 3 * 86_400),))
    total = summarize([one, two])
    assert (total.visible, total.found, total.false) == (3, 2, 1)
    assert total.recall == pytest.approx(2 / 3)
    assert total.precision == pytest.approx(2 / 3)
    assert total.f1 == pytest.approx(2 / 3)
    assert total.false_per_day == pytest.approx(1 / 4)
    assert total.latency_p50_s == 12.5
    assert total.latency_p50_reports == 3.5
    assert total.causes == {"none": 1}


def test_bootstrap_contains_the_figure_and_repeats():
    rng = np.random.default_rng(3)
    scores = []
    for seed in range(4):
        for _ in range(5):
            times = [10.0] if rng.random() < 0.6 else []
            scores.append(score([happening(0)], *times, 5000, group=f"{seed}"))
    total = summarize(scores, draws=200)
    low, high = total.interval["recall"]
    assert low <= total.recall <= high
    assert low < high
    assert summarize(scores, draws=200).interval == total.interval


def test_bootstrap_of_equal_sensors_has_no_width():
    scores = [score([happening(0)], 10, group=s) for s in "112"]
    assert summarize(scores, draws=20).interval["recall"] == (1.0, 1.0)


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
    sensor = Sensor("a", "", "sen55", 1, ("pm25",))
    score_sensor([happening(0)], Alerts.from_times(times), sensor, ((0, 100),))
