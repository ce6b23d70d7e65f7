"""Corpus of hostile and broken messages: one counted dead letter or fault each, in bounded time."""

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
    registry = Registry.of([Room("r", "R", "", "N", "S")], [Sensor("b2", "r")])
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


FAULTY = {
    "NaN": b'{"pm25": NaN, "rh": 40}',
    "Infinity": b'{"pm25": Infinity, "rh": 40}',
    "minus Infinity": b'{"pm25": -Infinity, "rh": 40}',
    "1e999": b'{"pm25": 1e999, "rh": 40}',
    "5,000 digits": b'{"pm25": ' + b"9" * 5000 + b', "rh": 40}',
    "minus 5,000 digits": b'{"pm25": -' + b"9" * 5000 + b', "rh": 40}',
    "text": b'{"pm25": "7.1", "rh": 40}',
    "boolean": b'{"pm25": true, "rh": 40}',
    "list": b'{"pm25": [7.1], "rh": 40}',
    "object": b'{"pm25": {"value": 7.1}, "rh": 40}',
    "negative": b'{"pm25": -1, "rh": 40}',
    "too large": b'{"pm25": 100001, "rh": 40}',
    "duplicate key, last one bad": b'{"pm25": 7.1, "pm25": -1, "rh": 40}',
}


@pytest.mark.parametrize("case", FAULTY)
def test_one_bad_quantity_does_not_cost_the_others(intake, case):
    out = intake.on_message(Message(TOPIC, FAULTY[case], NOW))
    (reading,) = out.readings
    assert reading.values == {"rh": 40.0}
    assert reading.faults == ("pm25",)


def test_last_of_a_repeated_key_counts(intake):
    (reading,) = intake.on_message(Message(TOPIC, b'{"pm25": 1, "pm25": 2}', NOW)).readings
    assert reading.values == {"pm25": 2.0}


@pytest.mark.parametrize("seq", [-1, 2**63, 1.5, "1", True, None, [], 10**400])
def test_bad_seq_is_ignored(intake, seq):
    payload = json.dumps({"time": NOW, "seq": seq, "pm25": 1}).encode()
    (reading,) = intake.on_message(Message(TOPIC, payload, NOW)).readings
    assert reading.seq is None


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


def test_retained_is_stored_but_silent(intake):
    message = Message(TOPIC, b'{"pm25": 900}', NOW, retained=True)
    (reading,) = intake.on_message(message).readings
    assert "retained" in reading.flags


def test_native_status_and_events(intake):
    def say(topic, payload, **more):
        return intake.on_message(Message(f"plumewatch/v1/b2/{topic}", payload, NOW, **more))

    assert say("status", b"online", retained=True).readings[0].events == ("online",)
    assert say("status", b"offline").readings[0].events == ("offline",)
    assert say("status", b"maybe").dead_letter.reason == "malformed"
    assert say("status", b"").dead_letter.reason == "malformed"
    assert say("config", b"{}").dead_letter.reason == "unknown_topic"
    (reading,) = say(
        "reading", b'{"pm25": 3, "events": ["tamper", "party", 7, "fault:rh", "fault:x"]}'
    ).readings
    assert reading.events == ("tamper",)
    assert reading.faults == ("rh",)
