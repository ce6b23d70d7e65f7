import numpy as np
import pytest

from detection.batch import ReadingBatch
from sensor_sim.school import random_school
from sensor_sim.simulate import simulate
from tests.support.streams import events_of, fresh

START = 1_757_203_200.0 + 9 * 3600


@pytest.fixture(scope="session")
def restroom():
    """Two busy hours of five rooms with sensors of different kinds, in time order, read-only."""
    models = ["sen55", "sps30+sgp40", "pms5003", "opcn3+sgp30", "airgradient"]
    school = random_school(70_001, 5, models=models, intervals=(1, 2, 5))
    names = [device.id for device in school.devices]
    parts = []
    for chunk in simulate(
        school, seed=70_001, start=START, duration_s=7200.0, activity="hard_restroom"
    ):
        for trace in chunk.traces:
            row = np.full(trace.time.size, names.index(trace.sensor), np.int32)
            parts.append((row, trace.time, trace.values))
    sensor, time, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(time, kind="stable")
    batch = ReadingBatch(sensor[order], time[order], values[order])
    for array in (batch.sensor, batch.time, batch.values):
        array.setflags(write=False)
    return names, batch


@pytest.fixture(scope="session")
def restroom_events(restroom):
    """Return the events of `restroom`, stepped whole."""
    names, batch = restroom
    return events_of(fresh(names), batch)
