"""The world of two zones: the same as recorded, plausible, and free of truth in its readings."""

import numpy as np
import pytest

from sensor_sim.worlds.two_zones import two_zones
from sensor_sim.worlds.world import COLUMNS, EPOCH

SUMS = {
    "S2-000": {
        "pm1": 16384.2,
        "pm25": 19343.3,
        "pm10": 20496.9,
        "voc_index": 138950,
        "rh": 59259.1,
        "temp": 27887.45,
    },
    "S2-001": {
        "pm1": 44010,
        "pm25": 61580,
        "pm10": 71943,
        "tvoc_ppb": 23676545,
        "rh": 68410.1,
        "temp": 30891.38,
    },
}
"""Sums over all readings, from the first implementation of this physics."""
ROWS = {
    0: (1.048, {"pm1": 5.4, "pm25": 5.9, "pm10": 6.0, "rh": 41.0, "temp": 19.08}),
    1000: (1253.305, {"pm1": 8.7, "pm25": 10.5, "pm10": 11.3, "rh": 40.6, "temp": 19.46}),
    2000: (2495.286, {"pm1": 20.9, "pm25": 24.3, "pm10": 27.4, "rh": 40.7, "temp": 19.39}),
    2882: (3598.042, {"pm1": 11.2, "pm25": 12.5, "pm10": 12.6, "rh": 41.8, "temp": 19.19}),
}
VAPING = [
    ("S2-000", "pod", 2492.156, 2623.847, "sen55", 67.1, 6.7, 2493),
    ("S2-001", "pod", 765.119, 1003.159, "pms_sgp30", 21.3, 6.1, 769),
]


@pytest.fixture(scope="module")
def world():
    return two_zones(2, 2, 1, 2.0)


@pytest.fixture(scope="module")
def school():
    return two_zones(11, 12, 0.5, 2.0)


def column(readings, name):
    return readings.values[:, COLUMNS.index(name)]


def test_readings_are_those_recorded(world):
    readings, _ = world
    assert [int((readings.sensor == i).sum()) for i in range(2)] == [1440, 1443]
    for number, name in enumerate(readings.names):
        values = readings.values[readings.sensor == number]
        sums = {c: v for c, v in zip(COLUMNS, np.nansum(values, axis=0), strict=True) if v}
        assert sums == pytest.approx(SUMS[name], rel=1e-7, abs=2.5)
    for row, (time, values) in ROWS.items():
        assert readings.names[readings.sensor[row]] == "S2-000"
        assert readings.time[row] - EPOCH == pytest.approx(time, abs=6e-4)
        assert {c: column(readings, c)[row] for c in values} == pytest.approx(values)


def test_truth_is_that_recorded(world):
    _, truth = world
    assert len(truth) == 21
    assert [
        (
            t.sensor,
            t.style,
            round(t.onset - EPOCH, 3),
            round(t.end - EPOCH, 3),
            t.device,
            round(t.seen_pm25, 1),
            round(t.base_pm25, 1),
            t.arrival - EPOCH,
        )
        for t in truth
        if t.kind == "vape"
    ] == VAPING
    assert [t.style for t in truth if t.kind == "mask"] == ["deodorant"]
    assert all(t.is_visible == (t.kind == "vape") for t in truth)


def test_readings_are_plausible_and_in_order(school):
    readings, _ = school
    assert readings.values.shape == (readings.time.size, len(COLUMNS))
    assert (np.diff(readings.time) >= 0).all()
    assert readings.time[0] >= EPOCH
    assert readings.time[-1] < EPOCH + 0.5 * 3600 + 1
    for name, low, high in (
        ("pm1", 0, 20_000),
        ("tvoc_ppb", 30, 60_000),
        ("voc_index", 0, 500),
        ("rh", 5, 100),
        ("temp", 10, 60),
        ("co2", 400, 5000),
    ):
        values = column(readings, name)
        values = values[np.isfinite(values)]
        assert values.size, name
        assert low <= values.min(), name
        assert values.max() <= high, name
    pm1, pm25, pm10 = (column(readings, name) for name in ("pm1", "pm25", "pm10"))
    assert (pm1 <= pm25).all()
    assert (pm25 <= pm10).all()
    assert np.isnan(column(readings, "n03")).all()


def test_devices_report_at_their_interval(school):
    readings, truth = school
    interval = {t.sensor: t.interval_s for t in truth}
    for number, name in enumerate(readings.names):
        gaps = np.diff(readings.time[readings.sensor == number])
        assert interval[name] * 0.9 <= np.median(gaps) <= interval[name] + 1


def test_vaping_raises_particles_at_visible_sessions(school):
    readings, truth = school
    visible = [t for t in truth if t.is_visible]
    assert visible
    for t in visible:
        mine = readings.sensor == readings.names.index(t.sensor)
        at = mine & (readings.time >= t.onset) & (readings.time <= t.end + 120)
        assert column(readings, "pm25")[at].max() >= t.base_pm25 + 0.25 * t.seen_pm25
        assert t.onset - 1 <= t.arrival <= t.end + 90
