from __future__ import annotations

import time
from functools import partial

import pytest

from storage.timeseries.influx import InfluxSeries
from storage.timeseries.influx_http import InfluxHttp, InfluxSettings
from storage.timeseries.influx_setup import set_up
from storage.timeseries.resolution import Retention
from tests.support.influx import Influxd
from tests.support.once import made_once
from tests.support.school_series import simulated_school


@pytest.fixture(scope="session")
def school(tmp_path_factory):
    """Six simulated hours of a school, which end now."""
    folder, found = made_once(tmp_path_factory, "school", partial(simulated_school, hours=6))
    return found._replace(database=folder / found.database.name)


@pytest.fixture(scope="session")
def url(school, tmp_path_factory):
    """A real InfluxDB that holds them, in the database ``school``."""
    home = tmp_path_factory.mktemp("influxd-school")
    with Influxd(home) as server:
        settings = InfluxSettings(server.url, "school")
        http = InfluxHttp(settings)
        list(set_up(http, Retention()))
        with InfluxSeries(settings, school.registry, home / "influx.db") as series:
            school.store(series)
            while series.tidy(time.time() + 1_000.0):  # the quarter of now too
                pass
        yield server.url
