"""Features of the references look back only."""

import numpy as np
import pytest

from benchmarks.detection_bench.learned import FEATURES, alerts_over, features
from benchmarks.detection_bench.worlds import Series


def some_series(n=900, interval_s=2):
    rng = np.random.default_rng(4)
    time = 1e9 + interval_s * np.arange(n, dtype=float)
    pm = 5 + rng.random(n) + 200 * (np.arange(n) % 300 < 20)
    data = np.stack([pm * 0.6, pm, pm * 1.2, 100 + rng.random(n), 40 + rng.random(n)], axis=1)
    return Series(
        "a", "sen55", interval_s, time, time, ("pm1", "pm25", "pm10", "voc_index", "rh"), data
    )


def test_there_are_fifty():
    assert len(FEATURES) == len(set(FEATURES)) == 50
    assert features(some_series()).shape == (900, 50)


@pytest.mark.parametrize("cut", [1, 2, 17, 450])
def test_a_row_depends_on_no_later_reading(cut):
    whole = some_series()
    part = Series(
        "a", "sen55", 2, whole.time[:cut], whole.sent[:cut], whole.channels, whole.data[:cut]
    )
    np.testing.assert_allclose(features(part), features(whole)[:cut], rtol=1e-5, atol=1e-6)


def test_absent_channels_are_nan_not_zero():
    bare = some_series()
    bare = Series("a", "sps30", 2, bare.time, bare.sent, ("pm25",), bare.data[:, 1:2])
    table = features(bare)
    for name in ("index_over_600", "tvoc_over_600", "rh", "fine_share", "co2_slope_60"):
        assert np.isnan(table[:, FEATURES.index(name)]).all()
    assert np.isfinite(table[:, FEATURES.index("pm_over_600")]).all()


def test_alerts_rise_over_the_level_and_lock():
    time = np.arange(0.0, 500.0, 10.0)
    score = np.where(np.arange(50) % 5 == 0, 0.9, 0.1)
    rows = alerts_over(time, score, 0.5)
    assert time[rows].tolist() == [0, 150, 300, 450]
