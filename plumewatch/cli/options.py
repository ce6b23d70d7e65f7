"""Commands of plain functions: their options, the school they are about, and exit codes."""

from __future__ import annotations

import functools
import inspect
import shlex
import sqlite3
import sys
import tomllib
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, ParamSpec, get_type_hints

import typer

from alerts.errors import PolicyError, ThresholdAdjustmentError
from ingest.errors import RefusedError
from plumewatch.cli.printer import Printer
from plumewatch.config.faults import ConfigError, some
from plumewatch.errors import UnreachableError, UsageError
from plumewatch.format_time import format_time, parse_time
from storage.errors import StorageError, StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Command = Callable[..., int | None]
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.config.paths import DataPaths
    from storage.audit import AuditKind
    from storage.registry import Registry
    from storage.timeseries import Series

_NOT_STARTED: Final = "has `plumewatch run` been started with this configuration?"


@dataclass(frozen=True, slots=True)
class Site:
    """A configuration that was read, and its data folder."""

    path: Path
    config: PlumewatchConfig
    paths: DataPaths

    @classmethod
    def load(cls, path: Path) -> Site:
        """Read a configuration; raises `ConfigError` with all its faults."""
        from plumewatch.config.load import load_shard
        from plumewatch.config.paths import DataPaths

        config = load_shard(path)
        return cls(path, config, DataPaths(config.data_dir))

    def registry(self, site: str = "") -> Registry:
        """Return rooms and sensors of a school by its id, of all without; raises `UsageError`."""
        registry = self.config.registry()
        names = {found.id: found.name for found in registry.sites.values()}
        if site and site not in names:
            raise UsageError(f"no site {site!r}; there is {some(names)}")
        return registry.within({names[site]}) if site else registry

    def parse_time(self, text: str, *, end: bool = False) -> float:
        """Read a time in the school's zone."""
        return parse_time(text, self.config.zone(), end=end)

    def format_time(self, at: float) -> str:
        """Write a time in the school's zone."""
        return format_time(at, self.config.zone())

    @contextmanager
    def read(self, database: Path) -> Iterator[sqlite3.Connection]:
        """Open a database of the service, read-only; `SchemaTooOldError` or `SchemaTooNewError`."""
        from plumewatch.service.data_folder import refuse_older
        from storage.sqlite import connect

        refuse_older(database)
        try:
            connection = connect(database, read_only=True)
        except StorageError as error:
            raise StorageUnavailableError(f"{error}: {_NOT_STARTED}") from error
        with closing(connection):
            yield connection

    @contextmanager
    def state(self) -> Iterator[sqlite3.Connection]:
        """Open the state database that the service made, and may be using, for writing."""
        from plumewatch.service.data_folder import open_state

        if not self.paths.state.exists():
            raise StorageUnavailableError(f"{self.paths.state}: {_NOT_STARTED}")
        with open_state(self.paths.state) as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Change the state database in one transaction; it is made if need be."""
        from plumewatch.service.data_folder import open_state
        from storage.files import make_private_folder
        from storage.sqlite import transaction

        try:
            make_private_folder(self.paths.root)
        except OSError as error:
            raise StorageUnavailableError(f"{self.paths.root}: {error.strerror}") from error
        with open_state(self.paths.state) as connection, transaction(connection) as tx:
            yield tx

    def series(self) -> AbstractContextManager[Series]:
        """Open the time series of the readings."""
        from plumewatch.service.data_folder import open_series

        return open_series(self.config)

    def record(self, kind: AuditKind, detail: Mapping[str, str | float | None], now: float) -> None:
        """Add an entry of this machine's user to the audit log."""
        from storage.audit import append, machine_user

        with self.transaction() as tx:
            append(tx, kind, machine_user(), detail, now)


EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 the input was refused; 2 bad usage or configuration;"
    " 3 a required service is not reachable."
)
CONFIG: Final = Path("plumewatch.toml")
_TABLE: Final[dict[str, dict[str, Any]]] = tomllib.loads(
    Path(__file__).with_name("commands.toml").read_text(encoding="utf-8")
)
_MADE: Final[dict[str, tuple[str, Any, object, Callable[[Any], object]]]] = {
    "Site": ("config", Path, CONFIG, Site.load),
    "Site | None": ("config", Path | None, None, lambda path: path and Site.load(path)),
    "Printer": ("as_json", bool, False, lambda as_json: Printer(as_json=as_json)),
}
"""By type of a parameter: the option it is made of, its type and default, and what makes it."""


def examples_of(epilog: str) -> list[str]:
    """Read the examples of a command back from the end of its help."""
    return [line.strip() for line in epilog.split("\n\n")[1:-1]]


def add_commands(app: typer.Typer, commands: Mapping[str, Command], heading: str) -> None:
    """Add commands, by their words, below a heading of the help; the first word may be a group.

    A command has for a parameter of type `Site` the option ``--config``, for a `Printer`
    ``--json``. A command with the name of a group is what the group does alone.
    """
    part = typer.Typer()
    groups: dict[str, typer.Typer] = {}
    for name, function in commands.items():
        entry, (first, _, second) = _TABLE[name], name.partition(" ")
        examples = (f"  {example}" for example in entry["examples"])
        epilog = "\n\n".join(("Examples:", *examples, EXIT_CODES))
        is_group = not second and any(other.startswith(f"{name} ") for other in commands)
        if (second or is_group) and first not in groups:
            about = _TABLE[first]["about"]
            groups[first] = typer.Typer(help=about, no_args_is_help=not is_group)
            part.add_typer(groups[first], name=first, rich_help_panel=heading)
        run = _with_options(name, function, is_group=is_group)
        if is_group:
            groups[first].callback(invoke_without_command=True, epilog=epilog)(run)
        else:
            under = groups[first] if second else part
            panel = None if second else heading
            register = under.command(
                second or name, help=entry.get("about"), epilog=epilog, rich_help_panel=panel
            )
            register(run)
    app.add_typer(part)


def _with_options(name: str, function: Command, *, is_group: bool) -> Callable[..., None]:
    known = {"Path": Path, "Literal": Literal, "Site": Site, "Printer": Printer}
    hints = get_type_hints(function, localns=known)
    parameters, made = [], {}
    if is_group:
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters.append(inspect.Parameter("context", kind, annotation=typer.Context))
    for parameter in inspect.signature(function).parameters.values():
        option, hint, default = parameter.name, hints[parameter.name], parameter.default
        if parameter.annotation in _MADE:
            option, hint, default, make = _MADE[parameter.annotation]
            made[option] = parameter.name, make
        found = _option(name, option, hint, default)
        parameters.append(parameter.replace(name=option, default=found, annotation=hint))

    def call(**given: Any) -> int | None:
        for option, (parameter, make) in made.items():
            given[parameter] = make(given.pop(option))
        return function(**given)

    @functools.wraps(function)
    def run(**given: Any) -> None:
        if not is_group or given.pop("context").invoked_subcommand is None:
            exit_codes(call)(**given)

    run.__annotations__ = {one.name: one.annotation for one in parameters}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _option(command: str, name: str, kind: object, default: Any) -> Any:
    default = ... if default is inspect.Parameter.empty else default
    for table in (_TABLE[command], _TABLE[command.partition(" ")[0]], _TABLE["shared"]):
        for make, found in ((typer.Option, "options"), (typer.Argument, "arguments")):
            if name in table.get(found, {}):
                given = table[found][name]
                more = {"help": given} if isinstance(given, str) else dict(given)
                flags = more.pop("flags", [])
                if name == "config":
                    flags = ["--config", "-c"]
                elif kind is bool and not flags:
                    flags = [f"--{name.replace('_', '-')}"]
                return make(default, *flags, **more)
    raise KeyError(f"commands.toml: {command}: {name}")


def with_config(words: str, config: Path) -> str:
    """Return a command that somebody is told to type, with the configuration if it is named."""
    return words if config == CONFIG else f"{words} --config {shlex.quote(str(config))}"


def check_output(path: Path, *, force: bool, suffixes: tuple[str, ...] = ()) -> None:
    """Refuse an output path that cannot be written, or exists without `force`: `UsageError`."""
    if suffixes and path.suffix.lower() not in suffixes:
        raise UsageError(f"{path}: must end in {' or '.join(suffixes)}")
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"{path}: not a file in an existing folder")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UsageError(f"{path}: not a regular file, and only those are replaced")
    if path.exists() and not force:
        raise UsageError(f"{path}: exists already; choose another name, or --force")


DONE: Final = 0
REFUSED: Final = 1
"""The input was refused."""
USAGE: Final = 2
"""Bad usage or configuration."""
UNREACHABLE: Final = 3
"""A required service is not reachable, or the disk fails."""

P = ParamSpec("P")


_CODES: Final[dict[type[Exception], int]] = {
    UsageError: USAGE,
    ConfigError: USAGE,
    PolicyError: USAGE,
    OSError: USAGE,
    RefusedError: REFUSED,
    ThresholdAdjustmentError: REFUSED,
    UnreachableError: UNREACHABLE,
    StorageError: UNREACHABLE,
    sqlite3.Error: UNREACHABLE,
}


def exit_codes(command: Callable[P, int | None]) -> Callable[P, None]:
    """Make a command end with its exit code; print an expected error as one line on stderr."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs) or DONE
        except BrokenPipeError:
            raise
        except tuple(_CODES) as error:
            sys.stderr.write(f"{_message(error)}\n")
            code = next(code for kind, code in _CODES.items() if isinstance(error, kind))
        sys.exit(code)

    return run


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
