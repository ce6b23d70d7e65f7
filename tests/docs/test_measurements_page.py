"""Test that the queries in docs/measurements.md run on a real InfluxDB."""

import re
import time
from pathlib import Path

import pytest

from storage.registry import Registry, Room, Sensor
from storage.timeseries.influx import InfluxSeries
from storage.timeseries.influx_http import InfluxSettings
from storage.timeseries.influx_setup import set_up
from storage.timeseries.records import MEASUREMENTS, Record
from storage.timeseries.resolution import Retention
from tests.support.influx import Influxd

PAGE = (Path(__file__).parents[2] / "docs" / "measurements.md").read_text(encoding="utf-8")
NOW = time.time() // 1
REGISTRY = Registry.build([Room("r", "R", "1", "B", "S")], [Sensor("s", "r")])


def questions():
    (block,) = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    return [" ".join(q.split()) for q in re.split(r"(?m)^(?=SELECT)", block) if q.strip()]


@pytest.fixture(scope="module")
def http(tmp_path_factory):
    home = tmp_path_factory.mktemp("influxd")
    with Influxd(home) as server:
        settings = InfluxSettings(server.url, "air")
        with InfluxSeries(settings, REGISTRY, home / "influx.db") as series:
            list(set_up(series.http, Retention(2, 3, 4)))
            for k in range(4):
                incident = {"false_alarm": float(k > 0), "confirmed": float(k == 0), "test": 0.0}
                health = {"online_s": 240.0, "period_s": 300.0, "received": 55.0, "expected": 60.0}
                acknowledged = {"acknowledged_s": 10.0 * k} if k else {}
                at = NOW - 300 * (k + 1)
                series.record(
                    [
                        Record("incident", at, incident | acknowledged, "", "r", "vape", f"i{k}"),
                        Record("sensor_health", at, health, "s"),
                    ]
                )
            yield series.http


def test_alerts_of_a_month(http):
    (found,) = http.query(questions()[0].replace("NAME", "air"))
    assert found["tags"] == {"room": "r", "kind": "vape"}
    assert found["values"][0][1:] == [3, 1, 30]


def test_health_of_a_week(http):
    (found,) = http.query(questions()[1].replace("NAME", "air"))
    assert found["tags"] == {"sensor": "s"}
    assert found["values"][0][1:] == pytest.approx([0.8, 55 / 60])


def test_every_measurement_is_described(http):
    for name in MEASUREMENTS:
        assert f"**`{name}`**" in PAGE
