"""Mutations of real payloads, and one run of them against a decoder of the table.

Used by the property test on every run and by ``make fuzz`` at length, so that both mean the same.
The same seed and count give the same payloads.
"""

from __future__ import annotations

import copy
import json
import math
import random
import time
import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from detection.quantities import QUANTITIES
from ingest.decoding import Context
from ingest.errors import DecodeError
from ingest.message import Message
from ingest.routes import decode_message
from ingest.validation import NO_VALUE
from storage.reading import DEVICE_EVENTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from storage.reading import Reading

__all__ = ["NOW", "ODD", "SLOWEST_S", "Fuzzed", "check", "fuzz"]

GOLDEN = Path(__file__).parents[1] / "golden" / "decoders"
NOW = 1_790_000_000.0
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
        assert value not in NO_VALUE.get(key, ())
    assert reading.values.get("rh") != 0 or reading.values.get("temp") not in (0, -45)
    assert set(reading.faults) <= set(QUANTITIES)
    assert set(reading.events) <= DEVICE_EVENTS
    assert 1 <= len(reading.sensor) <= 64


@dataclass(slots=True)
class Fuzzed:
    """What one decoder did with its mutations.

    Attributes
    ----------
    count, accepted, refused : int
        Mutations; those that gave readings; those refused with a `DecodeError`.
    slowest_s : float
        Longest time of one payload, seconds of CPU time.
    largest_kb : float
        Most memory that was allocated for one payload, of those weighed, kB.
    """

    count: int = 0
    accepted: int = 0
    refused: int = 0
    slowest_s: float = 0.0
    largest_kb: float = 0.0


def fuzz(
    name: str,
    count: int,
    seed: int,
    *,
    weigh_every: int = 0,
    on_done: Callable[[int], None] = lambda _: None,
) -> Fuzzed:
    """Decode `count` mutations of the golden payloads of one decoder.

    Parameters
    ----------
    name : str
        Key of the table of decoders.
    count, seed : int
    weigh_every : int
        Measure the memory of each such payload; 0 for none. Weighed payloads are not timed.
    on_done : callable
        Told how many are done, now and then.

    Raises
    ------
    AssertionError
        With seed, number, topic and payload, if a decoder raises what it must not, or gives a
        reading that breaks a promise.
    """
    rng = random.Random(f"{seed} {name}")
    pool = samples(name)
    context = Context()
    result = Fuzzed(count)
    for n in range(count):
        topic, payload = mutate(rng, pool)
        if rng.random() < 0.05:
            topic = mutate_topic(rng, topic)
        message = Message(topic, payload, NOW + n * 0.05, retained=rng.random() < 0.1)
        weighed = weigh_every > 0 and n % weigh_every == 0
        try:
            readings = _one(message, context, name, result, weighed=weighed)
            for reading in readings:
                check(reading)
        except Exception as error:
            raise AssertionError(
                f"seed {seed}, {name}, number {n}: {topic!r} {payload!r}"
            ) from error
        if n % 500 == 499:
            on_done(500)
    on_done(count % 500)
    for reading in context.states.joiner.close(context.limits):
        check(reading)
    states = context.states
    for table in (states.units, states.hints, states.children, states.last):
        assert len(table) <= table.size
    states.restore(states.snapshot())
    return result


def _one(
    message: Message, context: Context, name: str, result: Fuzzed, *, weighed: bool
) -> list[Reading]:
    if weighed:
        tracemalloc.start()
    started = time.thread_time()
    try:
        readings = decode_message(message, context, name)
    except DecodeError as error:
        readings = []
        result.refused += 1
        assert error.detail.isprintable()  # noqa: PT017 - a promise of the decoders
    finally:
        if weighed:
            result.largest_kb = max(result.largest_kb, tracemalloc.get_traced_memory()[1] / 1024)
            tracemalloc.stop()
        else:
            result.slowest_s = max(result.slowest_s, time.thread_time() - started)
    result.accepted += bool(readings)
    return readings
