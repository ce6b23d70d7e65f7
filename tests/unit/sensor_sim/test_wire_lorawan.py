from __future__ import annotations

import base64
import json

import pytest

from sensor_sim.wire import ENCODERS, Fleet, WireDevice, WireNetwork, WireRow
from sensor_sim.wire.lorawan import Gs601
from tests.support.traces import START, make_trace

EUI = "24e124710c141000"
CALM = {
    "vape_index": 4,
    "pm1": 15,
    "pm25": 16,
    "pm10": 17,
    "temp": 28.4,
    "rh": 51.9,
    "tvoc_ugm3": 0,
}


def hexed(frames):
    return [f.hex() for f in frames]


def test_periodic_frame_is_the_vendors_example():
    assert hexed(Gs601(EUI).report(CALM)) == ["0104030f00051000071100091c010b07020d00000f001100"]


def test_battery_comes_first_and_temperature_is_signed():
    (frame,) = Gs601(EUI).report({**CALM, "battery": 85, "temp": -10.0})
    assert frame[:2].hex() == "0055"
    assert "099cff" in frame.hex()


@pytest.mark.parametrize(
    ("values", "instead"),
    [
        ({"temp": 61.0}, "0a02"),
        ({"temp": -21.0}, "0a01"),
        ({"pm1": 1001.0}, "0402"),
        ({"pm25": None}, "0600"),
        ({"tvoc_ugm3": 2001.0}, "0e02"),
        ({"vape_index": None}, "0200"),
        ({"rh": None}, "0c00"),
    ],
)
def test_a_fault_replaces_its_value(values, instead):
    merged = {k: v for k, v in {**CALM, **values}.items() if v is not None}
    (frame,) = Gs601(EUI).report(merged)
    whole = Gs601(EUI).report(CALM)[0]
    assert instead in frame.hex()
    assert len(frame) <= len(whole)
    assert frame != whole


def test_alarm_frames():
    detector = Gs601(EUI)
    assert detector.event("vendor_vape", {"vape_index": 55}).hex() == "021137"
    assert detector.event("vendor_vape", {}).hex() == "021105"
    assert detector.event("vendor_interference", {}).hex() == "0221"
    assert detector.event("vendor_burning", {}).hex() == "0a21"
    assert detector.event("tamper", {}).hex() == "1021"
    assert detector.event("fault:pm25", {}).hex() == "0600"
    assert detector.event("fault:co2", {}) is None
    assert detector.event("something", {}) is None


def test_alarms_hold_the_buzzer_until_the_index_is_down_and_are_released():
    detector = Gs601(EUI)
    detector.event("vendor_vape", {"vape_index": 60})
    (still,) = detector.report({**CALM, "vape_index": 20})
    assert still.hex().endswith("0f001101")
    assert hexed(detector.report({**CALM, "vape_index": 2}))[0] == "021002"
    assert len(detector.report(CALM)) == 1


def test_tamper_shows_in_the_next_report_alone():
    detector = Gs601(EUI)
    detector.event("tamper", {})
    assert detector.report(CALM)[0].hex().endswith("0f011100")
    assert detector.report(CALM)[0].hex().endswith("0f001100")


def test_join_frame_contains_the_serial_number():
    assert Gs601("6850e23348820008").join().hex() == (
        "df0100eedb6850e23348820008da0100010100000000d90000c801cf0002"
    )


def make(wire):
    return ENCODERS[wire](WireDevice(EUI, "gs601"), WireNetwork())


def frame_of(message):
    body = json.loads(message.payload)
    data = body.get("data") or body["uplink_message"]["frm_payload"]
    return base64.b64decode(data)


@pytest.mark.parametrize("wire", ["chirpstack", "tts"])
def test_envelope_contains_the_bytes_and_no_decoded_object(wire):
    device = make(wire)
    join, info = device.connect(START)
    assert join.topic.endswith("/join")
    assert frame_of(info)[:1] == b"\xdf"
    (up,) = device.reading(WireRow(START, START + 1, CALM))
    assert frame_of(up) == Gs601(EUI).report(CALM)[0]
    assert EUI in up.topic
    body = json.loads(up.payload)
    assert "object" not in body
    assert "decoded_payload" not in body.get("uplink_message", {})
    assert not up.retain
    assert up.qos == 0


def test_chirpstack_counts_frames_from_zero_and_names_the_device():
    device = make("chirpstack")
    _, info = device.connect(START)
    (up,) = device.reading(WireRow(START - 500, START + 1.25, CALM))
    body = json.loads(up.payload)
    assert json.loads(info.payload)["fCnt"] == 0
    assert (body["fCnt"], body["fPort"]) == (1, 85)
    assert body["deviceInfo"]["devEui"] == EUI
    assert body["time"] == "2026-09-07T10:05:01.250000+00:00"
    assert up.topic == f"application/{body['deviceInfo']['applicationId']}/device/{EUI}/event/up"


def test_things_stack_leaves_out_a_counter_of_zero_and_shouts_the_eui():
    device = make("tts")
    _, info = device.connect(START)
    assert "f_cnt" not in json.loads(info.payload)["uplink_message"]
    (up,) = device.reading(WireRow(START, START + 1, CALM))
    body = json.loads(up.payload)
    assert body["uplink_message"]["f_cnt"] == 1
    assert body["end_device_ids"]["dev_eui"] == EUI.upper()
    assert up.topic == f"v3/school-air@ttn/devices/eui-{EUI}/up"
    assert body["received_at"].endswith("000Z")
    assert "simulated" not in body


@pytest.mark.parametrize("wire", ["chirpstack", "tts"])
def test_a_rejoin_starts_the_counter_and_changes_the_address(wire):
    device = make(wire)
    first = [json.loads(m.payload) for m in device.connect(START)]
    device.reading(WireRow(START, START, CALM))
    again = [json.loads(m.payload) for m in device.event(START + 60, "restart")]
    key = "devAddr" if wire == "chirpstack" else "end_device_ids"
    assert first[0][key] != again[0][key]
    counters = [b.get("fCnt", b.get("uplink_message", {}).get("f_cnt", 0)) for b in again[1:]]
    assert counters == [0]
    assert device.event(START, "offline") == []


def test_deduplication_ids_differ():
    device = make("chirpstack")
    ids = {
        json.loads(device.reading(WireRow(START, START + i, CALM))[0].payload)["deduplicationId"]
        for i in range(50)
    }
    assert len(ids) == 50


def test_an_alarm_next_to_a_reading_has_its_index():
    trace = make_trace(
        CALM, sensor=EUI, wire="chirpstack", rows=3, events=((START + 10.1, "vendor_vape"),)
    )
    ups = [m for m in Fleet().encode([trace]) if m.topic.endswith("/up")]
    alarm = next(f for m in ups if (f := frame_of(m))[:2] == b"\x02\x11")
    report = frame_of(ups[ups.index(next(m for m in ups if frame_of(m) == alarm)) + 1])
    assert alarm[2] == max(5, report[1])
