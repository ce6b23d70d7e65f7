"""How commands print: lines and tables for people, or with ``--json`` one JSON object a line."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, TextIO

from plumewatch.cli.table_text import table_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


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
    ) -> None:
        """Print rows, each with its fields for JSON and its cells for people.

        On a terminal they fit its width, as a table or in paragraphs; anywhere else a row is a
        line, as wide as it is. Nothing is cut off.

        Parameters
        ----------
        columns : sequence of str
            Headers of the cells.
        """
        if self.as_json:
            for fields, _ in rows:
                self.object(fields)
            return
        width = shutil.get_terminal_size().columns if self.out.isatty() else None
        for line in table_text(columns, (cells for _, cells in rows), width):
            self.out.write(f"{line}\n")

    def object(self, fields: Mapping[str, object]) -> None:
        """Print one JSON object on a line of its own."""
        self.out.write(json.dumps(fields, ensure_ascii=False, default=str) + "\n")
