"""Write reports as files: CSV, XLSX and Parquet for programs, PDF for people.

A file is written completely or not at all. All formats have the same rows, but XLSX shows codes as
words. No XLSX cell is a formula, and text in CSV and XLSX is inert (`make_inert_columns`).
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl

from language.messages import ENGLISH, Words, _, get_language, gettext, mark
from language.plain_text import make_inert
from reports import tables
from reports.documents import render_pdf
from reports.summary import make_summary
from reports.text import to_words
from reports.view import (
    TITLES,
    find_day,
    list_figures,
    name_row,
    translate_note,
    view_summary,
    view_table,
)
from storage.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from reports.facts import Facts
    from reports.summary import Summary
    from reports.tables import Column, Table

_MAX_ROWS: Final = {"xlsx": 1_048_575, "pdf": 5000}
"""Maximum rows below a sheet's header; 5,000 printed rows are about 150 pages."""
_WIDEST: Final = 40
_DATES: Final = {
    date: ("ddd, mmm d, yyyy", "[$-540A]ddd d mmm yyyy"),
    pl.Date: ("mmm d, yyyy", "[$-540A]d mmm yyyy"),
    pl.Datetime: ("mmm d, yyyy h:mm:ss AM/PM", "[$-540A]d mmm yyyy h:mm:ss AM/PM"),
}
"""Number formats of dates by type, in English and in US Spanish."""


class ReportTooLongError(ValueError):
    """The report has too many rows for its format; the message names formats that fit."""


class Report(NamedTuple):
    """One report: its table (None for the summary), and whether it needs sensor days."""

    table: Table | None
    with_sensors: bool


REPORTS: Final = {
    "incidents": Report(tables.incidents, with_sensors=False),
    "summary": Report(None, with_sensors=True),
    "response": Report(tables.response, with_sensors=False),
    "sensors": Report(tables.sensors, with_sensors=True),
}
"""Contents of each report; `reports.text.ABOUT` describes them."""


_CODES: Final = (
    *("weekday", "kind", "severity", "state", "outcome", "false_cause", "responder_role"),
    *("suppressed_by", "action"),
)
"""Columns with codes, which a workbook shows as words."""
_FILE: Final = Words(
    {
        "schema": mark("schema"),
        "version": mark("version"),
        "school": mark("school"),
        "place": mark("place"),
        "period": mark("period"),
        "from": mark("from"),
        "to": mark("to"),
        "made": mark("created"),
    }
)
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
"""Worksheet names of a summary's tables, at most 31 letters."""


class Sheet(NamedTuple):
    """One table to write, with headers for the file and its columns."""

    name: str
    about: Mapping[str, str | int]
    columns: Sequence[Column]
    frame: pl.DataFrame


def write_report(name: str, facts: Facts, path: Path, kind: str) -> None:
    """Write a report, replacing `path`; raise `ReportTooLongError` or `OSError`."""
    table = REPORTS[name].table
    with atomic_write(path) as draft:
        if table is None:
            _write_summary(make_summary(facts), draft, kind)
        else:
            _write_table(table, facts, draft, kind)


def _write_summary(made: Summary, draft: Path, kind: str) -> None:
    if kind == "pdf":
        draft.write_bytes(render_pdf("summary", view_summary(made)))
        return
    about = _describe_file("summary", made.facts)
    sheet = Sheet("summary", about, tables.COLUMNS["summary"], made.to_table())
    if kind == "xlsx":
        write_summary_xlsx(made, sheet, draft)
    else:
        WRITERS[kind](sheet, draft)


def _write_table(table: Table, facts: Facts, draft: Path, kind: str) -> None:
    frame = table.build_frame(facts)
    most = _MAX_ROWS.get(kind, frame.height)
    if frame.height > most:
        raise ReportTooLongError(
            f"{frame.height} rows; {kind} can have {most}: use csv or parquet, or a shorter window"
        )
    if kind == "pdf":
        draft.write_bytes(render_pdf("table", view_table(facts, table, frame)))
    else:
        sheet = Sheet(table.name, _describe_file(table.name, facts), table.columns, frame)
        WRITERS[kind](sheet, draft)


def _describe_file(name: str, facts: Facts) -> dict[str, str | int]:
    return {
        "schema": f"plumewatch.{name}",
        "version": tables.VERSION,
        "school": facts.school,
        "place": facts.place,
        "period": facts.period.title if facts.period else "",
        "from": _to_iso(facts.start),
        "to": _to_iso(facts.end),
        "made": _to_iso(facts.now),
    }


def _to_iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _use_iso_times(frame: pl.DataFrame) -> pl.DataFrame:
    times = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    return frame.with_columns(pl.col(times).dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))


def _make_inert(frame: pl.DataFrame) -> pl.DataFrame:
    return make_inert_columns(_use_iso_times(frame))


def _use_local_times(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame with local wall times, for a spreadsheet."""
    local = pl.col("^.*_local$").str.head(23)
    return frame.with_columns(local.str.to_datetime("%Y-%m-%dT%H:%M:%S%.3f", strict=False))


def _use_words(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame with words for codes."""
    return frame.with_columns(
        pl.col(name).replace({code: to_words(code) for code in frame[name].unique() if code})
        for name in _CODES
        if name in frame.columns
    )


def make_inert_columns(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame in which no text is a formula (see `language.plain_text.make_inert`)."""
    changed = []
    for name, kind in frame.schema.items():
        if kind != pl.String:
            continue
        values = frame[name].unique().drop_nulls().to_list()
        other = {text: safe for text in values if (safe := make_inert(text)) != text}
        column = pl.col(name).replace("", None)
        changed.append(column.replace(other) if other else column)
    return frame.with_columns(changed)


def _write_xlsx(sheet: Sheet, path: Path) -> None:
    with open_workbook(sheet, path) as book:
        _add_table(book, sheet, gettext(TITLES[sheet.name]))


@contextmanager
def open_workbook(sheet: Sheet, path: Path) -> Iterator[Any]:
    """Open a workbook in which no text is a formula or a link, and write it at the end."""
    import xlsxwriter  # noqa: PLC0415 - slow to load, and needed only here

    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    book = xlsxwriter.Workbook(
        str(path), {**options, "strings_to_numbers": False, "remove_timezone": True}
    )
    made = datetime.fromisoformat(str(sheet.about["made"])).replace(tzinfo=None)
    book.set_properties({"title": f"plumewatch {sheet.name}", "created": made})
    yield book
    book.close()


def _add_table(book: Any, sheet: Sheet, title: str) -> None:
    bold = book.add_format({"bold": True})
    forms = {kind: _add_date_format(book, kind) for kind in _DATES}
    page = book.add_worksheet(title)
    frame = make_inert_columns(_use_words(_use_local_times(sheet.frame)))
    for k, (name, kind) in enumerate(frame.schema.items()):
        width = min(_WIDEST, max(len(name) + 2, 10, _measure_longest(frame[name])))
        page.set_column(k, k, width, forms.get(kind.base_type()))
        page.write_string(0, k, name, bold)
    page.freeze_panes(1, 0)
    page.autofilter(0, 0, frame.height, frame.width - 1)
    by_kind = {
        pl.String: page.write_string,
        pl.Boolean: page.write_boolean,
        **dict.fromkeys(_DATES, page.write_datetime),
    }
    writers = [by_kind.get(kind.base_type(), page.write_number) for kind in frame.dtypes]
    for row, values in enumerate(frame.iter_rows(), start=1):
        for k, value in enumerate(values):
            if value is not None:
                writers[k](row, k, value)
    about = book.add_worksheet(_("About"))
    about.set_column(0, 0, 30)
    about.set_column(1, 1, 90)
    lines = [*((_FILE[name], value) for name, value in sheet.about.items())]
    lines += [(c.name, gettext(c.about)) for c in sheet.columns]
    for row, (name, text) in enumerate(lines):
        about.write_string(row, 0, name, bold)
        about.write_string(row, 1, make_inert(str(text)))


def write_summary_xlsx(made: Summary, sheet: Sheet, path: Path) -> None:
    """Write a summary with one worksheet per table; the first row is the header."""
    with open_workbook(sheet, path) as book:
        bold = book.add_format({"bold": True})
        heads, rows = list_figures(made)
        _add_rows(book, _("Key figures"), heads, rows, bold)
        for grid in made.grids.values():
            title = SHEETS[grid.key]
            names = [
                to_words(name) for name in (grid.head, *(column for column, _unit in grid.columns))
            ]
            cells = [
                [
                    find_day(grid, name) or name_row(grid, name),
                    *(
                        value
                        if value is not None
                        else translate_note(grid.notes.get((name, column), ""))
                        for (column, _unit), value in zip(grid.columns, values, strict=True)
                    ),
                ]
                for name, values in grid.rows
            ]
            units = ["", *(unit for _column, unit in grid.columns)]
            _add_rows(book, title, names, cells, bold, units)
        _add_table(book, sheet, _("All values"))


def _add_rows(
    book: Any,
    title: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[Any]],
    bold: Any,
    units: Sequence[str] = (),
) -> None:
    page, percent = book.add_worksheet(title), book.add_format({"num_format": "0.0%"})
    day = _add_date_format(book, date)
    for k, head in enumerate(heads):
        shown = (_DATES[date][0] if isinstance(row[k], date) else row[k] for row in rows)
        longest = max((len(text) for text in shown if isinstance(text, str)), default=0)
        form = percent if "share" in units[k : k + 1] else None
        page.set_column(k, k, min(_WIDEST, max(len(head), longest, 8) + 2), form)
        page.write_string(0, k, head, bold)
    page.freeze_panes(1, 0)
    for number, row in enumerate(rows, start=1):
        for k, value in enumerate(row):
            if isinstance(value, str):
                page.write_string(number, k, make_inert(value))
            elif isinstance(value, date):
                page.write_datetime(number, k, value, day)
            elif value is not None:
                page.write_number(number, k, value)


def _add_date_format(book: Any, kind: Any) -> Any:
    english, spanish = _DATES[kind]
    return book.add_format({"num_format": english if get_language() == ENGLISH else spanish})


def _measure_longest(column: pl.Series) -> int:
    longest = column.str.len_chars().max() if column.dtype == pl.String else None
    return longest + 1 if isinstance(longest, int) else 0


WRITERS: Final[dict[str, Callable[[Sheet, Path], None]]] = {
    "csv": lambda sheet, path: _make_inert(sheet.frame).write_csv(path),
    "parquet": lambda sheet, path: sheet.frame.write_parquet(
        path, metadata={k: str(v) for k, v in sheet.about.items()}
    ),
    "xlsx": _write_xlsx,
}
