from itertools import pairwise

import numpy as np
import pytest

from detection.channels import (
    BLOCK,
    CHANNEL_INDEX,
    CHANNELS,
    FINE,
    FLOOR,
    OPENERS,
    RISE,
    WARM_UP_S,
    BaselineTracker,
)

K = len(CHANNELS)
N = BLOCK + 90


def tracker_of(n, time=0.0):
    tracker = BaselineTracker()
    tracker.reserve(n)
    tracker.restart(np.arange(n), np.full(n, time))
    return tracker


def air(rng, n, rounds):
    """Return readings of sensors with some of the channels; values are occasionally missing."""
    level = rng.gamma(2.0, 20.0, (1, n, K))
    x = level * rng.lognormal(0.0, 0.3, (rounds, n, K))
    x[:, rng.random((n, K)) < 0.4] = np.nan
    x[rng.random(x.shape) < 0.02] = np.nan
    x[:, :, FINE] = np.where(np.isnan(x[:, :, FINE]), x[:, :, 0], x[:, :, FINE])
    return x


def run(tracker, x, dt, parts_of):
    """Advance in parts; return the changes of sensors in an episode, in order of sensors."""
    n = x.shape[1]
    time, seen, in_episode = np.zeros(n), [], np.zeros(n, bool)
    for k, values in enumerate(x):
        time = time + dt[k]
        for rows in parts_of(k):
            change = tracker.advance(rows, in_episode[rows], time[rows], dt[k, rows], values[rows])
            if change is None:
                continue
            sensors = rows[change.reading]
            for i, sensor in enumerate(sensors.tolist()):
                row = (change.baseline[i], change.last[i], change.over[i])
                flags = [change.opens[i], change.has_pulse[i]]
                flags += [change.fine_noise[i], change.local[i]]
                seen.append((k, sensor, np.concatenate([*row, flags])))
            in_episode[sensors] = True
    return sorted(seen, key=lambda item: item[:2])


def pieces(rng, n):
    """Return the sensors in parts of one to nearly all, each part ascending."""
    order = rng.permutation(n)
    cuts = np.unique(np.concatenate([[0, n], rng.integers(0, n, 4), np.arange(n - 5, n)]))
    return [np.sort(order[a:b]) for a, b in pairwise(cuts.tolist())]


def most_and_the_rest(rng, n):
    """Return neighboring sensors that advance in place, then the sensors without a reading."""
    late = rng.random(n) < 0.1
    return [np.flatnonzero(~late), np.flatnonzero(late)]


def one_at_a_time(rng, n):
    return [np.array([row]) for row in rng.permutation(n)]


@pytest.mark.parametrize(
    ("n", "split"),
    [(N, pieces), (N, most_and_the_rest), *((n, one_at_a_time) for n in (1, 23, 24, 64))],
)
def test_any_split_leaves_the_same_bits(n, split):
    rng = np.random.default_rng(12)
    rounds = 80 if n == N else 150
    x = air(rng, n, rounds)
    dt = rng.choice([1.0, 2.0, 5.0], (rounds, n))
    dt[0] = 0.0
    whole, parts = tracker_of(n), tracker_of(n)
    seen = run(whole, x, dt, lambda _: [np.arange(n)])
    seen_parts = run(parts, x, dt, lambda _: split(rng, n))
    np.testing.assert_array_equal(parts.state.block[:, :n], whole.state.block[:, :n])
    assert seen or n == 1
    assert [item[:2] for item in seen_parts] == [item[:2] for item in seen]
    for a, b in zip(seen_parts, seen, strict=True):
        np.testing.assert_array_equal(a[2], b[2])


def advanced(values, dt=1.0):
    """Return one sensor's state and last change, after values of the fine signal."""
    tracker, change, in_episode = tracker_of(1), None, np.zeros(1, bool)
    for k, value in enumerate(values):
        x = np.full((1, K), np.nan)
        x[0, FINE] = value
        step = np.array([0.0 if k == 0 else dt])
        change = tracker.advance(np.array([0]), in_episode, np.array([k * dt]), step, x)
        in_episode |= change is not None
    return tracker.state, change


def test_the_first_value_is_the_baseline():
    state, change = advanced([7.0])
    assert state.baseline[FINE, 0] == state.local[0] == 7.0
    assert np.isnan(np.delete(state.baseline[:, 0], FINE)).all()
    assert state.interval[0] == 0.0
    assert state.count[0] == 1.0
    np.testing.assert_array_equal(state.noise[:, 0], 2.0 * FLOOR)
    assert change is None


def test_a_baseline_falls_fast_and_rises_slowly():
    # once warm: a step of 10 µg/m³ for 1 s, with time constants of 20 s down and 900 s up
    down, _ = advanced([10.0] * 2000 + [0.0])
    assert 10.0 - down.baseline[FINE, 0] == pytest.approx(10.0 / 21.0)
    up, change = advanced([10.0] * 2000 + [12.0])
    assert change is None
    assert up.baseline[FINE, 0] - 10.0 == pytest.approx(2.0 / 901.0)
    assert up.local[0] - 10.0 == pytest.approx(2.0 / 46.0)


def test_a_baseline_is_held_in_an_episode():
    state, change = advanced([10.0] * 2000 + [110.0])
    assert change.opens.tolist() == change.has_pulse.tolist() == [True]
    assert change.baseline[0, FINE] == change.last[0, FINE] == change.local[0] == 10.0
    assert state.baseline[FINE, 0] - 10.0 == pytest.approx(100.0 / 5401.0)
    assert state.noise[0, 0] == FLOOR[0]


def test_nothing_opens_before_the_warm_up_has_passed():
    _, too_early = advanced([10.0] * (int(WARM_UP_S) - 1) + [110.0])
    assert too_early is None
    _, change = advanced([10.0] * int(WARM_UP_S) + [110.0])
    assert change is not None


def test_a_missing_value_changes_no_level():
    before, _ = advanced([10.0, 11.0, 12.0])
    after, _ = advanced([10.0, 11.0, 12.0, np.nan])
    for name in ("levels", "noise", "last", "smoothed"):
        np.testing.assert_array_equal(getattr(after, name)[..., 0], getattr(before, name)[..., 0])


def test_every_channel_that_can_open_an_episode_does():
    assert OPENERS.start == FINE
    assert np.isfinite(RISE[OPENERS]).all()
    assert np.isinf(np.delete(RISE, OPENERS)).all()
    for channel in range(K)[OPENERS]:
        tracker, change = tracker_of(1), None
        for k in range(200):
            x = np.full((1, K), np.nan)
            x[0, channel] = 50.0 + (10.0 * RISE[channel] if k == 199 else 0.0)
            dt = np.array([float(k > 0)])
            change = tracker.advance(np.array([0]), np.zeros(1, bool), np.array([float(k)]), dt, x)
        assert change is not None, CHANNELS[channel]


def test_any_voc_channel_feeds_the_bank_by_the_same_priority():
    smoothed = {}
    for keys in (("voc_index",), ("voc_index", "tvoc_ppb"), ("tvoc_ppb",), ("tvoc_ppb", "voc_raw")):
        tracker = tracker_of(1)
        x = np.full((1, K), np.nan)
        for key in keys:
            x[0, CHANNEL_INDEX[key]] = 100.0
        tracker.advance(np.array([0]), np.zeros(1, bool), np.zeros(1), np.zeros(1), x)
        smoothed[keys] = tracker.state.smoothed[3, 0, 0]
    assert smoothed["voc_index",] == pytest.approx(0.27 * np.log(100.0 / 405.0))
    assert smoothed["tvoc_ppb",] == smoothed["voc_index", "tvoc_ppb"] == pytest.approx(np.log2(500))
    assert smoothed["tvoc_ppb", "voc_raw"] == pytest.approx(100.0 / 870.0)
