"""Test that a day's mean is compared with guidelines only if readings cover most of the day."""

import numpy as np
import pytest

from alerts.page.views.air import Cell, build_cell, compute_day_means
from reports.figures import COVERAGE

NOW = 1_790_000_100.0


class Quarters:
    """A series with quarter-hour PM2.5 means by sensor, for the last part of a span."""

    def __init__(self, **hours):
        self.hours = hours

    def aggregate_readings(self, sensor, start, end, *_):
        times = np.arange(start, end, 900.0)[-round(4 * self.hours[sensor]) :]
        return times, {"pm25": np.full(len(times), 40.0 if sensor == "a" else 20.0)}


@pytest.mark.parametrize(
    ("hours", "mean", "covered_h"),
    [
        ({"a": 17.75}, 40.0, 17.75),
        ({"a": 18}, 40.0, 18),
        ({"a": 24, "b": 12}, 35.0, 24),
    ],
)
def test_a_quarter_hour_counts_once_in_a_room(hours, mean, covered_h):
    ((found, share),) = compute_day_means(Quarters(**hours), list(hours), NOW)["pm25"]
    assert found == pytest.approx(mean)
    assert 24 * share == pytest.approx(covered_h)
    assert (share >= COVERAGE) == (covered_h >= 18)


def test_a_week_is_the_mean_of_its_days_and_says_how_many_were_above():
    days = compute_day_means(Quarters(a=24, b=66), ["a", "b"], NOW, 7)["pm25"]
    assert days == [(30.0, 1.0), (20.0, 1.0), (20.0, 0.75)]
    assert build_cell("pm25", [*days, (900.0, 0.7)]) == Cell(
        pytest.approx(70 / 3), 1, "above WHO's guideline", over=3, days=3
    )
    assert build_cell("co2", [(2500.0, 1.0), (900.0, 1.0)])[1:5] == (2, "unacceptable", 1, 2)
    assert build_cell("pm25", [(9.0, 0.5), (9.0, 0.25)]) == Cell(None)
