"""Thresholds from near misses: bounded, reversible, never raised by vaping."""

import numpy as np
import pytest

from detection.alert_rules import (
    BUDGET,
    FEEDBACK,
    LEARN_S,
    LOWER,
    NEAR_A_WEEK,
    TAIL,
    UPPER,
    WEEK_S,
    AlertThresholds,
)

MODEL = 1.8
ROW = np.array([0], np.int32)


def fresh(budget=BUDGET, n=1):
    levels = AlertThresholds(MODEL)
    levels.budget = budget
    for _ in range(n):
        levels.add()
    return levels


def run(levels, clusters, end, row=0, start=0.0, every_s=300.0):
    """Let one sensor be read every `every_s`, with (time, score) of its clusters in between."""
    rows = np.array([row], np.int32)
    at = dict.fromkeys(np.arange(start, end, every_s).tolist())
    for time, score in clusters:
        at[float(time)] = score
    last = start
    for time in sorted(at):
        now = np.array([time])
        levels.watch(rows, now, now - last)
        if at[time] is not None:
            levels.observe(rows, now, np.array([at[time]]))
        last = time


def every(hours, score, days, start=1000.0):
    """Clusters of one score, hours apart."""
    return [(start + 3600.0 * hours * k, score) for k in range(int(24 * days / hours))]


def test_at_first_the_models_threshold_applies_and_nothing_is_expected_yet():
    levels = fresh()
    run(levels, [], LEARN_S / 4)
    report = levels.explain(0)
    assert report.level == pytest.approx(MODEL, abs=0.1)
    assert report.expected is None
    assert report.within_budget


def test_a_quiet_room_has_a_lower_threshold_and_a_dirty_one_a_higher():
    quiet, usual, dirty = fresh(), fresh(), fresh()
    run(quiet, every(12, MODEL - 2.0, 7), WEEK_S)
    run(usual, every(168.0 / NEAR_A_WEEK, MODEL - 2.0, 7), WEEK_S)
    run(dirty, every(0.5, MODEL - 2.0, 7), WEEK_S)
    levels = [room.explain(0).level for room in (quiet, usual, dirty)]
    assert levels[0] < MODEL - 0.1
    assert levels[1] == pytest.approx(MODEL, abs=0.05)
    assert MODEL + 0.3 < levels[2] <= MODEL + UPPER


def test_a_dirty_room_is_known_within_hours():
    levels = fresh()
    run(levels, every(0.1, MODEL - 2.0, 0.25), 6 * 3600.0)
    assert levels.explain(0).level > MODEL + 0.3


@pytest.mark.parametrize("score", [MODEL + 0.1, MODEL - 0.9, MODEL + 3.0])
def test_plumes_that_look_like_vaping_never_raise_a_threshold(score):
    """Twenty a day for a fortnight, each with a weak one after it."""
    levels = fresh()
    strong = every(1.2, score, 14)
    weak = [(time + 300.0, MODEL - 2.0) for time, _ in strong if score > MODEL]
    run(levels, sorted(strong + weak), 2 * WEEK_S, every_s=200.0)
    assert levels.explain(0).level <= MODEL


def test_a_quiet_week_of_short_weak_puffs_does_not_make_a_sensor_blind():
    """Ten doubtful plumes a day: the threshold stays where strong ones pass."""
    levels = fresh()
    run(levels, every(2.4, MODEL - 1.5, 7), WEEK_S)
    assert levels.explain(0).level < MODEL + 0.75


def test_half_the_budget_raises_by_what_halves_false_alarms():
    whole, half = fresh(), fresh(BUDGET / 2.0)
    for levels in (whole, half):
        run(levels, every(3, MODEL - 2.0, 7), WEEK_S)
    difference = half.explain(0).level - whole.explain(0).level
    assert difference == pytest.approx(np.log(2.0) / TAIL)
    assert half.explain(0).expected == pytest.approx(whole.explain(0).expected / 2.0)


def test_strong_plumes_alert_in_the_dirtiest_room_and_the_smallest_budget():
    levels = fresh(0.001)
    run(levels, every(0.1, MODEL - 2.0, 7), WEEK_S)
    levels.set_feedback(0, FEEDBACK)
    assert levels.offset(ROW)[0] == UPPER
    report = levels.explain(0)
    assert not report.within_budget


def test_readings_close_together_are_one_cluster():
    one, many = fresh(), fresh()
    for room, readings in ((one, 1), (many, 20)):
        hours = every(6, MODEL - 2.0, 7)
        near = [(at + 60.0 * k, score) for at, score in hours for k in range(readings)]
        run(room, near, WEEK_S, every_s=60.0)
    assert many.explain(0).level == pytest.approx(one.explain(0).level, abs=1e-9)


def test_memory_fades_by_the_time_read_not_by_the_calendar():
    levels = fresh()
    run(levels, every(0.5, MODEL - 2.0, 7), WEEK_S)
    before = levels.explain(0)
    off = 50 * WEEK_S
    levels.watch(ROW, np.array([off]), np.array([off - WEEK_S]))
    after = levels.explain(0)
    assert after.level == pytest.approx(before.level, abs=0.01)
    assert after.weeks == pytest.approx(before.weeks, abs=0.01)
    run(levels, [], off + 4 * WEEK_S, start=off)
    assert levels.explain(0).level < before.level - 0.2


def test_feedback_moves_within_bounds_and_back():
    levels = fresh()
    levels.set_feedback(0, 0.25)
    assert levels.offset(ROW)[0] == pytest.approx(0.25)
    levels.set_feedback(0, 99.0)
    assert levels.offset(ROW)[0] == pytest.approx(UPPER)
    assert levels.explain(0).feedback == FEEDBACK
    levels.set_feedback(0, -99.0)
    assert levels.offset(ROW)[0] == -LOWER
    levels.set_feedback(0, 0.0)
    assert levels.offset(ROW)[0] == pytest.approx(0.0)


def test_a_new_budget_takes_effect_at_once_and_the_same_changes_nothing():
    levels = fresh(1.0)
    run(levels, every(2, MODEL - 2.0, 7), WEEK_S)
    before = levels.array()
    levels.set_budget(0, 1.0)
    np.testing.assert_array_equal(levels.array(), before)
    level = levels.explain(0).level
    levels.set_budget(0, 0.5)
    assert levels.explain(0).level > level + 0.3
    levels.set_budget(0, 1.0)
    assert levels.explain(0).level == pytest.approx(level, abs=0.01)


def test_changed_rows_are_reported_until_they_are_marked():
    levels = fresh(n=3)
    assert levels.changed().tolist() == []
    levels.set_feedback(2, 0.25)
    levels.watch(ROW, np.array([10.0]), np.array([0.0]))
    assert levels.changed().tolist() == [0, 2]
    levels.mark_reported(np.array([0]))
    assert levels.changed().tolist() == [2]
    assert AlertThresholds.from_array(levels.array(), MODEL).changed().tolist() == []
