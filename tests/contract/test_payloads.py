"""Every row of a manifest of payloads, decoded as `plumewatch decode` would.

The manifest is a JSON list of rows with ``file`` (beside it), ``topic``, ``expected`` and more; it
is given by the environment variable ``PLUMEWATCH_PAYLOADS`` (default:
``../shared/payloads/manifest.json`` beside the repository, if it is there). The project's own
manifest, ``tests/golden/payloads.json``, is run too: it was built from the field tables of the
formats, a trap a row, and its rows hold their payload as ``json``, ``hex`` or ``text``.

How a row is delivered:

- the decoder is the one named as the row's folder, else that of the topic, else `generic`;
- the topic is the first text in ``topic`` that looks like one, placeholders filled from the
  payload, from the expected device, or with defaults;
- ``-> .a.b`` after a topic says where in an envelope the payload belongs: it is put there, with the
  ``fPort`` that the topic names. Bare LoRaWAN frames are decoded bare, in a ChirpStack and in a
  Things Stack envelope; JSON in the folder of a frame format is what codecs of network servers made
  of a frame, one or several of them side by side, and put into a ChirpStack envelope;
- a file of lines ``<topic> <payload>`` is a sequence of messages, each read by its topic.

How ``expected`` is read: quantities by `QUANTITY` (null: the value must be absent); counts *up to*
a diameter by differences; ``_`` keys by `check_handling`; what Plumewatch does not carry
(`NOT_CARRIED`, and anything unknown) must not appear as a related quantity. Keys that mean nothing
here are written to the report as ``unchecked``.
"""

import base64
import json
import os
import re
from pathlib import Path

import pytest

from detection.quantities import QUANTITIES
from ingest.decoders import DECODERS, find, influx, sparkplug
from ingest.decoding import Context
from ingest.errors import DecodeError
from ingest.mapping import ha_discovery
from ingest.message import Message
from ingest.routes import decode_message
from ingest.validation import Limits, fold_id, may_alert, parse_time

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = Path(
    os.environ.get("PLUMEWATCH_PAYLOADS") or ROOT.parent / "shared" / "payloads" / "manifest.json"
)
OWN = json.loads((ROOT / "tests" / "golden" / "payloads.json").read_text(encoding="utf-8"))
GIVEN = "PLUMEWATCH_PAYLOADS" in os.environ
ROWS = json.loads(MANIFEST.read_bytes()) if GIVEN or MANIFEST.is_file() else []
NOW = 1_790_000_000.0
EARLIEST = 1_000_000_000.0

QUANTITY = {
    "pm1_ugm3": ("pm1", 1),
    "pm25_ugm3": ("pm25", 1),
    "pm4_ugm3": ("pm4", 1),
    "pm10_ugm3": ("pm10", 1),
    "pc03_per_dl": ("n03", 100),
    "pc05_per_dl": ("n05", 100),
    "pc1_per_dl": ("n10", 100),
    "pc25_per_dl": ("n25", 100),
    "pc5_per_dl": ("n50", 100),
    "pc10_per_dl": ("n100", 100),
    "nc10_per_cm3": ("n03", 1),
    "temperature_c": ("temp", 1),
    "humidity_pct": ("rh", 1),
    "co2_ppm": ("co2", 1),
    "co_ppm": ("co", 1),
    "pressure_hpa": ("pressure", 1),
    "pressure_pa": ("pressure", 100),
    "tvoc_ppb": ("tvoc_ppb", 1),
    "tvoc_ugm3": ("tvoc_ugm3", 1),
    "voc_index": ("voc_index", 1),
    "voc_raw_ticks": ("voc_raw", 1),
    "nox_index": ("nox_index", 1),
    "vape_index": ("vape_index", 1),
    "battery_pct": ("battery", 1),
    "light_lux": ("light", 1),
    "illumination": ("light", 1),
    "rssi_dbm": ("rssi", 1),
}
BELOW = {"nc05_per_cm3": "n05", "nc1_per_cm3": "n10", "nc25_per_cm3": "n25"}
NOT_CARRIED = {
    "tvoc_raw": ("tvoc_ppb", "tvoc_ugm3", "voc_index", "voc_raw"),
    "tvoc_iaq_rating": ("tvoc_ppb", "tvoc_ugm3", "voc_index", "voc_raw"),
    "gas_kohm": ("tvoc_ppb", "tvoc_ugm3", "voc_index", "voc_raw"),
    "eco2_ppm": ("co2",),
    "hcho_mgm3": ("tvoc_ugm3", "tvoc_ppb"),
    "nh3_ppm": ("co2", "co", "tvoc_ppb"),
    "h2s_ppm": ("co2", "co", "tvoc_ppb"),
    "o3_ppm": ("co2", "co", "tvoc_ppb"),
    "light_level": ("light",),
    "battery_v": ("battery",),
    "battery_mv": ("battery",),
    "pm25_compensated_ugm3": ("pm25",),
    "temperature_compensated_c": ("temp",),
    "humidity_compensated_pct": ("rh",),
}
EVENT = {
    "vape": "vendor_vape",
    "vape1": "vendor_vape",
    "vape_alarm": "vendor_vape",
    "vape_index": "vendor_vape",
    "vaping_index": "vendor_vape",
    "vaping_index_alarm": "vendor_vape",
    "vape_interference": "vendor_interference",
    "interference": "vendor_interference",
    "masking": "vendor_interference",
    "burning": "vendor_burning",
    "smoking": "vendor_burning",
    "thc": "vendor_vape",
    "vape_trigger": "vendor_vape",
    "tamper": "tamper",
    "tamper_alarm": "tamper",
}
FAULT = {
    "temperature": ("temp",),
    "humidity": ("rh",),
    "sht": ("temp", "rh"),
    "tvoc": ("tvoc_ugm3",),
    "vaping_index": ("vape_index",),
    "pm1_0": ("pm1",),
    "pm2_5": ("pm25",),
}
FLAG = {
    "_simulated": "simulated",
    "_history": "history",
    "_historical": "history",
    "_backfill": "history",
    "_cached": "cached",
    "_retained": "retained",
    "_late": "late",
    "_maintenance": "maintenance",
    "_health": "codec_error",
    "_clock_skew_s": "clock_skew",
}
SILENT = {"_no_alert", "_never_alert", "_never_alerts", "_stored_only", "_store_only"}
FRAMES = {"milesight", "decentlab", "elsys"}
UNCARRIED = {
    "sn", "hardware", "oem_id", "device_status", "lorawan_class", "tsl", "buzzer",
    "activity", "infrared", "infrared_and_visible", "visible_infrared", "pir", "motion",
    "occupancy", "pm_sensor_working_time_s", "typical_size_um", "typical_size_nm", "threshold",
    "sound_avg_dba", "nc4_per_cm3", "nox_raw_ticks", "field1", "field2", "bdSeq",
}  # fmt: skip
"""What the given rows say and Plumewatch has no place for."""
DEFAULTS = {
    "measurementid": "4100",
    "prefix": "ruuvi/AA:CC:EE:00:11:22/",
    "mac with colons": "E4:55:A8:00:00:01",
    "mac": "112233445566",
    "tag_mac": "C0:FF:EE:00:00:01",
    "deveui": "24e124000000a001",
    "deviceeui": "2cf7f10000000001",
}


def content_of(row):
    """Return the payload of a row."""
    if "json" in row:
        return json.dumps(row["json"], ensure_ascii=False).encode()
    if "text" in row:
        return row["text"].encode()
    if "hex" in row:
        return bytes.fromhex(row["hex"])
    path = MANIFEST.parent / row["file"]
    payload = path.read_bytes()
    if path.suffix == ".hex":
        return bytes.fromhex(payload.decode().strip())
    return base64.b64decode(payload) if path.suffix in (".b64", ".base64") else payload


def members(value):
    """All key and value pairs of nested JSON."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from members(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from members(inner)


def as_json(payload):
    try:
        return json.loads(payload)
    except ValueError:
        return None


def topic_of(row, payload):
    """First topic of a row, placeholders filled."""
    expected = row["expected"]
    known = {fold_id(k).replace("_", ""): v for k, v in members(as_json(payload))}

    def fill(match):
        name = match[1].lower()
        found = known.get(fold_id(name).replace("_", ""))
        if isinstance(found, str) and found:
            return found
        mac = known.get("id")
        if name == "tag_mac" and isinstance(mac, str) and len(fold_id(mac)) == 12:
            return mac
        if name in ("tag_mac", "mac", "deveui", "serialno", "udid") and expected.get("device"):
            return expected["device"]
        if name == "tag_mac" and expected.get("device_suffix"):
            return "C0:FF:EE:" + expected["device_suffix"]
        return DEFAULTS.get(name, f"x-{re.sub('[^a-z0-9]', '', name)}")

    text = re.sub(r"\{([^{}]+)\}", fill, row["topic"])
    for word in re.split(r"[\s|;,]+", text):
        if "/" in word and any(c.isalnum() for c in word):
            return word
    return "manifest/row"


def wrap(payload, path, *, devices):
    """Put a payload into the envelope where the row says it belongs."""
    inner = as_json(payload)
    if inner is None or path[-1] in ("data", "frm_payload"):
        inner = base64.b64encode(payload).decode()
    for name in reversed(path):
        inner = {name: inner}
    return json.dumps({**devices, **inner}).encode()


def wrap_tts(payload, ports):
    """Put a frame into an uplink of The Things Stack."""
    uplink = {"frm_payload": base64.b64encode(payload).decode()}
    if ports:
        uplink["f_port"] = ports["fPort"]
    return json.dumps({"uplink_message": uplink}).encode()


def decoded_objects(content, ports):
    """Messages with what codecs made of a frame: the content itself, or each object in it."""
    parts = [v for v in content.values() if isinstance(v, dict) and len(v) > 2]
    for part in parts if len(parts) > 1 else [content]:
        body = {"deviceInfo": {"devEui": "24e124000000a001"}, **ports, "object": part}
        yield "application/1/device/24e124000000a001/event/up", json.dumps(body).encode()


def deliveries(row):
    """Ways to deliver a row: each a decoder and a list of (topic, payload)."""
    payload = content_of(row)
    folder = row["file"].split("/")[0]
    topic = topic_of(row, payload)
    lines = sequence(payload)
    if lines:
        return [("", lines)]
    port = re.search(r"fPort (\d+)", row["topic"])
    ports = {"fPort": int(port[1])} if port else {}
    if folder in FRAMES and isinstance(as_json(payload), dict):
        return [("chirpstack", [m]) for m in decoded_objects(as_json(payload), ports)]
    places = re.findall(r"->\s*((?:\.\w+)+)", row["topic"])
    named = folder if folder in DECODERS else ""
    found = find(topic)
    by_topic = found.name if found else ""
    ways = []
    if places and as_json(payload) is None:
        eui = "24e124000000a001"
        ways.append((named, [(eui, payload)]))
        ways.append(
            (
                "chirpstack",
                [
                    (
                        f"application/1/device/{eui}/event/up",
                        wrap(payload, ["data"], devices={"deviceInfo": {"devEui": eui}, **ports}),
                    ),
                ],
            )
        )
        ways.append(
            (
                "tts",
                [
                    (
                        "v3/app@tenant/devices/d/up",
                        wrap_tts(payload, ports),
                    )
                ],
            )
        )
        if payload:
            ways.append(("chirpstack", [(f"application/1/device/{eui}/event/up", payload)]))
    elif places:
        parts = places[0].strip(".").split(".")
        ways.append((named or by_topic, [(topic, wrap(payload, parts, devices={}))]))
    else:
        ways.append((named or by_topic or "generic", [(topic, payload)]))
    return ways


def sequence(payload):
    """Messages of a file of lines ``<topic> <payload>``; none if it is no such file."""
    try:
        lines = [s.partition(" ") for s in payload.decode().splitlines() if s.strip()]
    except UnicodeDecodeError:
        return []
    if lines and all("/" in t and (d := find(t)) and d.name != "generic" for t, _, _ in lines):
        return [(t, p.encode()) for t, _, p in lines]
    return []


def received_for(expected):
    """A receive time two seconds after the row's own time."""
    inner = [expected, *(expected.get(k) for k in ("first", "second"))]
    for part in inner:
        text = isinstance(part, dict) and (part.get("ts") or part.get("ts_local"))
        if text:
            return stamp(text) + 2
    return NOW


def stamp(text):
    from datetime import UTC

    return parse_time(text, NOW, UTC)


class Decoded:
    def __init__(self, name, messages, received, *, retained):
        self.name, self.received, self.refused, self.readings = name, received, None, []
        self.payload = messages[-1][1]
        context = Context(limits=Limits(earliest=EARLIEST))
        for n, (topic, payload) in enumerate(messages):
            message = Message(topic, payload, received + n * 1e-3, retained=retained)
            try:
                self.readings += decode_message(message, context, name)
            except DecodeError as error:
                self.refused = error
        self.readings += context.states.joiner.close(context.limits)
        self.live = [r for r in self.readings if "history" not in r.flags] or self.readings
        self.events = {e for r in self.readings for e in r.events}
        self.faults = {f for r in self.readings for f in r.faults}
        self.flags = {f for r in self.readings for f in r.flags}
        self.values = {}
        for reading in self.live:
            for key, value in reading.values.items():
                self.values.setdefault(key, value)


def check_values(values, expected):
    for key, want in expected.items():
        if key in QUANTITY:
            quantity, per = QUANTITY[key]
            if want is None:
                assert quantity not in values, key
            else:
                assert values.get(quantity) == pytest.approx(want / per, rel=1e-5, abs=0.006), key
        elif key in BELOW and "nc10_per_cm3" in expected:
            above = expected["nc10_per_cm3"] - want
            assert values.get(BELOW[key]) == pytest.approx(above, abs=0.011), key
        elif key in NOT_CARRIED and want is not None:
            for quantity in NOT_CARRIED[key]:
                if not any(QUANTITY.get(k, ("",))[0] == quantity for k in expected):
                    assert quantity not in values, f"{key} must not become {quantity}"


def check_time(times, received, expected):
    if "ts" in expected and times:
        if expected["ts"] is None:
            assert received == pytest.approx(times[-1], abs=0.1)
        else:
            assert any(t == pytest.approx(stamp(expected["ts"]), abs=1e-3) for t in times)
    if "ts_local" in expected:
        assert stamp(expected["ts_local"]) in times


def check_identity(sensors, expected):
    if "device" in expected:
        assert fold_id(expected["device"]) in {fold_id(s) for s in sensors}
    if "device_suffix" in expected:
        assert any(fold_id(s).endswith(fold_id(expected["device_suffix"])) for s in sensors)


def check_events(got, expected):
    for key in ("tamper",):
        if key in expected:
            assert (key in got.events) is bool(expected[key])
    if "vape_alarm" in expected:
        assert ("vendor_vape" in got.events) is (expected["vape_alarm"] == "trigger")
    if "event" in expected:
        name = EVENT.get(str(expected["event"]).lower())
        vendor = got.events & {"vendor_vape", "vendor_interference", "vendor_burning", "tamper"}
        assert vendor == ({name} if name and expected.get("active", True) else set())
    for fault in expected.get("faults", []):
        name = fault.partition(":")[0]
        for quantity in FAULT.get(name, (name.replace("pm2_5", "pm25").replace("pm1_0", "pm1"),)):
            assert quantity in got.faults or quantity not in QUANTITIES
            assert quantity not in got.values


def check_handling(got, expected):  # noqa: C901 - one branch a key
    """Assert what the ``_`` keys say about handling."""
    for key, want in expected.items():
        if key == "_no_measurements" and want:
            assert not set(got.values) - {"battery", "rssi"}
        elif key in ("_decode_error", "_template") and want:
            assert got.refused is not None
            assert not got.readings
        elif key == "_out_of_range" and want:
            assert got.faults or got.refused
        elif key == "_availability":
            assert got.events & {"online", "offline"} == {"online" if want else "offline"}
        elif key == "_ts_fallback":
            assert got.readings[-1].time == got.received
            assert got.flags & {"no_time", "time_replaced"}
        elif key == "_age_s":
            assert got.received - got.readings[0].time == pytest.approx(want)
        elif key == "_restart":
            assert ("restart" in got.events) is bool(want)
        elif key == "_clock_skew_s":
            sent = stamp(as_json(got.payload)["time"])
            assert got.readings[0].time - sent == pytest.approx(want, abs=60)
        elif key == "_note":
            assert all(set(r.values) <= set(QUANTITIES) for r in got.readings)
        elif got.name == "sparkplug" and key.startswith("_") and key not in {*FLAG, *SILENT}:
            named = {m.name: m.value for m in sparkplug.parse(got.payload).metrics}
            assert named[key.removeprefix("_")] == want


def check_flags(got, expected):
    for key, want in expected.items():
        if key in FLAG:
            assert (FLAG[key] in got.flags) is bool(want), key
        elif key in SILENT and want:
            assert not any(may_alert(r) for r in got.readings)


def check_parts(got, expected):
    children = expected.get("children")
    if isinstance(children, dict):
        for name, want in children.items():
            (reading,) = [r for r in got.readings if fold_id(r.sensor).endswith(fold_id(name))]
            check_values(reading.values, want)
    elif children is not None:
        assert len({r.sensor for r in got.readings}) == children
    for key, want in expected.items():
        if key.endswith("_by_sensor"):
            quantity = QUANTITY[key.removesuffix("_by_sensor")][0]
            have = [r.values[quantity] for r in got.readings if quantity in r.values]
            assert sorted(have) == pytest.approx(sorted(want.values()))
    if "rows" in expected:
        assert len(got.readings) == expected["rows"]
    for reading, part in zip(got.readings, ("first", "second"), strict=False):
        want = expected.get(part, {})
        check_values(reading.values, want)
        check_time([reading.time], got.received, want)
        if "tamper" in want:
            assert ("tamper" in reading.events) is want["tamper"]


def check_lines(got, expected):
    if "lines" in expected and got.name == "influx":
        points = influx.parse_lines(got.payload)
        assert len(points) == expected["lines"]
        for point, part in zip(points, ("first", "second"), strict=False):
            want = expected.get(part, {})
            assert point.timestamp == want.get("ts_ns", point.timestamp)
            assert point.fields.get("value") == want.get("value", point.fields.get("value"))
            assert want.get("room", point.tags.get("room")) == point.tags.get("room")


def check_suggestion(got, expected):
    if got.name != "ha_discovery" or "state_topic" not in expected:
        return
    found = ha_discovery.suggest(got.payload, Limits())
    assert found.state_topic == expected["state_topic"]
    if "path" in expected:
        assert list(found.path) == expected["path"]
    if "availability" in expected:
        assert expected["availability"] in found.availability


def unchecked(expected, name):
    """Keys of a row that no check here looks at."""
    known = {*QUANTITY, *BELOW, *NOT_CARRIED, *UNCARRIED, *FLAG, *SILENT}
    known |= {"ts", "ts_local", "device", "device_suffix", "tamper", "vape_alarm", "event"}
    known |= {"active", "faults", "value", "children", "rows", "first", "second", "lines"}
    known |= {"state_topic", "path", "availability"}
    known |= {"_no_measurements", "_decode_error", "_template", "_out_of_range", "_availability"}
    known |= {"firmware", "_ts_fallback", "_age_s", "_note", "_restart"}
    rest = [k for k in expected if k not in known and not k.endswith("_by_sensor")]
    return [k for k in rest if not (name == "sparkplug" and k.startswith("_"))]


@pytest.mark.parametrize(
    "row",
    [*ROWS, *OWN],
    ids=[*(r["file"] for r in ROWS), *(f"own:{r['file']}" for r in OWN)],
)
def test_row(row, record_property):
    expected = row["expected"]
    record_property("unchecked", ", ".join(unchecked(expected, row["file"].split("/")[0])))
    received = received_for(expected)
    for name, messages in deliveries(row):
        got = Decoded(
            name, messages, received, retained="_retained" in expected or "RETAINED" in row["topic"]
        )
        if not any(k in expected for k in ("_decode_error", "_template", "_no_measurements")):
            carried = any(k in QUANTITY and v is not None for k, v in expected.items())
            assert got.readings or not carried, got.refused
        if "RETAINED" in row["topic"]:
            assert all("retained" in r.flags for r in got.readings if r.values)
        check_values(got.values, expected)
        check_time([r.time for r in got.readings], received, expected)
        if got.readings:
            check_identity([r.sensor for r in got.readings], expected)
        if got.values and isinstance(expected.get("value"), int | float):
            assert any(v == pytest.approx(expected["value"]) for v in got.values.values())
        check_events(got, expected)
        check_handling(got, expected)
        check_flags(got, expected)
        check_parts(got, expected)
        if "firmware" in expected:
            assert {r.firmware for r in got.readings} == {expected["firmware"]}
        check_lines(got, expected)
        check_suggestion(got, expected)
        for reading in got.readings:
            for key, value in reading.values.items():
                assert QUANTITIES[key].accepts(value)
