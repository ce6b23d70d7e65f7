"""Levels from a budget: hand-worked, bounded, reversible, and right on streams of known odds."""

import numpy as np
import pytest

from detection.alert_thresholds import (
    BASE_RATE,
    BUDGET,
    FEEDBACK,
    LEARN_S,
    LOWER,
    UPPER,
    WEEK_S,
    AlertThresholds,
)

MODEL = 1.8
ROW = np.array([0], np.int32)
DAY = 86_400.0


def fresh(budget=BUDGET, n=1):
    levels = AlertThresholds(MODEL, budget=budget)
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


def stream(seed, weeks, nuisances=200.0, share=BASE_RATE, apart=2.6):
    """Clusters whose score is the log-odds of vaping: (time, score, vaping)."""
    rng = np.random.default_rng(seed)
    n = int(nuisances * weeks / (1.0 - share))
    vaping = rng.random(n) < share
    half = apart * apart / 2.0
    score = rng.normal(np.where(vaping, half, -half), apart) + np.log(share / (1.0 - share))
    # one a slot of its own, so that no two are one cluster
    slots = np.sort(rng.choice(int(weeks * WEEK_S / 300.0) - 1, n, replace=False))
    return slots * 300.0 + 150.0, score, vaping


def alerts(levels, streams, weeks):
    """Run one stream a sensor, all at once; whether each cluster passed the level at its time."""
    rows = np.arange(len(streams), dtype=np.int32)
    slots = int(weeks * WEEK_S / 300.0)
    score = np.full((slots, rows.size), np.nan)
    for row, (times, scores, _) in enumerate(streams):
        score[(times // 300.0).astype(int), row] = scores
    said = np.zeros((slots, rows.size), bool)
    dt = np.full(rows.size, 300.0)
    for slot in range(slots):
        time = np.full(rows.size, 300.0 * slot + 150.0)
        levels.watch(rows, time, dt)
        now = np.flatnonzero(~np.isnan(score[slot])).astype(np.int32)
        if now.size:
            levels.observe(now, time[now], score[slot, now])
            said[slot, now] = score[slot, now] >= MODEL + levels.offset(now)
    return [said[(times // 300.0).astype(int), row] for row, (times, _, _) in enumerate(streams)]


def test_thresholds_of_no_sensor_have_a_snapshot():
    arrays = AlertThresholds(1.0).arrays()
    restored = AlertThresholds.from_arrays(arrays, 1.0).arrays()
    assert {k: v.shape for k, v in restored.items()} == {k: v.shape for k, v in arrays.items()}


def test_before_enough_was_seen_the_models_level_holds():
    levels = fresh()
    noisy = [(t, 2.0) for t in np.arange(600.0, LEARN_S - 7200.0, 1800.0)]
    run(levels, noisy, LEARN_S - 3600.0)
    report = levels.explain(0)
    assert (report.level, report.expected, report.lost) == (MODEL, None, None)
    assert report.clusters == pytest.approx(len(noisy), rel=0.2)
    assert report.within_budget
    quiet = fresh(budget=5.0)
    run(quiet, [(t, -3.0) for t in range(1000, 1000 + 19 * 3600, 3600)], 6 * WEEK_S, every_s=280.0)
    assert quiet.explain(0).level == MODEL


def test_many_nuisances_raise_the_level_and_the_report_says_what_it_costs():
    levels = fresh()
    alerts(levels, [stream(1, 4.0, nuisances=400.0, apart=1.8)], 4.0)
    report = levels.explain(0)
    assert MODEL < report.level <= MODEL + UPPER
    assert report.weeks == pytest.approx(4.0, rel=0.01)
    assert 0.0 < report.lost < report.lost_lowest < 1.0


@pytest.mark.parametrize(
    ("budget", "expected"), [(1.0, [0.0] * 5), (1.25, [-0.25, -1.0, -1.0, -1.0, -1.0])]
)
def test_a_quiet_sensor_is_lowered_only_where_more_is_tolerated_and_due(budget, expected):
    levels = fresh(budget=budget)
    times, scores, _ = stream(2, 5.0, nuisances=60.0, apart=4.0)
    seen = []
    for week in range(5):
        part = (times >= week * WEEK_S) & (times < (week + 1) * WEEK_S)
        run(
            levels,
            list(zip(times[part], scores[part], strict=True)),
            (week + 1) * WEEK_S,
            start=week * WEEK_S,
        )
        seen.append(levels.explain(0).level)
    assert np.array(seen) - MODEL == pytest.approx(np.array(expected) * LOWER, abs=0.03)
    assert (levels.explain(0).lost < 0.0) == (budget > BUDGET)
    assert (levels.explain(0).lost_lowest == 0.0) == (budget > BUDGET)


@pytest.mark.parametrize("budget", [0.5, 1.0, 3.0])
def test_false_alarms_are_near_the_budget_and_strong_events_alert(budget):
    """Twelve sensors, eight weeks each, of which the first is for learning."""
    levels = fresh(budget, 12)
    streams = [stream(100 + seed, 8.0, nuisances=300.0) for seed in range(12)]
    false = 0
    for said, (times, scores, vaping) in zip(alerts(levels, streams, 8.0), streams, strict=True):
        false += int((said & ~vaping & (times > WEEK_S)).sum())
        assert said[scores >= MODEL + UPPER].all()
    assert all(levels.explain(row).within_budget for row in range(12))
    assert 0.6 * budget < false / (12 * 7.0) < 1.4 * budget


def test_where_vaping_is_rare_the_same_scores_count_for_less():
    """The model learned that a fifth is vaping; here a fiftieth is, and the level must rise."""
    streams = []
    for seed in range(12):
        times, _, _ = stream(200 + seed, 8.0, nuisances=300.0)
        rng = np.random.default_rng(seed)
        vaping = rng.random(times.size) < 0.02
        half = 2.6**2 / 2.0
        scores = rng.normal(np.where(vaping, half, -half), 2.6) + np.log(0.25)
        streams.append((times, scores, vaping))
    levels = fresh(1.0, 12)
    false = sum(
        int((said & ~vaping & (times > 2 * WEEK_S)).sum())
        for said, (times, _, vaping) in zip(alerts(levels, streams, 8.0), streams, strict=True)
    )
    assert 0.6 < false / (12 * 6.0) < 1.4


def test_readings_close_together_are_one_cluster():
    levels = fresh()
    near = [(1000.0 + 60.0 * k, s) for k, s in enumerate((-1.0, 3.0, 0.0, 2.0))]
    run(levels, [*near, (5000.0, -2.0)], 8000.0, every_s=60.0)
    assert levels.explain(0).clusters == pytest.approx(2.0, rel=0.01)


def test_memory_fades_by_the_time_read_not_by_the_calendar():
    levels = fresh()
    run(levels, [(1000.0, 1.0)], 4000.0)
    before = levels.explain(0).clusters
    off = 50 * WEEK_S
    levels.watch(ROW, np.array([off]), np.array([off - 4000.0]))
    levels.observe(ROW, np.array([off]), np.array([1.0]))
    levels.watch(ROW, np.array([off + 4000.0]), np.array([300.0]))
    assert levels.explain(0).clusters == pytest.approx(before + 1.0, rel=1e-3)


def test_feedback_moves_within_bounds_and_back():
    levels = fresh()
    levels.set_feedback(0, 0.25)
    assert levels.offset(ROW)[0] == 0.25
    levels.set_feedback(0, 99.0)
    assert levels.offset(ROW)[0] == FEEDBACK == levels.explain(0).feedback
    levels.set_feedback(0, -99.0)
    assert levels.offset(ROW)[0] == -FEEDBACK
    levels.set_feedback(0, 0.0)
    assert levels.offset(ROW)[0] == 0.0


@pytest.mark.parametrize("running", [False, True], ids=["finished", "still going on"])
def test_feedback_settles_what_a_cluster_was_and_can_be_taken_back(running):
    def counted(levels):
        return [round(float(n), 2) for n in levels._counts[0].sum(axis=1)]

    plain, told = fresh(), fresh()
    times = [(1000.0, 2.0), (1060.0, 2.5)]
    for levels in (plain, told):
        run(levels, times, 1100.0 if running else 8000.0, every_s=90.0)
    assert told.label_cluster(0, 1060.0, vaping=False)
    assert not told.label_cluster(0, 500_000.0, vaping=False)
    for levels in (plain, told):
        run(levels, [], 12_000.0, start=8000.0)
    assert counted(told) == [0.0, 1.0, 0.0]
    assert counted(plain) == [1.0, 0.0, 0.0]
    assert told.label_cluster(0, 1060.0, vaping=True)
    assert counted(told) == [0.0, 0.0, 1.0]
    assert told.label_cluster(0, 1060.0, vaping=None)
    assert counted(told) == counted(plain)


def test_a_confirmed_room_and_a_room_of_false_alarms_part():
    """The same scores: what people say of them decides the level."""
    seen = {}
    for vaping in (True, False):
        levels = fresh(0.5)
        for week in range(4):
            for day in range(7):
                start = (7 * week + day) * DAY
                strong = [(start + 30_000.0 + 9000.0 * k, 2.2) for k in range(3)]
                weak = [(start + 34_000.0 + 9000.0 * k, -3.0) for k in range(3)]
                run(levels, sorted(strong + weak), start + DAY, start=start)
                for time, _ in strong:
                    assert levels.label_cluster(0, time, vaping=vaping)
        seen[vaping] = levels.explain(0)
    assert seen[True].level < MODEL < 2.2 < seen[False].level
    assert seen[False].expected <= 0.5
    assert seen[True].lost <= 0.0


def test_a_budget_that_cannot_be_met_stops_at_the_bound_and_says_so():
    levels = fresh(0.1)
    noisy = [(t, 6.0) for t in np.arange(600.0, 2 * WEEK_S, 7200.0)]
    run(levels, noisy, 2 * WEEK_S)
    for time, _ in noisy[-6:]:
        levels.label_cluster(0, time, vaping=False)
    report = levels.explain(0)
    assert report.level == MODEL + UPPER
    assert not report.within_budget
    assert report.expected > 0.1


def test_a_new_budget_takes_effect_at_once_and_the_same_changes_nothing():
    levels = fresh(1.0)
    alerts(levels, [stream(3, 4.0, nuisances=400.0, apart=2.2)], 4.0)
    before = levels.arrays()
    levels.set_budget(0, 1.0)
    for name, array in levels.arrays().items():
        np.testing.assert_array_equal(array, before[name])
    level = levels.explain(0).level
    levels.set_budget(0, 0.1)
    assert levels.explain(0).level > level
    levels.set_budget(0, 1.0)
    assert levels.explain(0).level == level


@pytest.mark.parametrize("bad", [{"budget": 0.0}, {"base_rate": 0.0}, {"base_rate": 1.0}])
def test_settings_that_mean_nothing_are_refused(bad):
    with pytest.raises(ValueError, match="base rate"):
        AlertThresholds(MODEL, **bad)


def test_arrays_of_another_format_are_refused():
    stored = fresh().arrays()
    stored["levels_counts"] = stored["levels_counts"][:, :, :-1]
    with pytest.raises(ValueError, match="shapes"):
        AlertThresholds.from_arrays(stored, MODEL)
    with pytest.raises(KeyError):
        AlertThresholds.from_arrays({}, MODEL)


def test_input_is_only_read_and_an_empty_part_is_fine():
    levels = fresh(n=2)
    rows, time, score = np.array([0, 1], np.int32), np.array([10.0, 10.0]), np.array([1.0, 2.0])
    for array in (rows, time, score):
        array.flags.writeable = False
    levels.watch(rows, time, time)
    levels.observe(rows, time, score)
    levels.watch(rows[:0], time[:0], time[:0])
    levels.observe(rows[:0], time[:0], score[:0])
    assert len(levels) == 2


def test_many_sensors_can_be_added():
    levels = fresh(n=40)
    assert levels.add() == 40
    assert levels.offset(np.arange(41)).tolist() == [0.0] * 41


def test_changed_rows_are_told_until_they_were_marked():
    levels = fresh(n=3)
    assert levels.changed().tolist() == []
    levels.set_feedback(2, 0.25)
    levels.watch(ROW, np.array([10.0]), np.array([0.0]))
    assert levels.changed().tolist() == [0, 2]
    levels.mark_reported(np.array([0]))
    assert levels.changed().tolist() == [2]
    assert AlertThresholds.from_arrays(levels.arrays(), MODEL).changed().tolist() == []
