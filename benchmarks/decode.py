"""Measure how many messages per second each decoder and the intake process.

Times are CPU seconds of one process on one core, so other processes don't affect them. Run
``python benchmarks/decode.py [seconds per format]``. Each format's message is its first accepted
golden case, except that ChirpStack and The Things Stack carry a report from a simulated GS601. The
time includes finding the decoder for the topic (``find_decoder``).
"""

from __future__ import annotations

import argparse
import json
import time
import tomllib
from functools import partial
from pathlib import Path

from ingest.decoders import DECODERS, find_decoder
from ingest.decoding import Context
from ingest.intake import Intake, IntakeConfig
from ingest.mapping.decoder import compile_mapping
from ingest.mapping.schema import MappingConfig
from ingest.validation import Message
from storage.registry import Registry, Sensor

GOLDEN = Path(__file__).parent.parent / "tests" / "golden" / "decoders"
MAPPINGS = GOLDEN.parent / "mappings"
NOW = 1_790_000_000.0
NATIVE = {
    "time": "2026-09-21T14:13:15.250Z",
    "seq": 1234,
    "pm1": 5.5,
    "pm25": 7.1,
    "pm10": 9.3,
    "voc_index": 101,
    "tvoc_ppb": 120,
    "rh": 41.2,
    "temp": 21.5,
}


def sample(name: str) -> tuple[str, bytes]:
    """Return the topic and payload of a format's sample message."""
    if name == "native":
        return "plumewatch/v1/n2-boys/reading", json.dumps(NATIVE).encode()
    cases = json.loads((GOLDEN / name / "cases.json").read_text(encoding="utf-8"))
    case = next((c for c in cases if c.get("readings")), cases[0])
    if "hex" in case:
        return case["topic"], bytes.fromhex(case["hex"])
    payload = json.dumps(case["json"]) if "json" in case else case["text"]
    return case["topic"], payload.encode()


def rate(seconds: float, work: object) -> float:
    """Return the calls per second in the best of three periods."""
    best = 0.0
    for _ in range(3):
        count, started = 0, time.process_time()
        while (spent := time.process_time() - started) < seconds / 3:
            for _ in range(200):
                work()  # type: ignore[operator]
            count += 200
        best = max(best, count / spent)
    return best


def main() -> None:
    """Print one line per format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=0.6, help="for each format")
    seconds = parser.parse_args().seconds
    context = Context()
    print(f"{'format':24} {'bytes':>6} {'decodes/s':>12}")
    for name, decoder in DECODERS.items():
        topic, payload = sample(name)
        message = Message(topic, payload, NOW)
        by_topic = bool(decoder.topics)

        def work(message: Message = message, name: str = name, by_topic: bool = by_topic) -> None:  # noqa: FBT001
            row = find_decoder(message.topic) if by_topic else DECODERS.get(name)
            assert row is not None
            row.decode(message, context)

        print(f"{name:24} {len(payload):6} {rate(seconds, work):12,.0f}")
    for path in sorted(MAPPINGS.glob("*.toml")):
        mapping = MappingConfig.model_validate(tomllib.loads(path.read_text())["mapping"][0])
        mapped, example = compile_mapping(mapping), mapping.example[0]
        payload = (example.payload or "").encode() or bytes.fromhex(example.payload_hex or "")
        message = Message(example.topic, payload, example.received)
        speed = rate(seconds, partial(mapped.decode, message, context))
        print(f"mapping {mapping.name:16} {len(payload):6} {speed:12,.0f}")
    topic, _ = sample("native")
    registry = Registry.build((), [Sensor(topic.split("/")[2], "room")])
    intake = Intake(IntakeConfig(Context(registry=registry)))
    stream = [
        Message(topic, json.dumps({**NATIVE, "seq": n}).encode(), NOW) for n in range(100_000)
    ]
    started = time.process_time()
    for message in stream:
        intake.on_message(message)
    spent = time.process_time() - started
    assert intake.counters["accepted", "", "native"] == len(stream)
    print(f"whole intake, native: {len(stream) / spent:,.0f} messages/s")


if __name__ == "__main__":
    main()
