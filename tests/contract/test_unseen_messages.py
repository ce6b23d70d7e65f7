"""Test that messages of plausible devices are read if their meaning is clear, or else refused."""

import json
import struct

import pytest

from ingest.decoding import Context
from ingest.errors import DecodeError
from ingest.intake import decode_message
from ingest.validation import Message

NOW = 1_790_000_000.0
NATIVE = "plumewatch/v1/b2/reading"
AIR = {"pm25": 7.5, "rh": 41.0}


def decode(decoder, topic, payload):
    context = Context()
    payload = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    readings = decode_message(Message(topic, payload, NOW), context, decoder)
    return [(r.sensor, r.values) for r in readings + context.states.joiner.close(context.limits)]


PLAIN_JSON = {
    "a comma too many": b'{"pm25": 7.5, "rh": 41.0,}',
    "the end of a C string": b'{"pm25": 7.5, "rh": 41.0}\x00',
    "a byte order mark": b'\xef\xbb\xbf{"pm25": 7.5, "rh": 41.0}\r\n',
    "Python's text of a dict": b"{'pm25': 7.5, 'rh': 41.0, 'tamper': False, 'co2': None}",
    "names without quotes": b"{pm25: 7.5, rh: 41}",
    "numbers of C": b'{"pm25": 7.5, "rh": 041., "temp": nan}',
    "a number without zero": b'{"pm25": 7.5, "rh": 41.0, "tvoc_ppb": -.5}',
    "no value": b'{"pm25": 7.5, "co2": , "rh": 41.0}',
    "an end of line in a text": b'{"note": "a\nb", "pm25": 7.5, "rh": 41.0}',
    "a degree of Latin-1": b'{"pm25": 7.5, "note": "21 \xb0C", "rh": 41.0}',
}


@pytest.mark.parametrize("topic", [NATIVE, "airgradient/readings/a1", "zigbee2mqtt/b2", "x/b2"])
@pytest.mark.parametrize("case", PLAIN_JSON)
def test_json_that_is_broken_in_a_plain_way(topic, case):
    payload = PLAIN_JSON[case]
    decoder = "generic" if topic == "x/b2" else ""
    if "airgradient" in topic:
        payload = payload.replace(b"pm25", b"pm02").replace(b"rh", b"rhum")
    ((_, values),) = decode(decoder, topic, payload)
    assert {key: values[key] for key in AIR} == AIR
    assert values.keys() - AIR <= {"tvoc_ppb"}


@pytest.mark.parametrize(
    "payload",
    [
        b'{"pm25": 7.5, "rh": 41',
        b'{"pm25": 7.5, "rh"',
        b'{"pm25": 7.5} garbage',
        b'{"pm25": 7 5}',
        b'{"pm25": 7.5.1}',
        b'{"pm25"; 7.5}',
        b'{"pm25": "\xff\xfe"}',
        b'{pm25: __import__("os")}',
        b"{'pm25': 1 + 1}",
        b"{,}",
    ],
)
def test_json_whose_meaning_is_open_is_refused(payload):
    for decoder, topic in (("", NATIVE), ("generic", "x/b2")):
        with pytest.raises(DecodeError) as refused:
            decode(decoder, topic, payload)
        assert refused.value.reason == "malformed"


HOME_MADE = {
    "values with units beside them": (
        {"id": "a1", "pm25": {"value": 7.5, "unit": "ug/m3"}, "hum": {"value": 41, "unit": "%"}},
        [("a1", AIR)],
    ),
    "units in siblings": (
        {"id": "a1", "pm25": 0.0075, "pm25_unit": "mg/m3", "rh": 41, "rh_units": "%"},
        [("a1", AIR)],
    ),
    "one value and its unit": (
        {"id": "a1", "pm25": 0.0075, "unit": "mg/m³"},
        [("a1", {"pm25": 7.5})],
    ),
    "one unit of all masses": (
        {"id": "a1", "pm25": 0.0075, "pm10": 0.009, "hum": 41, "units": "mg/m3"},
        [("a1", {**AIR, "pm10": 9.0})],
    ),
    "one value as text, and its unit": (
        {"id": "a1", "tvoc": "103", "rssi": -60, "unit": "ppb"},
        [("a1", {"tvoc_ppb": 103.0, "rssi": -60.0})],
    ),
    "a unit that is none": (
        {"id": "a1", "pm25": 7.5, "unit": "B12"},
        [("a1", {"pm25": 7.5})],
    ),
    "units in keys": (
        {"id": "a1", "pm25_mgm3": 0.0075, "temp_f": 68},
        [("a1", {"pm25": 7.5, "temp": 20.0})],
    ),
    "a list of names and values": (
        {
            "id": "a1",
            "sensors": [
                {"name": "pm25", "value": 7.5, "unit": "µg/m³"},
                {"name": "humidity", "value": "41"},
                {"name": "tvoc", "value": 9},
            ],
        },
        [("a1", AIR)],
    ),
    "SenML": (
        [
            {"bn": "urn:dev:mac:0024befffe80", "n": "pm25", "u": "ug/m3", "v": 7.5},
            {"n": "humidity", "u": "%RH", "v": 41},
        ],
        [("urn:dev:mac:0024befffe80", AIR)],
    ),
    "a list of one": ([{"id": "a1", "pm25": 7.5, "rh": 41}], [("a1", AIR)]),
    "two devices": (
        [{"id": "a1", "pm25": 7.5}, {"id": "a2", "pm25": 8}],
        [("a1", {"pm25": 7.5}), ("a2", {"pm25": 8.0})],
    ),
    "readings of one device": (
        {
            "device": "a1",
            "readings": [{"time": NOW - 1, "pm25": 7.5}, {"time": NOW, "pm25": 8}],
        },
        [("a1", {"pm25": 7.5}), ("a1", {"pm25": 8.0})],
    ),
    "an object a line": (
        b'{"id": "a1", "pm25": 7.5}\n{"id": "a1", "pm25": 8}\n',
        [("a1", {"pm25": 7.5}), ("a1", {"pm25": 8.0})],
    ),
    "JSON in a text of JSON": (json.dumps(json.dumps({"id": "a1", **AIR})), [("a1", AIR)]),
    "sizes under their kind": (
        {"id": "a1", "pm": {"2.5": 7.5, "10": 9}, "climate": {"rh": 41}},
        [("a1", {"pm25": 7.5, "pm10": 9.0, "rh": 41.0})],
    ),
    "the room and the street": (
        {"id": "a1", "indoor": {"pm25": 7.5, "rh": 41}, "outdoor": {"pm25": 30, "temp": 5}},
        [("a1", AIR)],
    ),
    "colons": (b"pm25:7.5, rh:41", [("x:b2", AIR)]),
    "spaces and units": (b"PM2.5 = 7.5 ug/m3; RH = 41 %", [("x:b2", AIR)]),
    "a line each": (b"PM2.5: 7.5 ug/m3\nHumidity: 41 %\n", [("x:b2", AIR)]),
    "a telemetry envelope": (
        {"deviceId": "a1", "d": {"PM2_5": 7.5, "humidity": "41 %"}},
        [("x:b2", AIR)],
    ),
    "the names of Adafruit's driver": (
        {"id": "a1", "pm25 env": 7.5, "pm25 standard": 9, "particles 03um": 800, "rh": 41},
        [("a1", AIR)],
    ),
}


@pytest.mark.parametrize("case", HOME_MADE)
def test_home_made_sensors(case):
    payload, expected = HOME_MADE[case]
    payload = payload.encode() if isinstance(payload, str) else payload
    assert decode("generic", "x/b2", payload) == expected


@pytest.mark.parametrize(
    "payload",
    [
        {"id": "a1", "pm25": 7.5, "unit": "ppb"},
        {"id": "a1", "pm25": 7.5, "pm25_unit": "furlong"},
        b'{"id": "a1", "t": 21.5, "h": 41, "p25": 7}',
        b'{"id": "a1", "tvoc": 120, "aqi": 40}',
        b'{"device": "a1", "time": [1, 2], "pm25": [7, 8]}',
        b"21.5,41,7",
        b"7.5",
    ],
)
def test_names_that_tell_no_quantity_are_refused(payload):
    with pytest.raises(DecodeError):
        decode("generic", "x/b2", payload)


def test_the_native_format_names_the_keys_that_it_does_not_know():
    with pytest.raises(DecodeError, match=r"unknown keys PM2\.5, humidity: use pm25, rh"):
        decode("", NATIVE, {"PM2.5": 7.5, "humidity": 41, "time": NOW})


def varint(number):
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def part(number, wire, value):
    body = varint(value) if wire == 0 else value
    length = varint(len(body)) if wire == 2 else b""
    return varint(number << 3 | wire) + length + body


def metric(name, value, *, inside=None):
    kinds = {float: (12, 5, lambda v: struct.pack("<f", v)), str: (15, 2, str.encode)}
    body = part(1, 2, name.encode())
    if inside is None:
        number, wire, write = kinds[type(value)]
        body += part(number, wire, write(value))
    else:
        body += part(4, 0, 19) + part(18, 2, inside)
    return part(2, 2, body)


SPARKPLUG = {
    "units in names": metric("Air/PM2.5 (ug/m3)", 7.5) + metric("Air/Humidity (%)", 41.0),
    "values below names": metric("pm25/value", 7.5) + metric("Climate/rh/value", 41.0),
    "numbers as text": metric("PM2.5", "7.5") + metric("Humidity", "41.0"),
    "a template": metric(
        "Boys 2", None, inside=metric("PM2.5", 7.5) + metric("Humidity", 41.0)
    ),
    "as JSON": json.dumps(
        {
            "timestamp": int(NOW * 1000),
            "metrics": [
                {"name": "PM2.5", "dataType": "Float", "value": 7.5},
                {"name": "Air/Humidity", "value": 41, "properties": {"engUnit": {"value": "%"}}},
            ],
            "seq": 3,
        }
    ).encode(),
}  # fmt: skip


@pytest.mark.parametrize("case", SPARKPLUG)
def test_sparkplug(case):
    assert decode("", "spBv1.0/G/DDATA/e1/d1", SPARKPLUG[case]) == [("G:e1:d1", AIR)]


CHIRPSTACK = "application/1/device/70b3d57ed0051234/event/up"
DECODED = {
    "an object inside": {
        "data": {
            "PM25": {"value": 7.5, "unit": "ug/m3"},
            "RH": {"value": 41, "unit": "%"},
        }
    },
    "a list of named values": {
        "measurements": [
            {"type": "PM2.5", "value": 7.5, "unit": "ug/m3"},
            {"type": "Humidity", "value": 41, "unit": "%"},
        ]
    },
    "a list of objects": {"messages": [{"pm25": 7.5}, {"humidity": 41}]},
    "what the frame says beside": {"humidity": 41, "pm25": 7.5, "last": {"humidity": 90}},
}


@pytest.mark.parametrize("case", DECODED)
def test_values_inside_what_a_codec_of_a_network_server_made(case):
    content = {"deviceInfo": {"devEui": "70b3d57ed0051234"}, "object": DECODED[case]}
    ((_, values),) = decode("", CHIRPSTACK, content)
    assert values == AIR


SHORTHAND = {
    "units behind numbers": b"pm25=7.5ug/m3 hum=41% temp=21.5C",
    "SenML": b'[{"n":"pm2.5","u":"ug/m3","v":7.5},{"n":"rh","u":"%","v":41},'
    b'{"n":"temperature","u":"Cel","v":21.5}]',
    "a fraction": b'{"pm25_ugm3": 7.5, "humidity_fraction": 0.41, "temperature_degF": 70.7}',
    "units in an object": b'{"units": {"pm25": "mg/m3", "temp": "F"}, "pm25": 0.0075, "rh": 41,'
    b' "temp": 70.7}',
    "keys of units": b'{"pm25": 0.0075, "pm25Units": "mg/m3", "humidity": 41, "temp": 21.5}',
    "German": '{"PM2,5": {"Wert": 7.5, "Einheit": "µg/m³"}, "Feuchte": 41, "Tmp": 21.5}'.encode(),
    "other words": b'{"node": "x", "epoch": 1790000000, "pm2p5_mass": 7.5, "rel_hum": 41, "temp_c":'
    b" 21.5}",
}


@pytest.mark.parametrize("case", SHORTHAND)
def test_shorthand_of_home_made_sensors(case):
    ((_, values),) = decode("generic", "x", SHORTHAND[case])
    assert values == pytest.approx({**AIR, "temp": 21.5})
