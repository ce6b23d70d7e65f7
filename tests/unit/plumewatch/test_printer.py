"""Test that tables fit the line or become paragraphs, without losing text."""

import io
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from plumewatch.cli.printer import print_table

COLUMNS = ("Sensor", "State", "Room", "Last live reading", "Reports every", "Firmware", "Counts")
SENSORS = [
    (
        "n1-boys",
        "reporting",
        "Boys' restroom, 1st floor",
        "Sep 14, 2026, 5:49 AM",
        "5.95 s",
        "14.2.0(release-sensors)",
        "readings 236, skipped 13",
    ),
    ("24e124725c140001", "never heard", "Locker room", "never", "5 s", "", ""),
]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def lines(rows, width, columns=COLUMNS):
    """Print a table to a terminal of this width, or to a pipe."""
    out = io.StringIO() if width is None else Terminal()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("COLUMNS", str(width or 40))
        patched.setattr("sys.stdout", out)
        print_table(columns, [({}, row) for row in rows])
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, None])
def test_without_rows_there_are_headers(width):
    assert lines([], width, ("No.", "When")) == ["No.  When", "──── ────"]


def test_a_pipe_gets_a_line_a_row():
    header, _, *rows = lines(SENSORS, None)
    assert header.split() == " ".join(COLUMNS).split()
    at = header.index("Last")
    for line, row in zip(rows, SENSORS, strict=True):
        assert line.split() == " ".join(row).split()
        assert line[at:].startswith(row[3])


@pytest.mark.parametrize("width", [None, 80, 16])
def test_nothing_moves_the_cursor(width):
    printed = "\n".join(lines([("a\x1b[2J", "b\nc")], width, ("A", "B")))
    assert "\x1b" not in printed
    assert "b c" in printed


def test_json_has_no_width(capsys):
    print_table(("A",), [({"a": "x" * 99}, ("x",))], as_json=True)
    assert capsys.readouterr().out == f'{{"a": "{"x" * 99}"}}\n'


WORDS = st.lists(
    st.text(st.characters(categories=["Lu", "Ll", "Nd", "Lo", "Po"]), min_size=1, max_size=30),
    max_size=6,
).map(" ".join)


@given(
    rows=st.lists(st.tuples(WORDS, WORDS, WORDS), max_size=4),
    width=st.one_of(st.none(), st.integers(1, 120)),
)
def test_nothing_is_cut_off_and_no_table_is_too_wide(rows, width):
    found = lines(rows, width, ("A", "B", "C"))
    printed = Counter("".join(found))
    given_ = Counter("".join("".join(row) for row in rows))
    del given_[" "]
    assert all(printed[sign] >= n for sign, n in given_.items())
    if width is None:
        assert len(found) == 2 + len(rows)
    elif any(line.startswith("─") for line in found):
        assert max(map(cell_len, found)) <= width
