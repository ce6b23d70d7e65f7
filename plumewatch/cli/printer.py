"""How commands print: lines and tables for people, or with ``--json`` one JSON object a line."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import contextmanager
from functools import partial
from io import StringIO
from typing import TYPE_CHECKING, Final, TextIO

from rich.cells import cell_len

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_NARROWEST: Final = 16
_BOX: Final = "    \n    \n ─  \n    \n    \n    \n    \n    \n"


class Printer:
    """Output of a command.

    >>> Printer(sys.stdout).say("2 active holds", holds=2)
    2 active holds
    >>> Printer(sys.stdout, as_json=True).say("2 active holds", holds=2)
    {"holds": 2}
    """

    def __init__(
        self, out: TextIO | None = None, *, as_json: bool = False, err: TextIO | None = None
    ) -> None:
        self.out = out or sys.stdout
        self.err = err or sys.stderr
        self.as_json = as_json

    def say(self, text: str, /, **fields: object) -> None:
        """Print one fact: `text` for people, `fields` as JSON."""
        if self.as_json:
            self.object(fields)
        else:
            self.out.write(f"{text}\n")

    def sum_up(self, text: str, /, **fields: object) -> None:
        """Print what was done where the result is a file: for people on standard error."""
        if self.as_json:
            self.object(fields)
        else:
            self.err.write(f"{text}\n")

    def table(
        self, columns: Sequence[str], rows: Iterable[tuple[Mapping[str, object], Sequence[object]]]
    ) -> None:
        """Print rows, each with fields for JSON and cells for people; nothing is cut off."""
        if self.as_json:
            for fields, _ in rows:
                self.object(fields)
            return
        width = shutil.get_terminal_size().columns if self.out.isatty() else None
        for line in table_lines(columns, (cells for _, cells in rows), width):
            self.out.write(f"{line}\n")

    def object(self, fields: Mapping[str, object]) -> None:
        """Print one JSON object on a line of its own."""
        self.out.write(json.dumps(fields, ensure_ascii=False, default=str) + "\n")


def table_lines(
    columns: Sequence[str], rows: Iterable[Sequence[object]], width: int | None
) -> list[str]:
    r"""Return the lines of a table at most `width` columns wide; of any width if that is None.

    Only the widest column wraps, between words and to about two lines. Where that is not enough,
    each row is a paragraph.

    >>> rows = [("n2-boys", "Boys' restroom, 2nd floor", "alive")]
    >>> print("\n".join(table_lines(("Sensor", "Room", "State"), rows, 34)))
    Sensor   Room                State
    ──────── ─────────────────── ─────
    n2-boys  Boys' restroom,     alive
             2nd floor
    >>> print("\n".join(table_lines(("Sensor", "Room", "State"), rows, 27)))
    Sensor n2-boys
      Room: Boys' restroom,
        2nd floor
      State: alive
    """
    from rich.box import Box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[*map(_plain, row), *[""] * (len(columns) - len(row))] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    if width is not None:
        widest = max(range(len(widths)), key=widths.__getitem__)
        natural = widths[widest]
        spare = width - sum(widths) - 2 * (len(widths) - 1)
        widths[widest] += min(0, spare)
        words = (word for row in (columns, *cells) for word in row[widest].split())
        if widths[widest] < max(natural // 2, *map(cell_len, words)):
            return [line for row in cells for line in _paragraph(columns, row, width)]
    table = Table(
        box=Box(_BOX), show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style=""
    )
    for name, column_width in zip(columns, widths, strict=True):
        table.add_column(name, width=column_width, overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    out = StringIO()
    console = Console(file=out, color_system=None, width=sum(widths) + 2 * len(widths))
    console.print(table, highlight=False)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def _plain(cell: object) -> str:
    return "".join(c if c.isprintable() else " " for c in str(cell))


def _paragraph(columns: Sequence[str], row: Sequence[str], width: int) -> list[str]:
    """Write a row as its first cell, and below it the other cells that are not empty."""
    width = max(width, _NARROWEST)
    lines = _wrap(f"{columns[0]} {row[0]}", width, "")
    joined = ""
    for name, cell in zip(columns[1:], row[1:], strict=True):
        if not cell.strip():
            continue
        item = f"{name}: {cell}" if name else cell
        if joined and cell_len(f"{joined}   {item}") <= width:
            joined = lines[-1] = f"{joined}   {item}"
            continue
        wrapped = _wrap(item, width - 2, "  ")
        joined = f"  {wrapped[0]}" if len(wrapped) == 1 else ""
        lines += [f"  {line}" for line in wrapped]
    return lines


def _wrap(text: str, width: int, indent: str) -> list[str]:
    """Wrap between words, and words that are wider than a line; indent all lines but the first."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=StringIO(), width=width - len(indent))
    first, *rest = (line.plain.rstrip() for line in Text(text).wrap(console, console.width))
    return [first, *(indent + line for line in rest)]


@contextmanager
def progress(what: str, total: float | None = None) -> Iterator[Callable[..., None]]:
    """Show progress on standard error if that is a terminal; yield the function that updates it."""
    from rich import progress as parts
    from rich.console import Console

    console = Console(stderr=True)
    columns = (
        parts.TextColumn("{task.description}"),
        *(parts.BarColumn(), parts.TaskProgressColumn(), parts.TimeRemainingColumn()),
    )
    with parts.Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield partial(bar.update, bar.add_task(what, total=total))
