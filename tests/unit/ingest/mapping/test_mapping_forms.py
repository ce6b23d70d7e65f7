"""Test suggestions for formats other than JSON: key=value text and CSV."""

import base64
import json
import tomllib

import pytest

from ingest.mapping.decoder import compile_mapping
from ingest.mapping.draft import ColumnsError, SuggestError
from ingest.mapping.examples import find_failures
from ingest.mapping.frames import propose
from ingest.mapping.schema import MappingConfig, check_mapping
from ingest.mapping.suggest import suggest

NOW = 1_790_000_000.0
TIME = "2026-09-21T14:13:10Z"


def suggested(topic, *samples, columns=""):
    text = suggest(topic, [s.encode() for s in samples], received=NOW, columns=columns)
    (entry,) = tomllib.loads(text)["mapping"]
    return entry, text


def is_right(entry):
    mapping = MappingConfig.model_validate(entry)
    return not [*check_mapping(mapping), *find_failures(compile_mapping(mapping), mapping.example)]


@pytest.mark.parametrize(
    "payload",
    [
        f"time={TIME} pm25=12.3 hum=41",
        "time=2026-09-21 14:13:10 pm25=12.3 hum=41 %",
        "TIME = 2026-09-21 14:13:10, PM 2.5 = 12.3 ug/m3, hum = 41",
        f"ts: {TIME}; pm2.5: 12.3; rh: 41",
        "time=2026-09-21 14:13:10 pm25 = 12.3 hum= 41",
        'time="2026-09-21 14:13:10" pm25="12.3" hum=41',
        "PM2.5 = 12.3 ug/m3  room light = 70.1  hum = 41  time = 2026-09-21 14:13:10",
    ],
)
def test_pairs_with_times_and_spaces(payload):
    entry, _ = suggested("hall/b7/air", payload)
    assert entry["format"] == "pairs"
    (example,) = entry["example"]
    assert example["values"] == {"pm25": 12.3, "rh": 41.0}
    assert example["time"] == NOW - 10
    assert is_right(entry)


@pytest.mark.parametrize("sep", [",", ";", "\t"])
def test_lines_of_csv_with_a_header(sep):
    rows = (("time", "pm25 (mg/m3)", "rh", "door"), (TIME, "0.0123", "41", "shut"))
    lines = [sep.join(row) for row in rows]
    entry, text = suggested("hall/b7/air", *lines)
    assert entry["format"] == "csv"
    assert [(f["quantity"], f["unit"], f["path"]) for f in entry["field"]] == [
        ("pm25", "mg/m3", [1]),
        ("rh", "%", [2]),
    ]
    assert entry["example"][0]["values"] == {"pm25": 12.3, "rh": 41.0}
    assert '#   ["door"] = "shut"' in text
    assert is_right(entry)
    both, _ = suggested("hall/b7/air", "\r\n".join(lines))  # each message contains the header
    assert both["example"][0]["values"] == {"pm25": 12.3, "rh": 41.0}


def test_lines_of_csv_without_a_header():
    entry, _ = suggested("hall/b7/air", f"{TIME},12.3,41", columns="time,pm25,rh")
    assert [f["quantity"] for f in entry["field"]] == ["pm25", "rh"]
    assert is_right(entry)
    with pytest.raises(SuggestError, match=r"column 2.*12.3.*as columns"):
        suggested("hall/b7/air", f"{TIME},12.3,41")
    with pytest.raises(ColumnsError, match="2 names for 3 columns"):
        suggested("hall/b7/air", f"{TIME},12.3,41", columns="time,pm25")
    misspelt = "'humidty' is not a known quantity; did you mean 'humidity'.*- to leave it out"
    with pytest.raises(ColumnsError, match=misspelt):
        suggested("hall/b7/air", f"{TIME},12.3,41", columns="time,pm25,humidty")
    entry, _ = suggested("hall/b7/air", f"{TIME},12.3,41,7,8", columns="time,pm25,-,,door")
    assert [f["quantity"] for f in entry["field"]] == ["pm25"]


def test_what_was_not_taken_is_listed():
    content = {"pm25": 12, "pm2_5": 11, "x9": 4, "door": "shut", "lamp": True}
    _, text = suggested("hall/b7/air", json.dumps(content), "pm25=3", "???", json.dumps(content))
    for path in ('"pm2_5"] = 11', '"x9"] = 4', '"door"] = "shut"', '"lamp"] = true'):
        assert f"\n#   [{path}\n" in text


FRAMES = (bytes.fromhex("02007bfe01"), bytes.fromhex("020081ff01"))


@pytest.mark.parametrize(
    ("written", "form", "binary"),
    [
        (bytes, "raw", {"encoding": "raw"}),
        (lambda frame: frame.hex(" ").upper().encode(), "text", {"encoding": "hex"}),
        (base64.b64encode, "text", {"encoding": "base64"}),
        (
            lambda frame: json.dumps({"dev": "b7", "data": frame.hex()}).encode(),
            "json",
            {"encoding": "hex", "path": ["data"]},
        ),
        (
            lambda frame: json.dumps({"id": "b7b7b7b7b7", "up": {"frm": frame.hex()}}).encode(),
            "json",
            {"encoding": "hex", "path": ["up", "frm"]},
        ),
    ],
)
def test_a_frame_is_read_by_the_layout_of_the_data_sheet(written, form, binary):
    samples = [*map(written, FRAMES), b"other"]
    with pytest.raises(SuggestError, match="a frame of 5 bytes: give its layout") as error:
        propose("hall/b7/up", samples, received=NOW)
    assert "sample 2 02 00 81 ff 01\ndiffers        ^^ ^^" in str(error.value)
    layout = "type:u8=2, pm25: u16/10, temp:i8*0.5+20, door:u8"
    text = propose("hall/b7/up", samples, received=NOW, columns=layout)
    (entry,) = tomllib.loads(text)["mapping"]
    assert (entry["format"], entry["binary"]) == (form, {**binary, "min_length": 5})
    values = [{"pm25": 12.3, "temp": 19.0}, {"pm25": 12.9, "temp": 19.5}]
    assert [(e["sensor"], e["values"]) for e in entry["example"]] == [("b7", v) for v in values]
    assert is_right(entry)
    assert "# Left out:\n#   door, offset 4\n# Sample 3 is not used as an example: " in text


def test_the_device_and_the_time_beside_a_frame():
    sample = {"devEUI": "24E1", "ts": NOW - 5, "data": "AgB7"}
    text = propose("up", [json.dumps(sample).encode()], received=NOW, columns="u8, pm25:u16le")
    (entry,) = tomllib.loads(text)["mapping"]
    (example,) = entry["example"]
    assert (example["sensor"], example["time"]) == ("24E1", NOW - 5)
    assert example["values"] == {"pm25": 31488.0}


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("pm25:u7", "'pm25:u7' in the layout: write it as in 'type:u8"),
        ("x:u8, y:u16", "no name in the layout is a known quantity"),
        ("pm25:u16, rh:u32", "the layout has 6 bytes, the frame 5"),
        ("type:u8=3, pm25:u16", "'type:u8=3' in the layout: at offset 0, the frames have 2"),
        ("pm25:u16, humidty:u8", "'humidty' is not a known quantity; did you mean 'humidity'"),
        ("", "a frame of 12 bytes"),
    ],
)
def test_a_layout_that_does_not_fit_is_explained(layout, message):
    frame = FRAMES[0].hex() if layout else "AAcIAAAcADcIShAr"
    beside = json.dumps({"dev": "b7", "rssi": -60, "data": frame})
    for sample in (frame, beside):
        with pytest.raises(SuggestError, match=message):
            propose("hall/b7/up", [sample.encode()], received=NOW, columns=layout, alone=False)


EUROPEAN = {"pm25": 12.3, "temp": 21.5, "rh": 45.0}


@pytest.mark.parametrize(
    ("topic", "payload", "unit"),
    [
        (
            "schule/wc/jungen-1/luft",
            (
                '{"gerät": "jungen-1", "zeit": "2026-09-21T14:13:10Z", "messwerte": {"feinstaub": '
                '"12,3 µg/m³", "temperatur": "21,5 °C", "luftfeuchte": "45,0 %"}}'
            ),
            "as the payload says",
        ),
        (
            "escuela/equipo-1/aire",
            (
                '{"fecha": "2026-09-21T14:13:10Z", "polvo_fino": "12,3", "temperatura": "21,5",'
                ' "humedad": 45}'
            ),
            "",
        ),
        ("dust/unit-1/csv", "21.09.2026 14:13:10;12,3;21,5;45", ""),
        ("dust/unit-1/csv", "Zeit;PM2,5;Temp;Feuchte\n21.09.2026 14:13:10;12,3;21,5;45", ""),
        ("dust/unit-1/x", "PM2.5=12,3; temp=21,5; rh=45; time=2026-09-21 14:13:10", ""),
        ("dust/unit-1/x", "PM2.5=12,3ug/m3; temp=70,7F; rh=45%; time=2026-09-21 14:13:10", ""),
        (
            "schule/wc-1/luft",
            '{"Feinstaub_PM2,5": {"Wert": "12,3", "Einheit": "µg/m³"}, "Feuchte": {"Wert": 45}}',
            "as the payload says",
        ),
        (
            "ecole/wc-1/air",
            '{"pm25": "12,3", "humidité": 45, "horodatage": "2026-09-21T14:13:10Z"}',
            "",
        ),
    ],
)
def test_decimal_commas_and_names_in_other_languages(topic, payload, unit):
    entry, text = suggested(topic, payload, columns="time;pm25;temp;rh" if "csv" in topic else "")
    assert entry["decimal"] == ","
    (example,) = entry["example"]
    assert example["values"] == {key: EUROPEAN[key] for key in example["values"]}
    assert example["values"].keys() >= {"pm25", "rh"}
    assert example.get("time") == (NOW - 10 if "13:10" in payload else None)
    assert unit in text
    assert is_right(entry)


def test_a_thousands_separator_is_no_decimal_comma():
    entry, _ = suggested("a/b7/c", '{"pm25": 7, "co2": "1,234"}')
    assert "decimal" not in entry
    assert [f["quantity"] for f in entry["field"]] == ["pm25"]


@pytest.mark.parametrize(
    ("stamp", "form"),
    [
        ("9/21/2026 2:13:10 PM", "%m/%d/%Y %I:%M:%S %p"),
        ("09/21/2026 14:13:10", "%m/%d/%Y %H:%M:%S"),
        ("21/09/2026 14:13:10", "%d/%m/%Y %H:%M:%S"),
        ("21.9.2026 14:13:10", "%d.%m.%Y %H:%M:%S"),
    ],
)
def test_dates_as_people_write_them(stamp, form):
    entry, text = suggested("a/b7/c", json.dumps({"when": stamp, "pm25": 7}))
    assert entry["time"]["formats"] == [form]
    assert entry["example"][0]["time"] == NOW - 10
    assert ("guess: month first" in text) == form.startswith("%m")


@pytest.mark.parametrize(
    ("payload", "unit"),
    [
        ('{"value": 7.1, "unit": "mg/m3", "ts": 1790000000000}', "mg/m3"),
        ('{"val": 7.1}', "ug/m3"),
        ("7.1 mg/m³", "mg/m3"),
        ("7.1mg/m3", "mg/m3"),
        ("7,1 mg/m³", "mg/m3"),
        ("7,1", "ug/m3"),
        ('{"Wert": 7.1, "Einheit": "mg/m³"}', "mg/m3"),
    ],
)
def test_one_value_a_topic_with_its_unit(payload, unit):
    entry, _ = suggested("hvac/b1/rm112/pm2_5", payload)
    assert entry["topic"] == "hvac/b1/{id}/{metric}"
    assert entry["when"] == [{"capture": "metric", "equals": "pm2_5"}]
    assert [(f["quantity"], f["unit"]) for f in entry["field"]] == [("pm25", unit)]
    assert is_right(entry)


@pytest.mark.parametrize(
    ("topic", "content"),
    [
        ("acme/e1/pm", {"v": 0.005, "u": "mg/m3"}),
        ("acme/e1/state", {"pm": {"value": 0.005, "unit": "mg/m3"}}),
    ],
)
def test_a_bare_value_with_a_unit_is_asked_for_its_quantity(topic, content):
    with pytest.raises(ColumnsError, match="name it as columns, such as pm25"):
        suggested(topic, json.dumps(content))
    entry, _ = suggested(topic, json.dumps(content), columns="pm25")
    (example,) = entry["example"]
    assert (example["sensor"], example["values"]) == ("e1", {"pm25": 5.0})
    assert is_right(entry)


def test_one_object_a_line():
    lines = "".join(json.dumps({"ts": NOW - k, "cov_ppb": 300, "pm25": k}) + "\n" for k in (2, 1))
    entry, _ = suggested("a/b7/c", lines)
    assert entry["each"]["path"] == []
    assert [f["quantity"] for f in entry["field"]] == ["tvoc_ppb", "pm25"]
    assert entry["sensor"] == {"capture": "id"}
    assert is_right(entry)


DEVICES = {"aa:01": {"pm25": 7, "rh": 44}, "aa:02": {"pm25": 9, "rh": 41}}
LISTED = [{"mac": name, **values} for name, values in DEVICES.items()]


@pytest.mark.parametrize(
    ("content", "each", "sensors"),
    [
        ({"gateway": "GW4", "ts": NOW, "devices": LISTED}, ["devices"], [*DEVICES]),
        ({"ts": NOW, "data": {"sensors": DEVICES}}, ["data", "sensors"], [*DEVICES]),
        (LISTED, [], [*DEVICES]),
        ({"ts": NOW, "ports": [*DEVICES.values()]}, ["ports"], ["gw4:0", "gw4:1"]),
    ],
)
def test_several_devices_in_one_message(content, each, sensors):
    entry, text = suggested("site/gw4/batch", json.dumps(content))
    assert entry["topic"] == "site/{id}/batch"
    assert entry["each"]["path"] == each
    assert [f["path"] for f in entry["field"]] == [["pm25"], ["rh"]]
    assert ("time" in entry) == isinstance(content, dict)
    assert [f'# id = "{sensor}"' in text for sensor in sensors] == [True, True]
    assert is_right(entry)


@pytest.mark.parametrize(
    "content",
    [
        {"sht": {"temp": 20, "rh": 44}, "bme": {"temp": 21, "rh": 41}, "pms": {"pm25": 7}},
        {"indoor": {"pm25": 7}, "outdoor": {"pm25": 9}},
        {"sensors": [{"type": "sps30", "pm25": 7}, {"type": "sht", "temp": 20}]},
    ],
)
def test_parts_of_one_device_are_no_devices(content):
    entry, _ = suggested("site/gw4/batch", json.dumps(content))
    assert "each" not in entry


def test_values_with_names_and_units_in_a_list():
    values = {"PM2.5": (7, "µg/m³"), "TVOC": (210, "ppb"), "Temperature": (71.2, "F")}
    listed = [{"name": n, "value": v, "unit": u} for n, (v, u) in values.items()]
    entry, text = suggested("a/b7/c", json.dumps({"measurements": listed}))
    found = {f["quantity"]: f["unit"] for f in entry["field"]}
    assert found == {"pm25": "ug/m3", "tvoc_ppb": "ppb", "temp": "degF"}
    assert "Left out" not in text


@pytest.mark.parametrize("sample", [b"out of order", b'{"dev": "24e124725c140001"}'])
def test_what_is_no_frame(sample):
    with pytest.raises(SuggestError, match=r"neither JSON|no name is a"):
        propose("hall/b7/up", [sample], received=NOW)
