import numpy as np
import pytest

from detection.channels import (
    CHANNEL_INDEX,
    CHANNELS,
    FINE,
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
