"""Test how mappings decode messages: values, faults, time, windows, policies."""

import json

import pytest

from ingest.decoding import Context
from ingest.errors import DecodeError
from ingest.mapping.decoder import compile_mapping
from ingest.mapping.schema import MappingConfig
from ingest.validation import Message, may_alert

NOW = 1_790_000_000.0
BASE = {
    "version": 1,
    "name": "m",
    "topic": "t/{id}",
    "sensor": {"capture": "id"},
    "field": [{"quantity": "pm25", "unit": "ug/m3", "path": ["pm"]}],
    "example": [{"topic": "t/a", "payload": "{}", "rejected": "no_measurement"}],
}


def mapping(**more):
    return compile_mapping(MappingConfig.model_validate({**BASE, **more}))


def field(quantity="pm25", unit="ug/m3", path=("v",), **more):
    return {"quantity": quantity, "unit": unit, "path": list(path), **more}


def decode(decoder, content, topic="t/a", received=NOW, retained=False, context=None):
    payload = content if isinstance(content, bytes) else json.dumps(content).encode()
    return decoder.decode(Message(topic, payload, received, retained), context or Context())


def one(decoder, content, **more):
    (reading,) = decode(decoder, content, **more)
    return reading


def find_reason(*given, **more):
    with pytest.raises(DecodeError) as refused:
        decode(*given, **more)
    return refused.value.reason


def read(raw, **more):
    reading = one(mapping(field=[field(**more)]), {"v": raw, "pad": 1})
    return reading.values.get(more.get("quantity", "pm25"), list(reading.faults))


@pytest.mark.parametrize(
    ("raw", "more", "result"),
    [
        (0, {}, 0.0),
        ("7.5", {}, 7.5),
        ("7.5 µg/m³", {}, 7.5),
        ("7.5µg/m³", {}, 7.5),
        ("7.5 ppb", {}, ["pm25"]),
        ("7.5 apples", {}, ["pm25"]),
        ("", {}, ["pm25"]),
        ("nan", {}, ["pm25"]),
        (None, {}, ["pm25"]),
        (True, {}, ["pm25"]),
        ([1], {}, ["pm25"]),
        ({"a": 1}, {}, ["pm25"]),
        (-1, {}, ["pm25"]),
        (100_001, {}, ["pm25"]),
        (10**400, {}, ["pm25"]),
        (65535, {"missing": [65535]}, ["pm25"]),
        (65535.0, {"missing": [65535]}, ["pm25"]),
        ("999", {"missing": [999]}, 999.0),
        (65535, {}, ["pm25"]),
        ("6553.5", {}, ["pm25"]),
        ("off", {"missing": ["off"]}, ["pm25"]),
        (1001, {"range": [0, 1000]}, ["pm25"]),
        (1000, {"range": [0, 1000]}, 1000.0),
        (123, {"scale": 0.1}, 12.3),
        (123, {"scale": 0.1, "range": [0, 12]}, ["pm25"]),
        (10, {"scale": 2, "offset": -5}, 15.0),
        (1e300, {"scale": 1e12}, ["pm25"]),
        ("low", {"values": {"low": 10, "high": 90}}, 10.0),
        ("mid", {"values": {"low": 10}}, ["pm25"]),
        (1, {"values": {"1": 10}}, 10.0),
        (True, {"values": {"true": 10}}, 10.0),
        (1.0, {"values": {"1": 10}}, ["pm25"]),
    ],
)
def test_a_value_or_a_fault_and_never_zero_for_either(raw, more, result):
    assert read(raw, **more) == result


def test_the_first_field_of_a_quantity_that_applies_counts():
    fields = [
        field(path=["new"]),
        field(path=["old"], scale=10.0, when=[{"path": ["fw"], "equals": "1"}]),
        field(path=["old"]),
    ]
    decoder = mapping(field=fields)
    assert one(decoder, {"new": 1, "old": 2}).values == {"pm25": 1.0}
    assert one(decoder, {"old": 2, "fw": "1"}).values == {"pm25": 20.0}
    assert one(decoder, {"old": 2, "fw": 1}).values == {"pm25": 2.0}


@pytest.mark.parametrize(
    ("condition", "content", "holds"),
    [
        ({"path": ["a"], "equals": 1}, {"a": 1}, True),
        ({"path": ["a"], "equals": 1}, {"a": 1.0}, True),
        ({"path": ["a"], "equals": 1}, {"a": True}, False),
        ({"path": ["a"], "equals": 1}, {"a": "1"}, False),
        ({"path": ["a"], "equals": True}, {"a": True}, True),
        ({"path": ["a"], "equals": True}, {"a": 1}, False),
        ({"path": ["a"], "one_of": ["x", 2]}, {"a": 2}, True),
        ({"path": ["a"], "one_of": ["x", 2]}, {}, False),
        ({"path": ["a"], "present": True}, {"a": None}, True),
        ({"path": ["a"], "present": False}, {}, True),
        ({"path": ["a"], "present": False}, {"a": 0}, False),
        ({"path": ["a"], "type": "null"}, {"a": None}, True),
        ({"path": ["a"], "type": "number"}, {"a": True}, False),
        ({"path": ["a"], "type": "boolean"}, {"a": True}, True),
        ({"path": ["a", "b.c"], "type": "text"}, {"a": {"b.c": ""}}, True),
        ({"path": ["a", 1], "equals": 5}, {"a": [4, 5]}, True),
        ({"path": ["a", 2], "present": True}, {"a": [4, 5]}, False),
        ({"path": ["a", "1"], "present": True}, {"a": [4, 5]}, False),
        ({"path": [1], "present": True}, {"1": 5}, False),
        ({"path": ["l", {"where": "k", "equals": "x"}, "v"], "equals": 1},
         {"l": [7, {"k": "y", "v": 2}, {"k": "x", "v": 1}]}, True),
        ({"capture": "id", "equals": "a"}, {}, True),
        ({"capture": "id", "equals": "b"}, {}, False),
    ],
)  # fmt: skip
def test_conditions(condition, content, holds):
    decoder = mapping(when=[condition])
    if holds:
        assert one(decoder, {"pm": 1, **content}).values
    else:
        assert find_reason(decoder, {"pm": 1, **content}) == "guard_not_met"


def test_what_does_not_parse_is_not_of_a_mapping_with_conditions():
    assert (
        find_reason(mapping(when=[{"path": ["pm"], "present": True}]), b"no json")
        == "guard_not_met"
    )
    assert find_reason(mapping(), b"no json") == "malformed"


class TestIdentity:
    @pytest.mark.parametrize("name", [None, True, 1.5, "", [], "x" * 65, "///", 2**70])
    def test_what_is_no_name(self, name):
        assert find_reason(mapping(sensor={"path": ["n"]}), {"pm": 1, "n": name}) == "bad_id"

    def test_a_named_mapping_under_another_topic_has_no_captures(self):
        assert find_reason(mapping(), {"pm": 1}, topic="elsewhere") == "bad_id"
        assert one(mapping(sensor={"fixed": "s"}), {"pm": 1}, topic="elsewhere").sensor == "s"


class TestTime:
    def reading(self, value, formats=("iso8601",), context=None, **more):
        time = {"path": ["t"], "formats": list(formats), **more}
        return one(mapping(time=time), {"pm": 1, "t": value}, context=context)

    def test_forms_are_tried_in_order(self):
        forms = ["%Y/%m/%d %H:%M:%S", "iso8601"]
        assert self.reading("2026/09/21 14:13:20", forms).time == NOW
        assert self.reading("2026-09-21T14:13:20Z", forms).time == NOW

    @pytest.mark.parametrize(
        "value", ["yesterday", "", 123_456, True, [], "2026-13-45T00:00:00Z", 1e300, "9" * 40]
    )
    def test_unusable_is_replaced(self, value):
        reading = self.reading(value, ["iso8601", "unix_ms"])
        assert (reading.time, reading.flags) == (NOW, ("time_replaced",))

    def test_absent_or_null_is_receive_time(self):
        assert self.reading(None).flags == ("no_time",)
        assert one(mapping(time={"path": ["t"], "formats": ["unix"]}), {"pm": 1}).flags == (
            "no_time",
        )

    def test_zone_of_the_site_of_its_own_or_none(self):
        from zoneinfo import ZoneInfo

        local = "2026-09-21 10:13:20"
        site = Context(zone=ZoneInfo("America/New_York"))
        assert self.reading(local, context=site).time == NOW
        assert self.reading(local, zone="America/New_York").time == NOW
        assert self.reading(local, zone="none", context=site).flags == ("time_replaced",)

    def test_late_is_evaluated_and_ancient_is_refused(self):
        late = self.reading("2026-09-20T00:00:00Z")
        assert late.flags == ("late",)
        assert may_alert(late)
        with pytest.raises(DecodeError) as refused:
            self.reading("2005-01-01T00:00:00Z")
        assert refused.value.reason == "bad_time"


class TestWindows:
    def decoder(self, **more):
        fields = [
            field("pm25", "ug/m3", [], when=[{"capture": "what", "equals": "pm"}]),
            field("rh", "%", [], when=[{"capture": "what", "equals": "rh"}]),
        ]
        return mapping(topic="t/{id}/{what}", format="text", field=fields, join_s=2.0, **more)

    def test_values_within_the_window_are_one_reading(self):
        decoder, context = self.decoder(), Context()
        assert decode(decoder, b"7", "t/a/pm", NOW, context=context) == []
        assert decode(decoder, b"41", "t/a/rh", NOW + 1.9, context=context) == []
        joiner = context.states.joiner
        assert joiner.next_deadline() == NOW + 2
        assert joiner.on_time(NOW + 1.9, context.limits) == []
        (reading,) = joiner.on_time(NOW + 2, context.limits)
        assert reading.values == {"pm25": 7.0, "rh": 41.0}
        assert (reading.time, reading.received) == (NOW, NOW)

    def test_a_second_value_of_a_quantity_opens_the_next(self):
        decoder, context = self.decoder(), Context()
        decode(decoder, b"7", "t/a/pm", NOW, context=context)
        (reading,) = decode(decoder, b"8", "t/a/pm", NOW + 1, context=context)
        assert reading.values == {"pm25": 7.0}

    def test_unusable_times_do_not_tear_a_reading_apart(self):
        fields = [field("pm25", "ug/m3", ["pm"]), field("rh", "%", ["rh"])]
        time = {"path": ["t"], "formats": ["iso8601"]}
        decoder, context = mapping(field=fields, time=time, join_s=1.0), Context()
        decode(decoder, {"pm": 7, "t": "?"}, context=context)
        assert decode(decoder, {"rh": 41, "t": "?"}, context=context) == []
        (reading,) = context.states.joiner.close(context.limits)
        assert reading.values == {"pm25": 7.0, "rh": 41.0}
        assert reading.flags == ("time_replaced",)

    def test_a_refused_time_is_refused_at_once(self):
        time = {"path": ["t"], "formats": ["iso8601"]}
        decoder, context = mapping(time=time, join_s=1.0), Context()
        assert (
            find_reason(decoder, {"pm": 7, "t": "2005-01-01T00:00:00Z"}, context=context)
            == "bad_time"
        )
        assert context.states.joiner.close(context.limits) == []


class TestPolicies:
    @pytest.mark.parametrize("flag", ["history", "simulated", "cached", "maintenance"])
    def test_flags_keep_from_alerting(self, flag):
        decoder = mapping(flag=[{"flag": flag, "path": ["x"], "equals": True}])
        assert not may_alert(one(decoder, {"pm": 1, "x": True}))
        assert may_alert(one(decoder, {"pm": 1, "x": False}))


class TestSeveral:
    decoder = mapping(each={"path": ["all"]}, sensor={"path": ["n"]})

    def test_a_broken_one_does_not_stop_the_others(self):
        found = decode(
            self.decoder, {"all": [{"n": "a", "pm": 1}, {"pm": 2}, 3, {"n": "d", "pm": 4}]}
        )
        assert [(r.sensor, r.values) for r in found] == [("a", {"pm25": 1.0}), ("d", {"pm25": 4.0})]

    def test_all_broken_is_refused_with_the_first_reason(self):
        assert find_reason(self.decoder, {"all": [{"pm": 2}, {"n": "a"}]}) == "bad_id"


@pytest.mark.parametrize(
    ("kind", "endian", "frame", "value"),
    [
        ("u8", "big", "ff", 255),
        ("i8", "big", "ff", -1),
        ("u16", "big", "0102", 258),
        ("u16", "little", "0102", 513),
        ("i16", "little", "feff", -2),
        ("u24", "big", "010000", 65536),
        ("i24", "big", "ffffff", -1),
        ("u32", "little", "01000000", 1),
        ("i32", "big", "fffffffe", -2),
        ("f32", "big", "41480000", 12.5),
        ("f64", "little", "0000000000002940", 12.5),
    ],
)
def test_types_of_a_frame(kind, endian, frame, value):
    at = {"offset": 1, "type": kind, "endian": endian}
    decoder = mapping(
        format="raw", sensor={"fixed": "s"}, field=[{"quantity": "rssi", "unit": "dBm", "at": at,
                                                     "scale": 1e-4}]
    )  # fmt: skip
    assert one(decoder, bytes.fromhex("00" + frame)).values["rssi"] == round(value * 1e-4, 6)
    assert find_reason(decoder, bytes.fromhex("00" + frame)[:-1]) == "bad_frame"


def test_a_mapping_that_contradicts_itself_is_not_compiled():
    with pytest.raises(ValueError, match=r"field\.0\.unit"):
        mapping(field=[field(unit="ppb")])
