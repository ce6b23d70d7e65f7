from itertools import pairwise

import numpy as np
import pytest

from detection.channels import CHANNEL_INDEX, CHANNELS, FINE, FLOOR, OPENERS, RISE
from detection.motion import BLOCK, WARM_UP_S, Motion, Q
from detection.tracking import Tracker

K = len(CHANNELS)
N = BLOCK + 90


def tracker_of(n, time=0.0):
    tracker = Tracker()
    rows = np.array([tracker.add(f"s{k}") for k in range(n)])
    tracker.restart(rows, np.full(n, time))
    return tracker


def air(rng, n, rounds):
    """Readings of sensors that have some of the channels, now and then not all of them."""
    level = rng.gamma(2.0, 20.0, (1, n, K))
    x = level * rng.lognormal(0.0, 0.3, (rounds, n, K))
    x[:, rng.random((n, K)) < 0.4] = np.nan
    x[rng.random(x.shape) < 0.02] = np.nan
    x[:, :, FINE] = np.where(np.isnan(x[:, :, FINE]), x[:, :, 0], x[:, :, FINE])
    return x


def run(tracker, x, dt, parts_of):
    """Advance in parts; return what was seen of the sensors in an episode, in order of sensors."""
    time, seen = np.zeros(x.shape[1]), []
    for k, values in enumerate(x):
        time = time + dt[k]
        for rows in parts_of(k):
            moved = tracker.advance(rows, time[rows], dt[k, rows], values[rows])
            if moved is None:
                continue
            sensors = rows[moved.reading]
            for i, sensor in enumerate(sensors.tolist()):
                row = (moved.base[i], moved.last[i], moved.over[i])
                flags = [moved.opening[i], moved.pulse[i], moved.fine_noise[i], moved.local[i]]
                seen.append((k, sensor, np.concatenate([*row, flags])))
            tracker.episode[sensors, 0] = 1.0
    return sorted(seen, key=lambda item: item[:2])


def pieces(rng, n):
    """The sensors in some order, cut in parts from one to nearly all, each part ascending."""
    order = rng.permutation(n)
    cuts = np.unique(np.concatenate([[0, n], rng.integers(0, n, 4), np.arange(n - 5, n)]))
    return [np.sort(order[a:b]) for a, b in pairwise(cuts.tolist())]


def test_any_split_leaves_the_same_bits():
    rng = np.random.default_rng(11)
    x = air(rng, N, 80)
    dt = rng.choice([1.0, 2.0, 5.0], (80, N))
    dt[0] = 0.0
    whole, split = tracker_of(N), tracker_of(N)
    seen = run(whole, x, dt, lambda _: [np.arange(N)])
    seen_split = run(split, x, dt, lambda _: pieces(rng, N))
    np.testing.assert_array_equal(split.quiet, whole.quiet)
    assert len(seen) > N
    assert [item[:2] for item in seen_split] == [item[:2] for item in seen]
    for a, b in zip(seen_split, seen, strict=True):
        np.testing.assert_array_equal(a[2], b[2])


def test_where_few_have_no_reading_the_same_bits_are_left():
    """Neighbours are moved on where they lie, and what lies among them is left as it was."""
    rng = np.random.default_rng(13)
    x = air(rng, N, 80)
    dt = rng.choice([1.0, 2.0, 5.0], (80, N))
    dt[0] = 0.0
    whole, split = tracker_of(N), tracker_of(N)
    seen = run(whole, x, dt, lambda _: [np.arange(N)])

    def most_and_the_rest(_):
        late = rng.random(N) < 0.1
        return [np.flatnonzero(~late), np.flatnonzero(late)]

    seen_split = run(split, x, dt, most_and_the_rest)
    np.testing.assert_array_equal(split.quiet, whole.quiet)
    assert [item[:2] for item in seen_split] == [item[:2] for item in seen]
    for a, b in zip(seen_split, seen, strict=True):
        np.testing.assert_array_equal(a[2], b[2])


def test_one_at_a_time_leaves_the_same_bits():
    """One sensor is moved on in plain numbers, many by array operations."""
    rng = np.random.default_rng(12)
    n = 64
    x = air(rng, n, 150)
    dt = rng.choice([1.0, 2.0, 5.0], (150, n))
    dt[0] = 0.0
    whole, single = tracker_of(n), tracker_of(n)
    seen = run(whole, x, dt, lambda _: [np.arange(n)])
    seen_single = run(single, x, dt, lambda _: [np.array([row]) for row in rng.permutation(n)])
    np.testing.assert_array_equal(single.quiet, whole.quiet)
    assert len(seen) > n
    assert [item[:2] for item in seen_single] == [item[:2] for item in seen]
    for a, b in zip(seen_single, seen, strict=True):
        np.testing.assert_array_equal(a[2], b[2])


def advanced(values, dt=1.0):
    """State of one sensor and what was last seen, after values of the fine signal."""
    tracker, moved = tracker_of(1), None
    for k, value in enumerate(values):
        x = np.full((1, K), np.nan)
        x[0, FINE] = value
        step = 0.0 if k == 0 else dt
        moved = tracker.advance(np.array([0]), np.array([k * dt]), np.array([step]), x)
        if moved is not None:
            tracker.episode[0, 0] = 1.0
    return tracker.quiet[0], moved


def test_the_first_value_is_the_baseline():
    state, moved = advanced([7.0])
    assert state[Q.BASE][FINE] == state[Q.LOCAL] == 7.0
    assert np.isnan(np.delete(state[Q.BASE], FINE)).all()
    assert state[Q.INTERVAL] == 0.0
    assert state[Q.COUNT] == 1.0
    np.testing.assert_array_equal(state[Q.NOISE], 2.0 * FLOOR)
    assert moved is None


def test_a_baseline_falls_fast_and_rises_slowly():
    # Once warm: one step of 1 s of 10 µg/m³, down with 20 s and up with 900 s.
    down, _ = advanced([10.0] * 2000 + [0.0])
    assert 10.0 - down[Q.BASE][FINE] == pytest.approx(10.0 / 21.0)
    up, moved = advanced([10.0] * 2000 + [12.0])
    assert moved is None
    assert up[Q.BASE][FINE] - 10.0 == pytest.approx(2.0 / 901.0)
    assert up[Q.LOCAL] - 10.0 == pytest.approx(2.0 / 46.0)


def test_a_baseline_is_held_in_an_episode():
    state, moved = advanced([10.0] * 2000 + [110.0])
    assert moved.opening.tolist() == moved.pulse.tolist() == [True]
    assert moved.base[0, FINE] == moved.last[0, FINE] == moved.local[0] == 10.0
    assert state[Q.BASE][FINE] - 10.0 == pytest.approx(100.0 / 5401.0)
    assert state[Q.NOISE][0] == FLOOR[0]


def test_nothing_opens_before_the_warm_up_has_passed():
    _, too_early = advanced([10.0] * (int(WARM_UP_S) - 1) + [110.0])
    assert too_early is None
    _, moved = advanced([10.0] * int(WARM_UP_S) + [110.0])
    assert moved is not None


def test_a_missing_value_changes_no_level():
    before, _ = advanced([10.0, 11.0, 12.0])
    after, _ = advanced([10.0, 11.0, 12.0, np.nan])
    for block in (Q.LEVELS, Q.NOISE, Q.LAST, Q.SMOOTHED):
        np.testing.assert_array_equal(after[block], before[block])


def test_every_channel_that_can_open_an_episode_does():
    assert OPENERS.start == FINE
    assert np.isfinite(RISE[OPENERS]).all()
    assert np.isinf(np.delete(RISE, OPENERS)).all()
    for channel in range(K)[OPENERS]:
        tracker, moved = tracker_of(1), None
        for k in range(200):
            x = np.full((1, K), np.nan)
            x[0, channel] = 50.0 + (10.0 * RISE[channel] if k == 199 else 0.0)
            dt = np.array([float(k > 0)])
            moved = tracker.advance(np.array([0]), np.array([float(k)]), dt, x)
        assert moved is not None, CHANNELS[channel]


def test_any_voc_channel_feeds_the_bank_by_the_same_priority():
    smoothed = {}
    for keys in (("voc_index",), ("voc_index", "tvoc_ppb"), ("tvoc_ppb",), ("tvoc_ppb", "voc_raw")):
        tracker = tracker_of(1)
        x = np.full((1, K), np.nan)
        for key in keys:
            x[0, CHANNEL_INDEX[key]] = 100.0
        tracker.advance(np.array([0]), np.zeros(1), np.zeros(1), x)
        bank = tracker.quiet[0, Q.SMOOTHED].reshape(7, 5)
        smoothed[keys] = bank[3, 0]
    assert smoothed["voc_index",] == pytest.approx(0.27 * np.log(100.0 / 405.0))
    assert smoothed["tvoc_ppb",] == smoothed["voc_index", "tvoc_ppb"] == pytest.approx(np.log2(500))
    assert smoothed["tvoc_ppb", "voc_raw"] == pytest.approx(100.0 / 870.0)


def test_parts_are_joined_in_order():
    parts = [
        Motion(
            np.array([k]),
            *(np.array([bool(k)]) for _ in range(2)),
            *(np.array([float(k)]) for _ in range(2)),
            *(np.full((1, 2), float(k)) for _ in range(3)),
        )
        for k in range(3)
    ]
    joined = Motion.join(parts)
    assert joined.reading.tolist() == joined.local.tolist() == [0, 1, 2]
    assert joined.over.shape == (3, 2)
