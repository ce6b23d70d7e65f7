"""Test what a mapping can contain, and its limits."""

import pytest
from pydantic import ValidationError

from ingest.mapping.schema import MappingConfig, check_mapping
from ingest.mapping.times import check_form, read_time
from ingest.topics import TopicFilter, check_filter
from tests.unit.ingest.mapping.test_mapping_decoder import BASE

EXAMPLE = BASE["example"][0]
FIELD = BASE["field"][0]


def places(**more):
    """Return the paths of all type faults."""
    with pytest.raises(ValidationError) as refused:
        MappingConfig.model_validate({**BASE, **more})
    return {".".join(map(str, e["loc"])) for e in refused.value.errors()}


def crossed(**more):
    return {path: allowed for path, _, allowed in check_mapping(
        MappingConfig.model_validate({**BASE, **more})
    )}  # fmt: skip


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"version": 2}, "version"),
        ({"name": "No Spaces"}, "name"),
        ({"topic": "t/#"}, "topic"),
        ({"format": "yaml"}, "format"),
        ({"template": "{{ x }}"}, "template"),
        ({"join_s": 6}, "join_s"),
        ({"sensor": []}, "sensor"),
        ({"sensor": {"capture": "ID"}}, "sensor.0.capture"),
        ({"field": [FIELD] * 65}, "field"),
        ({"field": [{**FIELD, "quantity": "noise"}]}, "field.0.quantity"),
        ({"field": [{**FIELD, "path": [["a"]]}]}, "field.0.path.0"),
        ({"field": [{**FIELD, "path": ["x" * 129]}]}, "field.0.path.0"),
        ({"field": [{**FIELD, "scale": float("nan")}]}, "field.0.scale"),
        ({"field": [{**FIELD, "scale": "raw * 2"}]}, "field.0.scale"),
        ({"field": [{**FIELD, "missing": [[1]]}]}, "field.0.missing.0"),
        ({"field": [{**FIELD, "values": {str(i): i for i in range(65)}}]}, "field.0.values"),
        ({"when": [{"path": ["a"], "equals": 1}] * 17}, "when"),
        ({"event": [{"event": "party", "path": ["a"], "equals": 1}]}, "event.0.event"),
        ({"flag": [{"flag": "late", "path": ["a"], "equals": 1}]}, "flag.0.flag"),
        ({"time": {"path": ["t"], "formats": ["%c"]}}, "time.formats.0"),
        ({"time": {"path": ["t"], "formats": ["unix"], "zone": "Mars"}}, "time.zone"),
        ({"example": [EXAMPLE] * 17}, "example"),
        ({"example": [{**EXAMPLE, "payload_hex": "abc"}]}, "example.0.payload_hex"),
        ({"example": [{**EXAMPLE, "received": "2026-01-01T00:00:00"}]}, "example.0.received"),
        ({"example": [{**EXAMPLE, "rejected": "mood"}]}, "example.0.rejected"),
        ({"binary": {"encoding": "zip"}}, "binary.encoding"),
        ({"field": [{"quantity": "pm25", "path": ["pm"]}]}, "field.0.unit"),
    ],
)  # fmt: skip
def test_bounds(more, place):
    assert places(**more) == {place}


@pytest.mark.parametrize(
    ("more", "place", "message"),
    [
        ({"field": []}, "field", "at least one"),
        ({"field": [{**FIELD, "unit": "ppb"}]}, "field.0.unit", "ug/m3, mg/m3"),
        ({"field": [{**FIELD, "unit": ""}]}, None, None),
        ({"field": [{**FIELD, "unit": "furlong"}]}, "field.0.unit", "ug/m3"),
        ({"field": [{**FIELD, "range": [5, 5]}]}, "field.0.range", "lowest"),
        ({"field": [{**FIELD, "scale": 0}]}, "field.0.scale", "not zero"),
        ({"field": [{**FIELD, "capture": "id"}]}, "field.0", "exactly one of path, capture, at"),
        ({"sensor": {}}, "sensor.0", "exactly one of path, capture, at, fixed"),
        ({"sensor": {"capture": "room"}}, "sensor.0.capture", "capture of the topic: id"),
        ({"when": [{"path": ["a"]}]}, "when.0", "exactly one of equals, one_of"),
        ({"when": [{"path": ["a"], "equals": 1, "present": True}]}, "when.0", "exactly one"),
        ({"field": [{**FIELD, "when": [{"path": ["a"]}]}]}, "field.0.when.0", "exactly one"),
        ({"when": [{"at": {"offset": 0, "type": "u8"}, "equals": 1}]}, "when.0.at", "binary"),
        ({"format": "text"}, "field.0.path", "whole payload"),
        ({"format": "pairs", "field": [{**FIELD, "path": ["a", "b"]}]}, "field.0.path", "one key"),
        ({"format": "raw"}, "field.0.path", "`at`"),
        ({"binary": {"encoding": "raw"}}, "binary.encoding", "raw"),
        ({"binary": {"encoding": "hex", "path": ["d"], "min_length": 9, "max_length": 8}},
         "binary.min_length", "max_length"),
        ({"field": [{**FIELD, "outer": True}]}, "field.0.outer", "each"),
        ({"each": {"path": ["l"]}, "topic": "t/{id}/{key}"}, "topic", "without {key}"),
        ({"each": {"path": ["l"]}, "format": "pairs"}, "each", "json"),
        ({"example": [{"topic": "t/a", "rejected": "no_measurement"}]}, "example.0", "payload"),
        ({"example": [{"topic": "t/a", "payload": ""}]}, "example.0", "exactly one of sensor"),
        ({"example": [{**EXAMPLE, "sensor": "a"}]}, "example.0", "exactly one of sensor"),
    ],
)  # fmt: skip
def test_faults_between_entries(more, place, message):
    if place is None:
        assert places(**more) == {"field.0.unit"}
        return
    found = crossed(**more)
    assert list(found) == [place]
    assert message in found[place]


def test_hex_needs_its_length_and_bits_an_unsigned_number():
    def at(**more):
        field = {"quantity": "pm25", "unit": "ug/m3", "at": {"offset": 0, **more}}
        return list(crossed(format="raw", sensor={"fixed": "s"}, field=[field]))

    assert at(type="hex") == ["field.0.at.length"]
    assert at(type="u8", length=2) == ["field.0.at.length"]
    assert at(type="i8", bit=0) == ["field.0.at.bit"]
    assert at(type="u8", bit=0) == []


class TestTopics:
    @pytest.mark.parametrize(
        ("text", "topic", "captures"),
        [
            ("a/{x}", "a/b", {"x": "b"}),
            ("a/{x}", "a/b/c", None),
            ("a/{x}", "a", None),
            ("a/{x}", "b/c", None),
            ("a/+/{x}", "a/q/b", {"x": "b"}),
            ("a/{x+}", "a/b/c/d", {"x": "b/c/d"}),
            ("a/{x+}", "a", None),
            ("a/{x+}/z", "a/b/c/z", {"x": "b/c"}),
            ("a/{x+}/z", "a/z", None),
            ("{x+}/{y}/z", "a/b/c/z", {"x": "a/b", "y": "c"}),
            ("/a/{x}", "/a/b", {"x": "b"}),
            ("a", "a", {}),
            ("étage/{x}", "étage/2", {"x": "2"}),
        ],
    )
    def test_match(self, text, topic, captures):
        assert TopicFilter(text).match(topic) == captures

    @pytest.mark.parametrize(
        "text",
        [
            *("", "#", "a/#", "+", "{x}", "{x}/{x}/a", "{x+}/{y+}/a", "a/{X}", "a/{x", "a/b+"),
            *("a\n/b", "a/" * 17, "a" * 257, "a/{x}y", "a/{" + "x" * 33 + "}"),
        ],
    )
    def test_what_is_no_filter(self, text):
        with pytest.raises(ValueError, match=r"\w"):
            TopicFilter(text)

    @pytest.mark.parametrize("text", ["", "a/#/#", "a+", "a/b#", "a\x00", "a" * 257])
    def test_what_is_no_mqtt_filter(self, text):
        with pytest.raises(ValueError, match=r"\w"):
            check_filter(text)


class TestTimes:
    @pytest.mark.parametrize(
        "form", ["", "iso", "%Y", "%Y-%m-%d", "%Y-%m-%d %I:%M", "%Y%Y-%m-%d %H:%M", "%j", "%", "x"]
    )
    def test_what_is_no_form(self, form):
        with pytest.raises(ValueError, match="pattern"):
            check_form(form)

    @pytest.mark.parametrize(
        ("form", "text", "stamp"),
        [
            ("%Y-%m-%d %H:%M", "2026-01-01 00:00", 1_767_225_600.0),
            ("%Y%m%d%H%M%S", "20260101000000", 1_767_225_600.0),
            ("%m/%d/%Y %I:%M %p", "1/1/2026 12:00 AM", 1_767_225_600.0),
            ("%m/%d/%Y %I:%M %p", "12/31/2025 11:59 pm", 1_767_225_540.0),
            ("%Y-%m-%dT%H:%M:%S.%f%z", "2026-01-01T01:00:00.5+01:00", 1_767_225_600.5),
            ("%d %% %m %Y %H:%M", "1 % 1 2026 0:0", 1_767_225_600.0),
            ("%Y-%m-%d %H:%M", "2026-01-01 00:00:00", None),
            ("%Y-%m-%d %H:%M", "2026-13-01 00:00", None),
            ("%Y-%m-%d %H:%M", "26-01-01 00:00", None),
            ("%m/%d/%Y %I:%M %p", "1/1/2026 13:00 PM", None),
            ("%m/%d/%Y %I:%M %p", "1/1/2026 1:00 XM", None),
            ("%Y-%m-%d %H:%M", "٢٠٢٦-01-01 00:00", None),
        ],
    )
    def test_patterns(self, form, text, stamp):
        from datetime import UTC

        assert read_time(text, check_form(form), 0.0, UTC) == stamp
