"""The command line: its commands, and the entry point."""

from __future__ import annotations

from typing import Annotated

import typer

from plumewatch.cli import (
    backup,
    dashboards,
    decode,
    people,
    replay,
    reports,
    retention,
    run,
    sensors,
    simulate,
    storage,
)
from plumewatch.cli.options import Commands
from plumewatch.cli.printer import echo
from plumewatch.cli.scale import segments, stream
from plumewatch.cli.setup import command as setup

app = typer.Typer(
    cls=Commands,
    name="plumewatch",
    help="Vape-sensor telemetry and alerting for schools.",
    epilog="For details of a command: --help. For output that programs read: --json."
    " Completion: plumewatch --install-completion",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

for part in (
    *(setup.app, run.app, sensors.app, decode.app, people.app),
    *(reports.app, retention.app, backup.app, storage.app, dashboards.app),
    *(replay.app, simulate.app, segments.app, stream.app),
):
    app.add_typer(part)


def _show_version(*, asked: bool) -> None:
    if asked:
        from detection.model import Model
        from plumewatch import __version__

        echo(f"plumewatch {__version__} (detector model {Model.load_shipped().version})")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    app()
