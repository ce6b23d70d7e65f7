"""Test that every decoder in the table follows the contract, with its golden cases.

A golden folder ``tests/golden/decoders/<name>/`` has two files. The messages in ``cases.json`` can
belong together; each message in ``payloads.json`` is from a different device. Both are lists of
objects with these keys:

- ``case``: description of the case;
- ``topic`` and one of ``json`` (any value), ``text``, ``hex``: the message;
- optionally ``retained``, ``received`` (Unix seconds), ``zone``, ``before`` (earlier messages for
  the same context, in the same form; if the format joins values, their readings count too);
- ``readings``: the expected ``{"sensor", "time", "values", "events", "faults", "flags", "seq"}``,
  where missing parts are empty and a missing ``time`` means the receive time; or ``rejected``: the
  reason;
- optionally ``intervals``: the reporting intervals that devices announce, in seconds, by sensor.
"""

import itertools
import json
import re
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ingest import decoders
from ingest.decoders import DECODERS, FORMATS, find_decoder, list_filters
from ingest.decoding import Context
from ingest.errors import DecodeError
from ingest.intake import Intake, IntakeConfig, decode_message
from ingest.topics import matches_topic
from ingest.validation import Message
from storage.registry import Registry, Room, Sensor
from tests.support.fuzz import check, read_or_refuse

GOLDEN = Path(__file__).parent.parent / "golden" / "decoders"
RECEIVED = 1_790_000_000.0


def load(name, files=("cases", "payloads")):
    paths = [path for file in files if (path := GOLDEN / name / f"{file}.json").exists()]
    return [case for path in paths for case in json.loads(path.read_text(encoding="utf-8"))]


JOINED = {"esphome", "homie", "meraki", "sensecap"}

CASES = [(name, case) for name in DECODERS for case in load(name)]


def payload_of(case):
    if "hex" in case:
        return bytes.fromhex(case["hex"])
    if "json" in case:
        return json.dumps(case["json"], ensure_ascii=False).encode()
    return case["text"].encode()


def message_of(case):
    return Message(
        case["topic"],
        payload_of(case),
        case.get("received", RECEIVED),
        retained=case.get("retained", False),
    )


def context_of(case):
    return Context(zone=ZoneInfo(case.get("zone", "UTC")))


def decode(name, case, context=None):
    context = context or context_of(case)
    readings = []
    for earlier in case.get("before", []):
        closed = decode_message(message_of(earlier), context, earlier.get("decoder", name))
        readings += closed if name in JOINED else []
    readings += decode_message(message_of(case), context, name)
    return readings + context.states.joiner.close(context.limits)


@pytest.mark.parametrize("name", DECODERS)
def test_every_decoder_has_golden_cases(name):
    cases = load(name)
    assert any("readings" in c for c in cases), f"no accepted case in {GOLDEN / name}"
    assert any("rejected" in c for c in cases), f"no rejected case in {GOLDEN / name}"


def test_no_golden_folder_without_decoder():
    assert {p.name for p in GOLDEN.iterdir()} == set(DECODERS)


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ("topics = []", "summary: missing"),
        (
            """
            summary = "A"
            topics = ["a/{id}"]
            [[mapping]]
            sensor = { capture = "id" }
            field = [{ quantity = "tvoc_ppb", unit = "ppbv", path = ["v"] }]
            """,
            "tvoc_ppb.unit: 'ppbv': must be a unit of tvoc_ppb: ppb, ppm",
        ),
        (
            """
            summary = "A"
            topics = ["a/{id}"]
            [[mapping]]
            version = 1
            sensor = { capture = "id" }
            """,
            "mapping.0.version",
        ),
    ],
)
def test_a_faulty_table_is_named_with_its_fault(table, found, tmp_path, monkeypatch):
    monkeypatch.setattr(decoders, "FORMATS", tmp_path)
    (tmp_path / "acme.toml").write_text(table)
    with pytest.raises((ValueError, DecodeError), match=re.escape(found)) as caught:  # noqa: PT012
        decoder = decoders.load_format("acme")
        decoder.decode(Message("a/1", b'{"v": 1}', 0.0), context_of({}))
    assert "acme.toml" in str(caught.value)


def test_every_format_that_ships_is_in_the_table():
    assert {path.stem for path in FORMATS.glob("*.toml")} <= set(DECODERS)


@pytest.mark.parametrize(
    ("name", "case"), CASES, ids=[f"{n}-{c['case'].replace(' ', '_')}" for n, c in CASES]
)
def test_golden(name, case):
    if "rejected" in case:
        with pytest.raises(DecodeError) as caught:
            decode(name, case)
        assert caught.value.reason == case["rejected"], caught.value
        return
    context = context_of(case)
    readings = decode(name, case, context)
    for reading in readings:
        check(reading)
    got = [
        {
            "sensor": r.sensor,
            "time": r.time,
            "values": r.values,
            "events": list(r.events),
            "faults": sorted(r.faults),
            "flags": sorted(r.flags),
            "seq": r.seq,
        }
        for r in readings
    ]
    want = [
        {
            "sensor": w["sensor"],
            "time": w.get("time", case.get("received", RECEIVED)),
            "values": pytest.approx(w.get("values", {}), rel=1e-6, abs=1e-9),
            "events": w.get("events", []),
            "faults": sorted(w.get("faults", [])),
            "flags": sorted(w.get("flags", [])),
            "seq": w.get("seq"),
        }
        for w in case["readings"]
    ]
    assert got == want


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("topic", ["air/A2", "air/a2/{sensor}"])
def test_only_its_own_topic_reports_for_a_registered_sensor(name, topic):
    """A payload that names another registered sensor is refused where a topic names a sensor."""
    by_level = {"zigbee2mqtt", "sparkplug", "ruuvi"} if "{" in topic else set()  # gateway's devices
    for case in load(name):
        sensors = {r["sensor"] for r in case.get("readings", [])}
        room = Room("r", "Room", "2", "North", "School")
        registry = Registry.build([room], [Sensor(s, "r") for s in {"a2", *sensors}])
        for sensor in sensors:
            intake = Intake(IntakeConfig(Context(registry=registry)))
            sent = Message(topic.format(sensor=sensor), payload_of(case), RECEIVED)
            outcome = intake.on_message(sent, name)
            found = {r.sensor for r in (*outcome.readings, *intake.flush())}
            assert found.isdisjoint(sensors) or name in by_level, (case["case"], outcome)


@pytest.mark.parametrize("name", DECODERS)
def test_topic_finds_the_decoder(name):
    topics = [case["topic"] for case in load(name) if case.get("by_topic", True)]
    if DECODERS[name].topics:
        found = {topic: decoder.name for topic in topics if (decoder := find_decoder(topic))}
        assert found == dict.fromkeys(topics, name)


@pytest.mark.parametrize("name", DECODERS)
def test_row(name):
    decoder = DECODERS[name]
    assert decoder.name == name
    assert decoder.summary
    for pattern in decoder.topics:
        assert pattern.count("#") <= 1
        assert all(
            level in ("+", "#") or not set(level) & set("+#") for level in pattern.split("/")
        )
    for topic_filter in list_filters((name,)):
        assert "#" not in topic_filter[:-1]


@pytest.mark.parametrize("name", DECODERS)
def test_only_its_own_error(name):
    payloads = (b"", b"\xff" * 40, b"hello", b"{}", b"[]", b"0", b"null", b"[" * 30, b"nan")
    topics = ("", "x", "/", "a/b/c/d/e/f/g", "acme/a/b/state", "hub/h/report")
    messages = (Message(t, p, RECEIVED) for t, p in itertools.product(topics, payloads))
    read_or_refuse(messages, name)


@pytest.mark.parametrize("name", DECODERS)
def test_retained_readings_are_marked(name):
    for case in load(name):
        if "readings" in case and not case.get("before"):
            for reading in decode(name, {**case, "retained": True}):
                marked = "retained" in reading.flags or {"online", "offline"} & set(reading.events)
                assert marked, case["case"]


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("a/+", "a/b", True),
        ("a/+", "a", False),
        ("a/+", "a/b/c", False),
        ("a/#", "a/b/c", True),
        ("a/#", "a", True),
        ("a/#/z", "a/b/z", True),
        ("a/#/z", "a/b/c/z", True),
        ("a/#/z", "a/z", False),
        ("/a/+", "/a/b", True),
    ],
)
def test_topic_matches(pattern, topic, expected):
    assert matches_topic(pattern, topic) is expected
