"""Test that reports are the same with the embedded store and with InfluxDB."""

from datetime import date

import polars as pl
import pytest

from plumewatch.config.load import load
from plumewatch.service.data_folder import open_series
from storage.timeseries.sqlite import SqliteSeries
from tests.support.command import plumewatch, report
from tests.support.influx import Influxd, influxql
from tests.support.school_year import config_text, fill_health, fill_state, moment

FIRST, DAYS, ROOMS = date(2026, 10, 26), 10, 3
NOW = moment(FIRST) + 30 * 86_400


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    data = folder / "plumewatch-data"
    data.mkdir()
    fill_state(data / "state.db", FIRST, DAYS, ROOMS)
    fill_health(data / "series.db", FIRST, DAYS, ROOMS, every_s=7200.0)
    (folder / "sqlite.toml").write_text(config_text(ROOMS))
    with Influxd(tmp_path_factory.mktemp("influxd")) as server:
        influxql(server.url, 'CREATE DATABASE "plumewatch"')
        path = folder / "influx.toml"
        path.write_text(config_text(ROOMS, more=f'[timeseries]\nurl = "{server.url}"'))
        assert plumewatch("storage", "setup", "-c", path, now=NOW).code == 0
        with SqliteSeries(data / "series.db") as series, open_series(load(path)) as influx:
            influx.record(series.read_health(0.0, NOW))
        yield folder


@pytest.mark.parametrize("name", ["sensors", "summary"])
def test_the_store_makes_no_difference(site, name):
    found = []
    for store in ("sqlite", "influx"):
        path = site / f"{name}-{store}.parquet"
        asked = {"start": FIRST, "end": "2026-11-04", "kind": "parquet", "out": path}
        assert report(site / f"{store}.toml", name, now=NOW, **asked).code == 0
        found.append(pl.read_parquet(path))
    assert found[0].equals(found[1])
    assert found[0].height >= ROOMS
