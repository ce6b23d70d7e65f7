"""Test that decoders made from mappings follow the decoder contract.

Each ``tests/golden/mappings/<name>.toml`` has one mapping with its examples. Together, they cover
every kind of source, format, policy and fault.
"""

import itertools
import tomllib
from pathlib import Path

import pytest

from ingest.decoders import Routes
from ingest.intake import Intake, IntakeConfig, OutcomeKind
from ingest.mapping.decoder import compile_mapping
from ingest.mapping.examples import find_failure, read_example
from ingest.mapping.schema import MappingConfig, check_mapping
from ingest.validation import SILENT_FLAGS, Message
from tests.support.fuzz import check, read_or_refuse

FOLDER = Path(__file__).parent.parent / "golden" / "mappings"
RECEIVED = 1_790_000_000.0


def read(path):
    (entry,) = tomllib.loads(path.read_text("utf-8"))["mapping"]
    return MappingConfig.model_validate(entry)


MAPPINGS = {path.stem: read(path) for path in sorted(FOLDER.glob("*.toml"))}
EXAMPLES = [(name, k) for name, m in MAPPINGS.items() for k in range(len(m.example))]
READ = [(n, k) for n, k in EXAMPLES if MAPPINGS[n].example[k].sensor is not None]


def payload_of(example):
    if example.payload is None:
        return bytes.fromhex(example.payload_hex)
    return example.payload.encode()


@pytest.mark.parametrize("name", MAPPINGS)
def test_row(name):
    mapping = MAPPINGS[name]
    assert mapping.name == name
    assert list(check_mapping(mapping)) == []
    decoder = compile_mapping(mapping)
    assert decoder.name == f"mapping:{name}"
    assert decoder.summary
    assert any(e.sensor is not None for e in mapping.example)
    assert any(e.rejected is not None for e in mapping.example)


@pytest.mark.parametrize(("name", "k"), EXAMPLES)
def test_example(name, k):
    mapping = MAPPINGS[name]
    assert find_failure(compile_mapping(mapping), mapping.example[k]) == ""


@pytest.mark.parametrize(("name", "k"), READ)
def test_readings_keep_the_table(name, k):
    readings = read_example(compile_mapping(MAPPINGS[name]), MAPPINGS[name].example[k])
    assert readings
    for reading in readings:
        check(reading)


@pytest.mark.parametrize(("name", "k"), READ)
def test_a_changed_expectation_is_noticed(name, k):
    example = MAPPINGS[name].example[k]
    decoder = compile_mapping(MAPPINGS[name])
    for change in (
        {"sensor": "nobody"},
        {"values": {**example.values, "co": 1.0}},
        {"faults": [*example.faults, "co"]},
        {"events": [*example.events, "restart"]},
        {"flags": ["cached"]},
        {"time": 0.0},
        {"sensor": None, "rejected": "bad_id"},
    ):
        assert find_failure(decoder, example.model_copy(update=change))


@pytest.mark.parametrize(("name", "k"), READ)
def test_retained_readings_never_alert(name, k):
    example = MAPPINGS[name].example[k].model_copy(update={"retained": True})
    for reading in read_example(compile_mapping(MAPPINGS[name]), example):
        silent = not SILENT_FLAGS.isdisjoint(reading.flags)
        assert silent or set(reading.events) & {"online", "offline"}


@pytest.mark.parametrize("name", MAPPINGS)
def test_only_its_own_error(name):
    payloads = (b"", b"\xff" * 40, b"hello", b"{}", b"[]", b"0", b"null", b"[" * 30, b"nan")
    topics = ("", "x", "/", "a/b/c/d/e/f/g", "acme/a/b/state", "hub/h/report")
    decoder = compile_mapping(MAPPINGS[name])
    messages = (Message(t, p, RECEIVED) for t, p in itertools.product(topics, payloads))
    read_or_refuse(messages, decoder.name, Routes(mappings=[decoder]))


def test_all_mappings_side_by_side_in_one_intake():
    decoders = tuple(compile_mapping(m) for m in MAPPINGS.values())
    intake = Intake(IntakeConfig(mappings=decoders))
    for name, k in EXAMPLES:
        example = MAPPINGS[name].example[k]
        message = Message(example.topic, payload_of(example), RECEIVED, retained=example.retained)
        outcome = intake.on_message(message)
        assert outcome.decoder == f"mapping:{name}"
        if example.rejected is None and example.time is None:
            assert outcome.kind is OutcomeKind.ACCEPTED
    assert not any(reason == "decoder_failed" for _, reason, _ in intake.counters)
    assert sum(intake.counters.values()) == len(EXAMPLES)
