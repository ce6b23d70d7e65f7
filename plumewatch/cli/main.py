"""The command line: one table of groups, and the way in.

Exit codes: 0 done, 1 the input was refused, 2 bad usage or configuration, 3 a service that is
needed is not reachable.
"""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer

from plumewatch import __version__
from plumewatch.cli.commands import data, history, past, people, recorded, sensors, start

app = typer.Typer(
    name="plumewatch",
    help="Vape-sensor telemetry and alerting for schools.",
    epilog="A command says more with --help, and answers programs with --json."
    " Completion: plumewatch --install-completion",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_PANELS: Final = {
    "Start": start.app,
    "Sensors": sensors.app,
    "People": people.app,
    "What happened": past.app,
    "Data": data.app,
    "Recorded and simulated air": recorded.app,
    "History": history.app,
}
"""All commands, by the heading under which `plumewatch --help` lists them."""


def _version(*, asked: bool) -> None:
    if asked:
        typer.echo(f"plumewatch {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


for heading, group in _PANELS.items():
    for command in group.registered_commands:
        command.rich_help_panel = heading
    for subgroup in group.registered_groups:
        subgroup.rich_help_panel = heading
    app.add_typer(group)


def main() -> None:
    """Run the command line; a broken pipe or Ctrl-C is no traceback."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
