"""Test mappings, routes, aliases, topics and ingest settings in the configuration."""

import copy
from pathlib import Path

import pytest

from plumewatch.config.faults import ConfigError
from plumewatch.config.ingest_settings import (
    build_intake_config,
    build_routes,
    compile_mappings,
    list_topic_filters,
)
from plumewatch.config.load import parse

MAPPING = {
    "version": 1,
    "name": "acme",
    "topic": "acme/{id}/state",
    "sensor": {"capture": "id"},
    "field": [{"quantity": "pm25", "unit": "ug/m3", "path": ["pm"]}],
    "example": [
        {"topic": "acme/a/state", "payload": '{"pm": 7}', "sensor": "a", "values": {"pm25": 7}}
    ],
}
GOOD = {
    "site": "Northfield High School",
    "timezone": "America/New_York",
    "room": [{"id": "r", "name": "Boys' restroom", "building": "North"}],
    "sensor": [{"id": "s", "room": "r", "decoder": "mapping:acme", "aliases": ["24E1"]}],
    "mapping": [MAPPING],
    "route": [{"topic": "lora/+/up", "decoder": "milesight"}],
    "ingest": {"decoders": ["airgradient"], "topics": ["site/#"]},
}


def parsed(**more):
    return parse({**copy.deepcopy(GOOD), **more}, base=Path("/srv"))


def faults_of(**more):
    with pytest.raises(ConfigError) as refused:
        parsed(**more)
    return {fault.path: fault.allowed for fault in refused.value.faults}


def test_good():
    config = parsed()
    (decoder,) = compile_mappings(config)
    assert list_topic_filters(config, (decoder,)) == (
        "airgradient/readings/+",
        "acme/+/state",
        "lora/+/up",
        "site/#",
    )
    settings = build_intake_config(config, dedupe_window=9)
    assert [d.name for d in settings.mappings] == ["mapping:acme"]
    assert settings.routes == (("lora/+/up", "milesight"),)
    assert settings.aliases == {"24E1": "s"}
    assert settings.dedupe_window == 9
    assert [d.name for d in build_routes(config).find_decoders("acme/s/state")] == ["mapping:acme"]


def test_all_topics_without_a_choice_of_decoders():
    config = parsed(ingest={})
    assert {"acme/+/state", "lora/+/up", "tele/#"} <= set(
        list_topic_filters(config, compile_mappings(config))
    )


def test_names_of_decoders_and_mappings():
    faults = faults_of(
        sensor=[
            {"id": "s", "room": "r", "decoder": "mapping:gone"},
            {"id": "t", "room": "r", "decoder": "acme"},
        ],
        route=[
            {"topic": "a", "decoder": "morse"},
            {"topic": "b", "decoder": "mapping:acme"},
            {"topic": "c/#/#", "decoder": "native"},
        ],
        ingest={"decoders": ["native", "morse", "mapping:acme"], "topics": ["a+"]},
    )
    assert sorted(faults) == [
        "ingest.decoders.1",
        "ingest.decoders.2",
        "ingest.topics.0",
        "route.0.decoder",
        "route.2.topic",
        "sensor.0.decoder",
        "sensor.1.decoder",
    ]
    assert "mapping:acme" in faults["sensor.0.decoder"]
    assert "mapping:acme" not in faults["ingest.decoders.2"]


def test_repeated_names_and_mappings_never_reached():
    other = {**MAPPING, "name": "other"}
    guarded = {**other, "when": [{"path": ["pm"], "present": True}]}
    assert list(faults_of(mapping=[MAPPING, {**MAPPING, "topic": "b/{id}"}])) == ["mapping.1.name"]
    faults = faults_of(mapping=[MAPPING, guarded])
    assert list(faults) == ["mapping.1.topic"]
    assert "never reached" in faults["mapping.1.topic"]
    assert len(parsed(mapping=[guarded, MAPPING]).mapping) == 2


def test_too_many_mappings():
    many = [{**MAPPING, "name": f"m{n}", "topic": f"m{n}/{{id}}"} for n in range(65)]
    assert "mapping" in faults_of(mapping=many)


def test_aliases_are_of_one_sensor():
    sensors = [
        {"id": "s", "room": "r", "aliases": ["a", "t"]},
        {"id": "t", "room": "r", "aliases": ["a", "b"]},
    ]
    assert sorted(faults_of(sensor=sensors)) == ["sensor.0.aliases.1", "sensor.1.aliases.0"]


def test_all_failing_examples_are_reported():
    wrong = copy.deepcopy(MAPPING)
    wrong["example"] *= 2
    wrong["example"][1] = {**wrong["example"][1], "values": {"pm25": 8}}
    wrong["example"].append({"topic": "acme/a/state", "payload": "{}", "rejected": "bad_id"})
    config = parsed(mapping=[wrong])
    with pytest.raises(ConfigError) as refused:
        compile_mappings(config)
    assert [f.path for f in refused.value.faults] == ["mapping.0.example.1", "mapping.0.example.2"]
    assert refused.value.faults[0].value == "pm25 is 7, not 8"
