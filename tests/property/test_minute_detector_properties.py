"""Test that splits and restarts of a stream don't change its events, with gaps and missing
values."""

from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detection.channels import ReadingBatch
from detection.combined import MinuteDetectors
from detection.events import EventPhase
from tests.support.minutes import DAY_S, Air, slow_of, step_all

SENSORS = [f"n-{room}-1" for room in "abcd"]
HOUR = 3600.0


@cache
def stream():
    """Return a day and a half with smoke in all rooms, a frozen and a missing channel, a blow, and
    gaps."""
    air = Air(SENSORS, 1.5 * DAY_S, every_s=300.0)
    rng = np.random.default_rng(9)
    for sensor in SENSORS:
        columns = air.values[sensor]
        columns["pm25"] = columns["pm25"] + 25.0 * air.at(5 * HOUR, 7 * HOUR)
        for x in columns.values():
            x[rng.random(x.size) < 0.03] = np.nan
    columns = air.values[SENSORS[1]]
    columns["pm25"][air.at(26 * HOUR, 30 * HOUR)] = 4.0
    columns["pm1"][air.at(26 * HOUR, 29 * HOUR)] = np.nan
    for x in air.values[SENSORS[2]].values():
        x[air.at(20 * HOUR, 27.5 * HOUR)] = np.nan
    air.values[SENSORS[3]]["rh"][air.at(27 * HOUR, 34 * HOUR)] = 100.0
    batch = air.batch(MinuteDetectors(slow_of))
    has_value = ~np.isnan(batch.values).all(axis=1)
    batch = ReadingBatch(batch.sensor[has_value], batch.time[has_value], batch.values[has_value])
    return batch, ordered(fresh(), batch)


def fresh():
    slow = MinuteDetectors(slow_of)
    for sensor in SENSORS:
        slow.assign_row(sensor)
    return slow


def ordered(slow, batch, cuts=(), *, restart=False):
    events = step_all(slow, batch, cuts, restart=restart)
    return sorted(events, key=lambda e: (e.time, e.id, e.phase))


def test_the_stream_has_something_of_all():
    _, events = stream()
    alerts = {e.model_version for e in events if e.phase is EventPhase.ALERTED}
    assert alerts == {"ambient-1", "faults-1-frozen", "faults-1-missing", "faults-1-saturated"}


@settings(max_examples=5)
@given(st.data())
def test_any_split_gives_the_same(data):
    batch, expected = stream()
    cuts = data.draw(st.lists(st.integers(0, len(batch)), max_size=8))
    restart = data.draw(st.booleans())
    assert ordered(fresh(), batch, cuts, restart=restart) == expected
