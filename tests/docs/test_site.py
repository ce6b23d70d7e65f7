"""Test that links work, every page is in the navigation, and the link check finds faults."""

import importlib
import re
from pathlib import Path

import pytest

from docs.site import links

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", links.list_pages(), ids=lambda page: page.name)
def test_links(page):
    assert list(links.find_faults(page)) == []


def test_every_page_is_in_the_navigation_once():
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1]
    named = re.findall(r"- (?:.*: )?([\w/-]+\.md)$", nav, re.MULTILINE)
    pages = [path.name for path in (ROOT / "docs").glob("*.md")]
    assert sorted(named) == sorted([*pages, "decisions/index.md"])


@pytest.mark.parametrize(
    "page", [p for p in links.list_pages() if "research" not in p.parts], ids=lambda page: page.name
)
def test_lines_of_prose_are_short(page):
    prose = links._CODE.sub("", page.read_text(encoding="utf-8"))
    long = [line for line in prose.splitlines() if len(line) > 120]
    assert [line for line in long if not line.startswith(("|", "![", "**"))] == []


def test_the_documentation_is_small():
    assert len(list((ROOT / "docs").glob("*.md"))) <= 30
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 60


@pytest.mark.parametrize("name", ["make_gallery", "make_shots"])
def test_the_pictures_can_be_taken_anew(name):
    assert callable(importlib.import_module(f"docs.gallery.{name}").main)
