"""Test thresholds on any stream: independent of splits, other sensors and snapshots; bounded; lower
with a larger budget."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detection.alert_rules import LOWER, UPPER, AlertThresholds

MODEL = 1.8
SLOTS = 1000


def drawn(seed, busy, high, spread):
    """Draw a score for each slot of 300 s (NaN: no pulse), and a second score 60 s later."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random((SLOTS, 2)) < busy, rng.normal(high, spread, (SLOTS, 2)), np.nan)


STREAMS = st.builds(
    drawn,
    st.integers(0, 2**32 - 1),
    st.floats(0.0, 0.9),
    st.floats(-4.0, 4.0),
    st.floats(0.1, 4.0),
)


def fresh(n, budget=1.0):
    levels = AlertThresholds(MODEL)
    levels.budget = budget
    for _ in range(n):
        levels.add()
    return levels


def steps(streams, rows):
    """Return the readings of all sensors as (rows, time, dt, score), two per slot."""
    rows = np.array(rows, np.int32)
    for slot in range(SLOTS):
        for part, dt in ((0, 240.0), (1, 60.0)):
            time = np.full(rows.size, 1e9 + 300.0 * slot + 60.0 * part)
            yield rows, time, np.full(rows.size, dt), np.array([s[slot, part] for s in streams])


def take(levels, rows, time, dt, score):
    levels.advance(rows, time, dt)
    weighed = ~np.isnan(score)
    if weighed.any():
        levels.observe(rows[weighed], time[weighed], score[weighed])


def same(a, b):
    np.testing.assert_array_equal(a.to_array(), b.to_array())


@settings(max_examples=6)
@given(STREAMS, STREAMS, st.integers(1, 2 * SLOTS - 2))
def test_cuts_neighbors_and_snapshots_change_nothing(first, second, cut):
    together, apart, alone = fresh(2), fresh(2), fresh(1)
    for k, (rows, time, dt, score) in enumerate(steps([first, second], [0, 1])):
        take(together, rows, time, dt, score)
        for i in (1, 0):
            take(apart, rows[i : i + 1], time[i : i + 1], dt[i : i + 1], score[i : i + 1])
        take(alone, rows[:1], time[:1], dt[:1], score[:1])
        if k == cut:
            apart = AlertThresholds.from_array(apart.to_array(), MODEL)
    same(together, apart)
    assert together.explain(0) == alone.explain(0)


@settings(max_examples=6)
@given(
    STREAMS,
    st.floats(0.05, 50.0),
    st.floats(1.0, 20.0),
    st.lists(st.tuples(st.integers(0, 2 * SLOTS - 1), st.floats(-9.0, 9.0)), max_size=5),
)
def test_levels_are_bounded_and_fall_with_the_budget(stream, budget, factor, moves):
    levels = fresh(2, budget)
    levels.set_budget(1, budget * factor)
    moved = dict(moves)
    for k, (rows, time, dt, score) in enumerate(steps([stream, stream], [0, 1])):
        take(levels, rows, time, dt, score)
        if k in moved:
            for row in (0, 1):
                levels.set_feedback(row, moved[k])
        offset = levels.get_offsets(rows)
        assert ((offset >= -LOWER) & (offset <= UPPER)).all()
        assert offset[1] <= offset[0]
    for row in (0, 1):
        report = levels.explain(row)
        assert report.level == MODEL + levels.get_offsets(np.array([row]))[0]
        assert -LOWER <= report.feedback <= UPPER
        assert report.expected is None or report.expected >= 0.0
