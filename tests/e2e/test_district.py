"""Test a small district: two people open its pages while readings arrive."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.needs("mosquitto"),
    pytest.mark.timeout(400),
]


def test_the_benchmark_of_a_district_asks_for_every_page():
    ran = subprocess.run(
        [sys.executable, "benchmarks/district.py", "--quick", "--parts", "pages"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=380,
    )
    assert ran.returncode in {0, 1}, ran.stderr  # 1 if a busy machine takes longer
    for row in ("| / | district |", "| /air | school |", "| /api/v1/incidents | school |"):
        assert row in ran.stdout
    assert " 500 " not in ran.stdout
