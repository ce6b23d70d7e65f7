"""Report faults of the service itself, such as a broken broker session or a used-up quota.

Such faults belong to no sensor or room, so they have their own kind of event. A component keeps
reporting a fault while it lasts. A fault counts as over `HOLD_S` after its last report. All current
faults form one incident. A fault that lasts longer than `FINDING_HOLD_S` counts as a new one, so
people who have answered are notified again. Reports are kept in memory only; after a restart,
components report lasting faults again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from detection.combined import FINDING_HOLD_S
from detection.events import Detail, Event, EventKind, EventPhase, join_details
from language.messages import build_fact

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from alerts.engine import AlertEngine, AlertRecord

HOLD_S: Final = 600.0
"""Seconds without a report until a fault counts as over."""
_AGAIN_S: Final = 60.0
"""Reports of the same fault within this many seconds count once."""
_VERSION: Final = "service-1-"


class Operations:
    """Tracks the reported faults; `changed` is set when there is something to store."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.changed = asyncio.Event()
        self._clock = clock
        self._reported: dict[Detail, float] = {}
        self._unstored: set[Detail] = set()

    def report(self, what: Detail) -> None:
        """Report a fault; repeats within `_AGAIN_S` are ignored."""
        now = self._clock()
        if 0 <= now - self._reported.get(what, -HOLD_S) < _AGAIN_S:
            return
        self._reported[what] = now
        self._unstored.add(what)
        self.changed.set()

    def describe_broker_faults(self) -> str:
        """Describe the current broker faults for operators; empty if there are none."""
        now = self._clock()
        return join_details(
            build_fact(what)
            for what, at in self._reported.items()
            if what is not Detail.QUOTA_USED_UP and now - at <= HOLD_S
        )

    def store(self, tx: sqlite3.Connection, engine: AlertEngine) -> list[AlertRecord]:
        """Store the events of faults that begin, continue or end; return the alerts."""
        now, self._unstored, reported = self._clock(), set(), self._unstored
        running = {
            Detail(row["model_version"].removeprefix(_VERSION)): row
            for row in tx.execute(
                "SELECT model_version, onset, last_heard FROM alert_event WHERE kind = ?"
                " AND phase IN ('alerted', 'updated')",
                (EventKind.SERVICE.value,),
            )
        }
        events = []
        for what in sorted(reported):
            if what in running and now - running[what]["onset"] > FINDING_HOLD_S:
                onset = running.pop(what)["onset"]
                events.append(_build_event(what, EventPhase.ENDED, onset, now))
            phase = EventPhase.UPDATED if what in running else EventPhase.ALERTED
            onset = running[what]["onset"] if what in running else now
            events.append(_build_event(what, phase, onset, now))
        for what, row in running.items():
            if what not in reported and now - row["last_heard"] > HOLD_S:
                events.append(_build_event(what, EventPhase.ENDED, row["onset"], now))
        return engine.on_events(tx, events, now)


def _build_event(what: Detail, phase: EventPhase, onset: float, now: float) -> Event:
    return Event(
        sensor="",
        kind=EventKind.SERVICE,
        phase=phase,
        onset=onset,
        alerted=onset,
        peak_time=onset,
        end=now if phase is EventPhase.ENDED else None,
        confidence=1.0,
        probabilities={EventKind.SERVICE.value: 1.0},
        evidence={},
        model_version=f"{_VERSION}{what}",
        details=(build_fact(what),),
        time=now,
    )
