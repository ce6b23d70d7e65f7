"""Options, the site and the exit codes that commands share."""

from __future__ import annotations

import errno
import os
import shlex
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from ingest.errors import RefusedError
from language.messages import write_date
from plumewatch.cli.printer import echo
from plumewatch.config.faults import ConfigError, suggest_access
from plumewatch.errors import UnreachableError, UsageError
from plumewatch.parse_time import parse_time
from storage.audit import find_account
from storage.errors import StorageError, StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.config.paths import DataPaths

CONFIG: Final = Path("plumewatch.toml")
ConfigOption = Annotated[
    Path,
    typer.Option(
        "--config",
        "-c",
        envvar="PLUMEWATCH_CONFIG",
        readable=False,  # `load` says which account may not read it
        help="Configuration file (see `plumewatch init`).",
    ),
]
OptionalConfig = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration file of a school.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object per line, for programs.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")]

DONE: Final = 0
REFUSED: Final = 1
"""The input was refused."""
USAGE: Final = 2
"""Bad usage or configuration."""
UNREACHABLE: Final = 3
"""A required service is not reachable, or the disk fails."""
EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 the input was refused; 2 bad usage or configuration;"
    " 3 a required service is not reachable."
)
_CODES: Final[dict[type[Exception], int]] = {
    UsageError: USAGE,
    ConfigError: USAGE,
    OSError: USAGE,
    RefusedError: REFUSED,
    UnreachableError: UNREACHABLE,
    StorageError: UNREACHABLE,
    sqlite3.Error: UNREACHABLE,
}
_NOT_STARTED: Final = "has `plumewatch run` been started with this configuration?"


@dataclass(frozen=True, slots=True)
class Site:
    """A loaded configuration and its data folder."""

    path: Path
    config: PlumewatchConfig
    paths: DataPaths

    @classmethod
    def load(cls, path: Path) -> Site:
        """Read a configuration; raises `ConfigError` with all its faults."""
        from plumewatch.config.load import load
        from plumewatch.config.paths import DataPaths

        config = load(path)
        return cls(path, config, DataPaths(config.data_dir))

    def parse_time(self, text: str, *, end: bool = False) -> float:
        """Parse a time in the school's zone."""
        return parse_time(text, self.config.get_zone(), end=end)

    def format_time(self, at: float) -> str:
        """Format a time in the school's zone."""
        local = datetime.fromtimestamp(at, self.config.get_zone())
        return write_date(local, "short date and time")

    @contextmanager
    def read(self, database: Path) -> Iterator[sqlite3.Connection]:
        """Open a service database read-only; raises `StorageError` or `PermissionError`."""
        from plumewatch.service.data_folder import refuse_older
        from storage.sqlite import connect

        if database.exists() and not os.access(database, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(database))
        refuse_older(database)
        try:
            connection = connect(database, read_only=True)
        except StorageError as error:
            raise StorageUnavailableError(f"{error}: {_NOT_STARTED}") from error
        with closing(connection):
            yield connection

    @contextmanager
    def open_state(self) -> Iterator[sqlite3.Connection]:
        """Open the service's state database for writing; the service may be using it."""
        from plumewatch.service.data_folder import open_state

        if not self.paths.state.exists():
            raise StorageUnavailableError(f"{self.paths.state}: {_NOT_STARTED}")
        with open_state(self.paths.state) as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Change the state database in one transaction; create it if necessary."""
        from plumewatch.service.data_folder import change_state, make_data_folder

        make_data_folder(self.paths.root)
        with change_state(self.paths.state) as tx:
            yield tx


class Commands(TyperGroup):
    """Commands that return their exit code; an expected error prints only its message."""

    def invoke(self, ctx: Any) -> None:
        """Run a command and end with its exit code."""
        try:
            code = super().invoke(ctx) or DONE
        except BrokenPipeError:
            raise
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise
        except tuple(_CODES) as error:
            echo(_describe(error), err=True)
            code = next(code for kind, code in _CODES.items() if isinstance(error, kind))
        raise typer.Exit(code)


def _describe(error: Exception) -> str:
    if isinstance(error, PermissionError) and error.filename:
        return f"{error.filename}: {error.strerror}; {suggest_access(error.filename, error)}"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def list_examples(*lines: str) -> str:
    """Return the end of a command's help: examples to copy, and the exit codes."""
    return "\n\n".join(("Examples:", *(f"  {line}" for line in lines), EXIT_CODES))


def add_config(words: str, config: Path) -> str:
    """Return a command to type, with `--config` unless the configuration is the default."""
    return words if config == CONFIG else f"{words} --config {shlex.quote(str(config))}"


def describe_unwritable(folder: Path) -> str:
    """Say that this account cannot write to a folder, and what to do."""
    return f"{folder}: {find_account()} cannot write to this folder; choose another one"


def check_output(path: Path, *, force: bool) -> None:
    """Raise `UsageError` if an output path is not writable, or exists without `force`."""
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"{path}: not a file in an existing folder")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UsageError(f"{path}: not a regular file; only regular files are replaced")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(describe_unwritable(path.parent))
    if path.exists() and not force:
        raise UsageError(f"{path}: exists already; choose another name, or --force")
