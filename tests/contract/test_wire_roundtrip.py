"""What each encoder publishes, the decoder of the same name reads back to the same values."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from ingest.decoders import DECODERS, Context, find
from ingest.errors import DecodeError
from ingest.message import Message
from sensor_sim.wire import ENCODERS, Fleet, WireDevice, WireNetwork, wire_identity
from tests.support.traces import MODELS, START, make_trace

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
        "scd40",
        "vindriktning",
        "pms5003+sgp41+scd41",
    ),
    "esphome": ("pms5003+bme680", "sen55"),
}
NO_TIME = frozenset({"airgradient", "esphome", "zigbee2mqtt"})
TIME_STEP_S = {"native": 0.001, "tasmota": 1.0, "chirpstack": 1e-5, "tts": 0.25, "meraki": 1e-5}
CASES = [(wire, model) for wire in COMMON for model in BOARDS.get(wire, (MODELS[wire],))]


def plain(name):
    return name.replace(":", "").lower()


def decode(wire, message, *, retained=False):
    assert find(message.topic) is DECODERS[wire], message.topic
    return DECODERS[wire].decode(
        Message(message.topic, message.payload, message.sent, retained=retained),
        Context(zone=ZONE),
    )


def is_reading(message):
    parts = ("/reading", "/SENSOR", "/event/up", "/up", "/state")
    return message.topic.endswith(parts) or message.topic.startswith(
        ("airgradient/", "meraki/", "zigbee2mqtt/")
    )


def test_the_tables_share_formats():
    assert {"native", "tasmota", "airgradient"} <= set(COMMON)


@pytest.mark.parametrize(("wire", "model"), CASES)
def test_values_come_back_within_the_rounding_of_the_format(wire, model):
    network = WireNetwork(zone=ZONE)
    encoder = ENCODERS[wire](WireDevice("north-1-girls", model), network)
    steps = encoder.resolution()
    trace = make_trace(steps, wire=wire, model=model)
    encoder.connect(START - 1)
    expected_name = plain(wire_identity(wire, "north-1-girls"))
    for row in _rows(trace):
        got: dict[str, float] = {}
        for message in encoder.reading(row):
            if not is_reading(message):
                continue
            for reading in decode(wire, message):
                assert plain(reading.sensor) == expected_name
                assert not reading.faults
                got |= reading.values
                if wire in NO_TIME:
                    assert reading.time == row.sent
                    assert "no_time" in reading.flags
                else:
                    true = row.sent if wire in ("chirpstack", "tts") else row.time
                    assert abs(reading.time - true) <= TIME_STEP_S[wire]
        assert set(got) - {"rssi"} == set(steps) - {"rssi"}
        for key in steps:
            if key in got:
                assert got[key] == pytest.approx(row.values[key], abs=0.51 * steps[key]), key


@pytest.mark.parametrize("wire", COMMON)
def test_every_message_of_a_life_is_understood(wire):
    encoder = ENCODERS[wire](WireDevice("s1", MODELS[wire]), WireNetwork(zone=ZONE))
    trace = make_trace(
        encoder.resolution(),
        sensor="s1",
        wire=wire,
        events=((START + 35, "tamper"), (START + 65, "restart"), (START + 500, "offline")),
    )
    seen, refused = set(), set()
    for message in Fleet(WireNetwork(zone=ZONE)).encode([trace]):
        decoder = find(message.topic)
        if decoder is None or not message.topic or _announces(message.topic):
            continue
        try:
            readings = decoder.decode(
                Message(message.topic, message.payload, message.sent), Context(zone=ZONE)
            )
        except DecodeError as error:
            refused.add(str(error.reason))
            continue
        for reading in readings:
            seen.update(reading.events)
    assert refused <= {"no_measurement"}
    assert wire in ("airgradient", "meraki") or "tamper" in seen
    assert wire in ("chirpstack", "tts", "airgradient", "meraki") or {"online", "offline"} <= seen


def _announces(topic):
    return "/bridge/" in topic or topic.startswith("homeassistant/") or topic.endswith("/join")


def _rows(trace):
    from sensor_sim.wire.base import trace_rows

    return trace_rows(trace)
