"""Test that mixing conserves mass, takes time, and ends in a well-mixed room."""

from __future__ import annotations

import numpy as np
import pytest

from sensor_sim.physics.room import Place, RoomAir, SensorPlace, compute_arrival, compute_zones
from sensor_sim.streams import make_stream


def draw(seed):
    rng = make_stream(seed, "test")
    return RoomAir.draw(rng), SensorPlace.draw(rng), Place.draw(rng)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("fan_on", [True, False])
def test_mixing_conserves_mass_and_ends_uniform(seed, fan_on):
    air, sensor, place = draw(seed)
    age = np.array([0.0, 1.0, 10.0, 100.0, 1000.0, 20_000.0])
    zones, volume = compute_zones(air, sensor, place, age, fan_on=fan_on)
    assert volume @ zones == pytest.approx(np.ones(age.size), rel=1e-6)
    assert zones[:, -1] == pytest.approx(np.full(4, 1 / volume.sum()), rel=1e-3)
    assert zones[0, 0] == pytest.approx(1 / place.near_m3)


def test_a_plume_reaches_the_sensor_in_seconds_to_minutes():
    delays = []
    for seed in range(200):
        air, sensor, place = draw(seed)
        age = np.arange(900.0)
        at = compute_arrival(air, sensor, place, age, fan_on=True)
        delays.append(age[np.argmax(at > 0.5 * at.max())])
    assert 5 < np.percentile(delays, 10) < 30
    assert 20 < np.percentile(delays, 90) < 300
