"""Fuzz mappings with payloads, payloads with mappings, and suggestions with samples.

Only `DecodeError` (or `SuggestError`) is raised, readings are finite and in range, and every
suggestion is a valid configuration whose examples pass.
"""

import contextlib
import json
import math
import tomllib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from detection.quantities import QUANTITIES
from ingest.decoders import Routes
from ingest.intake import Intake, IntakeConfig
from ingest.mapping.decoder import compile_mapping
from ingest.mapping.draft import SuggestError, format_toml
from ingest.mapping.examples import find_failures
from ingest.mapping.schema import MappingConfig, check_mapping
from ingest.mapping.suggest import suggest
from ingest.mapping.times import check_form, read_time
from ingest.names import list_units
from ingest.topics import TopicFilter
from ingest.validation import Message
from tests.contract.test_mappings import MAPPINGS, payload_of
from tests.support.fuzz import LEAVES, MUTATIONS, NOW, check, fuzz, trees

pytestmark = pytest.mark.attack

ROUNDS = -(-MUTATIONS // len(MAPPINGS))


@pytest.mark.timeout(max(300, ROUNDS // 10))
@pytest.mark.parametrize("name", MAPPINGS)
def test_mutations(name):
    decoder = compile_mapping(MAPPINGS[name])
    pool = [(e.topic, payload_of(e)) for e in MAPPINGS[name].example]
    fuzz(pool, ROUNDS, decoder.name, Routes(mappings=[decoder]))


NAMES = st.text(max_size=10) | st.sampled_from(
    (
        *(*QUANTITIES, "PM2.5", "temperature", "tvoc", "ts", "time", "id", "mac", "unit", "fw"),
        *("value", "air", "tamper", "humidity (%)", "name", "state_topic", "val_tpl", "dev_cla"),
    )
)
TREES = trees(NAMES)
CONTENTS = st.dictionaries(NAMES, TREES, max_size=8)


@settings(max_examples=80)
@given(name=st.sampled_from(list(MAPPINGS)), content=CONTENTS, topic=st.text(max_size=40))
def test_any_content_under_any_topic(name, content, topic):
    decoder = compile_mapping(MAPPINGS[name])
    intake = Intake(IntakeConfig(mappings=(decoder,)))
    payload = json.dumps(content).encode("utf-8", "replace")
    for where in (topic, MAPPINGS[name].example[0].topic):
        outcome = intake.on_message(Message(where, payload, NOW), decoder.name)
        assert outcome.dead_letter is None or outcome.dead_letter.reason != "decoder_failed"
        for reading in outcome.readings:
            check(reading)


SCALARS = st.one_of(st.booleans(), st.integers(-(2**40), 2**40), st.text(max_size=8))
PATHS = st.lists(st.one_of(NAMES, st.integers(0, 3)), max_size=3)
CONDITIONS = st.lists(
    st.one_of(
        st.builds(lambda p, v: {"path": p, "equals": v}, PATHS, SCALARS),
        st.builds(lambda p: {"path": p, "present": False}, PATHS),
    ),
    max_size=2,
)
FIELDS = st.builds(
    lambda q, u, path, scale, offset, missing, when: {
        "quantity": q,
        "unit": list_units(q)[u % len(list_units(q))],
        "path": path,
        "scale": scale or 1.0,
        "offset": offset,
        "missing": missing,
        "when": when,
    },
    st.sampled_from(list(QUANTITIES)),
    st.integers(0, 9),
    PATHS,
    st.floats(-1e12, 1e12),
    st.floats(-1e12, 1e12),
    st.lists(SCALARS, max_size=3),
    CONDITIONS,
)


@settings(max_examples=80)
@given(
    fields=st.lists(FIELDS, min_size=1, max_size=4),
    conditions=CONDITIONS,
    time_path=PATHS,
    content=CONTENTS,
)
def test_any_mapping(fields, conditions, time_path, content):
    mapping = MappingConfig.model_validate(
        {
            "version": 1,
            "name": "any",
            "topic": "t/{id}",
            "sensor": {"capture": "id"},
            "when": conditions,
            "time": {"path": time_path, "formats": ["iso8601", "unix", "%Y-%m-%d %H:%M:%S"]},
            "field": fields,
            "example": [{"topic": "t/a", "payload": "", "rejected": "no_measurement"}],
        }
    )
    assert list(check_mapping(mapping)) == []
    intake = Intake(IntakeConfig(mappings=(compile_mapping(mapping),)))
    outcome = intake.on_message(
        Message("t/a", json.dumps(content).encode("utf-8", "replace"), NOW), "mapping:any"
    )
    assert outcome.dead_letter is None or outcome.dead_letter.reason != "decoder_failed"
    for reading in outcome.readings:
        check(reading)


@settings(max_examples=80)
@given(tree=st.dictionaries(st.text(max_size=8), TREES, max_size=4))
def test_no_tree_is_a_traceback(tree):
    with pytest.raises(ValidationError):
        MappingConfig.model_validate(tree)


def proved(text):
    (entry,) = tomllib.loads(text)["mapping"]
    mapping = MappingConfig.model_validate(entry)
    assert list(check_mapping(mapping)) == []
    assert list(find_failures(compile_mapping(mapping), mapping.example)) == []
    for line in text.splitlines():
        assert line.isprintable()
    return mapping


@settings(max_examples=80)
@given(
    topic=st.one_of(
        st.sampled_from(["a/b/c", "x", "site/n2/b7/pm25/state", "{id}/x", "a/#"]),
        st.text(max_size=40),
    ),
    contents=st.lists(CONTENTS, min_size=1, max_size=3),
)
@example(topic="a/b/c", contents=[{"pm1": [{"": "PM1"}]}])
def test_any_suggestion_is_valid_and_hides_nothing(topic, contents):
    samples = [json.dumps(c, ensure_ascii=False).encode("utf-8", "replace") for c in contents]
    try:
        text = suggest(topic, samples, received=NOW)
    except SuggestError:
        text = ""
    if text:
        proved(text)


@settings(max_examples=80)
@given(topic=st.text(max_size=30), payload=st.binary(max_size=60))
def test_any_bytes_as_a_sample(topic, payload):
    with contextlib.suppress(SuggestError):
        proved(suggest(topic, [payload], received=NOW))


@settings(max_examples=80)
@given(value=TREES.filter(lambda v: v is not None))
def test_toml_is_read_back_as_written(value):
    def plain(v):
        if isinstance(v, dict):
            return {k: plain(w) for k, w in v.items()}
        if isinstance(v, list):
            return [plain(w) for w in v]
        odd = v is None or (isinstance(v, float) and not math.isfinite(v))
        return 0 if odd or (isinstance(v, int) and abs(v) > 2**62) else v

    value = plain(value)
    text = format_toml(value)
    assert text.isprintable()
    assert tomllib.loads(f"v = {text}\n")["v"] == value


@settings(max_examples=80)
@given(text=st.text(max_size=40), topic=st.text(max_size=40))
def test_any_topic_filter(text, topic):
    try:
        found = TopicFilter(text)
    except ValueError:
        return
    captures = found.match(topic)
    assert captures is None or set(captures) == set(found.captures)


@settings(max_examples=80)
@given(
    form=st.one_of(
        st.sampled_from(
            ["iso8601", "unix", "unix_ns", "%Y-%m-%dT%H:%M:%S.%f%z", "%d.%m.%Y %I%p%M"]
        ),
        st.text(alphabet="%YmdHIMSfpz -:T", max_size=30),
    ),
    value=st.one_of(LEAVES, st.text(alphabet="0123456789-:TZ+. apm", max_size=40)),
)
def test_any_time(form, value):
    try:
        check_form(form)
    except ValueError:
        return
    stamp = read_time(value, form, NOW, None)
    assert stamp is None or isinstance(stamp, float)
