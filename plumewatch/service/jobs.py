"""Run jobs in separate processes: the weekly summary, and work for the staff page."""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from alerts.notify.pump import PumpSettings, compute_backoff_s
from language.messages import _
from plumewatch.service.process import run_in_process
from storage.journal import Snapshot, restore_snapshot, save_snapshot
from storage.sqlite import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.service.resources import Resources

log = logging.getLogger(__name__)

_CHECK_EVERY_S: Final = 60.0
_MAX_SUMMARY_S: Final = 12 * 3600.0
_MAX_EVALUATION_S: Final = 300.0
_SEND_HOUR: Final = 6
_SUMMARY: Final = "weekly summary"
_LAST_RUN: Final = f"last {_SUMMARY}"
_RETRIES: Final = PumpSettings(first_retry_s=60.0, max_retry_s=3600.0)
_MAX_TRIES: Final = 30
"""Ends the retries after about a day."""


class LastRun(msgspec.Struct, frozen=True):
    """`at`: when all due summaries had last been sent; `sent`: the mails sent since then."""

    at: float
    sent: tuple[str, ...] = ()


class Done(msgspec.Struct):
    """What a run did: lines for the log, the mails that were sent, and whether any failed."""

    messages: list[str] = []
    sent: list[str] = []
    failed: bool = False


def is_due(last: float, now: float, zone: ZoneInfo) -> bool:
    """Return whether a Monday 6:00 AM has passed since `last`."""
    at = datetime.fromtimestamp(now, zone)
    this = at.replace(hour=_SEND_HOUR, minute=0, second=0, microsecond=0)
    this -= timedelta(days=at.weekday())
    monday = this if this <= at else this - timedelta(days=7)
    return last < monday.timestamp()


class WeeklySummary:
    """Sends each school's summary on Monday at 6:00 AM in its time zone, across restarts.

    Before the first run, the time of the first check counts as the last run. A mail that fails is
    retried for about a day. If the service is killed during a run, that run's mails are sent again.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        config = resources.config
        self._zones = {config.get_zone(site) for site in config.index_sites()}
        self._tries, self._next_try = 0, 0.0

    async def run(self) -> None:
        """Send the summary when its time has come; check every minute, until canceled."""
        while True:
            await self._run_if_due()
            await asyncio.sleep(_CHECK_EVERY_S)

    async def _run_if_due(self) -> None:
        base, now = self._resources, self._resources.clock()
        last = await base.run_until_stored(_SUMMARY, restore_snapshot, base.state, _LAST_RUN, _read)
        if last is None:
            last = LastRun(now)
            await base.run_until_stored(_SUMMARY, _save, base.state, last)
        if now < self._next_try or not any(is_due(last.at, now, zone) for zone in self._zones):
            return
        done = await self._run_job(last, now)
        log.info("%s", "\n".join(done.messages) or "no weekly summary was due")
        self._tries = (self._tries + 1) % _MAX_TRIES if done.failed else 0
        left = LastRun(now)
        if self._tries:
            left = LastRun(last.at, (*last.sent, *done.sent))
            self._next_try = now + compute_backoff_s(self._tries, _RETRIES, random.uniform)
        await base.run_until_stored(_SUMMARY, _save, base.state, left)

    async def _run_job(self, last: LastRun, now: float) -> Done:
        order = (self._resources.config, last.at, now, last.sent)
        try:
            async with asyncio.timeout(_MAX_SUMMARY_S):
                return await run_in_process(Done, "plumewatch.weekly_summary:run", *order)
        except TimeoutError:
            return Done([f"{_SUMMARY} was stopped: it took too long"])
        except OSError as error:
            return Done([f"{_SUMMARY} was not run: {error}"], failed=True)


def _read(stored: Snapshot) -> LastRun:
    return msgspec.json.decode(stored.body, type=LastRun)


def _save(connection: sqlite3.Connection, last: LastRun) -> None:
    with transaction(connection) as tx:
        save_snapshot(tx, _LAST_RUN, Snapshot(0, "", msgspec.json.encode(last)))


async def evaluate_in_process(
    config: PlumewatchConfig, room: str, starts: Sequence[float], person: str
) -> str:
    """Evaluate a test whose steps began at `starts`; return an error message, or ""."""
    try:
        async with asyncio.timeout(_MAX_EVALUATION_S):
            order = (config, room, starts, person)
            await run_in_process(type(None), "plumewatch.room_test:evaluate", *order)
    except TimeoutError:
        return _("The test was not evaluated: it took too long.")
    except OSError:
        log.exception("a room test was not evaluated")
        return _("The test was not evaluated. See the service's log for details.")
    return ""
