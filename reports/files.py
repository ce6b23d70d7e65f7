"""Write reports as files: CSV, XLSX and Parquet for programs, PDF for people.

A file is written completely or not at all. A table has the same rows in all formats, but XLSX and
PDF show codes as words. No XLSX cell is a formula, and text in CSV and XLSX is inert
(`make_inert`).
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl

from language.messages import ENGLISH, Words, _, capitalize, get_language, gettext, mark
from language.plain_text import make_inert
from reports import tables
from reports.documents import render_pdf
from reports.summary import make_summary
from reports.text import to_words
from reports.view import find_day, list_figures, name_row, translate_note, view_summary, view_table
from storage.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from reports.facts import Facts
    from reports.summary import Summary

_MAX_ROWS: Final = {"xlsx": 1_048_575, "pdf": 5000}
"""Maximum rows below a sheet's header; 5,000 printed rows are about 150 pages."""
_WIDEST: Final = 40
_GENERAL: Final = "General"
"""The number format of cells that need no other."""
_DATES: Final = {
    date: ("ddd, mmm d, yyyy", "[$-540A]ddd d mmm yyyy"),
    pl.Date: ("mmm d, yyyy", "[$-540A]d mmm yyyy"),
    pl.Datetime: ("mmm d, yyyy h:mm:ss AM/PM", "[$-540A]d mmm yyyy h:mm:ss AM/PM"),
}
"""Number formats of dates by type, in English and in US Spanish."""


class ReportTooLongError(ValueError):
    """The report has too many rows for its format; the message names formats that fit."""


_CODES: Final = (
    *("weekday", "kind", "severity", "state", "outcome", "false_cause", "responder_role"),
    *("suppressed_by", "action"),
)
"""Columns with codes, which a workbook shows as words."""
SHEETS: Final = Words(
    {
        "schools": mark("Schools"),
        "schools_before": mark("Schools, previous period"),
        "weeks": mark("By week"),
        "days": mark("By day"),
        "hour_by_weekday": mark("Hour and weekday"),
        "period_by_room": mark("Room and period"),
        "rooms": mark("Rooms"),
        "kinds": mark("Kinds"),
        "false_causes": mark("Causes of false alarms"),
        "actions": mark("Follow-up"),
        "sensors": mark("Sensors"),
    }
)
"""Worksheet names of a summary's tables, at most 31 characters."""


class Sheet(NamedTuple):
    """A report's table to write, with a description of the file; a summary has more tables."""

    name: str
    about: Mapping[str, str | int]
    frame: pl.DataFrame
    summary: Summary | None = None


def write_report(name: str, facts: Facts, path: Path, kind: str) -> None:
    """Write a report, replacing `path`; raise `ReportTooLongError` or `OSError`."""
    made = make_summary(facts) if name == "summary" else None
    frame = tables.build_frame(name, facts) if made is None else made.to_table()
    most = frame.height if made else _MAX_ROWS.get(kind, frame.height)
    if frame.height > most:
        raise ReportTooLongError(
            f"{frame.height} rows; {kind} can have {most}: use csv or parquet, or a shorter window"
        )
    with atomic_write(path) as draft:
        if kind != "pdf":
            WRITERS[kind](Sheet(name, _describe_file(name, facts), frame, made), draft)
        elif made is None:
            draft.write_bytes(render_pdf("table", view_table(facts, name, frame)))
        else:
            draft.write_bytes(render_pdf("summary", view_summary(made)))


def _describe_file(name: str, facts: Facts) -> dict[str, str | int]:
    return {
        "schema": f"plumewatch.{name}",
        "version": tables.VERSION,
        "school": facts.school,
        "place": facts.place,
        "period": facts.period.title if facts.period else "",
        "from": _to_iso(facts.start),
        "to": _to_iso(facts.end),
        "created": _to_iso(facts.now),
    }


def _to_iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _use_local_times(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame with local times without an offset, for a spreadsheet."""
    local = pl.col("^.*_local$").str.head(23)
    return frame.with_columns(local.str.to_datetime("%Y-%m-%dT%H:%M:%S%.3f", strict=False))


def _use_words(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame with words for codes."""
    return frame.with_columns(
        pl.col(name).replace({code: to_words(code) for code in frame[name].unique() if code})
        for name in _CODES
        if name in frame.columns
    )


def _write_csv(sheet: Sheet, path: Path) -> None:
    """Write a CSV file with times in ISO format, in which no text is a formula."""
    changed = []
    for name, kind in sheet.frame.schema.items():
        column = pl.col(name)
        if isinstance(kind, pl.Datetime):
            changed.append(column.dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))
        elif kind == pl.String:
            texts = sheet.frame[name].unique().drop_nulls()
            other = {text: safe for text in texts if (safe := make_inert(text)) != text}
            changed.append(column.replace("", None).replace(other))
    sheet.frame.with_columns(changed).write_csv(path)


def _write_xlsx(sheet: Sheet, path: Path) -> None:
    """Write a workbook in which no text is a formula or a link."""
    import xlsxwriter  # noqa: PLC0415 - slow to load, and needed only here

    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    options |= {"strings_to_numbers": False, "remove_timezone": True}
    with xlsxwriter.Workbook(str(path), options) as book:
        made = datetime.fromisoformat(str(sheet.about["created"])).replace(tzinfo=None)
        book.set_properties({"title": f"plumewatch {sheet.name}", "created": made})
        if sheet.summary is not None:
            _add_summary(book, sheet.summary)
        frame = _use_words(_use_local_times(sheet.frame))
        columns = [(name, _find_format(kind.base_type())) for name, kind in frame.schema.items()]
        _add_table(book, capitalize(to_words(sheet.name)), columns, frame.iter_rows())
        bold, page = book.add_format({"bold": True}), book.add_worksheet(_("About"))
        page.set_column(0, 0, 30)
        page.set_column(1, 1, 90)
        lines = [(to_words(name), str(value)) for name, value in sheet.about.items()]
        lines += [(column.name, gettext(column.about)) for column in tables.COLUMNS[sheet.name]]
        for row, (name, text) in enumerate(lines):
            page.write_string(row, 0, name, bold)
            page.write_string(row, 1, make_inert(text))


def _add_table(
    book: Any, title: str, columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[Any]]
) -> None:
    """Add a worksheet; `columns` are headers and number formats."""
    bold, page = book.add_format({"bold": True}), book.add_worksheet(title)
    widths = [max(len(head), len(form), 8) for head, form in columns]
    forms = [book.add_format({"num_format": form}) for _head, form in columns]
    for k, (head, _form) in enumerate(columns):
        page.write_string(0, k, head, bold)
    page.freeze_panes(1, 0)
    number = 0
    for number, row in enumerate(rows, start=1):
        for k, value in enumerate(row):
            if isinstance(value, str) and value:
                widths[k] = max(widths[k], len(value))
                page.write_string(number, k, make_inert(value))
            elif value not in (None, ""):
                page.write(number, k, value, forms[k])
    page.autofilter(0, 0, number, len(columns) - 1)
    for k, width in enumerate(widths):
        page.set_column(k, k, min(_WIDEST, width + 2))


def _add_summary(book: Any, made: Summary) -> None:
    """Add a worksheet for each table of a summary."""
    heads, figures = list_figures(made)
    _add_table(book, _("Key figures"), [(head, _GENERAL) for head in heads], figures)
    for grid in made.grids.values():
        days = [find_day(grid, name) for name, _values in grid.rows]
        rows = [
            [
                day or name_row(grid, name),
                *(
                    translate_note(grid.notes.get((name, column), "")) if value is None else value
                    for (column, _unit), value in zip(grid.columns, values, strict=True)
                ),
            ]
            for day, (name, values) in zip(days, grid.rows, strict=True)
        ]
        columns = [(to_words(grid.head), _find_format(date) if any(days) else _GENERAL)]
        columns += [
            (to_words(name), "0.0%" if unit == "share" else _GENERAL) for name, unit in grid.columns
        ]
        _add_table(book, SHEETS[grid.key], columns, rows)


def _find_format(kind: type[Any]) -> str:
    english, spanish = _DATES.get(kind, (_GENERAL, _GENERAL))
    return english if get_language() == ENGLISH else spanish


WRITERS: Final[dict[str, Callable[[Sheet, Path], None]]] = {
    "csv": _write_csv,
    "parquet": lambda sheet, path: sheet.frame.write_parquet(
        path, metadata={k: str(v) for k, v in sheet.about.items()}
    ),
    "xlsx": _write_xlsx,
}
