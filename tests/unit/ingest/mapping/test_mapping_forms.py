"""Test suggestions for formats other than JSON: key=value text and CSV."""

import base64
import json
import tomllib

import pytest

from ingest.mapping.decoder import compile_mapping
from ingest.mapping.draft import SuggestError
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
    with pytest.raises(SuggestError, match="2 names for 3 columns"):
        suggested("hall/b7/air", f"{TIME},12.3,41", columns="time,pm25")


def test_what_was_not_taken_is_listed():
    content = {"pm25": 12, "pm2_5": 11, "x9": 4, "door": "shut", "lamp": True}
    _, text = suggested("hall/b7/air", json.dumps(content), "pm25=3", "???", json.dumps(content))
    lines = text.splitlines()
    assert '#   ["pm2_5"] = 11' in lines
    assert '#   ["x9"] = 4' in lines
    assert '#   ["door"] = "shut"' in lines
    assert '#   ["lamp"] = true' in lines


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
    assert "# Left out:\n#   door, offset 4\n# Sample 3 is no example: " in text


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
        ("", "a frame of 12 bytes"),
    ],
)
def test_a_layout_that_does_not_fit_is_explained(layout, message):
    sample = FRAMES[0].hex().encode() if layout else b"AAcIAAAcADcIShAr"
    with pytest.raises(SuggestError, match=message):
        propose("hall/b7/up", [sample], received=NOW, columns=layout)


@pytest.mark.parametrize("sample", [b"out of order", b'{"dev": "24e124725c140001"}'])
def test_what_is_no_frame(sample):
    with pytest.raises(SuggestError, match=r"neither JSON|no name in it"):
        propose("hall/b7/up", [sample], received=NOW)
