import io

import pytest

from plumewatch.cli.printer import Printer

COLUMNS = ("Sensor", "State", "Last live reading")
ROWS = [
    ({}, ("n2-boys-1", "alive", "2026-11-25 13:10:41-05:00")),
    ({}, ("24e124725c140001", "never heard", "never")),
]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")


def test_a_terminal_is_kept_to():
    out = Terminal()
    Printer(out).table(COLUMNS, ROWS)
    assert out.getvalue().splitlines() == [
        "Sensor            State  Last live",
        "                         reading",
        "────────────────  ─────  ──────────────",
        "n2-boys-1         alive  2026-11-25",
        "                         13:10:41-05:00",
        "24e124725c140001  never  never",
        "                  heard",
    ]


def test_what_is_no_terminal_gets_a_line_a_row():
    out = io.StringIO()
    Printer(out).table(COLUMNS, ROWS)
    header, _, *rows = out.getvalue().splitlines()
    assert header.split() == ["Sensor", "State", "Last", "live", "reading"]
    for line, (_, cells) in zip(rows, ROWS, strict=True):
        assert line.split() == " ".join(cells).split()
    at = header.index("Last")
    assert [line[at:] for line in rows] == [cells[2] for _, cells in ROWS]


def test_json_knows_no_width():
    out = Terminal()
    Printer(out, as_json=True).table(("A",), [({"a": "x" * 99}, ("x",))])
    assert out.getvalue() == f'{{"a": "{"x" * 99}"}}\n'
