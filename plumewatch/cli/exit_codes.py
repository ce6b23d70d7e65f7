"""Exit codes of the commands, and the decorator that turns an error into one line and a code."""

from __future__ import annotations

import functools
import sqlite3
import sys
from typing import TYPE_CHECKING, Final, ParamSpec

from alerts.errors import AdaptationError, PolicyError, ThresholdAdjustmentError
from ingest.errors import RefusedError
from plumewatch.config.faults import ConfigError
from plumewatch.errors import UnreachableError, UsageError
from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

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
    AdaptationError: REFUSED,
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
