"""Test that thresholds follow false alarm budgets within bounds, and vaping never raises them."""

import numpy as np
import pytest

from detection.alert_rules import (
    BUDGET,
    LEARN_S,
    LOWER,
    TAIL,
    UPPER,
    WEEK_S,
    AlertThresholds,
)

MODEL = 0.5
ROW = np.array([0], np.int32)
SCHOOL_DAY_S = 8 * 3600.0


def fresh(budget=BUDGET, n=1):
    levels = AlertThresholds(MODEL)
    levels.budget = budget
    for _ in range(n):
        levels.add()
    return levels


def run(levels, clusters, end, row=0, start=0.0, every_s=300.0):
    """Run a sensor that reports every `every_s`; each of its clusters is (time, score)."""
    rows = np.array([row], np.int32)
    at = dict.fromkeys(np.arange(start, end, every_s).tolist())
    for time, score in clusters:
        at[float(time)] = score
    last = start
    for time in sorted(at):
        now = np.array([time])
        levels.advance(rows, now, now - last)
        if at[time] is not None:
            levels.observe(rows, now, np.array([at[time]]))
        last = time


def every(hours, score, days, start=1000.0):
    """Return clusters with the same score, `hours` apart."""
    return [(start + 3600.0 * hours * k, score) for k in range(int(24 * days / hours))]


def test_at_first_the_models_threshold_applies_and_nothing_is_expected_yet():
    levels = fresh()
    run(levels, [], LEARN_S / 4)
    report = levels.explain(0)
    assert report.level == pytest.approx(MODEL, abs=0.05)
    assert report.expected is None


class School:
    """A room in school hours, in which plumes alert if their score is above the threshold."""

    def __init__(self, a_week, highest, seed=1, answer=None):
        self.levels, self.rng, self.answer = fresh(), np.random.default_rng(seed), answer
        self.a_week, self.highest, self.moved = a_week, highest, 0.0

    def run(self, weeks):
        """Return the number of alerts in each week, and the share of plumes that alerted."""
        alerts = []
        for week in range(weeks):
            alerts.append(0)
            for day in range(7):
                start = week * WEEK_S + day * 86_400.0
                n = self.rng.poisson(self.a_week / 5.0) if day < 5 else 0
                at = np.sort(start + 8 * 3600.0 + SCHOOL_DAY_S * self.rng.random(n))
                plumes = list(zip(at.tolist(), self.highest(self.rng, n).tolist(), strict=True))
                for until, score in [*plumes, (start + 86_400.0, None)]:
                    begin = max(start, self.levels._state.last[0]) if week or day else start
                    run(self.levels, [] if score is None else [(until, score)], until, start=begin)
                    if score is not None and score >= self.levels.explain(0).level:
                        alerts[-1] += 1
                        if self.answer is not None:
                            self.moved = min(self.moved + self.answer, UPPER)
                            self.levels.set_feedback(0, self.moved)
                            self.levels.count_answer(0, is_false=self.answer > 0)
                    start = until
        return alerts


def nuisances(rng, n):
    """Draw plume scores; each decrease by 1 / `TAIL` makes plumes e times as frequent."""
    return MODEL - 3.0 + rng.exponential(1.0 / TAIL, n)


def test_a_quiet_room_grows_more_sensitive_until_its_budget_is_used():
    empty, quiet, busy = School(0.0, nuisances), School(60.0, nuisances), School(600.0, nuisances)
    weeks = {}
    for name, room in (("empty", empty), ("quiet", quiet), ("busy", busy)):
        weeks[name] = room.run(8)
    report = {k: r.levels.explain(0) for k, r in (("e", empty), ("q", quiet), ("b", busy))}
    assert MODEL - LOWER < report["e"].level < report["q"].level < report["b"].level == MODEL
    assert report["q"].level < MODEL - 0.25
    for room in "eq":
        assert 0.8 * BUDGET < report[room].expected <= BUDGET
    assert 0.0 < np.mean(weeks["quiet"][4:]) <= 2.0 * BUDGET


def vaping(rng, n):
    return rng.normal(MODEL + 1.5, 1.0, n)


@pytest.mark.parametrize("answer", [None, 0.25], ids=["unanswered", "answered as false alarms"])
def test_two_weeks_of_vaping_teach_no_silence(answer):
    """Ten unanswered sessions a day don't change the threshold, and clear ones always alert."""
    room = School(50.0, vaping, answer=answer)
    first, second = room.run(2)
    assert second > 0.3 * first
    level = room.levels.explain(0).level
    assert level == (MODEL if answer is None else MODEL + UPPER)


def test_answers_correct_the_false_alarms_that_an_alert_counts_for():
    scores = every(24.0, MODEL + 0.2, 7)
    false, right = fresh(), fresh()
    for levels, is_false in ((false, True), (right, False)):
        run(levels, scores, WEEK_S)
        before = levels.explain(0).expected
        for _ in scores:
            levels.count_answer(0, is_false=is_false)
        assert (levels.explain(0).expected > before) == is_false
        for _ in scores[:1]:
            levels.count_answer(0, is_false=is_false, undone=True)
    assert right.explain(0).expected < BUDGET < false.explain(0).expected


def test_half_the_budget_raises_by_what_halves_false_alarms():
    whole, half = fresh(), fresh(BUDGET / 2.0)
    for levels in (whole, half):
        run(levels, every(3, MODEL + 0.5, 7), WEEK_S)
    difference = half.explain(0).level - whole.explain(0).level
    assert difference == pytest.approx(np.log(2.0) / TAIL)


def test_strong_plumes_alert_whatever_the_budget_and_the_answers():
    levels = fresh(0.001)
    run(levels, every(0.1, MODEL + 1.0, 7), WEEK_S)
    levels.set_feedback(0, 99.0)
    assert levels.get_offsets(ROW)[0] == UPPER
    assert levels.explain(0).expected > levels.explain(0).budget * 1.0001


def test_readings_close_together_are_one_cluster():
    one, many = fresh(), fresh()
    for room, readings in ((one, 1), (many, 20)):
        hours = every(24, MODEL - 0.6, 7)
        near = [(at + 60.0 * k, score) for at, score in hours for k in range(readings)]
        run(room, near, WEEK_S, every_s=60.0)
    assert many.explain(0).level == pytest.approx(one.explain(0).level, abs=1e-9)


def test_memory_fades_by_the_time_read_not_by_the_calendar():
    levels = fresh()
    run(levels, every(12, MODEL - 0.1, 7), WEEK_S)
    before = levels.explain(0)
    off = 50 * WEEK_S
    levels.advance(ROW, np.array([off]), np.array([off - WEEK_S]))
    after = levels.explain(0)
    assert after.level == pytest.approx(before.level, abs=0.01)
    assert after.weeks == pytest.approx(before.weeks, abs=0.01)
    run(levels, [], off + 8 * WEEK_S, start=off)
    assert levels.explain(0).level < before.level - 0.2


def test_a_test_that_made_a_sensor_too_sensitive_is_corrected_by_what_it_then_sees():
    levels = fresh()
    levels.set_feedback(0, -2.0)
    assert levels.explain(0).level == MODEL - 2.0
    run(levels, every(12, MODEL - 0.5, 7), WEEK_S)
    assert MODEL - 0.5 < levels.explain(0).level <= MODEL


def test_people_move_within_bounds_and_back():
    levels = fresh()
    for moved, offset in ((0.25, 0.25), (99.0, UPPER), (-99.0, -LOWER), (0.0, 0.0)):
        levels.set_feedback(0, moved)
        assert levels.explain(0).feedback == offset
        assert levels.get_offsets(ROW)[0] == pytest.approx(offset)


def test_a_new_budget_takes_effect_at_once_and_the_same_changes_nothing():
    levels = fresh(1.0)
    run(levels, every(2, MODEL + 1.0, 7), WEEK_S)
    before = levels.to_array()
    levels.set_budget(0, 1.0)
    np.testing.assert_array_equal(levels.to_array(), before)
    level = levels.explain(0).level
    levels.set_budget(0, 0.5)
    assert levels.explain(0).level > level + 0.3
    levels.set_budget(0, 1.0)
    assert levels.explain(0).level == pytest.approx(level, abs=0.01)
