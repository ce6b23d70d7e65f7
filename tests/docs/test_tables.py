"""Test that tables in the docs match the code, and that every decoder has setup instructions."""

import re
from pathlib import Path

from docs import make_tables as tables
from ingest.decoders import DECODERS

ROOT = Path(__file__).parents[2]


def test_pages_are_as_make_docs_writes_them():
    for page in tables.PAGES:
        text = page.read_text(encoding="utf-8")
        assert "<!-- table: " in text
        assert tables.renew(text) == text, f"{page.name} is old: run make docs"


def test_the_cost_of_an_interval_is_what_the_benchmark_measured():
    benchmark = (ROOT / "research" / "benchmark" / "results.md").read_text(encoding="utf-8")
    section = benchmark.split("## By reporting interval")[1].split("\n## ")[0]
    single = [line.split(" | ") for line in section.splitlines() if re.match(r"\| \d+ s \|", line)]
    single = [row for row in single if int(row[2]) >= 12]  # fewer sessions mean nothing
    shown = [line.split(" | ") for line in tables.TABLES["intervals"]()[2:]]
    assert len(single) >= 4
    for measured, row in zip(single, shown, strict=True):
        assert row[0] == measured[0]
        assert row[1] == f"{float(measured[3].split()[0]):.0%}"
        assert row[3].rstrip(" |") == "{} s; {} s".format(*measured[7].strip(" |").split(" / "))


def test_every_decoder_has_a_heading_on_how_to_set_it_up():
    text = (ROOT / "docs" / "devices.md").read_text(encoding="utf-8")
    headings = [line for line in text.splitlines() if line.startswith("### ")]
    named = re.findall(r"`([a-z0-9_]+)`", " ".join(headings))
    assert sorted(named) == sorted(DECODERS)
