"""Every benchmark prints its usage on --help."""

from __future__ import annotations

from pathlib import Path

import pytest

BENCHMARKS = sorted((Path(__file__).parents[3] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_a_benchmark_that_runs_has_help(path):
    text = path.read_text(encoding="utf-8")
    if '__name__ == "__main__"' in text:
        parsers = ("ArgumentParser", "rig.options(")
        assert any(parser in text for parser in parsers)
        assert "sys.argv" not in text
