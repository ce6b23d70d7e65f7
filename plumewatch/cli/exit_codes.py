"""How a command ends: an exit code, and in one line why."""

from __future__ import annotations

import functools
import sqlite3
import sys
from typing import TYPE_CHECKING, Final, ParamSpec

from ingest.errors import RefusedError
from plumewatch.config.faults import ConfigError
from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

DONE: Final = 0
REFUSED: Final = 1
"""The input was refused."""
USAGE: Final = 2
"""Bad usage or configuration."""
UNREACHABLE: Final = 3
"""A service that is needed is not reachable, or the disk refuses."""

P = ParamSpec("P")


class UsageError(Exception):
    """The command or the configuration asks for what there is not; the message says what is."""


class UnreachableError(Exception):
    """A service that is needed does not answer, or cannot say; the message says which and why."""


def told(
    *, usage: tuple[type[Exception], ...] = (), refused: tuple[type[Exception], ...] = ()
) -> Callable[[Callable[P, int]], Callable[P, int]]:
    """Make a command say in one line on standard error why it ends, and return the exit code.

    `UnreachableError` and storage that cannot be read or written end with `UNREACHABLE`,
    `UsageError` and `ConfigError` with `USAGE`, `RefusedError` with `REFUSED`.

    Parameters
    ----------
    usage, refused : tuple of exception types
        Errors of other packages that mean bad usage, or refused input.
    """
    ends: tuple[tuple[tuple[type[Exception], ...], int], ...] = (
        ((UsageError, ConfigError, *usage), USAGE),
        ((RefusedError, *refused), REFUSED),
        ((UnreachableError, StorageError, sqlite3.Error), UNREACHABLE),
    )
    all_of_them = tuple(kind for kinds, _ in ends for kind in kinds)

    def telling(command: Callable[P, int]) -> Callable[P, int]:
        @functools.wraps(command)
        def run(*args: P.args, **kwargs: P.kwargs) -> int:
            try:
                return command(*args, **kwargs)
            except all_of_them as error:
                sys.stderr.write(f"{error}\n")
                return next(code for kinds, code in ends if isinstance(error, kinds))

        return run

    return telling
