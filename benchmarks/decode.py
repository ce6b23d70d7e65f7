"""Decodes a second for every format, and accepted messages a second through the whole intake.

One core, one process, in CPU seconds, so that what other processes take does not count. Run
``python benchmarks/decode.py [seconds a format]``. The message of a format is the first accepted
golden case; envelopes of LoRaWAN servers carry a GS601 report of 24 bytes inside their usual
metadata. ``find`` (topic to decoder) is part of what is timed.
"""

from __future__ import annotations

import argparse
import base64
import json
import time
import tomllib
from functools import partial
from pathlib import Path

from ingest.decoders import DECODERS, find
from ingest.decoding import Context
from ingest.intake import Intake, IntakeConfig
from ingest.mapping.decoder import compile_mapping
from ingest.mapping.schema import MappingConfig
from ingest.message import Message

GOLDEN = Path(__file__).parent.parent / "tests" / "golden" / "decoders"
MAPPINGS = GOLDEN.parent / "mappings"
NOW = 1_790_000_000.0
FRAME = base64.b64encode(bytes.fromhex("010c03140005230007280009d7000b2b020d2c010f001100"))
GATEWAY = {
    "gatewayId": "6a7e111a10000000",
    "uplinkId": 24022,
    "nsTime": "2026-09-21T14:13:15.819853185+00:00",
    "rssi": -35,
    "snr": 11.5,
    "channel": 2,
    "location": {},
    "context": "EFwMtA==",
    "metadata": {"region_common_name": "EU868", "region_config_id": "eu868"},
    "crcStatus": "CRC_OK",
}
CHIRPSTACK = {
    "deduplicationId": "57433366-50a6-4dc2-8145-2df1bbc70d9e",
    "time": "2026-09-21T14:13:15.404859+00:00",
    "deviceInfo": {
        "tenantId": "52f14cd4-c6f1-4fbd-8f87-4025e1d49242",
        "tenantName": "School",
        "applicationId": "ca739e26-7b67-4f14-b69e-d568c22a5a75",
        "applicationName": "Air",
        "deviceProfileId": "605d08d4-65f5-4d2c-8a5a-3d2457662f79",
        "deviceProfileName": "GS601",
        "deviceName": "Boys 2",
        "devEui": "24e124000000a001",
        "tags": {},
    },
    "devAddr": "20000001",
    "adr": True,
    "dr": 5,
    "fCnt": 4,
    "fPort": 85,
    "confirmed": False,
    "data": FRAME.decode(),
    "rxInfo": [GATEWAY, GATEWAY],
    "txInfo": {"frequency": 868500000, "modulation": {"lora": {"bandwidth": 125000}}},
}
TTS = {
    "end_device_ids": {
        "device_id": "boys-2",
        "application_ids": {"application_id": "air"},
        "dev_eui": "24E124000000A001",
        "dev_addr": "20000001",
    },
    "correlation_ids": [f"gs:uplink:01H0S7ZJGS6D9TJSKJN8XNTMA{n}" for n in range(6)],
    "received_at": "2026-09-21T14:13:15.848446463Z",
    "uplink_message": {
        "f_port": 85,
        "f_cnt": 10335,
        "frm_payload": FRAME.decode(),
        "version_ids": {"brand_id": "milesight-iot", "model_id": "gs601"},
        "rx_metadata": [{"gateway_ids": {"gateway_id": "g"}, "rssi": -35, "snr": 13.2}] * 2,
        "settings": {"data_rate": {"lora": {"bandwidth": 125000}}, "frequency": "867100000"},
        "received_at": "2026-09-21T14:13:15.641841782Z",
    },
}
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
    """Topic and payload to decode again and again."""
    if name == "native":
        return "plumewatch/v1/n2-boys/reading", json.dumps(NATIVE).encode()
    if name == "chirpstack":
        topic = "application/app/device/24e124000000a001/event/up"
        return topic, json.dumps(CHIRPSTACK).encode()
    if name == "tts":
        return "v3/air@school/devices/boys-2/up", json.dumps(TTS).encode()
    cases = json.loads((GOLDEN / name / "cases.json").read_text(encoding="utf-8"))
    case = next((c for c in cases if c.get("readings")), cases[0])
    if "hex" in case:
        return case["topic"], bytes.fromhex(case["hex"])
    payload = json.dumps(case["json"]) if "json" in case else case["text"]
    return case["topic"], payload.encode()


def rate(seconds: float, work: object) -> float:
    """Return calls a second of the best of three equal spans."""
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
    """Print one line a format."""
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
            row = find(message.topic) if by_topic else DECODERS.get(name)
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
    intake = Intake(IntakeConfig(accept_unknown=True))
    topic, _ = sample("native")
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
