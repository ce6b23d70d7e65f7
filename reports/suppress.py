"""Hide small counts in the table of rooms by class period, because they could identify a student.

Every count below `MIN_COUNT` is hidden, including 0. If a row or a column then has a single hidden
count, its total would reveal it, so the smallest other count in that line is hidden as well
(complementary suppression: NCES, SLDS Technical Brief 3, 2010). Totals stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from language.messages import mark

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MIN_COUNT: Final = 5
"""Smallest published count for a room in a class period."""
SMALL: Final = f"<{MIN_COUNT}"
"""Replaces a count below `MIN_COUNT`."""
WITHHELD: Final = mark("not shown")
"""Replaces a larger count that would reveal a smaller one."""


class Published(NamedTuple):
    """Counts by room and period, None if hidden; `notes` have the text to print instead."""

    periods: tuple[str, ...]
    cells: dict[str, tuple[int | None, ...]]
    notes: dict[tuple[str, str], str]


def hide_small_counts(periods: Sequence[str], counts: Mapping[str, Sequence[int]]) -> Published:
    """Hide small counts, and counts that would reveal them; `counts` has a row for each room.

    >>> made = hide_small_counts(["P1", "P2", "P3"], {"a": [12, 3, 7], "b": [9, 8, 5]})
    >>> made.cells
    {'a': (12, None, None), 'b': (9, None, None)}
    >>> made.notes["a", "P2"], made.notes["b", "P2"]
    ('<5', 'not shown')
    """
    value = {
        (room, p): n for room, row in counts.items() for p, n in zip(periods, row, strict=True)
    }
    lines = [{(room, p) for p in periods} for room in counts]
    lines += [{(room, p) for room in counts} for p in periods]
    hidden = {cell for cell, n in value.items() if n < MIN_COUNT}
    while revealed := next((x for x in lines if len(x & hidden) == 1 < len(x)), None):
        hidden.add(min(revealed - hidden, key=lambda cell: (value[cell], cell)))
    return Published(
        tuple(periods),
        {r: tuple(None if (r, p) in hidden else value[r, p] for p in periods) for r in counts},
        {cell: SMALL if value[cell] < MIN_COUNT else WITHHELD for cell in hidden},
    )
