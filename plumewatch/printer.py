"""How commands print: lines and tables for people, or with ``--json`` one JSON object a line."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Printer"]


class Printer:
    """Where a command says what it found and did.

    Parameters
    ----------
    out : text file
        Standard output by default.
    as_json : bool
        One JSON object a line instead of text.
    err : text file
        Standard error by default.

    Examples
    --------
    >>> Printer(sys.stdout).say("2 holds stand", holds=2)
    2 holds stand
    >>> Printer(sys.stdout, as_json=True).say("2 holds stand", holds=2)
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
        """Print what was done where the result itself is a file: for people on standard error."""
        if self.as_json:
            self.object(fields)
        else:
            self.err.write(f"{text}\n")

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[tuple[Mapping[str, object], Sequence[object]]],
        *,
        width: int | None = None,
    ) -> None:
        """Print rows, each with its fields for JSON and its cells for people.

        A narrow terminal breaks what does not fit; nothing is cut off.

        Parameters
        ----------
        columns : sequence of str
            Headers of the cells.
        rows : iterable of (mapping, sequence)
        width : int, optional
            Columns of text; those of the terminal by default.
        """
        if self.as_json:
            for fields, _ in rows:
                self.object(fields)
            return
        folded = (Column(name, overflow="fold") for name in columns)
        table = Table(*folded, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for _, cells in rows:
            table.add_row(*(Text(str(cell)) for cell in cells))
        Console(file=self.out, width=width).print(table)

    def object(self, fields: Mapping[str, object]) -> None:
        """Print one JSON object on a line of its own."""
        self.out.write(json.dumps(fields, ensure_ascii=False, default=str) + "\n")
