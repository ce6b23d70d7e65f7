"""Tries once a week, in a process of its own, to adapt the detector to the school's answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from typing import TYPE_CHECKING, Final

from storage import state
from storage.sqlite import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from plumewatch.service.resources import Resources

log = logging.getLogger(__name__)

_WEEK_S: Final = 7 * 86_400.0
_LOOK_S: Final = 3600.0
_LONGEST_S: Final = 12 * 3600.0
_LAST: Final = "last adaptation"
COMMAND: Final = (sys.executable, "-m", "plumewatch.adaptation_job")


class WeeklyAdaptation:
    """Runs the job when a week has passed since the last one, over restarts too."""

    def __init__(self, resources: Resources, command: Sequence[str] = COMMAND) -> None:
        self._resources = resources
        self._command = tuple(command)

    async def run(self) -> None:
        """Look every hour whether a week has passed, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            await self.run_if_due()

    async def run_if_due(self) -> str:
        """Run the job if it is due; return what it printed, empty if it is not due."""
        base, now = self._resources, self._resources.clock()
        stored = await base.run_until_stored("adaptation", state.snapshot, base.state, _LAST)
        if stored is not None and 0.0 <= now - float(stored.body) < _WEEK_S:
            return ""
        await base.run_until_stored("adaptation", _save, base.state, now)
        said = await self._run_job()
        log.info("%s", said)
        return said

    async def _run_job(self) -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
        except OSError as error:
            return f"no adaptation was tried: {error}"
        try:
            async with asyncio.timeout(_LONGEST_S):
                config = self._resources.config.model_dump_json(by_alias=True).encode()
                out, _ = await process.communicate(config)
        except TimeoutError:
            return "no adaptation was tried: it took too long"
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        return out.decode(errors="replace").strip() or "no adaptation was tried: see the log"


def _save(connection: sqlite3.Connection, at: float) -> None:
    with transaction(connection) as tx:
        state.set_snapshot(tx, _LAST, state.Snapshot(0, "", repr(at).encode()))
