"""Test that docs/mappings.md shows actual results and names every key."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from detection.quantities import QUANTITIES
from ingest.names import find_conversion, list_units
from plumewatch.cli.main import app
from plumewatch.cli.setup.site_files import STARTER
from plumewatch.config.ingest_settings import compile_mappings
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
    assert compile_mappings(load(path))


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
        assert set(list_units(quantity)) <= set(units)
        assert all(find_conversion(quantity, unit) is not None for unit in units)
