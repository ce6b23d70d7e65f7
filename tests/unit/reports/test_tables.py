"""Test that a table is stored by column, not as dictionaries of rows."""

import polars as pl
import pytest

from reports.tables import MOMENT, Column, make_frame

COLUMNS = (Column("n", pl.Int64, ""), Column("at", MOMENT, ""), Column("text", pl.String, ""))


class Row(dict):
    """A row that counts how many rows are in memory."""

    alive = 0
    most = 0

    def __init__(self, n):
        super().__init__(n=n, at=n + 0.5, text=None if n % 7 else str(n))
        Row.alive += 1
        Row.most = max(Row.most, Row.alive)

    def __del__(self):
        Row.alive -= 1


@pytest.mark.parametrize("count", [0, 1, 1999, 2000, 2001, 20_000])
def test_a_table_of_any_length_has_all_rows_and_types_and_is_filled_in_slices(count):
    made = make_frame(COLUMNS, map(Row, range(count)))
    assert made.schema == {"n": pl.Int64, "at": MOMENT, "text": pl.String}
    assert made["n"].to_list() == list(range(count))
    assert made["text"][1:8].to_list() == [*[None] * 6, "7"][: max(count - 1, 0)]
    assert [at.timestamp() for at in made["at"][-1:]] == [count - 0.5][:count]
    assert Row.most < 5_000
