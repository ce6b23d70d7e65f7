"""Rows of cells as text: a table where it fits a line, and otherwise each row as a paragraph.

In a table a cell takes at most two lines and no word is broken, since half a name or half a time is
neither. In a paragraph a word that is wider than the line itself goes on in the next. Nothing is
cut off in either.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len, chop_cells, set_cell_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_GAP: Final = "  "
_APART: Final = "   "
_INDENT: Final = "  "
_NARROWEST: Final = 16
"""A line of a paragraph is at least this wide, whatever the terminal says."""


def table_text(
    columns: Sequence[str], rows: Iterable[Sequence[object]], width: int | None
) -> Iterator[str]:
    r"""Return the lines of a table.

    Parameters
    ----------
    columns : sequence of str
        Headers.
    rows : iterable of sequence
        Cells; those missing at the end are empty. What a terminal would obey becomes a space.
    width : int or None
        Of a line, in columns of a terminal; None if a line may be of any width.

    Examples
    --------
    >>> rows = [("n2-boys", "Boys' restroom, 2nd floor", "alive")]
    >>> print("\n".join(table_text(("Sensor", "Room", "State"), rows, 80)))
    Sensor   Room                       State
    ───────  ─────────────────────────  ─────
    n2-boys  Boys' restroom, 2nd floor  alive
    >>> print("\n".join(table_text(("Sensor", "Room", "State"), rows, 34)))
    Sensor   Room             State
    ───────  ───────────────  ─────
    n2-boys  Boys' restroom,  alive
             2nd floor
    >>> print("\n".join(table_text(("Sensor", "Room", "State"), rows, 28)))
    Sensor n2-boys
      Room: Boys' restroom,
        2nd floor
      State: alive
    """
    cells = [[*map(_plain, row), *[""] * (len(columns) - len(row))] for row in rows]
    widths = _widths([columns, *cells], width)
    if widths is not None:
        rule = ["─" * wide for wide in widths]
        for row in (columns, rule, *cells):
            yield from _lines(row, widths)
    elif width is not None:
        for row in cells:
            yield from _paragraph(columns, row, max(width, _NARROWEST))


def _plain(cell: object) -> str:
    return "".join(c if c.isprintable() else " " for c in str(cell))


def _widths(rows: Sequence[Sequence[str]], width: int | None) -> list[int] | None:
    """Return widths of columns at which every cell fits in two lines; None if there are none."""
    natural = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    if width is None:
        return natural
    spare = width - len(_GAP) * (len(natural) - 1) - sum(natural)
    if spare >= 0:
        return natural
    widths = [max(map(_half, column)) for column in zip(*rows, strict=True)]
    spare += sum(natural) - sum(widths)
    if spare < 0:
        return None
    missing = [whole - wide for whole, wide in zip(natural, widths, strict=True)]
    for k in sorted(range(len(widths)), key=missing.__getitem__):
        if missing[k] <= spare:
            spare -= missing[k]
            widths[k] += missing[k]
    return widths


def _half(text: str) -> int:
    """Return the least width at which a text takes at most two lines, broken between words."""
    words = text.split()
    breaks = range(1, len(words) + 1)
    return min(
        (max(cell_len(" ".join(words[:k])), cell_len(" ".join(words[k:]))) for k in breaks),
        default=0,
    )


def _lines(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    wrapped = [
        [cell] if cell_len(cell) <= wide else _wrapped(cell, wide)
        for cell, wide in zip(row, widths, strict=True)
    ]
    for parts in zip_longest(*wrapped, fillvalue=""):
        padded = [set_cell_size(part, wide) for part, wide in zip(parts, widths, strict=True)]
        yield _GAP.join(padded).rstrip()


def _wrapped(text: str, width: int) -> list[str]:
    """Break a text between words, and words that are wider than a line."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if cell_len(longer) <= width:
            lines[-1] = longer
            continue
        lines += chop_cells(word, width)
    return [line for line in lines if line]


def _paragraph(columns: Sequence[str], row: Sequence[str], width: int) -> Iterator[str]:
    """Name the row by its first cell; then what the others say, if anything."""
    yield from _wrapped(f"{columns[0]} {row[0]}", width)
    line = ""
    for name, cell in zip(columns[1:], row[1:], strict=True):
        item = _INDENT + (f"{name}: {cell}" if name else cell)
        if not cell.strip():
            continue
        if line and cell_len(line + _APART + item.lstrip()) <= width:
            line += _APART + item.lstrip()
            continue
        if line:
            yield line
        line = item
        if cell_len(item) > width:
            first, *rest = _wrapped(item, width - 2 * len(_INDENT))
            yield _INDENT + first
            yield from (2 * _INDENT + piece for piece in rest)
            line = ""
    if line:
        yield line
