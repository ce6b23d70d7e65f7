"""Suggestions for what is no JSON: key=value text, lines of CSV."""

import base64
import json
import tomllib

import pytest

from ingest.mapping.decoder import compile_mapping
from ingest.mapping.draft import SuggestError
from ingest.mapping.examples import find_failures
from ingest.mapping.frames import sketch
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
    both, _ = suggested("hall/b7/air", "\r\n".join(lines))  # the header is in each message
    assert both["example"][0]["values"] == {"pm25": 12.3, "rh": 41.0}


def test_lines_of_csv_without_a_header():
    entry, _ = suggested("hall/b7/air", f"{TIME},12.3,41", columns="time,pm25,rh")
    assert [f["quantity"] for f in entry["field"]] == ["pm25", "rh"]
    assert is_right(entry)
    with pytest.raises(SuggestError, match=r"column 2.*12.3.*--columns"):
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
    assert '# Not read: 2 of 4 samples, as the others are json: "pm25=3"; "???".' in lines


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
    ],
)
def test_a_frame_gets_a_skeleton_whose_examples_check_the_offsets(written, form, binary):
    text = sketch("hall/b7/up", [*map(written, FRAMES), b"other"], NOW)
    assert "# sample 2 02 00 81 ff 01\n# differs        ^^ ^^\n" in text
    head, _, rest = text.partition("# [[mapping.field]]")
    filled = ("[[mapping.field]]" + rest).replace("\n# ", "\n").replace("offset = 0", "offset = 1")
    (entry,) = tomllib.loads(head + filled)["mapping"]
    assert entry["format"] == form
    assert entry["binary"] == {**binary, "min_length": 5}
    for example, value in zip(entry["example"], (12.3, 12.9), strict=True):
        assert example["sensor"] == "b7"
        assert not is_right(entry)
        example["values"] = {"pm25": value}
    assert is_right(entry)
    assert 'encoding = "base64"' in sketch("hall/b7/up", [b"AAcIAAAcADcIShAr"], NOW)
    assert sketch("hall/b7/up", [b"out of order", b'{"dev": "24e124725c140001"}'], NOW) == ""
