"""What commands share: options, exit codes, and the foot of their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 the input was refused; 2 bad usage or configuration;"
    " 3 a service that is needed is not reachable."
)

ConfigOption = Annotated[
    Path,
    typer.Option(
        "--config",
        "-c",
        envvar="PLUMEWATCH_CONFIG",
        help="Configuration file (see `plumewatch init`).",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Write over a file that is there.")]


def manual(*examples: str, codes: str = EXIT_CODES) -> str:
    """Make the foot of a command's help: examples that work as they stand, and exit codes."""
    return "\n\n".join(("Examples:", *(f"  {example}" for example in examples), codes))


def examples_of(epilog: str) -> list[str]:
    """Read the examples back from what `manual` made."""
    return [line.strip() for line in epilog.split("\n\n")[1:-1]]


def group(about: str) -> typer.Typer:
    """Make a group of commands."""
    return typer.Typer(help=about, no_args_is_help=True)


def fail(message: str, code: int) -> typer.Exit:
    """Say on standard error why a command ends, and make what ends it."""
    typer.echo(message, err=True)
    return typer.Exit(code)
