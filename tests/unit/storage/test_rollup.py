"""Test that the embedded store's averages end up exact, despite late readings."""

import numpy as np
import pytest

from storage.reading import Reading
from storage.timeseries.resolution import Retention
from storage.timeseries.sqlite import SqliteSeries

DAY = 86_400.0
T = 1_790_035_200.0  # a whole day
RETENTION = Retention(raw_days=3, minute_days=10, quarter_hour_days=20)


class Bench:
    def __init__(self, path):
        self.now = T
        self.series = SqliteSeries(path, RETENTION, lambda: self.now)

    def write(self, *readings):
        self.series.write(readings, self.series.get_cursor() + len(readings))

    def tidy(self):
        while self.series.tidy(self.now):
            pass

    def rows(self, table):
        return self.series.query(
            lambda db: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
        )


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path / "series.db")
    with made.series:
        yield made


def day(start, sensor="s", seed=1, received=None):
    values = np.random.default_rng(seed).uniform(1, 50, 1440)
    return [
        Reading(sensor, start + 60.0 * i + 7, received or start + 60 * i + 8, {"pm25": float(v)})
        for i, v in enumerate(values)
    ]


def test_averages_agree_with_readings(bench):
    readings = day(T - DAY) + day(T - 2 * DAY, seed=2) + day(T - 2.5 * DAY, "t", 3)
    bench.write(*readings)
    before = {
        (a, e): bench.series.aggregate_readings("s", T - 2 * DAY, T, e, a)
        for a in ("mean", "min", "max")
        for e in (60, 900, 3600)
    }
    bench.now = T + 60
    bench.tidy()
    assert bench.rows("stale") == 0
    for (aggregate, every), (time, values) in before.items():
        rolled = bench.series.aggregate_readings("s", T - 2 * DAY - 1800, T, every, aggregate)
        np.testing.assert_array_equal(rolled[0], time)
        np.testing.assert_allclose(rolled[1]["pm25"], values["pm25"], rtol=1e-12)


@pytest.mark.parametrize("every", [900, 1800, 3600, 86_400])
@pytest.mark.parametrize(("from_s", "to_s"), [(0, 0), (450, 0), (0, -450), (70, -1000)])
def test_averages_change_no_answer_of_up_to_two_days(bench, every, from_s, to_s):
    often = [Reading("s", T - 7200 + i, T - 7200 + i, {"pm25": 40.0}) for i in range(600)]
    bench.write(*day(T - DAY), *often)
    asked = "s", T - DAY + from_s, T + to_s, every
    before = bench.series.aggregate_readings(*asked)
    bench.now = T + 61
    bench.tidy()
    assert bench.rows("stale") == 0
    after = bench.series.aggregate_readings(*asked)
    np.testing.assert_array_equal(after[0], before[0])
    np.testing.assert_allclose(after[1]["pm25"], before[1]["pm25"], rtol=1e-12)


def test_a_quarter_of_an_hour_is_averaged_when_it_is_over(bench):
    bench.write(Reading("s", T - 20, T, {"pm25": 1.0}))
    bench.tidy()
    assert (bench.rows("stale"), bench.rows("reading_15m")) == (1, 0)
    bench.now = T + 61
    bench.tidy()
    assert (bench.rows("stale"), bench.rows("reading_15m"), bench.rows("reading_1m")) == (0, 1, 1)


def test_what_comes_late_is_in_the_averages_and_before_that_in_the_answer(bench):
    bench.write(*day(T - 2.5 * DAY))
    bench.tidy()
    bench.write(Reading("s", T - 2 * DAY + 10, T, {"pm25": 500.0}))
    for _ in range(2):
        time, values = bench.series.aggregate_readings("s", T - 2.5 * DAY, T, 900, "max")
        assert values["pm25"][time == T - 2 * DAY] == 500.0
        assert len(time) == 96
        bench.tidy()


def test_readings_and_averages_go_when_they_are_old_and_the_answer_stays(bench):
    bench.write(*day(T - DAY))
    full = bench.series.aggregate_readings("s", T - DAY, T, 900)
    minutes = bench.series.aggregate_readings("s", T - DAY, T, 60)
    bench.now = T + 4 * DAY
    bench.tidy()
    assert (bench.rows("reading"), bench.rows("reading_1m")) == (0, 1440)
    for every, (time, values) in ((900, full), (60, minutes), (10, minutes)):
        found = bench.series.aggregate_readings("s", T - DAY, T, every)
        np.testing.assert_array_equal(found[0], time)
        np.testing.assert_allclose(found[1]["pm25"], values["pm25"], rtol=1e-12)
    bench.now = T + 11 * DAY
    bench.tidy()
    assert (bench.rows("reading_1m"), bench.rows("reading_15m")) == (0, 96)
    time, values = bench.series.aggregate_readings("s", T - DAY, T, 60)
    np.testing.assert_array_equal(time, full[0])
    np.testing.assert_allclose(values["pm25"], full[1]["pm25"], rtol=1e-12)
    bench.now = T + 21 * DAY
    bench.tidy()
    assert bench.rows("reading_15m") == 0


def test_a_straggler_does_not_spoil_averages_whose_readings_are_gone(bench):
    bench.write(*day(T - DAY))
    bench.now = T + 4 * DAY
    bench.tidy()
    before = repr(bench.series.aggregate_readings("s", T - DAY, T, 900))
    bench.write(Reading("s", T - DAY + 30, bench.now, {"pm25": 900.0}))
    bench.tidy()
    assert bench.rows("reading") == 1  # received just now, so kept as long as any other
    assert repr(bench.series.aggregate_readings("s", T - DAY, T, 900)) == before


def test_history_that_is_loaded_now_is_averaged_and_kept_a_while(bench):
    bench.write(*day(T - 9 * DAY, received=T))
    bench.tidy()
    assert (bench.rows("reading"), bench.rows("reading_1m")) == (1440, 1440)
    assert len(bench.series.aggregate_readings("s", T - 9 * DAY, T, 900)[0]) == 96
