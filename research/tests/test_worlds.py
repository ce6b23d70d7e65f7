"""Test that every world in the table follows the interface."""

import pickle

import numpy as np
import pytest

from detection.quantities import QUANTITIES
from research.worlds import WORLDS
from research.worlds.world import COLUMNS, EPOCH

CLOCK_ERROR_S = 120
"""Maximum error of devices' clocks, s."""
RECORDED = {
    "filaments": (178, 4428.2),
    "mixing_jets": (1066, 5425.0),
    "parcels": (1080, 39090.3),
    "plume_grid": (3701, 144625.4),
    "school": (2158, 372433.05),
    "two_zones": (2458, 108240.9),
    "zone_network": (241, 2852.0),
}
"""Number of readings, and sum of their PM2.5: worlds must stay as the model was trained on them."""
PM25 = COLUMNS.index("pm25")
STYLES = {"pod", "disposable", "mod", "thc", "stealth"}


@pytest.fixture(scope="module", params=sorted(WORLDS))
def world(request):
    return WORLDS[request.param](1, 2, 1.0, 2.0)


def test_columns_are_quantities():
    assert set(COLUMNS) <= set(QUANTITIES)


@pytest.mark.parametrize("name", sorted(WORLDS))
def test_worlds_can_be_given_to_worker_processes(name):
    assert name.encode() in pickle.dumps(WORLDS[name])


def test_readings_have_their_shape_and_order(world):
    readings, _ = world
    n = readings.time.size
    assert n > 0
    assert len(set(readings.names)) == 2
    assert readings.sensor.shape == readings.time.shape == (n,)
    assert readings.values.shape == (n, len(COLUMNS))
    assert readings.sensor.dtype == np.int32
    assert readings.time.dtype == readings.values.dtype == np.float64
    assert set(readings.sensor.tolist()) == {0, 1}
    assert (np.diff(readings.time) >= 0).all()
    assert readings.time[0] >= EPOCH - CLOCK_ERROR_S
    assert readings.time[-1] <= EPOCH + 3600 + CLOCK_ERROR_S
    assert np.isfinite(readings.values).any(axis=1).mean() > 0.95
    low = np.array([QUANTITIES[c].low for c in COLUMNS])
    high = np.array([QUANTITIES[c].high for c in COLUMNS])
    known = np.isfinite(readings.values)
    assert (((readings.values >= low) & (readings.values <= high)) | ~known).mean() > 0.999


def test_readings_are_those_that_the_model_was_trained_on(world, request):
    readings, _ = world
    n, pm25 = RECORDED[request.node.callspec.params["world"]]
    assert readings.time.size == n
    assert np.nansum(readings.values[:, PM25]) == pytest.approx(pm25, rel=1e-4)


def test_a_visible_session_is_in_the_readings(world):
    readings, truth = world
    for t in truth:
        if t.is_visible:
            mine = readings.sensor == readings.names.index(t.sensor)
            near = (readings.time >= t.arrival - 10) & (readings.time <= t.end + 90)
            highest = np.nanmax(readings.values[mine & near, PM25])
            assert highest > t.base_pm25


def test_truth_is_complete(world):
    readings, truth = world
    assert any(t.kind == "vape" for t in truth)
    for t in truth:
        assert t.sensor in readings.names
        assert t.onset <= t.end
        assert t.onset <= EPOCH + 3600
        assert t.device
        assert t.interval_s in {1, 2, 5, 10, 30, 60}
        assert 10 <= t.volume_m3 <= 100
        assert 0 < t.air_changes_h <= 40
        assert t.base_pm25 >= 0
        if t.kind == "vape":
            assert t.style in STYLES
        else:
            assert t.seen_pm25 == 0
        assert np.isnan(t.arrival) or t.arrival >= t.onset - 1


def test_a_world_depends_on_its_arguments_alone(world, request):
    name = request.node.callspec.params["world"]
    readings, truth = world
    again, truth_again = WORLDS[name](1, 2, 1.0, 2.0)
    np.testing.assert_array_equal(again.time, readings.time)
    np.testing.assert_array_equal(again.values, readings.values)
    assert repr(truth_again) == repr(truth)
    other, _ = WORLDS[name](2, 2, 0.5, 2.0)
    assert not np.array_equal(other.time[:50], readings.time[:50])
