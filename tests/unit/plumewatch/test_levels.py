"""The budgets of false alarms in the configuration."""

import pytest

from detection.alert_thresholds import BUDGET
from plumewatch.config.faults import ConfigError
from plumewatch.config.load import load

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


@pytest.fixture
def config_path(tmp_path):
    path = tmp_path / "plumewatch.toml"
    path.write_text(CONFIG)
    return path


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
