"""What each encoder publishes, the decoder of the same name reads back to the same values."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from ingest.decoders import DECODERS, Context, find
from ingest.errors import DecodeError
from ingest.intake import Intake, IntakeConfig
from ingest.message import Message
from sensor_sim.devices.models import MODELS
from sensor_sim.wire import ENCODERS, Fleet, WireDevice, WireNetwork
from sensor_sim.wire.base import channels_of, trace_rows
from tests.support.traces import MODELS as USUAL
from tests.support.traces import START, make_trace, wire_identity

ZONE = ZoneInfo("America/New_York")
COMMON = sorted(set(ENCODERS) & set(DECODERS))
BOARDS = {
    "native": ("sen55", "opcn3+sgp30"),
    "tasmota": (
        "pms5003",
        "sps30",
        "sps30+sgp40",
        "sen55",
        "pms5003+bme680",
        "pms7003+ens160",
        "sds011+bme688",
        "opcn3+sgp30",
    ),
    "esphome": ("pms5003+bme680", "sen55"),
}
UNCHANGED_IS_SILENT = frozenset({"zigbee2mqtt"})
NO_TIME = frozenset({"airgradient", "esphome", "zigbee2mqtt"})
TIME_STEP_S = {"native": 0.001, "tasmota": 1.0}
CASES = [(wire, model) for wire in COMMON for model in BOARDS.get(wire, (USUAL[wire],))]


def plain(name):
    return name.replace(":", "").lower()


def decode(wire, message, context):
    assert find(message.topic) is DECODERS[wire], message.topic
    received = Message(message.topic, message.payload, message.sent)
    return DECODERS[wire].decode(received, context)


def waiting(context):
    """Readings whose values came one by one and still wait for more."""
    states = getattr(context, "states", None)
    return [] if states is None else states.joiner.close(context.limits)


def is_reading(message):
    parts = ("/reading", "/SENSOR", "/state")
    return message.topic.endswith(parts) or message.topic.startswith(
        ("airgradient/", "zigbee2mqtt/")
    )


def test_the_tables_share_formats():
    assert {"native", "tasmota", "airgradient"} <= set(COMMON)


@pytest.mark.parametrize(("wire", "model"), CASES)
def test_values_come_back_within_the_rounding_of_the_format(wire, model):
    network = WireNetwork(zone=ZONE)
    encoder = ENCODERS[wire](WireDevice("north-1-girls", model), network)
    carried = encoder.resolution()
    steps = (
        {k: carried[k] for k in channels_of(model) if k in carried} if model in MODELS else carried
    )
    trace = make_trace(steps, wire=wire, model=model)
    expected_name = plain(wire_identity(wire, "north-1-girls"))
    context = Context(zone=ZONE)
    for message in encoder.connect(START - 1):
        decoder = find(message.topic)
        if decoder is not None and _announces(message.topic):
            decoder.decode(Message(message.topic, message.payload, message.sent), context)
    got: dict[str, float] = {}
    for row in trace_rows(trace):
        got = dict(got) if wire in UNCHANGED_IS_SILENT else {}
        readings = []
        for message in filter(is_reading, encoder.reading(row)):
            readings += decode(wire, message, context)
        for reading in readings + waiting(context):
            assert plain(reading.sensor) == expected_name
            assert not reading.faults
            got |= reading.values
            if wire in NO_TIME:
                assert reading.time == row.sent
                assert "no_time" in reading.flags
            else:
                assert abs(reading.time - row.time) <= TIME_STEP_S[wire]
        assert set(steps) - {"rssi"} <= set(got) <= {*carried, "rssi"}
        for key in steps:
            if key in got:
                assert got[key] == pytest.approx(row.values[key], abs=0.51 * steps[key]), key


@pytest.mark.parametrize("wire", COMMON)
def test_every_message_of_a_life_is_understood(wire):
    encoder = ENCODERS[wire](WireDevice("s1", USUAL[wire]), WireNetwork(zone=ZONE))
    trace = make_trace(
        encoder.resolution(),
        sensor="s1",
        wire=wire,
        events=((START + 35, "tamper"), (START + 65, "restart"), (START + 500, "offline")),
    )
    seen, refused, readings = set(), set(), []
    context = Context(zone=ZONE)
    for message in Fleet(WireNetwork(zone=ZONE)).encode([trace]):
        decoder = find(message.topic)
        if decoder is None:
            assert _announces(message.topic), message.topic
            continue
        try:
            received = Message(message.topic, message.payload, message.sent)
            readings += decoder.decode(received, context)
        except DecodeError as error:
            refused.add(str(error.reason))
    for reading in readings + waiting(context):
        seen.update(reading.events)
    assert refused <= {"no_measurement"}
    assert wire == "airgradient" or {"tamper", "online", "offline"} <= seen


SAYS = {
    "native": "1.4.2",
    "tasmota": "14.2.0(release-sensors)",
    "airgradient": "3.6.0",
    "esphome": "2025.10.0",
    "zigbee2mqtt": "1.0.11",
}


@pytest.mark.parametrize("wire", COMMON)
def test_firmware_comes_back_as_the_device_calls_it(wire):
    name = wire_identity(wire, "s1")
    intake = Intake(
        IntakeConfig(context=Context(zone=ZONE), accept_unknown=True, aliases={name: "s1"})
    )
    encoder = ENCODERS[wire](WireDevice("s1", USUAL[wire]), WireNetwork(zone=ZONE))
    trace = make_trace(encoder.resolution(), sensor="s1", wire=wire)
    versions = []
    for message in Fleet(WireNetwork(zone=ZONE)).encode([trace]):
        out = intake.on_message(Message(message.topic, message.payload, message.sent))
        versions += [r.firmware for r in (*out.readings, *intake.on_time(message.sent))]
    versions += [r.firmware for r in intake.flush()]
    assert [v for v in versions if v] == [SAYS[wire]]


def _announces(topic):
    described = topic.startswith("homeassistant/") or topic.endswith("/INFO1")
    return described or "/bridge/" in topic
