"""docs/mappings.md: what it shows is what happens, and it names every key there is."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from detection.quantities import QUANTITIES
from ingest.mapping import schema
from ingest.names import conversion, units_for
from plumewatch.cli.main import app
from plumewatch.cli.setup.site_files import STARTER
from plumewatch.config.ingest_settings import mapping_decoders
from plumewatch.config.load import load

TEXT = (Path(__file__).parents[4] / "docs" / "mappings.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
MAPPINGS = [text for kind, text in BLOCKS if kind == "toml" and "[[mapping]]" in text]
(SAMPLE,) = [text for kind, text in BLOCKS if kind == "json"]
COMMANDS = [
    (text.split(), BLOCKS[n + 1][1]) for n, (kind, text) in enumerate(BLOCKS) if kind == "sh"
]


@pytest.mark.parametrize("command", range(len(COMMANDS)))
def test_what_the_worked_example_prints(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("sample.json").write_text(SAMPLE)
    Path("plumewatch.toml").write_text(STARTER + MAPPINGS[0])
    words, printed = COMMANDS[command]
    assert words[0] == "plumewatch"
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, result.output
    assert result.stdout == printed


@pytest.mark.parametrize("text", MAPPINGS)
def test_every_mapping_is_configuration_that_passes(text, tmp_path):
    path = tmp_path / "plumewatch.toml"
    path.write_text(STARTER + text)
    assert mapping_decoders(load(path))


def test_every_key_is_named():
    models = [
        m for m in vars(schema).values() if isinstance(m, type) and m.__module__ == schema.__name__
    ]
    keys = {key for model in models if hasattr(model, "model_fields") for key in model.model_fields}
    keys -= {"over_http"}  # of formats that ship with the program
    assert {"version", "quantity", "offset", "where", "outer"} <= keys
    named = set(re.findall(r"\b\w+\b", TEXT))
    assert keys <= named


def test_units_are_those_that_are_taken():
    rows = re.findall(r"^\| ((?:`\w+` ?)+)\| (.+) \|$", TEXT, re.MULTILINE)
    table = {
        quantity: re.findall(r"`([^`]+)`", units)
        for left, units in rows
        for quantity in re.findall(r"`(\w+)`", left)
        if quantity in QUANTITIES
    }
    assert set(table) == set(QUANTITIES)
    for quantity, units in table.items():
        assert set(units_for(quantity)) <= set(units)
        assert all(conversion(quantity, unit) is not None for unit in units)


def test_the_other_configuration_shown_is_valid_too(tmp_path):
    (other,) = [t for kind, t in BLOCKS if kind == "toml" and "[[mapping]]" not in t]
    assert tomllib.loads(other) == {"ingest": {"topics": ["site/#"]}}
    assert json.loads(SAMPLE)
