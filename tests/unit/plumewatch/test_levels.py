"""The budgets of false alarms, and what `check` says of them."""

import pytest

from alerts.engine import AlertEngine
from alerts.incidents import schema, threshold_adjustments
from alerts.incidents.incident import Verdict
from alerts.policy import AlertPolicy
from detection.alert_thresholds import BUDGET, ThresholdReport
from detection.events import Event, EventKind, EventPhase
from plumewatch.check.result import State
from plumewatch.check.sensors import check_sensors
from plumewatch.config.faults import ConfigError
from plumewatch.config.load import load
from plumewatch.config.paths import DataPaths
from storage.sqlite import connect, migrate

NOW = 1_790_000_000.0
CONFIG = """
site = "S"
timezone = "America/New_York"
[detection]
false_alarms_per_sensor_week = 2
[[room]]
id = "r"
name = "Boys"
building = "North"
[[sensor]]
id = "s1"
room = "r"
[[sensor]]
id = "s2"
room = "r"
false_alarms_per_week = 0.5
[[sensor]]
id = "s3"
room = "r"
"""
RAISED = ThresholdReport(2.2, 1.8, 2.0, 1.8, 0.25, 3.5)
BOUND = ThresholdReport(3.3, 1.8, 0.5, 4.0, 0.0, 3.5)


@pytest.fixture
def config_path(tmp_path):
    path = tmp_path / "plumewatch.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def stored(config_path):
    """A data folder of a service that had one false alarm at s1."""
    config = load(config_path)
    paths = DataPaths(config.data_dir)
    paths.root.mkdir()
    connection = connect(paths.state)
    migrate(connection, schema.COMPONENT, schema.SCRIPTS)
    engine = AlertEngine(config.registry(), AlertPolicy())
    event = Event(
        "s1", EventKind.VAPE, EventPhase.ALERTED, NOW, NOW, NOW, None, 0.9, {"vape": 0.9}, {}, "m"
    )
    (record,) = engine.on_events(connection, [event], NOW)
    engine.feedback(connection, record.incident, "Lee", Verdict.FALSE_ALARM, NOW, cause="spray")
    threshold_adjustments.save_thresholds(connection, [("s1", RAISED), ("s2", BOUND)])
    connection.close()
    return config_path


def budgets(config):
    return [f for f in check_sensors(config, NOW) if f.part.startswith("level")]


def test_check_warns_of_a_budget_that_cannot_be_kept(stored):
    (finding,) = budgets(load(stored))
    assert finding.state is State.WARNING
    assert finding.part == "level: s2"
    assert "4.0 false alarms a week" in finding.sentence
    assert "at the highest threshold, the budget is 0.5" in finding.sentence


def test_check_is_silent_before_there_is_a_service(config_path):
    config = load(config_path)
    assert list(budgets(config)) == []
    DataPaths(config.data_dir).root.mkdir()
    connect(DataPaths(config.data_dir).state).close()
    assert list(budgets(config)) == []


def test_budget_in_the_configuration(config_path):
    config = load(config_path)
    assert config.detection.false_alarms_per_sensor_week == 2.0
    assert [s.false_alarms_per_week for s in config.sensor] == [None, 0.5, None]
    config_path.write_text(CONFIG.replace("false_alarms_per_sensor_week = 2", ""))
    assert load(config_path).detection.false_alarms_per_sensor_week == BUDGET
    for wrong in ("0", "51", '"few"', "nan"):
        config_path.write_text(CONFIG.replace("week = 2", f"week = {wrong}"))
        with pytest.raises(ConfigError, match="false_alarms_per_sensor_week"):
            load(config_path)
