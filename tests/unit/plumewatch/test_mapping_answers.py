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
