import numpy as np
import pytest

from detection.channels import (
    CHANNEL_INDEX,
    CHANNELS,
    FINE,
    FLOOR,
    OPENERS,
    RISE,
    BaselineTracker,
)

K = len(CHANNELS)


def tracker_of(n, time=0.0):
    tracker = BaselineTracker()
    tracker.reserve(n)
    tracker.restart(np.arange(n), np.full(n, time))
    return tracker


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
    # after warm-up, a step of 10 µg/m³ for 1 s; time constants are 20 s down and 900 s up
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
