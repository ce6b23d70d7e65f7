"""Test that files named in docs/reliability.md exist and its settings are the shipped ones."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
FOLDERS = ("tests/fault", "tests/unit/alerts", "")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ")]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`?([\w/]+\.py)\b", PAGE))))
def test_a_file_is_there(name):
    assert any((ROOT / folder / name).is_file() for folder in FOLDERS)


def test_every_fault_has_a_row_and_every_fault_test_is_in_one():
    numbers = [int(n) for n in re.findall(r"^\| F(\d+) \|", PAGE, re.MULTILINE)]
    assert numbers == list(range(1, 17))
    tests = {path.name for path in (ROOT / "tests/fault").glob("test_*.py")}
    assert tests <= set(re.findall(r"\w+\.py", "\n".join(ROWS)))


def test_settings_of_the_broker_are_those_that_are_shipped():
    shipped = (ROOT / "deploy/mosquitto.conf").read_text(encoding="utf-8").splitlines()
    table = PAGE[PAGE.index("| setting |") : PAGE.index("Publish at QoS 1")]
    wanted = [s for row in table.splitlines()[2:] for s in re.findall(r"`(\w+ \w+)`", row)]
    assert "never" in table
    for setting in wanted:
        assert (setting in shipped) == (f"never `{setting}`" not in table)
    assert len(wanted) >= 5
