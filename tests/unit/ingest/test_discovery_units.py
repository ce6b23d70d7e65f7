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
    ("described", "place"),
    [
        ("homeassistant/sensor/own/x/config", "b2"),
        ("homeassistant/sensor/b2/other/config", "b2"),
        ("homeassistant/binary_sensor/b2/pm_2_5/config", "b2"),
        ("homeassistant/sensor/own/config", "b2"),
        ("homeassistant/sensor/b2/config", "b2"),
        ("homeassistant/sensor/b2/x/config", "b2/n2"),  # another device below its account's name
        ("homeassistant/sensor/n2/x/config", "b2/n2"),
    ],
)
def test_discovery_describes_the_device_alone_that_its_topic_names(described, place):
    i = intake()
    false = {"stat_t": f"{place}/sensor/pm_2_5/state", "unit_of_meas": "mg/m³"}
    sent(i, described, false, retained=True)
    (reading,) = sent(i, f"{place}/sensor/pm_2_5/state", b"7.5", 1)
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


@pytest.mark.parametrize(("unit", "events"), [("mg/m³", ("tamper",)), ("µg/m³", ())])
def test_a_first_discovery_cannot_change_values_unnoticed(unit, events):
    i = intake()
    sent(i, "b2/sensor/pm_2_5/state", b"7.5")
    described = {"stat_t": "b2/sensor/pm_2_5/state", "unit_of_meas": unit}
    readings = sent(i, "homeassistant/sensor/b2/pm_2_5/config", described, 20, retained=True)
    assert [event for reading in readings for event in reading.events] == [*events]
