import numpy as np
import pytest

from detection.channels import CHANNEL_INDEX, CHANNELS, FINE, measure_voc_rise, select_channels
from detection.quantities import COLUMN_INDEX, COLUMNS


def row(**values):
    table = np.full((1, len(COLUMNS)), np.nan)
    for key, value in values.items():
        table[0, COLUMN_INDEX[key]] = value
    table.setflags(write=False)
    return table


@pytest.mark.parametrize(
    ("values", "fine"),
    [
        ({"pm25": 7.0, "pm1": 5.0}, 7.0),
        ({"pm1": 5.0, "pm10": 9.0}, 5.0),
        ({"pm4": 6.0}, 6.0),
        ({"pm10": 9.0}, 9.0),
        ({"n03": 100.0}, 3.0),
        ({"rh": 40.0}, np.nan),
    ],
)
def test_the_fine_signal_is_what_the_sensor_has(values, fine):
    found = select_channels(row(**values))[0, FINE]
    np.testing.assert_equal(found, fine)


def test_a_voc_index_that_starts_up_is_unknown():
    for index in (0.0, 1.0):
        found = select_channels(row(voc_index=index))[0, CHANNEL_INDEX["voc_index"]]
        assert np.isnan(found)
    assert select_channels(row(voc_index=2.0))[0, CHANNEL_INDEX["voc_index"]] == 2.0


def test_a_doubling_is_the_same_in_ppb_and_in_raw_ticks():
    base = select_channels(row(tvoc_ppb=0.0))
    high = select_channels(row(tvoc_ppb=400.0))
    strength, kind = measure_voc_rise(high, base)
    assert strength[0] == pytest.approx(1.0)
    assert kind[0] == 1.0
    strength, kind = measure_voc_rise(
        select_channels(row(voc_raw=29_130.0)), select_channels(row(voc_raw=30_000.0))
    )
    assert strength[0] == pytest.approx(1.0)
    assert kind[0] == 4.0


def test_without_a_voc_channel_the_strength_is_unknown():
    empty = np.full((2, len(CHANNELS)), np.nan)
    strength, kind = measure_voc_rise(empty, empty)
    assert np.isnan(strength).all()
    assert (kind == 0).all()
