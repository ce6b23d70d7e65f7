import numpy as np
import pytest

from detection.channels import ReadingBatch
from sensor_sim.school import draw_school
from sensor_sim.simulate import simulate
from tests.support.once import made_once
from tests.support.streams import events_of, fresh

START = 1_757_203_200.0 + 9 * 3600


def _simulated(_folder):
    models = ["sen55", "sps30+sgp40", "pms5003", "opcn3+sgp30", "airgradient"]
    school = draw_school(70_001, 10, models=models, intervals=(2, 5, 10))
    names = [device.id for device in school.devices]
    parts = []
    for chunk in simulate(
        school, seed=70_001, start=START, duration_s=3600.0, activity="hard_restroom"
    ):
        for trace in chunk.traces:
            row = np.full(trace.time.size, names.index(trace.sensor), np.int32)
            parts.append((row, trace.time, trace.values))
    sensor, time, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(time, kind="stable")
    batch = ReadingBatch(sensor[order], time[order], values[order])
    return names, batch, events_of(fresh(names), batch)


@pytest.fixture(scope="session")
def _made(tmp_path_factory):
    return made_once(tmp_path_factory, "restroom", _simulated)[1]


@pytest.fixture(scope="session")
def restroom(_made):
    """Return a busy hour in ten rooms with different kinds of sensors, in time order.

    The arrays are read-only, so a detector that writes to its input fails.
    """
    names, batch, _ = _made
    for array in (batch.sensor, batch.time, batch.values):
        array.setflags(write=False)
    return names, batch


@pytest.fixture(scope="session")
def restroom_events(_made):
    """Return the events of `restroom`, processed in one step."""
    return _made[2]
