"""Mutated payloads against every decoder of the table.

No exception but `DecodeError`; every reading finite, in range and naming only known quantities;
bounded time a payload; memory of the formats that remember stays bounded.

``PLUMEWATCH_FUZZ`` is the number of mutations over all decoders (default: short enough for every
run), ``PLUMEWATCH_FUZZ_SEED`` the seed, which is printed.
"""

import copy
import json
import math
import os
import random
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detection.quantities import QUANTITIES
from ingest.decoders import DECODERS
from ingest.decoders.base import Context
from ingest.errors import DecodeError
from ingest.message import Message
from ingest.pipeline import Intake, OutcomeKind, decode_message
from storage.reading import DEVICE_EVENTS

GOLDEN = Path(__file__).parent.parent / "golden" / "decoders"
NOW = 1_790_000_000.0
ROUNDS = -(-int(os.environ.get("PLUMEWATCH_FUZZ", "12000")) // len(DECODERS))
SEED = int(os.environ.get("PLUMEWATCH_FUZZ_SEED", "20260907"))
SLOWEST_S = 1.0

ODD = (
    None,
    True,
    False,
    "",
    "nan",
    "NaN",
    "-1",
    "1e999",
    "٣",
    "x" * 300,
    "\x00",
    "\udc80".encode("utf-8", "surrogatepass").decode("utf-8", "replace"),
    "24e124000000a001",
    "2026-13-45T99:99:99Z",
    "9999-12-31T23:59:59.999999999Z",
    "0001-01-01T00:00:00",
    0,
    -0.0,
    -1,
    1e308,
    -1e308,
    5e-324,
    2**31,
    2**63,
    2**64,
    -(2**63),
    10**40,
    65535,
    [],
    {},
    [[]],
    [{}],
    {"value": None},
    {"value": {"value": 1}},
    [1, "2", None],
)
RAW = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 400, b"[" * 30, b'{"a":' * 30, b"\xff")


def samples(name):
    found = []
    for case in json.loads((GOLDEN / name / "cases.json").read_text(encoding="utf-8")):
        for item in (case, *case.get("before", [])):
            if "hex" in item:
                payload = bytes.fromhex(item["hex"])
            elif "json" in item:
                payload = json.dumps(item["json"]).encode()
            else:
                payload = item["text"].encode()
            found.append((item["topic"], payload))
    return found


def places(value, path=()):
    """Paths of all members and items of nested JSON."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


def mutate_json(rng, payload):
    try:
        value = json.loads(payload)
    except ValueError:
        return payload[: rng.randrange(len(payload))]
    if not isinstance(value, dict | list):
        return payload
    for _ in range(rng.randint(1, 3)):
        every = list(places(value))
        if not every:
            break
        *way, last = rng.choice(every)
        inner = value
        for key in way:
            inner = inner[key]
        action = rng.random()
        if action < 0.7:
            inner[last] = copy.deepcopy(rng.choice(ODD))
        elif action < 0.85:
            del inner[last]
        elif isinstance(inner, dict):
            inner[rng.choice(("pm25", "time", "id", "tvoc", "", "x" * 99))] = inner.pop(last)
    return json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "replace")


def mutate_bytes(rng, payload, other):
    data = bytearray(payload)
    for _ in range(rng.randint(1, 4)):
        action = rng.randrange(6)
        at = rng.randrange(len(data) + 1)
        if action == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif action == 1:
            data[at:at] = rng.randbytes(rng.randint(1, 4))
        elif action == 2:
            del data[at:]
        elif action == 3:
            del data[at : at + rng.randint(1, 8)]
        elif action == 4:
            data[at:at] = rng.choice(RAW)
        else:
            data[at:] = other[rng.randrange(len(other) + 1) :]
    return bytes(data)


def mutate(rng, pool):
    topic, payload = rng.choice(pool)
    if payload[:1] in (b"{", b"[") and rng.random() < 0.6:
        return topic, mutate_json(rng, payload)
    return topic, mutate_bytes(rng, payload, rng.choice(pool)[1])


def mutate_topic(rng, topic):
    levels = topic.split("/")
    at = rng.randrange(len(levels))
    levels[at : at + 1] = rng.choice(([], ["", ""], ["é/ü"], ["x" * 70], [rng.choice(levels)]))
    return "/".join(levels)


def check(reading):
    assert reading.values or reading.events or reading.faults
    assert math.isfinite(reading.time)
    assert reading.time <= reading.received + 300
    for key, value in reading.values.items():
        assert type(value) is float
        assert QUANTITIES[key].accepts(value)
    assert set(reading.faults) <= set(QUANTITIES)
    assert set(reading.events) <= DEVICE_EVENTS
    assert 1 <= len(reading.sensor) <= 64


@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", DECODERS)
def test_mutations(name):
    rng = random.Random(f"{SEED} {name}")
    pool = samples(name)
    context = Context()
    slowest = accepted = 0.0
    for n in range(ROUNDS):
        topic, payload = mutate(rng, pool)
        if rng.random() < 0.05:
            topic = mutate_topic(rng, topic)
        message = Message(topic, payload, NOW + n * 0.05, retained=rng.random() < 0.1)
        started = time.perf_counter()
        try:
            readings = decode_message(message, context, name)
        except DecodeError as error:
            readings = []
            assert error.detail.isprintable(), (SEED, n, topic, payload)  # noqa: PT017
        slowest = max(slowest, time.perf_counter() - started)
        accepted += bool(readings)
        for reading in readings:
            check(reading)
    for reading in context.states.joiner.close(context.limits):
        check(reading)
    states = context.states
    for table in (states.units, states.hints, states.children, states.last):
        assert len(table) <= table.size
    states.restore(states.snapshot())
    assert slowest < SLOWEST_S
    print(  # noqa: T201 - the long run is read by a person
        f"{name}: seed {SEED}, {ROUNDS} mutations, {accepted:.0f} with readings, {slowest:.4f} s"
    )


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


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(list(DECODERS)), content=st.dictionaries(KEYS, TREES, max_size=8))
def test_any_json_object(name, content):
    payload = json.dumps(content).encode("utf-8", "replace")
    outcome = Intake().on_message(Message("a/b/c", payload, NOW), name)
    assert outcome.dead_letter is None or outcome.dead_letter.reason != "decoder_failed"
    for reading in outcome.readings:
        check(reading)


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(list(DECODERS)), topic=st.text(max_size=40), payload=st.binary(max_size=80)
)
def test_any_bytes_under_any_topic(name, topic, payload):
    outcome = Intake().on_message(Message(topic, payload, NOW), name)
    assert (outcome.kind is OutcomeKind.REJECTED) is (outcome.dead_letter is not None)
    assert outcome.dead_letter is None or outcome.dead_letter.reason != "decoder_failed"
    for reading in outcome.readings:
        check(reading)
