"""Test that everything named in CONTRIBUTING.md exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
TEXT: Final = re.sub(
    r"```.*?```", "", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), flags=re.DOTALL
)
QUOTED: Final = sorted(set(re.findall(r"(?<!`)`([^`\n]+)`(?!`)", TEXT)))
PATHS: Final = [text for text in QUOTED if re.fullmatch(r"[\w./-]+/[\w.-]*", text)]
NAMES: Final = [text for text in QUOTED if re.fullmatch(r"_?[A-Z]\w+(\.\w+)?|_\w{3,}", text)]
"""Matches classes, with or without a member, constants and private functions."""


@pytest.mark.parametrize(
    "path", [p for p in PATHS if "acme" not in p and not p.startswith(("+", "/"))]
)
def test_a_file_is_there(path):
    assert (ROOT / path).exists()


@pytest.fixture(scope="module")
def words() -> set[str]:
    """Return every word in the code."""
    files = [*ROOT.glob("[a-z]*/**/*.py"), ROOT / "Makefile"]
    return {
        word
        for file in files
        if ".venv" not in file.parts
        for word in re.findall(r"\w+", file.read_text(encoding="utf-8"))
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_in_the_code(name, words):
    assert set(name.split(".")) <= words
