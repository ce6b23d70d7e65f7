from __future__ import annotations

import time

import pytest

from storage.timeseries.influx import InfluxSeries
from storage.timeseries.influx_http import InfluxHttp, InfluxSettings
from storage.timeseries.influx_setup import set_up
from storage.timeseries.resolution import Retention
from tests.support.influx import Influxd
from tests.support.school_series import simulated_school


@pytest.fixture(scope="session")
def school(tmp_path_factory):
    """Six simulated hours of a school, which end now."""
    return simulated_school(tmp_path_factory.mktemp("school"), hours=6)


@pytest.fixture(scope="session")
def url(school, tmp_path_factory):
    """A real InfluxDB that holds them, in the database ``school``."""
    home = tmp_path_factory.mktemp("influxd-school")
    with Influxd(home) as server:
        settings = InfluxSettings(server.url, "school")
        http = InfluxHttp(settings)
        list(set_up(http, Retention(), time.time()))
        with InfluxSeries(settings, school.registry, home / "influx.db") as series:
            school.store(series)
        list(set_up(http, Retention(), time.time()))  # makes the averages of what is there
        yield server.url
