"""`plumewatch report`: write a report to a file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from ingest.errors import RefusedError
from language.plain_text import pluralize
from plumewatch.cli.options import (
    CONFIG,
    ConfigOption,
    ForceOption,
    Site,
    check_output,
    list_examples,
)
from plumewatch.cli.printer import echo

app = typer.Typer()


@app.command(
    rich_help_panel="Reports",
    epilog=list_examples(
        "plumewatch report incidents --from 2026-09-07 --to 2026-12-18 --format xlsx",
        "plumewatch report summary --month 2026-11 --site north --format pdf",
    ),
)
def report(
    name: Annotated[
        Literal["incidents", "summary", "response", "sensors"],
        typer.Argument(
            help="incidents: one row per incident; summary: a page to read, then details;"
            " response: how fast staff were notified and responded, in total and by group;"
            " sensors: one row per sensor, with uptime, completeness and false alarms."
        ),
    ],
    *,
    config: ConfigOption = CONFIG,
    start: Annotated[str, typer.Option("--from", help="First day, or a time.")] = "",
    end: Annotated[str, typer.Option("--to", help="Last day, or a time.")] = "",
    week: Annotated[str, typer.Option(help="A week (2026-W47).")] = "",
    month: Annotated[str, typer.Option(help="A month (2026-11).")] = "",
    term: Annotated[str, typer.Option(help='A term of the configuration ("Fall 2026").')] = "",
    school_year: Annotated[str, typer.Option(help="A school year (2026/27).")] = "",
    kind: Annotated[
        Literal["csv", "xlsx", "pdf", "parquet"],
        typer.Option("--format", help="csv, xlsx, pdf or parquet."),
    ] = "csv",
    out: Annotated[
        Path | None, typer.Option(help="File; by default named after report, time and place.")
    ] = None,
    site: Annotated[str, typer.Option(help="Only the site with this id.")] = "",
    building: Annotated[str, typer.Option(help="Only this building.")] = "",
    force: ForceOption = False,
) -> None:
    """Write a report about a period to a file; its figures match the staff page."""
    from plumewatch.report_request import ReportRequest, make_report
    from reports.files import ReportTooLongError

    school = Site.load(config)
    asked = (start, end, kind, out, site, building)
    request = ReportRequest(name, *asked, week, month, term, school_year)
    path = request.choose_path()
    check_output(path, force=force)
    try:
        facts = make_report(school.config, request, time.time())
    except ReportTooLongError as error:
        raise RefusedError(str(error)) from error
    figures, missing = facts.counted, facts.describe_missing()
    echo(
        f"{path}: {pluralize(len(facts.incidents), 'incident')}; {len(figures.incidents):,} of them"
        f" counted in figures; not counted: {pluralize(figures.tests, 'test')},"
        f" {figures.possible:,} possible vaping" + (f"\n{missing}" if missing else ""),
        err=True,
    )
