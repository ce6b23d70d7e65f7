"""Mutate real payloads, and check the readings that decoders return for them.

``PLUMEWATCH_FUZZ`` is the number of mutations over all decoders (by default few enough for every
run), and ``PLUMEWATCH_FUZZ_SEED`` is the seed. ``make fuzz`` runs a million.
"""

from __future__ import annotations

import copy
import json
import math
import os
import random
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from detection.quantities import QUANTITIES
from ingest.decoding import Context
from ingest.errors import DecodeError, Reason
from ingest.intake import decode_message
from ingest.validation import NO_VALUE, Message
from storage.reading import DEVICE_EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ingest.decoders import Routes
    from storage.reading import Reading

MUTATIONS = int(os.environ.get("PLUMEWATCH_FUZZ", "12000"))
SEED = int(os.environ.get("PLUMEWATCH_FUZZ_SEED", "20260907"))
NOW = 1_790_000_000.0
ODD = (
    *(
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
        "\u202e",
        "7 °F",
        "ON",
    ),
    *("24e124000000a001", "2026-13-45T99:99:99Z", "9999-12-31T23:59:59.999999999Z"),
    *("0001-01-01T00:00:00", 0, -0.0, -1, 1e308, -1e308, 5e-324, 2**31, 2**63, 2**64, -(2**63)),
    *(10**40, 65535, [], {}, [[]], [{}], {"value": None}, {"value": {"value": 1}}, [1, "2", None]),
)
RAW = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 400, b"[" * 30, b'{"a":' * 30, b"\xff")
LEAVES = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    st.sampled_from([odd for odd in ODD if not isinstance(odd, dict | list)]),
)


def trees(keys):
    """Return a strategy for nested JSON."""
    return st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=6),
        max_leaves=20,
    )


def places(value, path=()):
    """Return the paths of all members and items in nested JSON."""
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


def check(reading: Reading) -> None:
    """Assert properties that every reading must have."""
    assert reading.values or reading.events or reading.faults
    assert math.isfinite(reading.time)
    assert reading.time <= reading.received + 300
    for key, value in reading.values.items():
        assert type(value) is float
        assert QUANTITIES[key].accepts(value)
        assert value not in NO_VALUE.get(key, ())
    assert reading.values.get("rh") != 0 or reading.values.get("temp") not in (0, -45)
    assert set(reading.faults) <= set(QUANTITIES)
    assert not set(reading.faults) & set(reading.values)
    assert set(reading.events) <= DEVICE_EVENTS
    assert 1 <= len(reading.sensor) <= 64


def read_or_refuse(messages: Iterable[Message], name: str, routes: Routes | None = None) -> Context:
    """Decode messages; assert that only `DecodeError` is raised and that all readings are valid."""
    context = Context()
    for message in messages:
        try:
            readings = decode_message(message, context, name, routes)
        except DecodeError as error:
            assert error.reason in Reason, message  # noqa: PT017 - a promise of the decoders
            assert error.reason is not Reason.DECODER_FAILED, message  # noqa: PT017
            assert error.detail.isprintable(), message  # noqa: PT017
        else:
            for reading in readings:
                check(reading)
    for reading in context.states.joiner.close(context.limits):
        check(reading)
    states = context.states
    for table in (states.units, states.children, states.last):
        assert len(table) <= table.size
    return context


def fuzz(pool, count: int, name: str, routes: Routes | None = None) -> None:
    """Decode `count` mutations of a pool of (topic, payload) pairs."""
    rng = random.Random(f"{SEED} {name}")

    def mutations():
        for n in range(count):
            topic, payload = mutate(rng, pool)
            if rng.random() < 0.05:
                topic = mutate_topic(rng, topic)
            yield Message(topic, payload, NOW + n * 0.05, retained=rng.random() < 0.1)

    states = read_or_refuse(mutations(), name, routes).states
    states.restore(states.snapshot())
