"""Messages that are hard for a stream: one value per topic, and an early Sparkplug birth."""

import json
from collections import Counter

import msgspec

from detection.alert_rules import BUDGET, AlertBudgets
from ingest.intake import Intake
from ingest.validation import Message, may_alert
from plumewatch.config.ingest_settings import build_intake_config
from plumewatch.config.load import load
from scale.history import build_frame, place_reading
from scale.shard import Shard, divide_by_shard
from tests.support.recorded import START, config_text, recorded

ESPHOME = ("b1-3-r1", "b1-2-r2")
EDGE = "school:edge:b2"
CONFIG = f'{config_text(budget=BUDGET)}[[sensor]]\nid = "{EDGE}"\nroom = "b1-1-r1"\n'
_QUANTITIES = ("pm1", "pm25", "pm10", "rh", "temp", "voc_index")
_BIRTH = bytes.fromhex(  # the device has an open tamper contact with alias 5
    "120e0a0654616d7065721005200b7000120f0a04706d32351001200965000008411800"
)
_DATA = bytes.fromhex("12061005200b70011801")
_MINUTES = 28


def one_value_a_topic():
    """Return topic, payload and receive time of messages from ESPHome devices and a Sparkplug
    device."""
    records = [(b"spBv1.0/school/DBIRTH/edge/b2", _BIRTH, START)]
    for reading in recorded():
        if reading.sensor in ESPHOME and reading.time < START + _MINUTES * 60:
            for k, key in enumerate(_QUANTITIES):
                if key in reading.values:
                    topic = f"{reading.sensor}/sensor/{key}/state".encode()
                    value = str(reading.values[key]).encode()
                    records.append((topic, value, round(reading.received + k / 100, 3)))
    return [*records, (b"spBv1.0/school/DDATA/edge/b2", _DATA, START + _MINUTES * 60)]


def with_native_messages():
    """Merge these records with other sensors' native messages, in order of receive time.

    Kafka stores receive times in milliseconds.
    """
    records = one_value_a_topic()
    for reading in recorded():
        if reading.sensor not in ESPHOME and reading.time < START + _MINUTES * 60:
            body = {"time": reading.time, **reading.values, "events": list(reading.events)}
            topic, value = f"plumewatch/v1/{reading.sensor}/reading", json.dumps(body)
            records.append((topic.encode(), value.encode(), round(reading.received, 3)))
    return sorted(records, key=lambda record: record[2])


def events_of_one_service(path, records, shards):
    """Count the events of one intake; its clock follows the messages."""
    config = load(path)
    intake, registry = (
        Intake(build_intake_config(config, dedupe_window=128)),
        config.build_registry(),
    )
    rows = []
    for topic, payload, received in records:
        found = intake.on_time(received)
        found += intake.on_message(Message(topic.decode(), payload, received)).readings
        rows += [place_reading(reading, registry) for reading in found if may_alert(reading)]
    events = []
    for _, part in divide_by_shard(build_frame(rows), shards):
        shard = Shard(AlertBudgets(BUDGET))
        events += shard.step(shard.streams.build(part))
    return counted(json.loads(msgspec.json.encode(event)) for event in events)


def counted(events):
    """Count equal events; the order of keys does not matter."""
    return Counter(json.dumps(event, sort_keys=True) for event in events)


def alerts_of(events):
    """Return the sensor and kind of each alert in `counted` events."""
    found = map(json.loads, events)
    return {(e["sensor"], e["kind"]) for e in found if e["phase"] == "alerted"}
