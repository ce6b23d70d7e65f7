"""Links lead somewhere, every page is in the navigation; the check of links finds what is wrong."""

import re
from pathlib import Path

import pytest

from docs.site import links

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", links.pages(), ids=lambda page: page.name)
def test_links(page):
    assert list(links.faults(page)) == []


def test_every_page_is_in_the_navigation_once():
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1]
    named = re.findall(r"- (?:.*: )?([\w/-]+\.md)$", nav, re.MULTILINE)
    pages = [path.name for path in (ROOT / "docs").glob("*.md")]
    assert sorted(named) == sorted([*pages, "decisions/index.md"])
