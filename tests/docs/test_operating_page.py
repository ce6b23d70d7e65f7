"""Test that docs/operating.md covers all parts of readiness, and only existing metrics and log
lines."""

import re
from pathlib import Path

from docs import reference
from tests.support.health_parts import Parts

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
ALERTS = PAGE.split("## Alerts for the operator")[1].split("\n## ")[0]


def rows(head):
    return ALERTS.split(head)[1].split("\n\n")[0].splitlines()[2:]


def test_every_part_has_a_row(tmp_path):
    parts = [part.name for part in Parts(tmp_path).health.check_parts()]
    named = [re.match(r"\| `(\w+)` \|", row)[1] for row in rows("| part | meaning")]
    assert named == parts


def test_metrics_are_those_that_are_given():
    given = set(re.findall(r"`(plumewatch_\w+)`", "\n".join(reference.make_metrics())))
    used = set(re.findall(r"plumewatch_\w+", "\n".join(rows("| expression | meaning"))))
    assert len(used) >= 10
    assert used <= given


def test_lines_of_the_log_are_those_that_are_written():
    code = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("plumewatch", "ingest", "alerts", "storage")
        for path in (ROOT / folder).rglob("*.py")
    )
    lines = [
        re.match(r"\| `(.+?)` \|", row)[1] for row in rows("| the line begins with | what to do")
    ]
    for line in lines:
        for piece in re.split(r"\.\.\.|\bID\b", line):
            assert piece.strip() in code
    assert len(lines) >= 8
