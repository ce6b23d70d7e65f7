"""Test that Home Assistant discovery sets the unit only for the topic that it names."""

import json

import pytest

from ingest.decoding import Context
from ingest.intake import Intake, IntakeConfig
from ingest.validation import Message
from storage.registry import Registry, Room, Sensor

NOW = 1_790_000_000.0
REGISTRY = Registry.build(
    [Room("r", "Room", "2", "North", "S")], [Sensor("b2", "r"), Sensor("n2", "r")]
)


def intake(**more):
    return Intake(IntakeConfig(context=Context(registry=REGISTRY), **more))


def sent(i, topic, content, at=0.0, *, retained=False):
    payload = content if isinstance(content, bytes) else json.dumps(content).encode()
    out = i.on_message(Message(topic, payload, NOW + at, retained=retained))
    readings = [*out.readings, *i.on_time(NOW + at + 9)]
    i.on_stored(readings)
    return readings


@pytest.mark.parametrize(
    "topic",
    [
        "homeassistant/sensor/own/x/config",
        "homeassistant/sensor/b2/other/config",
        "homeassistant/binary_sensor/b2/pm_2_5/config",
        "homeassistant/sensor/own/config",
        "homeassistant/sensor/b2/config",
    ],
)
def test_discovery_describes_the_device_alone_that_its_topic_names(topic):
    i = intake()
    false = {"stat_t": "b2/sensor/pm_2_5/state", "unit_of_meas": "mg/m³"}
    sent(i, topic, false, retained=True)
    (reading,) = sent(i, "b2/sensor/pm_2_5/state", b"7.5", 1)
    assert reading.values == {"pm25": 7.5}


def test_an_account_below_whose_name_another_device_publishes_does_not_describe_it():
    i = intake()
    false = {"stat_t": "b2/n2/sensor/pm_2_5/state", "unit_of_meas": "mg/m³"}
    for node in ("b2", "n2"):
        sent(i, f"homeassistant/sensor/{node}/x/config", false, retained=True)
    (reading,) = sent(i, "b2/n2/sensor/pm_2_5/state", b"7.5", 1)
    assert reading.values == {"pm25": 7.5}


def test_a_withdrawn_discovery_no_longer_changes_units():
    i = intake()
    place = "homeassistant/sensor/b2/pm_2_5/config"
    false = {"stat_t": "b2/sensor/pm_2_5/state", "unit_of_meas": "mg/m³"}
    sent(i, place, false, retained=True)
    sent(i, place, b"", 1)
    (reading,) = sent(i, "b2/sensor/pm_2_5/state", b"7.5", 2)
    assert reading.values == {"pm25": 7.5}
    sent(i, place, false, 3)
    sent(i, place, {**false, "unit_of_meas": "furlong"}, 4)
    (reading,) = sent(i, "b2/sensor/pm_2_5/state", b"8.5", 5)
    assert reading.values == {"pm25": 8.5}
