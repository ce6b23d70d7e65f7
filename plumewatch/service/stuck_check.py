"""Every half minute: was an incident, or a notice, forgotten? Says so once, mends what it can."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from alerts.incidents.stuck_incidents import EVERY_S
from storage.sqlite import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections import Counter
    from collections.abc import Awaitable, Callable

    from alerts.incidents.engine import AlertEngine
    from alerts.incidents.stuck_incidents import Finding

log = logging.getLogger(__name__)


class Auditor:
    """Runs `AlertEngine.audit` and tells what it found.

    Parameters
    ----------
    clock : callable
        Unix seconds.
    forgotten : Counter
        Counts findings by what they are, each once while it lasts.
    stored : callable
        Runs work on the state database, again while the disk refuses.
    on_found : callable
        Called when incidents were made to go on.
    """

    def __init__(
        self,
        engine: AlertEngine,
        clock: Callable[[], float],
        forgotten: Counter[str],
        stored: Callable[[Callable[[], list[Finding]]], Awaitable[list[Finding]]],
        on_found: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._forgotten = forgotten
        self._stored = stored
        self._on_found = on_found
        self._known: frozenset[Finding] = frozenset()

    async def run(self, state: sqlite3.Connection) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            self.tell(await self._stored(lambda: self.look(state)))

    def look(self, state: sqlite3.Connection) -> list[Finding]:
        """Look once, in the thread of the database."""
        with transaction(state) as tx:
            return self._engine.audit(tx, self._clock())

    def tell(self, found: list[Finding]) -> None:
        """Log and count what was not known yet."""
        fresh = [finding for finding in found if finding not in self._known]
        self._known = frozenset(found)
        for finding in fresh:
            log.error("forgotten: %s %s", finding.what, finding.subject)
            self._forgotten[finding.what] += 1
        if fresh:
            self._on_found()
