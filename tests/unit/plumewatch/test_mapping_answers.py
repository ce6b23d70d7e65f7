"""What `plumewatch mapping suggest` asks, and what becomes of the answers."""

import json
import tomllib

import pytest

from tests.support.command import plumewatch

SAMPLE = {"id": "b2", "time": "2026-09-07T10:05:00", "data": {"voc": 103, "temp": 70.1, "x": 12.5}}


@pytest.fixture
def suggest(tmp_path):
    def suggest(answers, sample=SAMPLE, topic="diy/b2/state"):
        payload, file = tmp_path / "sample.json", tmp_path / "answers.toml"
        payload.write_text(json.dumps(sample))
        file.write_text(answers)
        words = ("mapping", "suggest", "--topic", topic, payload, "--answers", file)
        return plumewatch(*words)

    return suggest


def test_answers_become_fields(suggest):
    found = suggest(
        '"data.voc" = "tvoc_ppb ppb"\n"data.temp" = "temp degF"\n"data.x" = "pm25 ug/m3"\n'
        '"time" = "America/New_York"\n'
    )
    assert found.code == 0, found.err
    (mapping,) = tomllib.loads(found.out)["mapping"]
    assert [(f["quantity"], f["unit"]) for f in mapping["field"]] == [
        ("tvoc_ppb", "ppb"),
        ("temp", "degF"),
        ("pm25", "ug/m3"),
    ]
    assert mapping["time"]["zone"] == "America/New_York"
    assert mapping["example"][0]["values"]["tvoc_ppb"] == 103
    assert "guess: the usual unit" not in found.out


def test_what_is_not_answered_stays_a_guess(suggest):
    found = suggest("")
    assert found.code == 0
    assert "could this be degF?" in found.out
    assert '["data", "voc"] is some measure of VOC' in found.out


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
def test_the_time(suggest, key, value, answer, formats):
    found = suggest(f'"{key}" = "{answer}"', {"id": "b2", key: value, "pm25": 6.3})
    assert found.code == 0, found.err
    (mapping,) = tomllib.loads(found.out)["mapping"]
    assert mapping.get("time", {}).get("formats") == formats
    if formats:
        assert "# as answered" in found.out


def test_a_time_in_another_form_than_its_value(suggest):
    found = suggest('"t" = "unix_ms"', {"id": "b2", "t": 1_764_321_000, "pm25": 6.3})
    assert (found.code, found.err) == (
        1,
        "no suggestion: t: 'unix_ms' is neither unix_s nor none\n",
    )


def test_a_number_that_its_parent_tells_is_no_question_without_a_guess(suggest):
    found = suggest('"pm.p25" = "pm25 mg/m3"', {"id": "b2", "pm": {"p25": 0.006}})
    assert found.code == 0, found.err
    assert tomllib.loads(found.out)["mapping"][0]["field"][0]["unit"] == "mg/m3"


def test_a_bare_value(suggest):
    found = suggest('"voc" = "voc_index index"', 103, "site/b2/voc")
    assert found.code == 0, found.err
    (mapping,) = tomllib.loads(found.out)["mapping"]
    assert mapping["field"][0]["quantity"] == "voc_index"


@pytest.mark.parametrize(
    ("answers", "code", "why"),
    [
        ('"data.voc" = "ppb"', 1, "data.voc: 'ppb' is no quantity with its unit"),
        ('"data.voc" = "tvoc_ppb ug/m3"', 1, "no quantity with its unit"),
        ('"time" = "Mars"', 1, "no suggestion"),
        ('"data.nox" = "nox_index index"', 2, "data.nox: nothing is asked about it"),
        ("voc = 1", 2, "all in quotes"),
        ("= x", 2, "answers.toml"),
    ],
)
def test_answers_that_cannot_be_used(suggest, answers, code, why):
    found = suggest(answers)
    assert (found.code, why in found.err) == (code, True), found.err
