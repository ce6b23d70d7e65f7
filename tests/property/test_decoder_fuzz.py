"""Mutated payloads against every decoder of the table.

No exception but `DecodeError`; every reading finite, in range and naming only known quantities;
bounded time a payload; memory of the formats that remember stays bounded.

``PLUMEWATCH_FUZZ`` is the number of mutations over all decoders (default: short enough for every
run), ``PLUMEWATCH_FUZZ_SEED`` the seed. ``make fuzz`` runs a million.
"""

import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detection.quantities import QUANTITIES
from ingest.decoders import DECODERS
from ingest.intake import Intake, OutcomeKind
from ingest.message import Message
from tests.support.fuzz import NOW, ODD, check, fuzz

ROUNDS = -(-int(os.environ.get("PLUMEWATCH_FUZZ", "12000")) // len(DECODERS))
SEED = int(os.environ.get("PLUMEWATCH_FUZZ_SEED", "20260907"))


@pytest.mark.timeout(max(300, ROUNDS // 10))
@pytest.mark.parametrize("name", DECODERS)
def test_mutations(name):
    found = fuzz(name, ROUNDS, SEED)
    assert found.count == ROUNDS


def test_the_same_seed_gives_the_same(monkeypatch):
    first, second = (fuzz("native", 300, 5, weigh_every=10) for _ in range(2))
    assert (first.accepted, first.refused) == (second.accepted, second.refused)
    assert 0 < first.accepted < 300
    assert 0 < first.largest_kb < 4096


def test_a_broken_promise_is_reported_with_its_payload(monkeypatch):
    def broken(*_):
        raise KeyError("x")

    monkeypatch.setattr("tests.support.fuzz.decode_message", broken)
    with pytest.raises(AssertionError, match="seed 5, native, number 0: "):
        fuzz("native", 3, 5)


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from([*(o for o in ODD if not isinstance(o, dict | list))]),
)
KEYS = st.one_of(
    st.sampled_from(
        [
            *QUANTITIES,
            "time",
            "seq",
            "sensor",
            "data",
            "object",
            "params",
            "value",
            "channels",
            "uplink_message",
            "decoded_payload",
            "deviceInfo",
            "devEui",
            "cmd",
            "EUI",
            "sensordatavalues",
            "sensorData",
            "type",
            "Time",
            "SEN5X",
        ]
    ),
    st.text(max_size=10),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=6)),
    max_leaves=20,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(list(DECODERS)), content=st.dictionaries(KEYS, TREES, max_size=8))
def test_any_json_object(name, content):
    payload = json.dumps(content).encode("utf-8", "replace")
    outcome = Intake().on_message(Message("a/b/c", payload, NOW), name)
    assert outcome.dead_letter is None or outcome.dead_letter.reason != "decoder_failed"
    for reading in outcome.readings:
        check(reading)


@settings(max_examples=80, deadline=None)
@given(
    name=st.sampled_from(list(DECODERS)), topic=st.text(max_size=40), payload=st.binary(max_size=80)
)
def test_any_bytes_under_any_topic(name, topic, payload):
    outcome = Intake().on_message(Message(topic, payload, NOW), name)
    assert (outcome.kind is OutcomeKind.REJECTED) is (outcome.dead_letter is not None)
    assert outcome.dead_letter is None or outcome.dead_letter.reason != "decoder_failed"
    for reading in outcome.readings:
        check(reading)
