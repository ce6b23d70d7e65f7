"""What an unread topic suggests, from what it sent and its discovery messages."""

import json

from ingest.intake import Intake, IntakeConfig
from ingest.message import Message
from ingest.states import States
from plumewatch.service.monitoring import suggestion_for

NOW = 1_790_000_000.0


def received(*messages):
    intake = Intake(IntakeConfig())
    for topic, content in messages:
        payload = content if isinstance(content, bytes) else json.dumps(content).encode()
        intake.on_message(Message(topic, payload, NOW))
    return intake


def about(topic, device_class, unit, template=None):
    discovery = {
        "stat_t": topic,
        "dev_cla": device_class,
        "unit_of_meas": unit,
        "val_tpl": template,
    }
    return "homeassistant/sensor/x/config", discovery


def test_its_payload_alone():
    found = suggestion_for(received(("odd/air", {"pm25": 4.5})), "odd/air")
    assert 'quantity = "pm25"' in found.mapping
    assert found.reason == ""


def test_names_that_only_discovery_explains():
    topic = "odd/air"
    discovery = [
        about(topic, "pm25", "µg/m³", "{{ value_json.air.p }}"),
        about(topic, "temperature", "°F", "{{ value_json.air.x }}"),
    ]
    content = (topic, {"air": {"p": 4.5, "x": 68}})
    assert suggestion_for(received(content), topic).mapping == ""
    mapping = suggestion_for(received(*discovery, content), topic).mapping
    assert 'path = ["air", "p"]' in mapping
    assert 'unit = "degF"' in mapping
    assert "values = { pm25 = 4.5, temp = 20.0 }" in mapping


def test_a_bare_value_that_only_discovery_explains():
    topic = "odd/n2/a7/state"
    assert suggestion_for(received((topic, b"4.5")), topic).mapping == ""
    mapping = suggestion_for(
        received(about(topic, "pm25", "µg/m³"), (topic, b"4.5")), topic
    ).mapping
    assert 'quantity = "pm25"' in mapping
    assert 'when = [{ capture = "metric", equals = "a7" }]' in mapping


def test_an_unknown_topic():
    assert suggestion_for(received(about("odd/a7", "pm25", "µg/m³")), "odd/a7") is None


def test_the_report_is_bounded():
    states = States()
    for n in range(1_000):
        states.remember_discovery(f"t/{n}", b"{}")
        states.remember_discovery("own", str(n).encode())
    states.remember_discovery("own", b"x" * 4_000)
    assert len(states.discoveries) == 256
    assert states.discoveries["own"] == [str(n).encode() for n in range(984, 1_000)]
