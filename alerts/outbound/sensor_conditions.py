"""Find the condition of each sensor: whether it needs a visit, why, and since when.

If several conditions apply, the most urgent one counts. A condition begins with the event or
silence that caused it, or else when it is first recorded.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from detection.events import BATTERY, Detail
from detection.liveness import SensorState
from language.messages import parse_facts

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from detection.liveness import SensorLife
    from language.messages import Fact


class Condition(StrEnum):
    """Condition of a sensor, most urgent first."""

    TAMPERED = "tampered"
    SILENT = "silent"
    NEVER_HEARD = "never_heard"
    FAULTY = "faulty"
    LOW_BATTERY = "low_battery"
    DRIFTING = "drifting"
    OK = "ok"

    @property
    def urgency(self) -> int:
        """How urgent a visit is: 0 for `OK`, 1 or more otherwise."""
        return len(Condition) - 1 - [*Condition].index(self)


class ActiveFaults(NamedTuple):
    """A sensor's faults and tampering that have not ended; `details` describes the faults."""

    faults: int = 0
    tampered: bool = False
    details: tuple[Fact, ...] = ()
    since: Mapping[Condition, float] = {}


def load_active_faults(connection: sqlite3.Connection) -> dict[str, ActiveFaults]:
    """Return current faults and tampering, by sensor."""
    found: dict[str, ActiveFaults] = {}
    for row in connection.execute(
        "SELECT sensor, kind, details, onset FROM alert_event WHERE phase IN ('alerted', 'updated')"
        " AND kind IN ('sensor_fault', 'tamper') ORDER BY onset"
    ):
        before = found.get(row["sensor"], ActiveFaults())
        details = parse_facts(row["details"])
        condition = _find_event_condition(row["kind"], details)
        is_fault = condition is not Condition.TAMPERED
        found[row["sensor"]] = ActiveFaults(
            before.faults + is_fault,
            before.tampered or not is_fault,
            (*before.details, *details) if is_fault else before.details,
            {condition: row["onset"], **before.since},
        )
    return found


def _find_event_condition(kind: str, details: Iterable[Fact]) -> Condition:
    if kind == "tamper":
        return Condition.TAMPERED
    codes = {detail.code for detail in details}
    if codes & BATTERY:
        return Condition.LOW_BATTERY
    return Condition.DRIFTING if Detail.DRIFT in codes else Condition.FAULTY


def find_condition(life: SensorLife, active: ActiveFaults) -> tuple[Condition, float | None]:
    """Return a sensor's condition, and when it began (Unix seconds; None if unknown)."""
    found: dict[Condition, float | None] = dict(active.since)
    if life.state is SensorState.NEVER:
        found[Condition.NEVER_HEARD] = None
    elif life.state is not SensorState.ALIVE:
        found[Condition.SILENT] = life.last_seen
    condition = max(found, key=lambda one: one.urgency, default=Condition.OK)
    return condition, found.get(condition)
