"""Incidents into a Grafana as annotations, by the service itself.

Never in the way of alerting: incidents are read through a connection of its own, the Grafana is
spoken to in a thread of its own, and its failures change nothing but counters and one line of the
log. Where it is away, or does not take the token, it is tried again after a pause that doubles;
what changed meanwhile is written then, once, in order, as it is by then. An annotation that it
refuses for good is set aside with the reason, one line of the log each, until its incident changes;
those behind it go on. `plumewatch dashboards push` beside it finds what it wrote.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple

from alerts.outbound import annotated
from alerts.outbound.annotated import Settled
from dashboards.grafana import Grafana, GrafanaError
from plumewatch.service.incident_marks import incident_marks
from storage.bounded_call import BoundedThreads
from storage.sqlite import connect, transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from dashboards.grafana import Change, Mark
    from plumewatch.config.settings import GrafanaTarget
    from plumewatch.service.app import Service
    from storage.retrying import Retrying

log = logging.getLogger(__name__)

SINCE_S: Final = 31 * 86_400.0
"""Incidents that were opened longer ago are not written any more."""
_BATCH: Final = 50
_PACE_S: Final = 2.0
"""An incident changes several times in its first seconds."""
_LOOK_AGAIN_S: Final = 60.0
_DEADLINE_S: Final = 900.0
"""Of one batch; each request has a deadline of its own."""
_FIRST_PAUSE_S, _LAST_PAUSE_S = 5.0, 300.0


class _Due(NamedTuple):
    mark: Mark
    body: str


class Annotator:
    """Writes annotations until cancelled.

    Parameters
    ----------
    service : Service
        Whose incidents these are, and whose counters say what came of it.
    run_until_stored : callable
        Runs blocking work in the detector's thread, again and again while the disk refuses.
    clock : callable
        Unix seconds.
    first_pause_s, pace_s : float
        Pause after the first failure, and between two looks.
    """

    def __init__(
        self,
        service: Service,
        target: GrafanaTarget,
        run_until_stored: Retrying,
        clock: Callable[[], float],
        *,
        first_pause_s: float = _FIRST_PAUSE_S,
        pace_s: float = _PACE_S,
    ) -> None:
        self._service = service
        self._grafana = Grafana(target.url, target.token.reveal())
        self._threads = BoundedThreads("annotations", 1)
        self._run_until_stored = run_until_stored
        self._clock = clock
        self._first_pause_s = first_pause_s
        self._pace_s = pace_s

    async def run(self, state: sqlite3.Connection) -> None:
        """Write what is due whenever something changed.

        Parameters
        ----------
        state : sqlite3.Connection
            The state database, used in the detector's thread.
        """
        await self._service.ready.wait()
        counters = self._service.counters
        seen, pause = -1, self._first_pause_s
        while True:
            try:
                any_due = await self._write(state)
            except Exception as error:  # noqa: BLE001 - whatever it is, alerting goes on
                if not counters.annotations_failing:
                    log.warning("incidents are not annotated: %s", error)
                counters.annotations_failing = str(error)
                counters.annotation_failures += 1
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LAST_PAUSE_S)
                continue
            if counters.annotations_failing:
                log.warning("incidents are annotated again")
            counters.annotations_failing, pause = "", self._first_pause_s
            await asyncio.sleep(self._pace_s)
            if not any_due:
                seen = await self._service.changes.after(seen, _LOOK_AGAIN_S)

    async def _write(self, state: sqlite3.Connection) -> bool:
        """Write what is due, some of it; whether anything was."""
        counters = self._service.counters
        due = await self._threads.run(self._due, _DEADLINE_S)
        counters.annotations_waiting = len(due)
        if not due:
            return False
        batch = due[:_BATCH]
        changes, error = await self._threads.run(lambda: self._annotate(batch), _DEADLINE_S)
        if changes:
            await self._note(state, batch, changes)
        if error is not None:
            raise error
        return True

    async def _note(
        self, state: sqlite3.Connection, batch: Sequence[_Due], changes: Sequence[Change]
    ) -> None:
        """Keep what became of a batch, or of as many of its first as there are changes."""
        done = [
            Settled(one.mark.incident, one.mark.start, one.body, _refusal(change))
            for one, change in zip(batch, changes, strict=False)
        ]

        def note() -> None:
            with transaction(state) as tx:
                annotated.note(tx, done)
                annotated.forget(tx, self._clock() - SINCE_S)

        await self._run_until_stored("annotations", note)
        counters = self._service.counters
        for change in changes:
            if _refusal(change):
                log.warning("%s; set aside until the incident changes", change)
                counters.annotations_refused += 1
            else:
                counters.annotations += 1
        counters.annotations_waiting -= len(done)

    def _due(self) -> list[_Due]:
        """Return the incidents of which something else was written, or nothing yet."""
        service = self._service
        with closing(connect(service.paths.state, read_only=True)) as db:
            marks = incident_marks(service.config, db, self._clock() - SINCE_S)
            before = annotated.settled(db)
        found = [_Due(mark, json.dumps(mark.body())) for mark in marks]
        self._service.counters.annotations_set_aside = sum(
            bool(last.refused) for last in before.values()
        )
        return [
            due
            for due in found
            if (last := before.get(due.mark.incident)) is None or last.body != due.body
        ]

    def _annotate(self, batch: Sequence[_Due]) -> tuple[list[Change], GrafanaError | None]:
        """Write a batch; what came of each until an error, and that."""
        starts = [due.mark.start for due in batch]
        marks = [due.mark for due in batch]
        changes = []
        try:
            for change in self._grafana.annotate(marks, min(starts) - 1.0, max(starts) + 1.0):
                changes.append(change)  # noqa: PERF402 - those before an error count
        except GrafanaError as error:
            return changes, error
        return changes, None


def _refusal(change: Change) -> str:
    """Why it was refused; empty if it was not."""
    return (change.detail or change.outcome) if change.outcome == "refused" else ""
