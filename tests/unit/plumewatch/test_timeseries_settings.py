"""Test the store that a configuration selects, and its check."""

import pytest

from plumewatch.check.machine import check_series
from plumewatch.check.result import State, ok
from plumewatch.config.faults import ConfigError
from plumewatch.config.load import parse
from plumewatch.config.paths import DataPaths
from plumewatch.config.settings import build_series, read_influx_settings
from storage.timeseries.influx import InfluxSeries
from storage.timeseries.sqlite import SqliteSeries
from tests.support.influx import Influxd, influxql

BASE = {
    "site": "S",
    "timezone": "UTC",
    "room": [{"id": "r", "name": "R", "building": "B"}],
    "sensor": [{"id": "s", "room": "r"}],
}


def config_of(tmp_path, **timeseries):
    return parse({**BASE, "timeseries": timeseries}, base=tmp_path)


def test_the_embedded_store_unless_a_url_is_given(tmp_path):
    paths = DataPaths(tmp_path)
    assert isinstance(build_series(config_of(tmp_path), paths), SqliteSeries)
    found = build_series(config_of(tmp_path, url="http://127.0.0.1:8086"), paths)
    assert isinstance(found, InfluxSeries)


def test_the_secret_comes_from_a_file_and_does_not_show(tmp_path):
    (tmp_path / "token").write_text("hunter2\n")
    (tmp_path / "token").chmod(0o600)
    config = config_of(tmp_path, url="http://x:8086/", token_file="token", org="school")
    settings = read_influx_settings(config)
    assert (settings.url, settings.secret, settings.org) == ("http://x:8086", "hunter2", "school")
    assert "hunter2" not in f"{config!r}{settings!r}"
    with pytest.raises(ConfigError, match=r"\[timeseries\] token_file"):
        read_influx_settings(config_of(tmp_path, url="http://x", token_file="missing"))


@pytest.mark.parametrize(
    ("section", "path"),
    [
        ({"url": "http://user:pw@x"}, "timeseries.url"),
        ({"url": "http://x/?token=1"}, "timeseries.url"),
        ({"url": "x:8086"}, "timeseries.url"),
        ({"database": 'a"; DROP'}, "timeseries.database"),
        ({"raw_days": 5}, "timeseries.raw_days"),
        ({"minute_days": 20}, "timeseries.minute_days"),
        ({"quarter_hour_days": 100}, "timeseries.quarter_hour_days"),
    ],
)
def test_faults(tmp_path, section, path):
    with pytest.raises(ConfigError) as caught:
        config_of(tmp_path, **section)
    assert [fault.path for fault in caught.value.faults] == [path]


def checked(tmp_path, **timeseries):
    return list(check_series(config_of(tmp_path, **timeseries), 0.0))


def test_check_of_a_server(tmp_path):
    with Influxd(tmp_path) as server:
        influxql(server.url, "CREATE DATABASE plumewatch")
        accepts, not_set_up = checked(tmp_path, url=server.url)
        database = "database 'plumewatch' accepts readings and answers queries"
        sentence = f"InfluxDB 1.x (1.6.7~rc0); {database}"
        assert accepts == ok("time series", f"{server.url} is {sentence}")
        assert not_set_up.state is State.WARNING
        assert "run `plumewatch storage setup`" in not_set_up.sentence
        for name in ("m1", "m15"):
            policy = f'CREATE RETENTION POLICY "{name}" ON plumewatch DURATION INF REPLICATION 1'
            influxql(server.url, policy)
        assert checked(tmp_path, url=server.url) == [accepts]
        (missing,) = checked(tmp_path, url=server.url, database="other")
        assert missing.state is State.FAULT
        assert "has no database 'other'" in missing.sentence
