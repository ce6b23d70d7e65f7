"""Print lines and tables for people, or with ``--json`` one JSON object per line."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import contextmanager
from functools import partial
from io import StringIO
from typing import TYPE_CHECKING, Final

import typer

from language.plain_text import escape, escape_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_WIDEST: Final = 100_000
_BOX: Final = "    \n    \n ─  \n    \n    \n    \n    \n    \n"


def echo(line: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print a line, with unprintable characters escaped."""
    typer.echo(escape_lines(str(line)), err=err, nl=nl)  # noqa: TID251 - only here


def print_json(fields: Mapping[str, object]) -> None:
    """Print a JSON object on one line."""
    sys.stdout.write(json.dumps(fields, default=str) + "\n")


def print_table(
    columns: Sequence[str],
    rows: Iterable[tuple[Mapping[str, object], Sequence[object]]],
    *,
    as_json: bool = False,
) -> None:
    """Print rows in full: each has fields for JSON and cells for people."""
    if as_json:
        for fields, _ in rows:
            print_json(fields)
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in format_table(columns, (cells for _, cells in rows), width):
        sys.stdout.write(f"{line}\n")


def format_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], width: int | None
) -> list[str]:
    r"""Return the lines of a table, at most `width` columns wide; None for any width.

    Cells wrap between words. If a word is too wide, each row becomes a paragraph.

    >>> rows = [("n2-boys", "Boys' restroom, 2nd floor", "silent")]
    >>> print("\n".join(format_table(("Sensor", "Room", "State"), rows, 35)))
    Sensor   Room                State
    ──────── ─────────────────── ──────
    n2-boys  Boys' restroom,     silent
             2nd floor
    >>> print("\n".join(format_table(("Sensor", "Room", "State"), rows, 20)))
    Sensor: n2-boys
      Room: Boys' restroom, 2nd floor
      State: silent
    """
    from rich.box import Box
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=Box(_BOX), show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style=""
    )
    for name in columns:
        table.add_column(name, overflow="fold")
    cells = [[escape(str(cell).replace("\n", " ")) for cell in row] for row in rows]
    for row in cells:
        table.add_row(*map(Text, row))
    out = StringIO()
    console = Console(file=out, color_system=None, width=_WIDEST)
    if width and Measurement.get(console, console.options, table).minimum > width:
        return [
            f"{'  ' * bool(k)}{name}: {cell}"
            for row in cells
            for k, (name, cell) in enumerate(zip(columns, row, strict=False))
            if cell
        ]
    console.print(table, highlight=False, width=width)
    return [line.rstrip() for line in out.getvalue().splitlines()]


@contextmanager
def show_progress(what: str, total: float | None = None) -> Iterator[Callable[..., None]]:
    """Show progress if standard error is a terminal; yield the function that updates it."""
    from rich import progress as parts
    from rich.console import Console

    console = Console(stderr=True)
    columns = (
        parts.TextColumn("{task.description}"),
        *(parts.BarColumn(), parts.TaskProgressColumn(), parts.TimeRemainingColumn()),
    )
    with parts.Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield partial(bar.update, bar.add_task(what, total=total))


def ask_person(text: str, default: str = "", *, hidden: bool = False) -> str:
    """Ask a person."""
    asked = typer.prompt(text, default=default, show_default=bool(default), hide_input=hidden)
    return str(asked).strip()


def can_ask() -> bool:
    """Return whether a person is at the terminal."""
    return sys.stdin.isatty()
