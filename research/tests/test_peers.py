"""Test the published rules on hand-made series."""

import numpy as np
import pytest

from research.benchmark import peers
from research.benchmark.recordings import Series, make_series


def series(interval_s=1, **channels):
    n = len(next(iter(channels.values())))
    time = 1000.0 + interval_s * np.arange(n)
    return make_series("a", "", "sen55", time, channels)


def level(n, *steps, base=5.0):
    """Return `n` seconds of `base`, with steps of (from, to, value)."""
    x = np.full(n, base)
    for begin, end, value in steps:
        x[begin:end] = value
    return x


def seconds(alerts):
    return (np.asarray(alerts) - 1000.0).tolist()


@pytest.mark.parametrize("key", peers.RULES)
def test_missing_channels_mean_no_opinion(key):
    assert peers.RULES[key][1](series(temp=level(50))) is None


@pytest.mark.parametrize("key", peers.RULES)
def test_quiet_air_and_short_series_are_silent(key):
    rule = peers.RULES[key][1]
    for n in (1, 2, 400):
        quiet = series(
            pm25=level(n),
            pm10=level(n),
            voc_index=level(n, base=100.0),
        )
        assert rule(quiet).size == 0


@pytest.mark.parametrize("key", peers.RULES)
def test_no_rule_looks_ahead(key):
    rng = np.random.default_rng(5)
    rule = peers.RULES[key][1]
    n = 600
    pm = np.exp(rng.normal(0, 0.4, n).cumsum() % 7)
    whole = series(
        pm25=pm,
        pm10=pm * 1.1,
        voc_index=100 + 60 * rng.random(n).cumsum() % 300,
    )
    alerts = rule(whole)
    for cut in (100, 350):
        part = Series(whole.sensor, whole.time[:cut], whole.values[:cut])
        assert rule(part).tolist() == alerts[alerts <= part.time[-1]].tolist()


def test_halo_reports_each_rise_over_35_once():
    pm10 = level(60, (10, 20, 35.0), (30, 40, 80.0))
    assert seconds(peers.halo(series(pm10=pm10))) == [10, 30]


def test_halo_continues_over_a_missing_value():
    pm10 = level(30, (10, 20, 50.0))
    pm10[15] = np.nan
    assert seconds(peers.halo(series(pm10=pm10))) == [10]


def test_verkada_needs_particles_and_gas():
    pm, gas = level(100, (50, 60, 80)), level(100, (50, 60, 300), base=100)
    still = level(100, base=100)
    assert seconds(peers.verkada(series(pm25=pm, voc_index=gas))) == [50]
    assert peers.verkada(series(pm25=pm, voc_index=still)).size == 0


def test_patent_rule_waits_and_heeds_gas():
    pm = level(100, (40, 60, 80), (80, 83, 80))
    steady, loud = level(100, base=100), level(100, (30, 90, 400), base=100)
    assert seconds(peers.ipvideo(series(pm25=pm, voc_index=steady), period_s=5, gas_factor=1)) == [
        45
    ]
    assert peers.ipvideo(series(pm25=pm, voc_index=loud), period_s=5, gas_factor=1).size == 0


def test_vaciam_gas_alone_is_vaping_at_once():
    gas = level(60, (30, 60, 300), base=100)
    assert seconds(peers.vaciam(series(pm25=level(60), voc_index=gas)))[0] == 30


def test_vaciam_particles_then_gas():
    pm, gas = level(120, (30, 90, 400)), level(120, (50, 90, 300), base=100)
    assert seconds(peers.vaciam(series(pm25=pm, voc_index=gas))) == [50]


def test_vaciam_three_steps_of_ten_a_second():
    pm, gas = level(120, (30, 90, 400)), level(120, base=100)
    gas[40:] = 100 + np.minimum(np.arange(80) + 1, 4) * 12
    assert seconds(peers.vaciam(series(pm25=pm, voc_index=gas)))[0] == 42


def test_vaciam_particles_without_gas_are_a_cigarette():
    pm = level(120, (30, 90, 400))
    assert peers.vaciam(series(pm25=pm, voc_index=level(120, base=100))).size == 0


def test_fukidzon_starts_at_once_and_does_not_repeat():
    pm = level(400, (100, 160, 60))
    assert seconds(peers.fukidzon(series(pm25=pm))) == [100]


def test_fukidzon_measures_for_a_minute_first():
    assert peers.fukidzon(series(pm25=level(60, (30, 60, 80)))).size == 0


def test_fukidzon_needs_more_than_five():
    assert peers.fukidzon(series(pm25=level(200, (100, 200, 10)))).size == 0


def test_fukidzon_ends_and_starts_again():
    pm = level(600, (100, 130, 60), (400, 430, 60))
    assert seconds(peers.fukidzon(series(pm25=pm))) == [100, 400]


def test_hobby_locks_out():
    pm = level(400, (10, 300, 150))
    assert seconds(peers.hobby(series(pm25=pm))) == [10, 110, 210]


def test_what_cannot_run_is_reported():
    assert "MQ-2" in peers.NOT_APPLICABLE["CPC357"]
