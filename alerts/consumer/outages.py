"""Which sensors are silent: the state of liveness, and outages that are lost from it.

Liveness follows the clock of arrival, so its state is not a function of the readings: it is stored
in the transaction that opens or resolves the incident. Only the sensor's return ends the incident
of a silent sensor. If the state is lost, or a newer program cannot read it, an open outage ends
when the service opens; a sensor that is still silent opens a new one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from detection.details import Detail
from detection.errors import SnapshotError
from detection.events import Event, EventKind, EventPhase
from detection.liveness import Liveness
from language.facts import fact, facts_of
from storage import state

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping, Sequence

    from detection.liveness import LivenessSettings, SensorLife
    from storage.reading import Reading

LIVENESS: Final = "liveness"
_NO_PROOF: Final = frozenset({"retained", "simulated", "cached", "unknown_sensor"})
"""Flags of readings that do not show that the sensor measures now."""


class Outages:
    """Follows the liveness of sensors by their intervals; without settings, of none."""

    def __init__(self, intervals: Mapping[str, float], settings: LivenessSettings | None) -> None:
        self._intervals, self._settings = intervals, settings
        self._liveness = Liveness(intervals, settings) if settings else None
        self._lost: list[Event] = []

    def open(self, connection: sqlite3.Connection) -> int:
        """Restore the stored state; return the position up to which it has seen the readings."""
        stored, position = state.snapshot(connection, LIVENESS), 0
        if self._settings is None:
            return 0
        if stored is not None:
            try:
                self._liveness = Liveness.restore(stored.body, self._intervals, self._settings)
                position = stored.position
            except SnapshotError:
                pass  # it starts anew
        if self._liveness is not None:
            self._lost = _lost_outages(connection, self._liveness.open_outage_ids())
        return position

    def save(self, tx: sqlite3.Connection, position: int) -> None:
        """Store the state, which has seen the readings up to a position."""
        if self._liveness is not None:
            body = self._liveness.snapshot()
            state.set_snapshot(tx, LIVENESS, state.Snapshot(position, "", body))

    def lives(self) -> Mapping[str, SensorLife]:
        """Return what is known of the sensors; empty if liveness is not followed."""
        return {} if self._liveness is None else self._liveness.lives()

    def step(self, readings: Sequence[Reading]) -> list[Event]:
        """Return the outages that readings end."""
        events: list[Event] = []
        if self._liveness is None:
            return events
        for reading in readings:
            word = ""
            if reading.events:
                word = next((e for e in reading.events if e in ("online", "offline")), "")
            alive = reading.measured and _NO_PROOF.isdisjoint(reading.flags)
            events += self._liveness.on_item(
                reading.sensor, reading.received, alive=alive, status=word
            )
        return events

    def on_time(self, now: float, *, broker_healthy: bool) -> list[Event]:
        """Return the outages that begin by `now`, and the ends of those that are lost."""
        if self._liveness is None:
            return []
        lost, self._lost = self._lost, []
        events = [_end(event, now) for event in lost]
        return events + self._liveness.on_time(now, broker_healthy=broker_healthy)


def _lost_outages(connection: sqlite3.Connection, followed: Collection[str]) -> list[Event]:
    """Return the open outages whose event ids are not among `followed`, oldest first."""
    rows = connection.execute(
        "SELECT id, sensor, onset, alerted, model_version, details FROM alert_event"
        " WHERE kind = ? AND phase IN (?, ?) ORDER BY onset",
        (EventKind.OFFLINE.value, EventPhase.ALERTED.value, EventPhase.UPDATED.value),
    ).fetchall()
    return [
        Event(
            kind=EventKind.OFFLINE,
            phase=EventPhase.UPDATED,
            peak_time=row["onset"],
            end=None,
            confidence=1.0,
            probabilities={EventKind.OFFLINE.value: 1.0},
            evidence={},
            time=row["alerted"],
            details=facts_of(row.pop("details")),
            **row,
        )
        for row in map(dict, rows)
        if row["id"] not in followed
    ]


def _end(event: Event, at: float) -> Event:
    details = (*event.details, fact(Detail.STATE_LOST))
    return replace(event, phase=EventPhase.ENDED, end=at, time=at, details=details)
