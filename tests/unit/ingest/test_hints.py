"""Home Assistant discovery as a suggestion; nothing of it is executed."""

import json

import pytest

from ingest.decoders import find, subscriptions
from ingest.errors import DecodeError
from ingest.mapping.ha_discovery import suggest
from ingest.validation import Limits


def test_abbreviated():
    found = suggest(
        json.dumps(
            {
                "~": "tele/air",
                "stat_t": "~/SENSOR",
                "avty": [{"t": "~/LWT"}],
                "val_tpl": "{{ value_json['SEN5X'].VOC }}",
                "unit_of_meas": " ",
            }
        ).encode(),
        Limits(),
    )
    assert found.state_topic == "tele/air/SENSOR"
    assert found.availability == ("tele/air/LWT",)
    assert found.path == ("SEN5X", "VOC")
    assert found.quantity == ""


@pytest.mark.parametrize(
    ("about", "quantity"),
    [
        ({"device_class": "volatile_organic_compounds"}, "tvoc_ugm3"),
        ({"device_class": "volatile_organic_compounds_parts"}, "tvoc_ppb"),
        ({"unit_of_measurement": "ppb"}, "tvoc_ppb"),
        ({}, ""),
    ],
)
def test_quantity_by_class_or_unit(about, quantity):
    payload = json.dumps({"state_topic": "b2/sensor/voc/state", **about}).encode()
    assert suggest(payload, Limits()).quantity == quantity


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("{{ value_json.a.b }}", ("a", "b")),
        ('{{ value_json["a b"][0] }}', ("a b", "0")),
        ("{{ value }}", ()),
        (None, ()),
        ("{{ value_json.a | float }}", None),
        ("{{ ''.__class__.__mro__ }}", None),
        ("{{ value_json.a }}{{ value_json.b }}", None),
        ("{% for x in range(10**9) %}{% endfor %}", None),
        ("x" * 10_000, None),
    ],
)
def test_only_plain_paths(template, path):
    content = {"state_topic": "t/state"}
    if template is not None:
        content["value_template"] = template
    assert suggest(json.dumps(content).encode(), Limits()).path == path


def test_without_state_topic():
    with pytest.raises(DecodeError, match="state topic"):
        suggest(b'{"cmd_t": "x"}', Limits())


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        ("tele/a/b/SENSOR", "tasmota"),
        ("application/1/device/24e1/event/up", "chirpstack"),
        ("v3/a@t/devices/d/up", "tts"),
        ("zigbee2mqtt/boys/air", "zigbee2mqtt"),
        ("homeassistant/sensor/a/b/config", "ha_discovery"),
        ("spBv1.0/g/NDEATH/e", "sparkplug"),
        ("b2/sensor/pm_2_5/state", "esphome"),
        ("b2/status", "esphome"),
        ("shellyplusht-1/events/rpc", "shelly"),
        ("/device_sensor_data/o/e/1/vs/4100", "sensecap"),
    ],
)
def test_find(topic, name):
    assert find(topic).name == name


@pytest.mark.parametrize("topic", ["", "/", "x", "some/where/else", "plumewatch/v2/a/reading"])
def test_find_nothing(topic):
    assert find(topic) is None


def test_subscriptions_are_mqtt_filters():
    assert subscriptions(("tasmota",)) == (
        "tele/#",
        "stat/#",
        "+/tele/SENSOR",
        "+/tele/STATE",
        "+/tele/LWT",
        "+/tele/INFO1",
    )
    assert len(subscriptions()) == len(set(subscriptions()))
