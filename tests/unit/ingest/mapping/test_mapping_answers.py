"""What `plumewatch mapping suggest` asks, and what becomes of the answers."""

import json
import tomllib

import pytest

from ingest.mapping.draft import SuggestError
from ingest.mapping.suggest import suggest as suggest_mapping

NOW = 1_790_000_000.0

SAMPLE = {"id": "b2", "time": "2026-09-07T10:05:00", "data": {"voc": 103, "temp": 70.1, "x": 12.5}}


def suggest(answers, sample=SAMPLE, topic="diy/b2/state"):
    """Suggest a mapping to a person who gives these answers, by the place asked about."""
    samples = [json.dumps(sample).encode()]
    return suggest_mapping(
        topic, samples, received=NOW, ask=lambda place, *_: answers.get(place, "")
    )


def test_answers_become_fields():
    text = suggest(
        {
            "data.voc": "tvoc_ppb ppb",
            "data.temp": "temp degF",
            "data.x": "pm25 ug/m3",
            "time": "America/New_York",
        }
    )
    (mapping,) = tomllib.loads(text)["mapping"]
    assert [(f["quantity"], f["unit"]) for f in mapping["field"]] == [
        ("tvoc_ppb", "ppb"),
        ("temp", "degF"),
        ("pm25", "ug/m3"),
    ]
    assert mapping["time"]["zone"] == "America/New_York"
    assert mapping["example"][0]["values"]["tvoc_ppb"] == 103
    assert "guess: the usual unit" not in text


def test_what_is_not_answered_stays_a_guess():
    text = suggest({})
    assert "temperature always above 45 °C: looks like °F" in text
    assert '["data", "voc"] is some measure of VOC' in text


@pytest.mark.parametrize(
    ("key", "value", "answer", "formats"),
    [
        ("t", 1_764_321_000, "unix_s", ["unix_s"]),
        ("ts", 1_764_321_000_000, "unix_ms", ["unix_ms"]),
        ("hora", 1_764_321_000, "unix_s", ["unix_s"]),
        ("hora", "2026-09-07T10:05:00Z", "iso8601", ["iso8601"]),
        ("hora", 1_764_321_000, "none", None),
        ("t", 1_764_321_000, "none", None),
    ],
)
def test_the_time(key, value, answer, formats):
    text = suggest({key: answer}, {"id": "b2", key: value, "pm25": 6.3})
    (mapping,) = tomllib.loads(text)["mapping"]
    assert mapping.get("time", {}).get("formats") == formats
    if formats:
        assert "# as answered" in text


def test_a_number_that_its_parent_tells_is_no_question_without_a_guess():
    text = suggest({"pm.p25": "pm25 mg/m3"}, {"id": "b2", "pm": {"p25": 0.006}})
    assert tomllib.loads(text)["mapping"][0]["field"][0]["unit"] == "mg/m3"


def test_a_unit_that_makes_the_value_impossible_is_no_question():
    asked = {}
    content = b'{"id": "b7", "pm25": 9.9, "rh": 44, "temp": 22.1}'
    suggest_mapping("a/b7/c", [content], received=NOW, ask=lambda *a: asked.update({a[0]: a[2]}))
    assert asked == {"pm25": ["pm25 ug/m3", "pm25 mg/m3"], "temp": ["temp degC", "temp degF"]}


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({"data.voc": "ppb"}, "data.voc: 'ppb' is not a quantity with its unit"),
        ({"data.voc": "tvoc_ppb ug/m3"}, "not a quantity with its unit"),
        ({"time": "Mars"}, "time: site, none, or a time zone of the IANA list"),
    ],
)
def test_answers_that_cannot_be_used(answers, why):
    with pytest.raises(SuggestError, match=why):
        suggest(answers)
