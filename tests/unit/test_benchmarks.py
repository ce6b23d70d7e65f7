"""Test the output of benchmarks with little to measure."""

import importlib
import socket
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")


@pytest.fixture
def steady():
    return importlib.import_module("steady")


def test_a_row_without_any_reading_evaluated_says_so(steady, capsys):
    usual = steady.Row(4000.0, 50.0, 90.0, [0.1, 0.3], 0.5)
    assert steady.report("nothing else", usual, usual) == []
    assert "0.20 s    0.30 s" in capsys.readouterr().out
    (broken,) = steady.report("a backup", steady.Row(0.1, 0.0, 0.0, [], 20.0), usual)
    assert broken.startswith("a backup: nothing was evaluated for 20.0 s")
    assert "nothing was evaluated for 20.0 s" in capsys.readouterr().out


def test_nobody_waits_for_a_publisher_whose_broker_went_away():
    rig = importlib.import_module("load_rig")
    with socket.create_server(("127.0.0.1", 0)) as broker:
        port = broker.getsockname()[1]
        with rig.publisher(port, rig.steady, 1.0, 10.0, 1) as publisher:
            link, _ = broker.accept()
            link.sendall(b"\x20\x02\x00\x00")
            link.recv(1000)
            link.close()
            with pytest.raises(ConnectionError):
                publisher.get(60)
