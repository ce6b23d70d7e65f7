"""The world of Lagrangian puffs: the same as recorded, plausible, no truth in its readings."""

import numpy as np
import pytest

from sensor_sim.worlds.parcels import parcels
from sensor_sim.worlds.world import COLUMNS, EPOCH

SUMS = {
    "c131-00": {
        "pm1": 33492.5,
        "pm25": 43430.7,
        "pm10": 48885.0,
        "voc_index": 514270,
        "rh": 87115.0,
        "temp": 42046.7,
    },
    "c131-01": {
        "pm1": 4307,
        "pm25": 6908,
        "pm10": 7758,
        "n03": 15455.42,
        "n05": 4920.18,
        "n10": 822.94,
        "n25": 214.88,
        "n50": 53.17,
        "n100": 21.14,
        "rh": 88962.33,
        "temp": 39531.58,
    },
}
"""Sums over all readings, from the first implementation of this physics."""
TIMES = {"c131-00": (1727, 3110555.482), "c131-01": (1726, 3095031.629)}
"""Number of readings and sum of their times after EPOCH."""


@pytest.fixture(scope="module")
def world():
    return parcels(131, 2, 1.0, 1.0)


@pytest.fixture(scope="module")
def school():
    return parcels(119, 3, 0.6, 1.0)


def column(readings, name):
    return readings.values[:, COLUMNS.index(name)]


def test_readings_are_those_recorded(world):
    readings, _ = world
    assert readings.names == ("c131-00", "c131-01")
    for number, name in enumerate(readings.names):
        of_sensor = readings.sensor == number
        count, total = TIMES[name]
        assert of_sensor.sum() == count
        assert (readings.time[of_sensor] - EPOCH).sum() == pytest.approx(total, abs=0.01)
        sums = np.nansum(readings.values[of_sensor], axis=0)
        # Another processor may round a few readings the other way.
        assert {c: s for c, s in zip(COLUMNS, sums, strict=True) if s} == pytest.approx(
            SUMS[name], rel=1e-4
        )


def test_truth_is_that_recorded(world):
    _, truth = world
    kinds = [happening.kind for happening in truth]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "flush": 14,
        "tap": 9,
        "dryer": 9,
        "site": 2,
        "vape": 1,
        "dust": 1,
    }
    (vaping,) = (happening for happening in truth if happening.kind == "vape")
    assert (vaping.sensor, vaping.style, vaping.device) == ("c131-00", "mod", "SEN5x")
    assert vaping.onset - EPOCH == pytest.approx(347.5649, abs=1e-3)
    assert vaping.end - EPOCH == pytest.approx(365.9637, abs=1e-3)
    assert vaping.interval_s == 2
    assert vaping.volume_m3 == pytest.approx(22.4, abs=0.05)
    assert vaping.air_changes_h == pytest.approx(0.99, abs=0.005)
    assert vaping.seen_pm25 == pytest.approx(319.49, abs=0.01)
    assert vaping.base_pm25 == pytest.approx(21.44, abs=0.01)
    assert vaping.arrival - EPOCH == 381


def test_a_room_does_not_depend_on_how_many_there_are(school):
    readings, truth = school
    fewer, fewer_truth = parcels(119, 1, 0.6, 1.0)
    np.testing.assert_array_equal(fewer.values, readings.values[readings.sensor == 0])
    assert repr(fewer_truth) == repr([t for t in truth if t.sensor == readings.names[0]])


def test_readings_are_in_order(school):
    readings, _ = school
    assert readings.values.shape == (readings.time.size, len(COLUMNS))
    assert (np.diff(readings.time) >= 0).all()
    assert readings.time[0] >= EPOCH
    assert readings.time[-1] < EPOCH + 0.6 * 3600


def test_readings_are_plausible(world, school):
    values_of = {
        name: np.concatenate([column(readings, name) for readings, _ in (world, school)])
        for name in COLUMNS
    }
    for name, low, high in (
        ("pm25", 0, 10_000),
        ("n03", 0, 65_535),
        ("tvoc_ppb", 0, 65_000),
        ("voc_index", 0, 500),
        ("rh", 5, 100),
        ("temp", 5, 45),
    ):
        values = values_of[name][np.isfinite(values_of[name])]
        assert values.size, name
        assert low <= values.min(), name
        assert values.max() <= high, name
    assert 1 < np.nanmedian(values_of["pm25"]) < 60
    assert (values_of["pm25"] <= values_of["pm10"]).all()


def test_readings_hold_nothing_of_the_truth(school):
    readings, truth = school
    kinds = {happening.kind for happening in truth}
    assert not any(kind in name for kind in kinds for name in readings.names)
    assert {happening.sensor for happening in truth} <= set(readings.names)


def test_visible_vaping_raises_pm25_after_its_arrival(world):
    readings, truth = world
    (vaping,) = (happening for happening in truth if happening.is_visible)
    of_sensor = readings.sensor == readings.names.index(vaping.sensor)
    time, pm25 = readings.time[of_sensor], column(readings, "pm25")[of_sensor]
    before = pm25[(time > vaping.onset - 120) & (time < vaping.onset)]
    after = pm25[(time > vaping.arrival) & (time < vaping.end + 120)]
    assert after.max() > np.median(before) + vaping.seen_pm25 / 3
