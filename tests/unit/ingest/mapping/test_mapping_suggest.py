"""Test what mapping suggestions guess, mark as a guess, or leave to a person."""

import json
import tomllib

import pytest

from ingest.mapping.decoder import compile_mapping
from ingest.mapping.draft import SuggestError
from ingest.mapping.examples import find_failures
from ingest.mapping.schema import MappingConfig, check_mapping
from ingest.mapping.suggest import suggest

NOW = 1_790_000_000.0


def text_of(topic, *contents, **more):
    samples = [c if isinstance(c, bytes) else json.dumps(c).encode() for c in contents]
    return suggest(topic, samples, received=NOW, **more)


def suggested(topic, *contents, **more):
    (entry,) = tomllib.loads(text_of(topic, *contents, **more))["mapping"]
    mapping = MappingConfig.model_validate(entry)
    assert list(check_mapping(mapping)) == []
    assert list(find_failures(compile_mapping(mapping), mapping.example)) == []
    return entry


def fields(entry):
    return {f["quantity"]: (f["unit"], f["path"]) for f in entry["field"]}


def line(text, start):
    (found,) = [each for each in text.splitlines() if each.startswith(start)]
    return found


def test_nested_json():
    entry = suggested(
        "site/n2/acme-7/state",
        {
            "id": "ACME7",
            "ts": 1_789_999_990_000,
            "air": {"pm2.5": 12, "co2": "700 ppm", "n03": 40},
            "temp_f": 68,
            "lid": {"tamper": True},
        },
    )
    assert entry["topic"] == "site/n2/{id}/state"
    assert entry["sensor"] == {"capture": "id"}
    assert entry["time"] == {"path": ["ts"], "formats": ["unix_ms"]}
    assert entry["when"] == [{"path": ["air"], "present": True}]
    assert fields(entry) == {
        "pm25": ("ug/m3", ["air", "pm2.5"]),
        "co2": ("ppm", ["air", "co2"]),
        "n03": ("/cm3", ["air", "n03"]),
        "temp": ("degF", ["temp_f"]),
    }
    assert entry["event"] == [{"event": "tamper", "path": ["lid", "tamper"], "equals": True}]
    (example,) = entry["example"]
    assert example["time"] == 1_789_999_990.0
    assert example["values"] == {"pm25": 12.0, "co2": 700.0, "n03": 40.0, "temp": 20.0}
    assert example["events"] == ["tamper"]


def test_guesses_are_marked_and_stated_facts_are_named():
    text = text_of("a/b7/c", {"pm25": 7, "rco2 (ppm)": 600, "temperature": 70, "rh": "41 %"})
    assert "Check everything marked guess" in text
    units = [each for each in text.splitlines() if each.startswith("unit = ")]
    assert [u.partition("# ")[2] for u in units] == [
        "guess: the usual unit; the payload gives none",
        "as the name says",
        "guess: temperature always above 45 °C: looks like °F",
        "as the payload says",
    ]
    assert units[2].startswith('unit = "degF"')
    assert "# guess" in line(text, "sensor = {")


def test_voc_without_unit_is_left_to_a_person():
    text = text_of("a/b7/c", {"pm25": 7, "tvoc": 300})
    assert "tvoc" not in json.dumps(fields(tomllib.loads(text)["mapping"][0]))
    assert '# ["tvoc"] measures VOC; see' in text
    for quantity in ("tvoc_ppb", "tvoc_ugm3", "voc_index"):
        assert quantity in text
    with pytest.raises(SuggestError, match="VOC value has no unit"):
        text_of("a/b7/c", {"tvoc": 300})


def test_sentinels_become_missing():
    entry = suggested("a/b7/c", {"pm25": 65535, "rh": 101, "co2": 600})
    assert [f.get("missing") for f in entry["field"]] == [[65535], [101], None]
    assert entry["example"][0]["faults"] == ["pm25", "rh"]


def test_named_items_of_a_list():
    content = {"mac": "a1b2", "data": [{"type": "pm25", "value": "7"}, {"type": "co2", "value": 6}]}
    entry = suggested("report", content)
    assert fields(entry)["pm25"][1] == ["data", {"where": "type", "equals": "pm25"}, "value"]
    assert entry["sensor"] == {"path": ["mac"]}


@pytest.mark.parametrize(
    ("topic", "content", "filter_", "sensor"),
    [
        ("x", {"pm25": 1}, "x", {"fixed": "x"}),
        ("x", {"pm25": 1, "mac": "a1"}, "x", {"path": ["mac"]}),
        ("home/hall", {"pm25": 1}, "home/{id}", {"capture": "id"}),
        ("a/b/hall/c", {"pm25": 1}, "a/b/{id}/c", {"capture": "id"}),
        ("v1/a/hall", {"pm25": 1, "device": "a"}, "v1/{id}/hall", {"capture": "id"}),
        ("v1/a/hall", {"pm25": 1, "device": "zz"}, "v1/a/hall", {"path": ["device"]}),
        ("v1/a9/hall", {"pm25": 1, "device": "zz"}, "v1/{id}/hall", {"capture": "id"}),
        ("s/{room}/{device_id}/x", {"pm25": 1}, "s/{room}/{device_id}/x", {"capture": "device_id"}),
    ],
)
def test_which_level_names_the_sensor(topic, content, filter_, sensor):
    entry = suggested(topic, content)
    assert entry["sensor"] == sensor
    if "capture" in sensor or "fixed" in sensor:
        assert entry["topic"] == filter_


@pytest.mark.parametrize(
    "name", ["timestamp", "t", "tst", "at", "timestampMs", "epoch_us", "measured_at", "hora"]
)
@pytest.mark.parametrize(
    ("value", "formats"),
    [
        (1_790_000_000, ["unix_s"]),
        (1_790_000_000_250, ["unix_ms"]),
        (1_790_000_000_000_000, ["unix_us"]),
        (1_790_000_000_000_000_000, ["unix_ns"]),
        ("2026-09-21T14:13:20Z", ["iso8601"]),
        ("2026-09-21 14:13:20", ["iso8601"]),
        (68.4, None),
        (123_456, None),
        (8_617_030_412_345, None),  # in 2243
        (1e300, None),
        ("noon", None),
    ],
)
def test_a_time_and_a_short_name_whose_value_is_one(name, value, formats):
    content = {"pm25": 1, name: value}
    assert suggested("a/b7/c", content).get("time", {}).get("formats") == formats
    if formats is None:
        says_so = "is not a date and time" in text_of("a/b7/c", content)
        assert says_so == (name == "timestamp")
        assert ('"] = 68.4' in text_of("a/b7/c", content)) == (value == 68.4)


@pytest.mark.parametrize(
    "name", ["uptime", "boot_time", "serial_no", "last_boot", "install_date", "nextAt", "x"]
)
def test_what_is_not_the_time_of_a_reading(name):
    content = {"pm25": 1, name: 1_764_321_000}
    assert "time" not in suggested("a/b7/c", content)
    assert f'["{name}"] = 1764321000 (a time in unix_s?)' in text_of("a/b7/c", content)


def test_an_old_sample_is_shown_at_its_own_time():
    entry = suggested("a/b7/c", {"pm25": 1, "ts": 1_700_000_000})
    assert entry["example"][0]["received"] == 1_700_000_000.0


def test_one_bare_value_a_topic():
    entry = suggested("bms/floor2/room214/particulate25", b"7.1")
    assert entry["topic"] == "bms/floor2/{id}/{metric}"
    assert entry["sensor"] == {"capture": "id"}
    assert entry["join_s"] == 1.0
    assert entry["when"] == [{"capture": "metric", "equals": "particulate25"}]
    entry = suggested("site/n2/girls-restroom/particulate25", b"7.1")
    assert entry["topic"] == "site/n2/{id}/{metric}"
    entry = suggested("home/{id}/pm25/state", b"7.1")
    assert entry["topic"] == "home/{id}/pm25/state"
    assert "when" not in entry
    entry = suggested("home/r7/spores/state", b"7.1", columns="pm1")
    assert (entry["topic"], entry["field"][0]["quantity"]) == ("home/{id}/{metric}/state", "pm1")
    with pytest.raises(SuggestError, match='columns: "spores" is not a known quantity'):
        text_of("home/r7/spores", b"7.1", columns="spores")


def test_samples_that_are_no_examples_are_named():
    samples = [{"pm25": n} for n in (7, 8, 9, 10)]
    first = ({"pm25": 6, "co2": 600}, b"pm25=5", {"door": 1})
    text = text_of("a/b7/c", *first, *samples, b"x" * 20_000)
    assert "# Sample 2 is not read: it is pairs, the others are json." in text
    assert "# Sample 3 is not used as an example: nothing measured and nothing to report." in text
    assert "# Read, but not shown: 2 more samples." in text
    assert "# Sample 8 is not read: over 16384 bytes." in text
    assert "# Sample" not in text_of("a/b7/c", {"pm25": 6})


def test_a_mapping_whose_examples_only_have_faults_says_so():
    text = text_of("a/b7/c", {"pm25": 65535, "rh": 40}, {"pm25": 65535, "rh": 41})
    assert "# Note: no example has a value for pm25, only faults: check its unit" in text


@pytest.mark.parametrize("parent", ["pm", "PM", "pms", "air_pm", "particulates"])
@pytest.mark.parametrize(
    "names",
    [
        ("1", "2.5", "10"),
        ("p1", "p25", "p10"),
        ("P1.0", "P2.5", "P10"),
        ("p1_0", "p2_5", "p10_0"),
        ("pm1", "pm_25", "pm10"),
        ("1p0", "2p5", "10p0"),
    ],
)
def test_sizes_inside_a_parent_that_says_particulate_matter(parent, names):
    entry = suggested("a/b7/c", {parent: dict(zip(names, (4.1, 6.3, 7.0), strict=True))})
    assert {quantity: path for quantity, (_, path) in fields(entry).items()} == {
        "pm1": [parent, names[0]],
        "pm25": [parent, names[1]],
        "pm10": [parent, names[2]],
    }


@pytest.mark.parametrize(
    ("content", "taken"),
    [
        ({"pm": {"P1": 9, "P2": 6}}, set()),  # like Sensor.Community: PM10 and PM2.5
        ({"pm": {"P0": 3, "P1": 9, "P4": 7}}, {"pm4"}),
        ({"gas": {"p1": 4, "p25": 6, "p10": 7}}, set()),
        ({"p1": 4, "p25": 6, "p10": 7}, set()),
        ({"pm": {"p03": 4, "p25_count": 6, "p5": 7}}, set()),
    ],
)
def test_sizes_that_may_be_something_else_are_not_guessed(content, taken):
    assert set(fields(suggested("a/b7/c", {"rh": 40, **content}))) == {"rh"} | taken


@pytest.mark.parametrize(
    ("topic", "payload", "message"),
    [
        ("a/b/c", b"7.1", "no level of the topic"),
        ("a/b7/tvoc", b"7.1", "VOC"),
        ("a/b/c", b"out of order", "neither JSON"),
        ("a/b/c", b"", "at least one payload"),
        ("a/b/c", b"x" * 20_000, "at least one payload"),
        ("a/b/c", {"foo": 1, "b": {"c": 2}}, 'foo"] = 1; .* known names: pm25, .*co2'),
        ("a/b/c", {"a": "x"}, "no name is a"),
        ("a/b/c", b"<r><pm25>7</pm25></r>", "XML is not supported"),
        (
            "gw/node9/stat",
            {"rssi": -61, "battery": 80},
            "nothing in it measures air: rssi, battery",
        ),
        ("gw/node9/wifi_rssi", b"-61", "nothing in it measures air: rssi"),
        ("a/#", {"pm25": 1}, r"without \+ and #"),
        ("", {"pm25": 1}, "topic cannot be used as a filter"),
    ],
)
def test_a_missing_suggestion_is_explained(topic, payload, message):
    with pytest.raises(SuggestError, match=message):
        text_of(topic, payload)


def test_hostile_text_stays_inside_its_string():
    nasty = '"""\n[[staff]]\nid = "evil"\u202e\x00'
    text = text_of(
        "a/b7/c", {"pm25": 7, nasty: 3, "device": nasty, "temp": {"unit": nasty, "v": 1}}
    )
    assert list(tomllib.loads(text)) == ["mapping"]
    assert "\u202e" not in text
    assert all(each.isprintable() for each in text.splitlines())
    entry = suggested("a/b7/c", {nasty: {"pm25": 7}})
    assert entry["field"][0]["path"] == [nasty, "pm25"]
