"""Test that small counts per room and class period are hidden, and that no total reveals one."""

from hypothesis import given
from hypothesis import strategies as st

from reports.suppress import MIN_COUNT, SMALL, WITHHELD, hide_small_counts

COUNTS = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4, 5, 7, 12])


def tables(size):
    rooms, periods = size
    row = st.lists(COUNTS, min_size=periods, max_size=periods)
    return st.lists(row, min_size=rooms, max_size=rooms)


@given(st.tuples(st.integers(1, 6), st.integers(1, 6)).flatmap(tables))
def test_no_row_or_column_hides_a_single_count(table):
    periods = [f"P{k}" for k in range(len(table[0]))]
    counts = {f"Room {k}": row for k, row in enumerate(table)}
    made = hide_small_counts(periods, counts)
    for room, row in counts.items():
        for k, n in enumerate(row):
            shown, note = made.cells[room][k], made.notes.get((room, periods[k]))
            assert (shown, note) == ((n, None) if shown is not None else (None, note))
            assert (note == SMALL) == (n < MIN_COUNT)
            assert note in {None, SMALL, WITHHELD}
    for line in [*made.cells.values(), *zip(*made.cells.values(), strict=True)]:
        assert line.count(None) != 1 or len(line) == 1
