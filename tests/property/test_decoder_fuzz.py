"""Run every decoder in the table on mutated payloads.

Decoders raise only `DecodeError`; every reading is finite, in range, and has only known quantities;
formats with state have bounded memory.
"""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detection.quantities import QUANTITIES
from ingest.decoders import DECODERS
from ingest.intake import Intake, OutcomeKind
from ingest.validation import Message
from tests.contract.test_decoders import load, payload_of
from tests.support.fuzz import MUTATIONS, NOW, check, fuzz, trees

pytestmark = pytest.mark.attack

ROUNDS = -(-MUTATIONS // len(DECODERS))


@pytest.mark.timeout(max(300, ROUNDS // 10))
@pytest.mark.parametrize("name", DECODERS)
def test_mutations(name):
    cases = (one for case in load(name, ("cases",)) for one in (case, *case.get("before", [])))
    fuzz([(one["topic"], payload_of(one)) for one in cases], ROUNDS, name)


KEYS = st.text(max_size=10) | st.sampled_from(
    [
        *(*QUANTITIES, "time", "seq", "sensor", "data", "object", "params", "value", "channels"),
        *("uplink_message", "decoded_payload", "deviceInfo", "devEui", "cmd", "EUI", "type"),
        *("sensordatavalues", "sensorData", "Time", "SEN5X"),
    ]
)


@settings(max_examples=80)
@given(name=st.sampled_from(list(DECODERS)), content=st.dictionaries(KEYS, trees(KEYS), max_size=8))
def test_any_json_object(name, content):
    payload = json.dumps(content).encode("utf-8", "replace")
    outcome = Intake().on_message(Message("a/b/c", payload, NOW), name)
    assert outcome.dead_letter is None or outcome.dead_letter.reason != "decoder_failed"
    for reading in outcome.readings:
        check(reading)


@settings(max_examples=80)
@given(
    name=st.sampled_from(list(DECODERS)), topic=st.text(max_size=40), payload=st.binary(max_size=80)
)
def test_any_bytes_under_any_topic(name, topic, payload):
    outcome = Intake().on_message(Message(topic, payload, NOW), name)
    assert (outcome.kind is OutcomeKind.REJECTED) is (outcome.dead_letter is not None)
    assert outcome.dead_letter is None or outcome.dead_letter.reason != "decoder_failed"
    for reading in outcome.readings:
        check(reading)
