"""Tables that fit a line, or paragraphs: no word broken that need not be, nothing cut off."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from plumewatch.cli.table_text import table_text

COLUMNS = ("Sensor", "State", "Room", "Last live reading", "Reports every", "Firmware", "Counted")
SENSORS = [
    (
        "n1-boys",
        "alive",
        "Boys' restroom, 1st floor",
        "2026-09-14 05:49:38-04:00",
        "5.95 s",
        "14.2.0(release-sensors)",
        "readings 236, unjudged 13",
    ),
    ("24e124725c140001", "never heard", "Locker room", "never", "5 s", "", ""),
]


def lines(rows, width, columns=COLUMNS):
    return list(table_text(columns, rows, width))


def test_without_rows_there_are_headers():
    assert lines([], 80, ("No.", "When")) == ["No.  When", "───  ────"]
    assert lines([], None, ("No.", "When")) == ["No.  When", "───  ────"]


def test_sensors_at_80_columns():
    assert lines(SENSORS, 80) == [
        "Sensor n1-boys",
        "  State: alive   Room: Boys' restroom, 1st floor",
        "  Last live reading: 2026-09-14 05:49:38-04:00   Reports every: 5.95 s",
        "  Firmware: 14.2.0(release-sensors)   Counted: readings 236, unjudged 13",
        "Sensor 24e124725c140001",
        "  State: never heard   Room: Locker room   Last live reading: never",
        "  Reports every: 5 s",
    ]


def test_what_fits_in_two_lines_a_row_is_a_table():
    found = lines([row[:4] for row in SENSORS], 60, COLUMNS[:4])
    assert found == [
        "Sensor            State  Room             Last live",
        "                                          reading",
        "────────────────  ─────  ───────────────  ──────────────",
        "n1-boys           alive  Boys' restroom,  2026-09-14",
        "                         1st floor        05:49:38-04:00",
        "24e124725c140001  never  Locker room      never",
        "                  heard",
    ]


def test_missing_cells_are_empty():
    assert lines([("a",)], None, ("A", "B")) == lines([("a", "")], 80, ("A", "B"))


def test_a_column_that_can_stay_whole_does():
    rows = [("a b", "c d e f")]
    assert lines(rows, 8, ("A", "B")) == ["A    B", "───  ───", "a b  c d", "     e f"]


def test_a_word_wider_than_the_line_goes_on_in_the_next():
    found = lines([("x" * 40, "y" * 20)], 16, ("A", "B"))
    assert found == [
        *("A", "x" * 16, "x" * 16, "x" * 8),
        *("  B:", f"    {'y' * 12}", f"    {'y' * 8}"),
    ]


@pytest.mark.parametrize("width", [None, 80, 16])
def test_nothing_moves_the_cursor(width):
    said = "\n".join(lines([("a\x1b[2J", "b\nc")], width, ("A", "B")))
    assert "\x1b" not in said
    assert "b c" in said


WORDS = st.lists(
    st.text(st.characters(categories=["Lu", "Ll", "Nd", "Lo", "Po"]), min_size=1, max_size=30),
    max_size=6,
).map(" ".join)


@given(
    rows=st.lists(st.tuples(WORDS, WORDS, WORDS), max_size=4),
    width=st.one_of(st.none(), st.integers(0, 120)),
)
def test_nothing_is_cut_off_and_no_line_is_too_wide(rows, width):
    found = lines(rows, width, ("A", "B", "C"))
    printed = Counter("".join(found))
    given_ = Counter("".join("".join(row) for row in rows))
    del given_[" "]
    assert all(printed[sign] >= n for sign, n in given_.items())
    if width is None:
        assert len(found) == 2 + len(rows)
    else:
        assert max(map(cell_len, found), default=0) <= max(width, 16)
    table = any(line.startswith("─") for line in found)
    words = {word for line in found for word in line.split()}
    assert not table or all(word in words for row in rows for cell in row for word in cell.split())
