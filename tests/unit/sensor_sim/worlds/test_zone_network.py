"""The world of a network of zones: as recorded, plausible, and free of truth in its readings."""

from dataclasses import fields

import numpy as np
import pytest

from sensor_sim.worlds import WORLDS
from sensor_sim.worlds.world import COLUMNS, EPOCH, Readings
from sensor_sim.worlds.zone_network import zone_network

SUMS = {
    "d003-00": {
        "pm1": 27236.0,
        "pm25": 30111.0,
        "pm10": 32408.5,
        "n03": 189492.31,
        "n05": 27169.39,
        "n10": 3677.21,
        "n25": 893.19,
        "n100": 92.66,
        "voc_index": 414438.7,
        "voc_raw": 105493507.0,
        "rh": 80802.3,
        "temp": 93461.6,
    },
    "d003-01": {"pm25": 3519.0, "pm10": 5009.9, "co2": 306622.0},
}
"""Sums over all readings, from the first implementation of this physics."""
ROWS = {
    0: (0.127, (3.4, 3.6, 3.7, 24.63, 3.4, 0.33, 0.06, 0, 100, 29897, 21.9, 26.6)),
    1000: (911.088, (40.0, 45.0, 48.9, 266.13, 40.4, 5.61, 1.48, 0.02, 145, 28112, 22.8, 26.0)),
    2000: (1820.066, (5.1, 5.7, 6.1, 36.55, 5.16, 0.66, 0.16, 0.01, 49, 29652, 22.7, 25.8)),
    3000: (2729.055, (3.3, 3.6, 3.9, 24.42, 3.45, 0.38, 0.13, 0, 28, 29902, 22.3, 25.9)),
    3956: (3598.067, (4.8, 5.2, 5.6, 34.52, 4.8, 0.61, 0.17, 0.02, 247.3, 28758, 21.2, 26.0)),
}
"""Time and values of some readings of the first sensor, in the order of `SUMS`."""
TRUTH = [
    ("d003-00", "spray", "perfume", 847.78, 849.13, "sen55", 1, 40.3, 8.42),
    ("d003-00", "tap", "cold", 883.38, 892.52, "sen55", 1, 40.3, 8.42),
    ("d003-00", "tap", "cold", 1118.36, 1129.68, "sen55", 1, 40.3, 8.42),
    ("d003-00", "dust", "paper", 1130.68, 1134.60, "sen55", 1, 40.3, 8.42),
    ("d003-01", "vape", "mod", 1950.82, 1982.88, "sds011", 10, 64.7, 2.61),
    ("d003-01", "vape", "disposable", 2549.41, 2576.30, "sds011", 10, 64.7, 2.61),
    ("d003-01", "dryer", "hot", 2557.10, 2587.17, "sds011", 10, 64.7, 2.61),
    ("d003-01", "flush", "wc", 2609.45, 2617.45, "sds011", 10, 64.7, 2.61),
    ("d003-00", "dust", "paper", 3014.43, 3028.80, "sen55", 1, 40.3, 8.42),
    ("d003-00", "flush", "wc", 3015.25, 3023.25, "sen55", 1, 40.3, 8.42),
    ("d003-00", "tap", "cold", 3026.54, 3035.42, "sen55", 1, 40.3, 8.42),
    ("d003-00", "dust", "paper", 3036.42, 3042.89, "sen55", 1, 40.3, 8.42),
    ("d003-00", "spray", "bodymist", 3036.42, 3037.54, "sen55", 1, 40.3, 8.42),
    ("d003-00", "flush", "wc", 3406.85, 3414.85, "sen55", 1, 40.3, 8.42),
    ("d003-00", "tap", "cold", 3412.96, 3430.06, "sen55", 1, 40.3, 8.42),
]
VAPING = [("mod", 530.943, 9.025, 1951.0), ("disposable", 22.226, 9.907, 2564.0)]


@pytest.fixture(scope="module")
def world():
    return WORLDS["zone_network"](3, 2, 1)


def column(readings, name):
    return readings.values[:, COLUMNS.index(name)]


def test_readings_are_those_recorded(world):
    readings, _ = world
    assert np.bincount(readings.sensor).tolist() == [3599, 358]
    assert (readings.time - EPOCH).sum() == pytest.approx(7121990.341, abs=0.01)
    for number, name in enumerate(readings.names):
        values = readings.values[readings.sensor == number]
        is_measured = ~np.isnan(values).all(axis=0)
        assert [c for c, yes in zip(COLUMNS, is_measured, strict=True) if yes] == list(SUMS[name])
        sums = dict(zip(COLUMNS, np.nansum(values, axis=0), strict=True))
        assert {c: sums[c] for c in SUMS[name]} == pytest.approx(SUMS[name], rel=1e-7, abs=0.1)
    for row, (time, values) in ROWS.items():
        assert readings.names[readings.sensor[row]] == "d003-00"
        assert readings.time[row] - EPOCH == pytest.approx(time, abs=6e-4)
        seen = [column(readings, c)[row] for c in SUMS["d003-00"]]
        assert seen == pytest.approx(values)


def test_truth_is_that_recorded(world):
    _, truth = world
    assert [
        (
            t.sensor,
            t.kind,
            t.style,
            round(t.onset - EPOCH, 2),
            round(t.end - EPOCH, 2),
            t.device,
            t.interval_s,
            round(t.volume_m3, 1),
            round(t.air_changes_h, 2),
        )
        for t in truth
    ] == TRUTH
    assert [
        (t.style, round(t.seen_pm25, 3), round(t.base_pm25, 3), t.arrival - EPOCH)
        for t in truth
        if t.kind == "vape"
    ] == VAPING
    assert all(t.is_visible == (t.kind == "vape") for t in truth)
    assert all(np.isnan(t.arrival) == (t.kind != "vape") for t in truth)


def test_readings_are_plausible_and_in_order():
    readings, truth = zone_network(6, 8, 0.2, 4.0)
    assert len(readings.names) == 8
    assert readings.values.shape == (readings.time.size, len(COLUMNS))
    assert (np.diff(readings.time) >= 0).all()
    assert readings.time[0] >= EPOCH
    assert readings.time[-1] <= EPOCH + 0.2 * 3600
    for name, low, high in (
        ("pm25", 0, 20_000),
        ("n03", 0, 100_000),
        ("tvoc_ppb", 0, 60_000),
        ("voc_index", 0, 500),
        ("rh", 1, 100),
        ("temp", 5, 60),
    ):
        values = column(readings, name)
        values = values[np.isfinite(values)]
        assert values.size, name
        assert low <= values.min() <= values.max() <= high, name
    larger = [column(readings, name) for name in ("pm1", "pm25", "pm10")]
    known = np.isfinite(larger).all(axis=0)
    assert (larger[0] <= larger[1])[known].mean() > 0.99
    assert (larger[1] <= larger[2])[known].mean() > 0.99
    assert {t.sensor for t in truth} <= set(readings.names)
    assert all(t.onset <= t.end for t in truth)
    assert {t.kind for t in truth} > {"vape"}


def test_readings_contain_no_truth():
    assert {f.name for f in fields(Readings)} == {"names", "sensor", "time", "values"}
    # Without vaping, nothing is labeled so.
    _, truth = zone_network(6, 2, 0.1, 0.0)
    assert "vape" not in {t.kind for t in truth}
