"""The examples in the benchmark's docstrings run."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["recordings", "scoring"])
def test_examples(name):
    module = importlib.import_module(f"benchmarks.detection_bench.{name}")
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed
