"""Conditions of sensors: which one needs a visit, why, and since when.

A sensor has one condition, the most urgent of those that apply. Its beginning is that of the event
or of the silence behind it, so it is right after a restart, too; of a sensor that was never heard
of, and of one without a problem, it is when the condition was first recorded.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from detection.liveness import SensorState

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from detection.liveness import SensorLife


class Condition(StrEnum):
    """Condition of a sensor, the most urgent first."""

    TAMPERED = "tampered"
    SILENT = "silent"
    NEVER_HEARD = "never_heard"
    FAULTY = "faulty"
    LOW_BATTERY = "low_battery"
    DRIFTING = "drifting"
    OK = "ok"

    @property
    def urgency(self) -> int:
        """Return 0 for `OK`, and more the more urgent."""
        return _LEAST_URGENT - _ORDER.index(self)


_ORDER: Final = tuple(Condition)
_LEAST_URGENT: Final = len(_ORDER) - 1

_LOW_BATTERY: Final = "the battery is "
_DRIFT: Final = "the cleanest air of each of "
"""Beginnings of the details that `detection.events.DETAILS` lists."""


class ActiveFaults(NamedTuple):
    """Events of a sensor that have not ended; `detail` describes the faults.

    `since` has the beginning of each condition that they are, Unix seconds.
    """

    faults: int
    tampered: bool
    detail: str
    since: Mapping[Condition, float]


def active_faults(connection: sqlite3.Connection) -> dict[str, ActiveFaults]:
    """Return the faults and tampering that go on, by sensor."""
    found: dict[str, ActiveFaults] = {}
    for row in connection.execute(
        "SELECT sensor, kind, detail, onset FROM alert_event WHERE phase IN ('alerted', 'updated')"
        " AND kind IN ('sensor_fault', 'tamper') ORDER BY onset"
    ):
        before = found.get(row["sensor"]) or ActiveFaults(
            faults=0, tampered=False, detail="", since={}
        )
        condition, detail = _condition_of_event(row["kind"], row["detail"]), before.detail
        is_fault = condition is not Condition.TAMPERED
        if is_fault:
            detail = "; ".join(filter(None, (detail, row["detail"])))
        found[row["sensor"]] = ActiveFaults(
            before.faults + is_fault,
            before.tampered or not is_fault,
            detail,
            {condition: row["onset"], **before.since},
        )
    return found


def _condition_of_event(kind: str, detail: str) -> Condition:
    if kind == "tamper":
        return Condition.TAMPERED
    if detail.startswith(_LOW_BATTERY):
        return Condition.LOW_BATTERY
    return Condition.DRIFTING if detail.startswith(_DRIFT) else Condition.FAULTY


def condition_of(life: SensorLife, active: ActiveFaults | None) -> tuple[Condition, float | None]:
    """Return the condition of a sensor, and its beginning if that is known, Unix seconds."""
    found: dict[Condition, float | None] = dict(active.since) if active else {}
    if life.state is SensorState.NEVER:
        found[Condition.NEVER_HEARD] = None
    elif life.state is not SensorState.ALIVE:
        found[Condition.SILENT] = life.last_seen
    condition = max(found, key=lambda one: one.urgency, default=Condition.OK)
    return condition, found.get(condition)
