"""The command line: one table of commands, and the entry point."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer

from plumewatch.cli import (
    adapt,
    backup,
    commission,
    dashboards,
    decode,
    device,
    people,
    replay,
    reports,
    retention,
    run,
    scale,
    sensors,
    storage,
)
from plumewatch.cli.sample_data import command as sample_data
from plumewatch.cli.setup import command as setup
from plumewatch.cli.setup import sites

app = typer.Typer(
    name="plumewatch",
    help="Vape-sensor telemetry and alerting for schools.",
    epilog="For details of a command: --help. For output that programs read: --json."
    " Completion: plumewatch --install-completion",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_PANELS: Final = {
    "Start": (setup.app, sites.app, run.app, commission.app),
    "Sensors": (sensors.app, adapt.app, decode.app, device.app),
    "People": (people.app,),
    "What happened": (reports.app, retention.app),
    "Data": (backup.app, storage.app, dashboards.app),
    "Recorded and simulated air": (replay.app, sample_data.app),
    "History": (scale.app,),
}
"""All commands, by the heading under which `plumewatch --help` lists them."""


def _version(*, asked: bool) -> None:
    if asked:
        from plumewatch import __version__

        typer.echo(f"plumewatch {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


for heading, modules in _PANELS.items():
    for module in modules:
        for command in module.registered_commands:
            command.rich_help_panel = heading
        for group in module.registered_groups:
            group.rich_help_panel = heading
        app.add_typer(module)


def main() -> None:
    """Run the command line; a closed pipe or Ctrl-C prints no traceback."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
