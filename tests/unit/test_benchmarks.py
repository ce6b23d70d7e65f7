"""What benchmarks print where there is little to measure."""

import importlib
from pathlib import Path

import pytest


@pytest.fixture
def steady(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    return importlib.import_module("steady")


def test_a_row_without_any_reading_evaluated_says_so(steady, capsys):
    usual = steady.Row(4000.0, 50.0, 90.0, [0.1, 0.3], 0.5)
    assert steady.report("nothing else", usual, usual) == []
    assert "0.20 s    0.30 s" in capsys.readouterr().out
    (broken,) = steady.report("a backup", steady.Row(0.1, 0.0, 0.0, [], 20.0), usual)
    assert broken.startswith("a backup: nothing was evaluated for 20.0 s")
    assert "nothing was evaluated for 20.0 s" in capsys.readouterr().out
