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


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ("other.md", ""),
        ("other.md#what-it-costs-1-s", ""),
        ("#here", ""),
        ("#broker", ""),
        ("https://example.org/a_(b", ""),
        ("http://127.0.0.1:8420", ""),
        ("gone.md", "there is no such file"),
        ("other.md#gone", "other.md has no such heading"),
        ("#gone", "page.md has no such heading"),
        ("#in-code", "page.md has no such heading"),
        ("../../../../etc/passwd", "there is no such file"),
        ("http://example.org/", "is not https"),
        ("https://example/", "names no host"),
        ("https:///x", "names no host"),
    ],
)
def test_messages_about_a_link(link, message, tmp_path, monkeypatch):
    monkeypatch.setattr(links, "ROOT", tmp_path)
    (tmp_path / "other.md").write_text("# Other\n\n## What it costs: *1 s*\n")
    page = tmp_path / "page.md"
    page.write_text(f"# Here\n\n## `[broker]`\n\n```\n# in code\n[x](y.md)\n```\n\n[it]({link})\n")
    assert [fault.split(": ", 1)[1] for fault in links.faults(page)] == (
        [message] if message else []
    )


def test_bare_addresses_are_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(links, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("See http://example.org, not `http://example.com`.\n")
    assert list(links.faults(page)) == ["http://example.org,: is not https"]


def test_headings_that_repeat():
    assert links.anchors("# A b\n\n## A b\n\n## `x.y` (c)\n") == {"a-b", "a-b_1", "xy-c"}
