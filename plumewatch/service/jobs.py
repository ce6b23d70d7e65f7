"""Run jobs in separate processes: the weekly summary, and work for the staff page."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from language.messages import _
from storage.journal import Snapshot, read_number, restore_snapshot, save_snapshot
from storage.sqlite import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

    from alerts.page.labels import Order
    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.service.resources import Resources

log = logging.getLogger(__name__)

_LOOK_S: Final = 60.0
_LONGEST_S: Final = 12 * 3600.0
_LONGEST_OF_PAGE_S: Final = 300.0
_MORNING: Final = 6
_SUMMARY: Final = "weekly summary"
_LAST_RUN: Final = f"last {_SUMMARY}"


def is_due(last: float, now: float, zone: ZoneInfo) -> bool:
    """Return whether a Monday 6:00 AM has passed since `last`."""
    at = datetime.fromtimestamp(now, zone)
    this = at.replace(hour=_MORNING, minute=0, second=0, microsecond=0)
    this -= timedelta(days=at.weekday())
    monday = this if this <= at else this - timedelta(days=7)
    return last < monday.timestamp()


class WeeklySummary:
    """Sends each school's summary on Monday at 6:00 AM in its time zone, across restarts.

    Before the first run, the time of the first check counts as the last run.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        config = resources.config
        self._zones = {config.zone(site) for site in config.sites_by_id()}

    async def run(self) -> None:
        """Send the summary when its time has come; check every minute, until cancelled."""
        while True:
            await self._run_if_due()
            await asyncio.sleep(_LOOK_S)

    async def _run_if_due(self) -> None:
        base, now = self._resources, self._resources.clock()
        stored = await base.run_until_stored(
            _SUMMARY, restore_snapshot, base.state, _LAST_RUN, read_number
        )
        last = now if stored is None else stored
        due = any(is_due(last, now, zone) for zone in self._zones)
        if due or stored is None:
            await base.run_until_stored(_SUMMARY, _save, base.state, now)
        if due:
            log.info("%s", await self._run_job(last, now))

    async def _run_job(self, since: float, now: float) -> str:
        config = self._resources.config.model_dump_json(by_alias=True)
        order = json.dumps({"config": config, "since": since, "now": now}).encode()
        try:
            out = await _run((sys.executable, "-m", "plumewatch.weekly_summary"), order, _LONGEST_S)
        except TimeoutError:
            return f"{_SUMMARY} was not run: it took too long"
        except OSError as error:
            return f"{_SUMMARY} was not run: {error}"
        return out.decode(errors="replace").strip() or f"{_SUMMARY} was not run: see the log"


def _save(connection: sqlite3.Connection, at: float) -> None:
    with transaction(connection) as tx:
        save_snapshot(tx, _LAST_RUN, Snapshot(0, "", repr(at).encode()))


async def evaluate_in_process(
    config: PlumewatchConfig, room: str, starts: Sequence[float], person: str
) -> str:
    """Evaluate a test whose steps began at `starts`; return an error message, or nothing."""
    order = {
        "config": config.model_dump_json(by_alias=True),
        "room": room,
        "starts": list(starts),
        "person": person,
    }
    try:
        await _run_for_page("plumewatch.room_test", json.dumps(order).encode())
    except TimeoutError:
        return _("The test was not evaluated: it took too long.")
    except ChildProcessError:
        log.exception("a room test was not evaluated")
        return _("The test was not evaluated. See the service's log for details.")
    return ""


async def draw_labels(order: Order) -> bytes:
    """Return labels as PDF; raises `TimeoutError`, or `ChildProcessError` with what it printed."""
    return await _run_for_page("alerts.page.labels", msgspec.json.encode(order))


async def _run_for_page(module: str, order: bytes) -> bytes:
    command = (sys.executable, "-m", module)
    return await _run(command, order, _LONGEST_OF_PAGE_S, asyncio.subprocess.PIPE)


async def _run(
    command: Sequence[str], order: bytes, longest_s: float, stderr: int | None = None
) -> bytes:
    """Return what a command prints for an order; with `stderr`, raise if the command fails."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=stderr)
    try:
        async with asyncio.timeout(longest_s):
            out, said = await process.communicate(order)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode and stderr is not None:
        raise ChildProcessError(said.decode("utf-8", "replace")[-2000:])
    return out
