"""Test the code's structure: small folders, and a composition root that only wires parts."""

from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "alerts", "dashboards", "detection", "ingest", "plumewatch", "reports", "scale", "sensor_sim",
    "storage",
)  # fmt: skip
MAX_MODULES = 20


@pytest.mark.parametrize("package", PACKAGES)
def test_no_folder_is_a_drawer(package):
    modules = Counter(path.parent for path in (ROOT / package).rglob("*.py"))
    assert {folder: n for folder, n in modules.items() if n > MAX_MODULES} == {}


def test_every_folder_of_modules_states_its_purpose():
    for package in PACKAGES:
        for folder in {path.parent for path in (ROOT / package).rglob("*.py")}:
            assert (folder / "__init__.py").read_text().startswith(('"""', 'r"""')), folder


def test_the_composition_root_is_short():
    lines = (ROOT / "plumewatch/service/app.py").read_text().splitlines()
    assert len(lines) < 250
