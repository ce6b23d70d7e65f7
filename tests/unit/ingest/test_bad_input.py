"""Test that hostile and broken messages each give one dead letter or fault, in bounded time."""

import json

import pytest

from ingest.decoding import Context
from ingest.intake import Intake, IntakeConfig, OutcomeKind
from ingest.validation import Message
from storage.registry import Registry, Room, Sensor

NOW = 1_790_000_000.0
TOPIC = "plumewatch/v1/b2/reading"


@pytest.fixture
def intake():
    registry = Registry.build([Room("r", "R", "", "N", "S")], [Sensor("b2", "r")])
    return Intake(IntakeConfig(context=Context(registry=registry)))


REJECTED = {
    "empty": (b"", "malformed"),
    "garbage": (bytes(range(256)), "malformed"),
    "not utf-8": (b'{"pm25": "\xff\xfe"}', "malformed"),
    "utf-16": ('{"pm25": 1}'.encode("utf-16"), "malformed"),
    "cut off": (b'{"pm25": 1', "malformed"),
    "two values": (b'{"pm25": 1}{"pm25": 2}', "malformed"),
    "list": (b"[1,2]", "wrong_type"),
    "text": (b'"hello"', "wrong_type"),
    "number": (b"7", "wrong_type"),
    "null": (b"null", "wrong_type"),
    "empty object": (b"{}", "no_measurement"),
    "only unknown keys": (b'{"password": "x"}', "no_measurement"),
    "only nulls": (b'{"pm25": null}', "no_measurement"),
    "deep list": (b"[" * 60_000, "too_deep"),
    "deep object": (b'{"a":' * 900 + b"1" + b"}" * 900, "too_deep"),
    "deep in a quantity": (b'{"pm25":' + b"[" * 100 + b"]" * 100 + b"}", "too_deep"),
    "many keys": (json.dumps({f"k{n}": 1 for n in range(5000)}).encode(), "too_many_keys"),
    "many empties": (b"{" + b'"a":{},' * 5000 + b'"b":1}', "too_many_keys"),
    "10 MB": (b"x" * 10_000_000, "too_large"),
    "10 MB of objects": (b"[" + b"{}," * 3_300_000 + b"{}]", "too_large"),
    "100,000 deep": (b"[" * 100_000, "too_large"),
    "other sensor's id": (b'{"sensor": "b3", "pm25": 1}', "id_mismatch"),
    "id of wrong type": (b'{"sensor": 7, "pm25": 1}', "bad_id"),
    "set clock in 2015": (b'{"time": "2015-05-05T00:00:00Z", "pm25": 1}', "bad_time"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_rejected(intake, case):
    payload, reason = REJECTED[case]
    out = intake.on_message(Message(TOPIC, payload, NOW))
    assert out.kind is OutcomeKind.REJECTED
    assert out.dead_letter.reason == reason
    assert len(out.dead_letter.payload) <= 4096
    assert intake.counters["rejected", reason, out.decoder] == 1


@pytest.mark.parametrize(
    "topic", [b"plumewatch/v1/\xff\xfe/reading", b"\x00", b"a\nb", b"plumewatch/v1/\xed\xa0\x80/r"]
)
def test_topics_that_are_no_text(intake, topic):
    text = topic.decode("utf-8", "surrogateescape")
    out = intake.on_message(Message(text, b'{"pm25": 1}', NOW))
    assert out.dead_letter.reason == "bad_topic"
    assert out.dead_letter.topic.isprintable()
    out.dead_letter.topic.encode("utf-8")
    out.dead_letter.detail.encode("utf-8")


def test_a_bridges_description_may_be_large_but_not_endless(intake):
    def describe(count):
        devices = [
            {
                "friendly_name": f"box {n}",
                "definition": {"exposes": [{"property": "voc", "unit": "ppb"}] * 20},
            }
            for n in range(count)
        ]
        payload = json.dumps(devices).encode()
        topic = "zigbee2mqtt/bridge/devices"
        return len(payload), intake.on_message(Message(topic, payload, NOW))

    size, out = describe(300)
    assert 65_536 < size < 1_048_576
    assert out.kind is OutcomeKind.ACCEPTED
    reading = intake.on_message(Message("zigbee2mqtt/box 299", b'{"voc": 90}', NOW)).readings[0]
    assert reading.values == {"tvoc_ppb": 90.0}
    size, out = describe(2000)
    assert size > 1_048_576
    assert out.dead_letter.reason == "too_large"
