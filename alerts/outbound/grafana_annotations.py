"""Incidents as annotations of a Grafana, written by the service; a reader of the change feed.

Never in the way of alerting: incidents are read through a connection of its own, the Grafana is
called in a thread of its own, and its failures change only counters and one line of the log. A
Grafana that is away is tried again after a pause that doubles; what changed meanwhile is written
once, in order, as it is by then. An annotation that it refuses is set aside until its incident
changes. The table keeps what was last written, so that only differences are sent.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import closing
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from alerts.incidents import change_feed
from alerts.notify.notice import KIND_WORDS
from storage.bounded_call import BoundedThreads
from storage.sqlite import connect, schema_scripts, transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from alerts.incidents.change_feed import ChangeSignal
    from storage.registry import Room
    from storage.retrying import Retrying

log = logging.getLogger(__name__)

COMPONENT: Final = "annotations"
SCRIPTS: Final = schema_scripts(__package__, COMPONENT)

READER: Final = "annotations"
SINCE_S: Final = 31 * 86_400.0
"""Incidents that were opened longer ago are not written any more."""
_BATCH: Final = 50
_PACE_S: Final = 2.0
"""An incident changes several times in its first seconds."""
_LOOK_AGAIN_S: Final = 60.0
_DEADLINE_S: Final = 900.0
"""Of one batch; each request has a deadline of its own."""
_FIRST_PAUSE_S, _LAST_PAUSE_S = 5.0, 300.0


class Annotation(NamedTuple):
    """One incident in a chart; times are Unix seconds."""

    incident: str
    start: float
    end: float
    text: str
    tags: tuple[str, ...] = ()

    def body(self) -> dict[str, Any]:
        """Return the JSON of Grafana, with times in milliseconds."""
        return {
            "time": round(self.start * 1000),
            "timeEnd": round(self.end * 1000),
            "text": self.text,
            "tags": sorted({"plumewatch", f"incident:{self.incident}", *self.tags}),
        }


class Outcome(Protocol):
    """What the Grafana did with one annotation."""

    @property
    def outcome(self) -> str:
        """``refused``, or what was done."""

    @property
    def detail(self) -> str:
        """Why it was refused."""


class AnnotationClient(Protocol):
    """Writes annotations (`dashboards.grafana.Grafana`); blocks."""

    def annotate(
        self, annotations: Iterable[Annotation], start: float, end: float
    ) -> Iterable[Outcome]:
        """Write annotations that begin in a span; yield the outcome of each, in order."""


@dataclass(slots=True)
class AnnotationCounters:
    """Counts what was written; shown in metrics and on the staff page."""

    annotations: int = 0
    annotation_failures: int = 0
    annotations_waiting: int = 0
    annotations_refused: int = 0
    annotations_set_aside: int = 0
    annotations_failing: str = ""


def incident_annotations(
    db: sqlite3.Connection, rooms: Mapping[str, Room], page_url: str, since: float
) -> list[Annotation]:
    """Return the incidents opened since a moment, Unix seconds; no person is named."""
    found = []
    for row in db.execute(
        "SELECT id, kind, room, opened_at, resolved_at, verdict FROM incident"
        " WHERE opened_at >= ? ORDER BY opened_at",
        (since,),
    ):
        room = rooms.get(row["room"])
        where = room.short_name if room else row["room"]
        verdict = (row["verdict"] or "no feedback").replace("_", " ")
        found.append(
            Annotation(
                row["id"],
                row["opened_at"],
                row["resolved_at"] or row["opened_at"],
                f"{KIND_WORDS.get(row['kind'], row['kind'])}: {where}"
                f" ({verdict}) {page_url}/incidents/{row['id']}",
                (row["kind"], f"room:{row['room']}"),
            )
        )
    return found


@dataclass(slots=True)
class Annotator:
    """Writes annotations until cancelled; `page_url` is the base of links to the staff page."""

    client: AnnotationClient
    database: Path
    rooms: Mapping[str, Room]
    page_url: str
    changes: ChangeSignal
    counters: AnnotationCounters
    run_until_stored: Retrying
    clock: Callable[[], float]
    _: KW_ONLY
    first_pause_s: float = _FIRST_PAUSE_S
    pace_s: float = _PACE_S
    _threads: BoundedThreads = field(
        init=False, default_factory=lambda: BoundedThreads("annotations", 1)
    )

    async def run(self, state: sqlite3.Connection) -> None:
        """Write what is due after every change; `state` is used in the thread of the database."""
        counters = self.counters
        seen, pause = -1, self.first_pause_s
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
            counters.annotations_failing, pause = "", self.first_pause_s
            await asyncio.sleep(self.pace_s)
            if not any_due:
                seen = await self.changes.wait_beyond(seen, _LOOK_AGAIN_S)

    async def _write(self, state: sqlite3.Connection) -> bool:
        due, position = await self._threads.run(self._due, _DEADLINE_S)
        batch = due[:_BATCH]
        outcomes: list[Outcome] = []
        try:
            if batch:
                await self._threads.run(partial(self._annotate, batch, outcomes), _DEADLINE_S)
        finally:
            all_done = len(outcomes) == len(due)
            await self._store(state, batch, list(outcomes), position if all_done else None)
        return bool(batch)

    async def _store(
        self,
        state: sqlite3.Connection,
        batch: Sequence[Annotation],
        outcomes: Sequence[Outcome],
        position: int | None,
    ) -> None:
        """Store the outcomes of a batch, or of its first, and the cursor if all is done."""
        done = [
            (one.incident, one.start, json.dumps(one.body()), _refusal(outcome))
            for one, outcome in zip(batch, outcomes, strict=False)
        ]

        def store() -> None:
            with transaction(state) as tx:
                tx.executemany("INSERT OR REPLACE INTO annotation VALUES (?, ?, ?, ?)", done)
                tx.execute("DELETE FROM annotation WHERE opened_at < ?", (self.clock() - SINCE_S,))
                if position is not None:
                    change_feed.advance(tx, READER, position)

        if done or position is not None:
            await self.run_until_stored("annotations", store)
        for outcome in outcomes:
            if _refusal(outcome):
                log.warning("%s; set aside until the incident changes", outcome)
                self.counters.annotations_refused += 1
            else:
                self.counters.annotations += 1
        self.counters.annotations_waiting -= len(done)

    def _due(self) -> tuple[list[Annotation], int | None]:
        """Return annotations that differ from what was last written, and the cursor after them."""
        with closing(connect(self.database, read_only=True)) as db:
            changes = change_feed.read(db, READER)
            written = dict(db.execute("SELECT incident, body FROM annotation").fetchall())
            refused = db.execute("SELECT count(*) FROM annotation WHERE refused <> ''").fetchone()
            self.counters.annotations_set_aside = refused[0]
            if changes == []:
                self.counters.annotations_waiting = 0
                return [], None
            position = changes[-1].seq if changes else change_feed.head(db)
            since = self.clock() - SINCE_S
            found = incident_annotations(db, self.rooms, self.page_url, since)
        changed = None if changes is None else {change.incident for change in changes}
        due = [
            one
            for one in found
            if (changed is None or one.incident in changed)
            and written.get(one.incident) != json.dumps(one.body())
        ]
        self.counters.annotations_waiting = len(due)
        return due, position

    def _annotate(self, batch: Sequence[Annotation], outcomes: list[Outcome]) -> None:
        """Write a batch; `outcomes` has those before an error."""
        starts = [one.start for one in batch]
        for outcome in self.client.annotate(batch, min(starts) - 1.0, max(starts) + 1.0):
            outcomes.append(outcome)  # noqa: PERF402 - those before an error count


def _refusal(outcome: Outcome) -> str:
    return (outcome.detail or outcome.outcome) if outcome.outcome == "refused" else ""
