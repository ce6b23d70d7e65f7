"""Work on a database that is repeated while the disk is full, locked or slow."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from storage.errors import StorageError, is_transient
from storage.sqlite import translated

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from storage.timeseries.writer import InThread

log = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_S: Final = 1.0


class Retrying(Protocol):
    """Runs blocking work on a database until it succeeds (`RunUntilStored`)."""

    async def __call__(self, what: str, work: Callable[..., T], *arguments: object) -> T:
        """Return what ``work(*arguments)`` returns, retrying transient errors of the disk."""


class RunUntilStored:
    """`Retrying` in one thread; `failing` says why work fails at the moment, by its name."""

    def __init__(self, in_thread: InThread, path: Path, *, retry_s: float = RETRY_S) -> None:
        self.failing: dict[str, str] = {}
        self.last_failure = float("-inf")
        self._in_thread = in_thread
        self._path = path
        self._retry_s = retry_s

    async def __call__(self, what: str, work: Callable[..., T], *arguments: object) -> T:
        """Return what ``work(*arguments)`` returns, once the disk lets it succeed."""
        while True:
            try:
                done = await self._in_thread(work, *arguments)
            except (sqlite3.Error, StorageError) as error:
                if not is_transient(error):
                    if isinstance(error, sqlite3.Error):
                        raise translated(error, self._path) from error
                    raise
                if what not in self.failing:
                    log.error("%s: the disk refuses, retrying: %s", what, error)  # noqa: TRY400 - one line
                self.failing[what] = str(error)
                self.last_failure = time.monotonic()
                await asyncio.sleep(self._retry_s)
                continue
            if self.failing.pop(what, None) is not None:
                log.warning("%s: stored again", what)
            return done
