"""Work on a database that is repeated while the disk is full, locked or slow."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from typing import TYPE_CHECKING, Final, TypeVar

from storage.errors import StorageError, is_transient, translated

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from storage.timeseries.writer import InThread

log = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_S: Final = 1.0


class UntilStored:
    """Repeats work until it succeeds; `failing` says why it fails at the moment, by its name.

    The pauses double from `first_s` to `longest_s`.
    """

    def __init__(self, first_s: float = RETRY_S, longest_s: float = RETRY_S) -> None:
        self.failing: dict[str, str] = {}
        self.last_failure = float("-inf")
        self._first_s, self._longest_s = first_s, longest_s

    async def repeat(
        self,
        what: str,
        attempt: Callable[[], Awaitable[T]],
        give_up: Callable[[], bool] = lambda: False,
    ) -> T:
        """Return what `attempt` returns; raise its error if that is permanent, or to give up."""
        pause = self._first_s
        while True:
            try:
                done = await attempt()
            except (sqlite3.Error, StorageError) as error:
                if not is_transient(error):
                    raise
                if what not in self.failing:
                    log.error("%s: the disk refuses, retrying: %s", what, error)  # noqa: TRY400 - one line
                self.failing[what] = str(error)
                self.last_failure = time.monotonic()
                if give_up():
                    raise
                await asyncio.sleep(pause)
                pause = min(2 * pause, self._longest_s)
                continue
            if self.failing.pop(what, None) is not None:
                log.warning("%s: stored again", what)
            return done


class RunUntilStored(UntilStored):
    """Repeats blocking work in one thread, with a database at `path`."""

    def __init__(self, in_thread: InThread, path: Path, *, retry_s: float = RETRY_S) -> None:
        super().__init__(retry_s, retry_s)
        self._in_thread = in_thread
        self._path = path

    async def __call__(self, what: str, work: Callable[..., T], *arguments: object) -> T:
        """Return what ``work(*arguments)`` returns, once the disk lets it succeed."""
        try:
            return await self.repeat(what, lambda: self._in_thread(work, *arguments))
        except sqlite3.Error as error:
            raise translated(error, self._path) from error
