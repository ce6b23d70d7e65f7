"""Which reports there are, and how each is written in each format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from reports import tables
from reports.documents import html, pdf
from reports.summary import COLUMNS, summary
from reports.view import summary_view, table_view
from reports.write import MOST_IN_SHEET, WRITERS, Sheet, Title, whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from pathlib import Path

    from reports.documents import Template
    from reports.facts import Facts
    from reports.tables import Table

_MOST_PRINTED: Final = 5000
"""Rows of a printed table; 5,000 are some 150 pages."""


class ReportTooLongError(ValueError):
    """A format does not hold so many rows; the message says which do."""


class Report(NamedTuple):
    """One report: its table if it is one, and whether it needs the sensors' days, and duty."""

    table: Table | None
    with_sensors: bool
    with_duty: bool


REPORTS: Final = {
    "incidents": Report(tables.incidents, with_sensors=False, with_duty=False),
    "summary": Report(None, with_sensors=True, with_duty=True),
    "response": Report(tables.response, with_sensors=False, with_duty=True),
    "sensors": Report(tables.sensors, with_sensors=True, with_duty=False),
}
"""How each report of `reports.names.ABOUT` is made."""


def write_report(
    name: str, facts: Facts, path: Path, kind: str, *, intervention: date | None = None
) -> None:
    """Write a report, whole or not at all.

    Parameters
    ----------
    name : str
        Of `REPORTS`.
    path : Path
        Replaced if it exists.
    kind : str
        Of `reports.names.FORMATS`.
    intervention : date, optional
        See `reports.summary.summary`.

    Raises
    ------
    ReportTooLongError
    TooFewError
        See `reports.suppress`.
    OSError
    """
    table = REPORTS[name].table
    with whole(path) as partial:
        if table is None:
            made = summary(facts, intervention)
            if kind in WRITERS:
                WRITERS[kind](Sheet(_title(name, facts), COLUMNS, made.table()), partial)
            else:
                _document("summary", summary_view(made), partial, kind)
            return
        found = table.frame(facts)
        most = {"xlsx": MOST_IN_SHEET, "pdf": _MOST_PRINTED, "html": _MOST_PRINTED}.get(kind)
        if most is not None and found.height > most:
            raise ReportTooLongError(
                f"{found.height} rows; {kind} holds {most}: take csv, parquet or json, or a"
                " shorter window"
            )
        if kind in WRITERS:
            WRITERS[kind](Sheet(_title(name, facts), table.columns, found), partial)
        else:
            _document("table", table_view(facts, name, table.about, found), partial, kind)


def _title(name: str, facts: Facts) -> Title:
    period = facts.period.title if facts.period else ""
    window = facts.start, facts.end, facts.now
    return Title(name, tables.VERSION, facts.school, facts.place, *window, period)


def _document(template: Template, view: Mapping[str, Any], path: Path, kind: str) -> None:
    if kind == "pdf":
        path.write_bytes(pdf(template, view))
    else:
        path.write_text(html(template, view), encoding="utf-8")
