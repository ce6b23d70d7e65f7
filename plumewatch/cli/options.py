"""Options that commands share, the end of their help, and checks of files they write."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, ParamSpec

import typer

from plumewatch.cli.exit_codes import exit_codes
from plumewatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")

EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 the input was refused; 2 bad usage or configuration;"
    " 3 a required service is not reachable."
)


def config_option(about: str, **more: Any) -> Any:
    """Return the option of a configuration file."""
    return typer.Option("--config", "-c", help=about, **more)


ConfigOption = Annotated[
    Path, config_option("Configuration file (see `plumewatch init`).", envvar="PLUMEWATCH_CONFIG")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")]
CONFIG: Final = Path("plumewatch.toml")


def manual(*examples: str) -> str:
    """Return the end of a command's help: examples that work as they are, and exit codes."""
    return "\n\n".join(("Examples:", *(f"  {example}" for example in examples), EXIT_CODES))


def examples_of(epilog: str) -> list[str]:
    """Read the examples back from what `manual` made."""
    return [line.strip() for line in epilog.split("\n\n")[1:-1]]


def command(
    app: typer.Typer, name: str, *examples: str, about: str | None = None
) -> Callable[[Callable[P, int | None]], Callable[P, None]]:
    """Register a command that ends with its exit code, with examples of its use."""
    register = app.command(name, help=about, epilog=manual(*examples))
    return lambda function: register(exit_codes(function))


def group(about: str) -> typer.Typer:
    """Make a group of commands."""
    return typer.Typer(help=about, no_args_is_help=True)


def check_output(path: Path, *, force: bool, suffixes: tuple[str, ...] = ()) -> None:
    """Refuse an output path that cannot be written, or that exists without `force`.

    Raises `UsageError`. A device, a pipe, a link or a socket is never replaced.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        raise UsageError(f"{path}: must end in {' or '.join(suffixes)}")
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"{path}: not a file in an existing folder")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UsageError(f"{path}: not a regular file, and only those are replaced")
    if path.exists() and not force:
        raise UsageError(f"{path}: exists already; choose another name, or --force")
