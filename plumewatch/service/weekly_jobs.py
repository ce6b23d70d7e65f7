"""Jobs of once a week, each in a process of its own: adapt the detector, send the summary."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Final

from storage import state
from storage.sqlite import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from zoneinfo import ZoneInfo

    from plumewatch.service.resources import Resources

log = logging.getLogger(__name__)

_WEEK_S: Final = 7 * 86_400.0
_LOOK_S: Final = 600.0
_LONGEST_S: Final = 12 * 3600.0
_MORNING: Final = 6
ADAPTATION: Final = (sys.executable, "-m", "plumewatch.adaptation_job")
SUMMARY: Final = (sys.executable, "-m", "plumewatch.weekly_summary")


def after_a_week(last: float | None, now: float) -> bool:
    """Whether a week has passed since the last run, if there was one."""
    return last is None or not 0.0 <= now - last < _WEEK_S


def on_monday_morning(zone: ZoneInfo) -> Callable[[float | None, float], bool]:
    """Return whether Monday, 6:00, has passed since the last run; a first run waits for it."""

    def is_due(last: float | None, now: float) -> bool:
        at = datetime.fromtimestamp(now, zone)
        if last is None or (at.weekday() == 0 and at.hour < _MORNING):
            return False
        return datetime.fromtimestamp(last, zone).isocalendar()[:2] != at.isocalendar()[:2]

    return is_due


class WeeklyJob:
    """Runs a command when it is due, over restarts too.

    `is_due` gets the times of the last run, if any, and of now; before the first run the time of
    the first look counts as the last run. The command gets the configuration as JSON.
    """

    def __init__(
        self,
        resources: Resources,
        name: str,
        command: Sequence[str],
        is_due: Callable[[float | None, float], bool],
    ) -> None:
        self._resources = resources
        self._name = name
        self._command = tuple(command)
        self._is_due = is_due

    async def run(self) -> None:
        """Look every ten minutes whether it is due, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            await self.run_if_due()

    async def run_if_due(self) -> str:
        """Run the job if it is due; return what it printed, empty if it is not due."""
        base, now, key = self._resources, self._resources.clock(), f"last {self._name}"
        stored = await base.run_until_stored(self._name, state.snapshot, base.state, key)
        last = None if stored is None else float(stored.body)
        is_due = self._is_due(last, now)
        if is_due or last is None:
            await base.run_until_stored(self._name, _save, base.state, key, now)
        if not is_due:
            return ""
        said = await self._run_job()
        log.info("%s", said)
        return said

    async def _run_job(self) -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
        except OSError as error:
            return f"{self._name} was not run: {error}"
        try:
            async with asyncio.timeout(_LONGEST_S):
                config = self._resources.config.model_dump_json(by_alias=True).encode()
                out, _ = await process.communicate(config)
        except TimeoutError:
            return f"{self._name} was not run: it took too long"
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        return out.decode(errors="replace").strip() or f"{self._name} was not run: see the log"


def _save(connection: sqlite3.Connection, key: str, at: float) -> None:
    with transaction(connection) as tx:
        state.set_snapshot(tx, key, state.Snapshot(0, "", repr(at).encode()))
