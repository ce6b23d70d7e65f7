"""Tables as files: CSV, XLSX, JSON, Parquet. Each is written whole or not at all.

The same rows in every format. Texts are inert in CSV and XLSX (`reports.text`); XLSX cells are
typed, none is a formula. JSON is ASCII and Parquet is typed: there texts are as they are.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl

from reports.text import inert

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from reports.tables import Column

_SLICE: Final = 2000
_WIDEST: Final = 40
MOST_IN_SHEET: Final = 1_048_575
"""Rows of a sheet below its header."""


class Title(NamedTuple):
    """What a file says of itself.

    Attributes
    ----------
    name : str
        Of the table.
    start, end, made : float
        Window and moment of the report, Unix seconds.
    period : str
        What the window is called; empty if it has no name.
    """

    name: str
    version: int
    school: str
    place: str
    start: float
    end: float
    made: float
    period: str = ""

    def fields(self) -> dict[str, str | int]:
        """Return it as a mapping."""
        return {
            "schema": f"plumewatch.{self.name}",
            "version": self.version,
            "school": self.school,
            "place": self.place,
            "period": self.period,
            "from": _iso(self.start),
            "to": _iso(self.end),
            "made": _iso(self.made),
        }


class Sheet(NamedTuple):
    """One table to be written, with what its columns hold."""

    title: Title
    columns: Sequence[Column]
    frame: pl.DataFrame


def textual(frame: pl.DataFrame) -> pl.DataFrame:
    """Return moments as ISO 8601 in UTC with ``Z``, the rest as it is."""
    moments = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    return frame.with_columns(pl.col(moments).dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a name beside `path`, renamed to it at the end if nothing goes wrong."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _inert(frame: pl.DataFrame) -> pl.DataFrame:
    """Return every text as `reports.text.inert` writes it; empty ones as missing."""
    changed = []
    for name, kind in frame.schema.items():
        if kind != pl.String:
            continue
        values = frame[name].unique().drop_nulls().to_list()
        other = {text: safe for text in values if (safe := inert(text)) != text}
        column = pl.col(name).replace("", None)
        changed.append(column.replace(other) if other else column)
    return frame.with_columns(changed)


def _csv(sheet: Sheet, path: Path) -> None:
    _inert(textual(sheet.frame)).write_csv(path)


def _parquet(sheet: Sheet, path: Path) -> None:
    about = {key: str(value) for key, value in sheet.title.fields().items()}
    sheet.frame.write_parquet(path, metadata=about)


def _json(sheet: Sheet, path: Path) -> None:
    head: dict[str, Any] = dict(sheet.title.fields())
    head["columns"] = {column.name: column.about for column in sheet.columns}
    with path.open("w", encoding="ascii") as file:
        file.write(json.dumps(head)[:-1] + ', "rows": [')
        before = "\n"
        for part in textual(sheet.frame).iter_slices(_SLICE):
            for row in part.iter_rows(named=True):
                file.write(before + json.dumps(row, default=str))
                before = ",\n"
        file.write("\n]}\n")


def _xlsx(sheet: Sheet, path: Path) -> None:
    import xlsxwriter  # noqa: PLC0415 - slow to load, and for this alone

    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    book = xlsxwriter.Workbook(str(path), {**options, "strings_to_numbers": False})
    made = datetime.fromtimestamp(sheet.title.made, UTC).replace(tzinfo=None)
    book.set_properties({"title": f"plumewatch {sheet.title.name}", "created": made})
    bold, day = book.add_format({"bold": True}), book.add_format({"num_format": "yyyy-mm-dd"})
    page = book.add_worksheet(sheet.title.name[:31])
    frame = _inert(textual(sheet.frame))
    widths = [min(_WIDEST, max(len(name) + 2, 10, _longest(frame[name]))) for name in frame.columns]
    for k, (name, width) in enumerate(zip(frame.columns, widths, strict=True)):
        page.set_column(k, k, width, day if frame.schema[name] == pl.Date else None)
        page.write_string(0, k, name, bold)
    page.freeze_panes(1, 0)
    page.autofilter(0, 0, frame.height, frame.width - 1)
    writers = [_cell(page, frame.schema[name]) for name in frame.columns]
    for row, values in enumerate(frame.iter_rows(), start=1):
        for k, value in enumerate(values):
            if value is not None:
                writers[k](row, k, value)
    about = book.add_worksheet("about")
    about.set_column(0, 0, 30)
    about.set_column(1, 1, 90)
    lines = [*sheet.title.fields().items(), *((c.name, c.about) for c in sheet.columns)]
    for row, (name, said) in enumerate(lines):
        about.write_string(row, 0, str(name), bold)
        about.write_string(row, 1, inert(str(said)))
    book.close()


def _longest(column: pl.Series) -> int:
    """Characters of the longest text of a column, and one; 0 if it holds none."""
    longest = column.str.len_chars().max() if column.dtype == pl.String else None
    return longest + 1 if isinstance(longest, int) else 0


def _cell(page: Any, kind: pl.DataType) -> Callable[..., object]:
    found: Callable[..., object]
    if kind == pl.String:
        found = page.write_string
    elif kind == pl.Boolean:
        found = page.write_boolean
    elif kind == pl.Date:
        found = page.write_datetime
    else:
        found = page.write_number
    return found


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


WRITERS: Final[dict[str, Callable[[Sheet, Path], None]]] = {
    "csv": _csv,
    "json": _json,
    "parquet": _parquet,
    "xlsx": _xlsx,
}
"""How a table is written, by format."""
