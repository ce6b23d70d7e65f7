"""Which decoder reads a topic, and what the broker is asked for."""

import pytest

from ingest.decoders import find, subscriptions


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
