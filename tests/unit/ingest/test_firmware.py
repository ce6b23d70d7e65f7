"""What devices say of their firmware: bounded, and news only when it changes."""

import json

import pytest

from ingest.decoding import Context
from ingest.intake import Intake, IntakeConfig
from ingest.validation import Message, may_alert
from storage.registry import Registry, Room, Sensor

NOW = 1_790_000_000.0
REGISTRY = Registry.of(
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


def native(i, at, **content):
    (reading,) = sent(i, "plumewatch/v1/b2/reading", {"time": NOW + at, "pm25": 4, **content}, at)
    return reading


def test_a_version_passes_once_and_again_when_it_changes():
    i = intake()
    raw_version = ["1.0", "1.0", "", "1.0", "1.1", "1.1", "1.0"]
    got = [native(i, k, firmware=version).firmware for k, version in enumerate(raw_version)]
    assert got == ["1.0", "", "", "", "1.1", "", "1.0"]
    assert i.firmware.known == {"b2": "1.0"}


def test_what_is_no_version_costs_no_reading_and_no_alert():
    i = intake()
    reading = native(i, 0, firmware="1\n2")
    assert reading.firmware == "1 2"
    for k, raw_version in enumerate(
        ["\x07", "é", "x" * 65, "y" * 10_000, 3, True, [], {}], start=1
    ):
        reading = native(i, k, firmware=raw_version)
        assert (reading.values, reading.flags) == ({"pm25": 4.0}, ("bad_firmware",))
        assert reading.firmware == ""
        assert may_alert(reading)
    assert i.firmware.known == {"b2": "1 2"}
    assert i.reading_counts.of("b2") == {"readings": 9, "bad_firmware": 8}


def test_a_version_is_reported_after_a_restart_only_if_new():
    first = intake()
    readings = [native(first, k, firmware="1.0", seq=k) for k in range(3)]
    second = intake()
    second.restore(readings)
    second.firmware.restore({"b2": "0.9", "n2": "7"})  # what is stored may be older than the tail
    assert native(second, 3, firmware="1.0", seq=3).firmware == ""
    assert second.firmware.known == {"b2": "1.0", "n2": "7"}
    assert native(second, 4, firmware="1.1", seq=4).firmware == "1.1"


@pytest.mark.parametrize("age", [0.0, 3600.0])
def test_old_readings_do_not_change_the_current_version(age):
    i = intake()
    reading = native(i, 0, firmware="1.0", time=NOW - age)
    assert (reading.firmware == "1.0") is (age == 0.0)
    unregistered = sent(i, "plumewatch/v1/zz/reading", {"pm25": 4, "firmware": "1"})[0]
    assert unregistered.firmware == ""


def test_descriptions_are_reported_with_the_next_reading_of_their_sensor():
    i = intake(aliases={"Boys 2": "b2"})
    described = [{"friendly_name": "n2", "software_build_id": "1.0.11"}]
    assert sent(i, "zigbee2mqtt/bridge/devices", described, retained=True) == []
    assert i.firmware.known == {}  # it may be dead
    (reading,) = sent(i, "zigbee2mqtt/n2", {"pm25": 4}, 1)
    assert (reading.sensor, reading.firmware) == ("n2", "1.0.11")
    (again,) = sent(i, "zigbee2mqtt/n2", {"pm25": 5}, 2)
    assert again.firmware == ""
    discovery = {"stat_t": "b2/sensor/pm_2_5/state", "dev": {"sw": "2025.10.0"}}
    sent(i, "homeassistant/sensor/b2/pm_2_5/config", discovery, 3, retained=True)
    (joined,) = sent(i, "b2/sensor/pm_2_5/state", b"7.5", 4)  # closed by the clock
    assert (joined.values, joined.firmware) == ({"pm25": 7.5}, "2025.10.0")


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
    false = {"stat_t": "b2/sensor/pm_2_5/state", "unit_of_meas": "mg/m³", "dev": {"sw": "6.6.6"}}
    sent(i, topic, false, retained=True)
    (reading,) = sent(i, "b2/sensor/pm_2_5/state", b"7.5", 1)
    assert (reading.values, reading.firmware) == ({"pm25": 7.5}, "")


def test_an_account_below_whose_name_another_device_publishes_does_not_describe_it():
    i = intake()
    false = {"stat_t": "b2/n2/sensor/pm_2_5/state", "unit_of_meas": "mg/m³", "dev": {"sw": "6"}}
    for node in ("b2", "n2"):
        sent(i, f"homeassistant/sensor/{node}/x/config", false, retained=True)
    (reading,) = sent(i, "b2/n2/sensor/pm_2_5/state", b"7.5", 1)
    assert (reading.values, reading.firmware) == ({"pm25": 7.5}, "")


def test_a_withdrawn_discovery_no_longer_changes_units():
    i = intake()
    place = "homeassistant/sensor/b2/pm_2_5/config"
    false = {"stat_t": "b2/sensor/pm_2_5/state", "unit_of_meas": "mg/m³", "dev": {"sw": "6.6.6"}}
    sent(i, place, false, retained=True)
    sent(i, place, b"", 1)
    (reading,) = sent(i, "b2/sensor/pm_2_5/state", b"7.5", 2)
    assert (reading.values, reading.firmware) == ({"pm25": 7.5}, "")
    sent(i, place, false, 3)
    sent(i, place, {**false, "unit_of_meas": "furlong", "dev": {}}, 4)
    (reading,) = sent(i, "b2/sensor/pm_2_5/state", b"8.5", 5)
    assert reading.values == {"pm25": 8.5}
