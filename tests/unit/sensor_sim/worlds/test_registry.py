"""Every world of the table keeps the interface."""

import pickle

import numpy as np
import pytest

from detection.quantities import QUANTITIES
from sensor_sim.worlds import WORLDS
from sensor_sim.worlds.world import COLUMNS, EPOCH

CLOCK_ERROR_S = 120
"""Devices' clocks may be out by as much."""
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
