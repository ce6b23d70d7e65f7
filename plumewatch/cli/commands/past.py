"""Commands about the past: reports, one incident, retention, the audit log."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from plumewatch.cli.commands.options import ConfigOption, ForceOption, JsonOption, group, manual
from plumewatch.cli.printer import Printer

app = typer.Typer()
report_app = group("What happened, as files that reconcile.")
incident_app = group("One incident, whole.")
retention_app = group("How long what is kept; legal holds.")
audit_app = group("Who signed in, exported and deleted.")
app.add_typer(report_app, name="report")
app.add_typer(incident_app, name="incident")
app.add_typer(retention_app, name="retention")
app.add_typer(audit_app, name="audit")


def _report_of(name: str, about: str) -> None:
    examples = (
        f"plumewatch report {name} --from 2026-09-07 --to 2026-12-18 --format xlsx",
        f'plumewatch report {name} --month 2026-11 --site "North High" --format pdf',
    )

    @report_app.command(name, help=about, epilog=manual(*examples))
    def report(
        start: Annotated[str, typer.Option("--from", help="First day, or a moment.")] = "",
        end: Annotated[str, typer.Option("--to", help="Last day, or a moment.")] = "",
        week: Annotated[str, typer.Option("--week", help="Instead: a week (2026-W47).")] = "",
        month: Annotated[str, typer.Option("--month", help="Instead: a month (2026-11).")] = "",
        term: Annotated[
            str, typer.Option("--term", help='Instead: a term of the configuration ("Fall 2026").')
        ] = "",
        school_year: Annotated[
            str, typer.Option("--school-year", help="Instead: a school year (2026/27).")
        ] = "",
        kind: Annotated[
            str, typer.Option("--format", help="csv, xlsx, pdf, html, parquet or json.")
        ] = "csv",
        out: Annotated[
            Path | None,
            typer.Option("--out", help="File; named after report, time and place without it."),
        ] = None,
        site: Annotated[str, typer.Option("--site", help="Only this site.")] = "",
        building: Annotated[str, typer.Option("--building", help="Only this building.")] = "",
        intervention: Annotated[
            str, typer.Option("--intervention", help="Summary: compare before and after this day.")
        ] = "",
        staged: Annotated[
            Path | None,
            typer.Option("--staged", help="Summary: CSV of staged tests, columns time and room."),
        ] = None,
        config: ConfigOption = Path("plumewatch.toml"),
        *,
        force: ForceOption = False,
        as_json: JsonOption = False,
    ) -> None:
        from plumewatch.cli.report_command import ReportOptions, run_report  # noqa: PLC0415

        options = ReportOptions(
            name,
            start,
            end,
            kind,
            out,
            site,
            building,
            intervention,
            force,
            staged,
            week=week,
            month=month,
            term=term,
            school_year=school_year,
        )
        raise typer.Exit(run_report(config, options, Printer(as_json=as_json), time.time()))


_report_of("incidents", "One row an incident.")
_report_of("summary", "A page to read, then the detail.")
_report_of("response", "How fast staff were told and answered, for all and by group.")
_report_of("sensors", "One row a sensor: uptime, completeness, false alarms.")


@incident_app.command(
    "file", epilog=manual("plumewatch incident file 20260921-001 --out incident.zip")
)
def incident_file(
    incident: Annotated[str, typer.Argument(help="Id of the incident.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="FILE.pdf, or FILE.zip with readings and sums.")
    ] = None,
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write timeline, evidence, readings, and who was told and did what."""
    from plumewatch.cli.incident_command import run_file  # noqa: PLC0415

    path = out or Path(f"incident-{incident}.zip")
    printer = Printer(as_json=as_json)
    raise typer.Exit(run_file(config, incident, path, printer, time.time(), force=force))


@incident_app.command("rerun", epilog=manual("plumewatch incident rerun 20260921-001"))
def incident_rerun(
    incident: Annotated[str, typer.Argument(help="Id of the incident.")],
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    as_json: JsonOption = False,
) -> None:
    """Judge the stored readings of an incident again, and say whether the verdict is the same."""
    from plumewatch.cli.incident_command import run_rerun  # noqa: PLC0415

    raise typer.Exit(run_rerun(config, incident, Printer(as_json=as_json), time.time()))


@retention_app.command("plan", epilog=manual("plumewatch retention plan --json"))
def retention_plan(
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    as_json: JsonOption = False,
) -> None:
    """Say what is kept for how long, what is old now, and what is held."""
    from plumewatch.cli.retention_command import run_plan  # noqa: PLC0415

    raise typer.Exit(run_plan(config, Printer(as_json=as_json), time.time()))


@retention_app.command("apply", epilog=manual("plumewatch retention apply"))
def retention_apply(
    config: ConfigOption = Path("plumewatch.toml"), *, as_json: JsonOption = False
) -> None:
    """Delete incidents that are old and not held; it is in the audit log."""
    from plumewatch.cli.retention_command import run_apply  # noqa: PLC0415

    raise typer.Exit(run_apply(config, Printer(as_json=as_json), time.time()))


@retention_app.command(
    "hold",
    epilog=manual(
        "plumewatch retention hold --from 2026-09-07 --to 2026-09-11 --reason request-17"
    ),
)
def retention_hold(
    start: Annotated[str, typer.Option("--from", help="First day, or a moment.")],
    end: Annotated[str, typer.Option("--to", help="Last day, or a moment.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it stays on record.")],
    room: Annotated[str, typer.Option("--room", help="Id of the room; all without it.")] = "",
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    no_name: Annotated[
        bool,
        typer.Option("--no-name", help="Numbers and addresses in the reason identify nobody."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Keep what happened in a span until the hold is released."""
    from plumewatch.cli.retention_command import run_hold  # noqa: PLC0415

    raise typer.Exit(
        run_hold(
            config,
            Printer(as_json=as_json),
            time.time(),
            start=start,
            end=end,
            room=room,
            reason=reason,
            no_name=no_name,
        )
    )


@retention_app.command("holds", epilog=manual("plumewatch retention holds"))
def retention_holds(
    config: ConfigOption = Path("plumewatch.toml"), *, as_json: JsonOption = False
) -> None:
    """List the holds that stand."""
    from plumewatch.cli.retention_command import run_holds  # noqa: PLC0415

    raise typer.Exit(run_holds(config, Printer(as_json=as_json)))


@retention_app.command("release", epilog=manual("plumewatch retention release 1"))
def retention_release(
    number: Annotated[int, typer.Argument(help="Number of the hold.")],
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    as_json: JsonOption = False,
) -> None:
    """Release a hold; both stay on record."""
    from plumewatch.cli.retention_command import run_release  # noqa: PLC0415

    raise typer.Exit(run_release(config, number, Printer(as_json=as_json), time.time()))


@audit_app.command("verify", epilog=manual("plumewatch audit verify"))
def audit_verify(
    config: ConfigOption = Path("plumewatch.toml"),
    known: Annotated[
        str | None,
        typer.Option("--head", help="Last hash printed before; it must still be there."),
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Prove that no entry of the audit log was changed, taken out or put in.

    Without --head, entries cut off at the end are not noticed: keep the last hash elsewhere.
    """
    from plumewatch.cli.audit_command import run_verify  # noqa: PLC0415

    raise typer.Exit(run_verify(config, Printer(as_json=as_json), known=known))


@audit_app.command("list", epilog=manual("plumewatch audit list --limit 5 --json"))
def audit_list(
    config: ConfigOption = Path("plumewatch.toml"),
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 50,
    *,
    as_json: JsonOption = False,
) -> None:
    """Print entries of the audit log, newest first."""
    from plumewatch.cli.audit_command import run_list  # noqa: PLC0415

    raise typer.Exit(run_list(config, Printer(as_json=as_json), limit=limit))
