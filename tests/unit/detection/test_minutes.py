import numpy as np
import pytest

from detection.channels import ReadingBatch
from detection.per_minute.minutes import CHANNEL_INDEX, Minutes
from detection.quantities import COLUMN_INDEX, COLUMNS

PM25 = CHANNEL_INDEX["pm25"]


def batch_of(rows, times, pm25):
    values = np.full((len(rows), len(COLUMNS)), np.nan)
    values[:, COLUMN_INDEX["pm25"]] = pm25
    batch = ReadingBatch(np.array(rows, np.int32), np.array(times, float), values)
    for array in (batch.sensor, batch.time, batch.values):
        array.setflags(write=False)
    return batch


@pytest.fixture
def minutes():
    made = Minutes()
    assert [made.assign_row(name) for name in ("a", "b", "a")] == [0, 1, 0]
    return made


def test_by_hand(minutes):
    rows = [0, 1, 0, 0, 0, 1, 0]
    times = [600, 601, 610, 620, 630, 659.9, 661.5]
    (found,) = minutes.step(batch_of(rows, times, [5, 2, 8, 6, np.nan, 2, 7]))
    assert (found.start, found.closed) == (600.0, 661.5)
    assert found.rows.tolist() == [0, 1]
    assert found.count.tolist() == [4.0, 2.0]
    assert found.low[:, PM25].tolist() == [5.0, 2.0]
    assert found.high[:, PM25].tolist() == [8.0, 2.0]
    # a rises by 3 and falls by 2, and the smaller change counts; b has fewer than three readings
    assert found.zigzag[0, PM25] == pytest.approx(2.0)
    assert np.isnan(found.zigzag[1, PM25])
    assert np.isnan(found.low[:, CHANNEL_INDEX["rh"]]).all()
    assert minutes.now == 660.0


def test_a_steady_rise_has_no_zigzag(minutes):
    (found,) = minutes.step(batch_of([0] * 7, range(0, 70, 10), np.arange(7.0)))
    assert found.zigzag[0, PM25] == 0.0


def test_white_noise_has_the_share_that_is_documented(minutes):
    x = 50 + np.random.default_rng(3).standard_normal(200_000)
    (found,) = minutes.step(batch_of([0] * 200_001, [*np.arange(200_000) / 4000, 61], [*x, 50]))
    assert found.zigzag[0, PM25] == pytest.approx(0.56, abs=0.01)


def test_old_and_repeated_readings_change_nothing(minutes):
    usual = batch_of([0, 0, 0, 0], [0, 10, 20, 70], [5, 6, 5, 6])
    (expected,) = minutes.step(usual)
    again = Minutes()
    again.assign_row("a")
    mixed = batch_of([0, 0, 0, 0, 0, 0], [0, 10, 10, 9, 20, 70], [5, 6, 900, 900, 5, 6])
    (found,) = again.step(mixed)
    assert found.high[0, PM25] == expected.high[0, PM25] == 6.0
    assert found.zigzag[0, PM25] == expected.zigzag[0, PM25]


def test_a_clock_that_is_set_back_is_followed(minutes):
    minutes.step(batch_of([0, 0], [1000, 1010], [5, 5]))
    (found,) = minutes.step(batch_of([0, 0, 1], [500, 510, 1100], [5, 9, 2]))
    assert found.high[0, PM25] == 9.0
