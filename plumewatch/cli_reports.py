"""Commands about the past: reports, one incident, retention, the audit log."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from plumewatch.cli_options import ConfigOption  # noqa: TC001 - typer reads it

__all__ = ["APPS"]

report_app = typer.Typer(help="What happened, as files that reconcile.", no_args_is_help=True)
incident_app = typer.Typer(help="One incident, whole.", no_args_is_help=True)
retention_app = typer.Typer(help="How long what is kept; legal holds.", no_args_is_help=True)
audit_app = typer.Typer(help="Who signed in, exported and deleted.", no_args_is_help=True)

APPS: Final = {
    "report": report_app,
    "incident": incident_app,
    "retention": retention_app,
    "audit": audit_app,
}
"""Groups of commands, by the word they follow."""


def _report_of(name: str, about: str) -> None:
    @report_app.command(name, help=about)
    def report(
        start: Annotated[str, typer.Option("--from", help="First day, or a moment.")],
        end: Annotated[str, typer.Option("--to", help="Last day, or a moment.")],
        kind: Annotated[
            str, typer.Option("--format", help="csv, xlsx, pdf, html, parquet or json.")
        ] = "csv",
        out: Annotated[
            Path | None, typer.Option("--out", help="File; named after the report without it.")
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
        force: Annotated[
            bool, typer.Option("--force", help="Write over a file that is there.")
        ] = False,
    ) -> None:
        from plumewatch.report_command import ReportOptions, run_report  # noqa: PLC0415

        options = ReportOptions(
            name, start, end, kind, out, site, building, intervention, force, staged
        )
        raise typer.Exit(run_report(config, options, time.time()))


_report_of("incidents", "One row an incident.")
_report_of("summary", "A page to read, then the detail.")
_report_of("response", "How fast staff were told and answered, for all and by group.")
_report_of("sensors", "One row a sensor: uptime, completeness, false alarms.")


@incident_app.command("file")
def incident_file(
    incident: Annotated[str, typer.Argument(help="Id of the incident.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="FILE.pdf, or FILE.zip with readings and sums.")
    ] = None,
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Write over a file that is there.")
    ] = False,
) -> None:
    """Write timeline, evidence, readings, and who was told and did what."""
    from plumewatch.incident_command import run_file  # noqa: PLC0415

    path = out or Path(f"incident-{incident}.zip")
    raise typer.Exit(run_file(config, incident, path, time.time(), force=force))


@incident_app.command("rerun")
def incident_rerun(
    incident: Annotated[str, typer.Argument(help="Id of the incident.")],
    config: ConfigOption = Path("plumewatch.toml"),
) -> None:
    """Judge the stored readings of an incident again, and say whether the verdict is the same."""
    from plumewatch.incident_command import run_rerun  # noqa: PLC0415

    raise typer.Exit(run_rerun(config, incident, sys.stdout, time.time()))


@retention_app.command("plan")
def retention_plan(
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a class.")] = False,
) -> None:
    """Say what is kept for how long, what is old now, and what is held."""
    from plumewatch.retention_command import run_plan  # noqa: PLC0415

    raise typer.Exit(run_plan(config, sys.stdout, time.time(), as_json=as_json))


@retention_app.command("apply")
def retention_apply(config: ConfigOption = Path("plumewatch.toml")) -> None:
    """Delete incidents that are old and not held; it is in the audit log."""
    from plumewatch.retention_command import run_apply  # noqa: PLC0415

    raise typer.Exit(run_apply(config, sys.stdout, time.time()))


@retention_app.command("hold")
def retention_hold(
    start: Annotated[str, typer.Option("--from", help="First day, or a moment.")],
    end: Annotated[str, typer.Option("--to", help="Last day, or a moment.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it stays on record.")],
    room: Annotated[str, typer.Option("--room", help="Id of the room; all without it.")] = "",
    config: ConfigOption = Path("plumewatch.toml"),
) -> None:
    """Keep what happened in a span until the hold is released."""
    from plumewatch.retention_command import run_hold  # noqa: PLC0415

    raise typer.Exit(
        run_hold(config, sys.stdout, time.time(), start=start, end=end, room=room, reason=reason)
    )


@retention_app.command("holds")
def retention_holds(config: ConfigOption = Path("plumewatch.toml")) -> None:
    """List the holds that stand."""
    from plumewatch.retention_command import run_holds  # noqa: PLC0415

    raise typer.Exit(run_holds(config, sys.stdout))


@retention_app.command("release")
def retention_release(
    number: Annotated[int, typer.Argument(help="Number of the hold.")],
    config: ConfigOption = Path("plumewatch.toml"),
) -> None:
    """Release a hold; both stay on record."""
    from plumewatch.retention_command import run_release  # noqa: PLC0415

    raise typer.Exit(run_release(config, number, sys.stdout, time.time()))


@audit_app.command("verify")
def audit_verify(
    config: ConfigOption = Path("plumewatch.toml"),
    known: Annotated[
        str, typer.Option("--head", help="Last hash printed before; it must still be there.")
    ] = "",
) -> None:
    """Prove that no entry of the audit log was changed, removed or put in."""
    from plumewatch.audit_command import run_verify  # noqa: PLC0415

    raise typer.Exit(run_verify(config, sys.stdout, known=known))


@audit_app.command("list")
def audit_list(
    config: ConfigOption = Path("plumewatch.toml"),
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 50,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line an entry.")] = False,
) -> None:
    """Print entries of the audit log, newest first."""
    from plumewatch.audit_command import run_list  # noqa: PLC0415

    raise typer.Exit(run_list(config, sys.stdout, limit=limit, as_json=as_json))
