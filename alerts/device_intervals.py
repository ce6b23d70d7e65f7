"""Reporting intervals that people set on devices: who asked for what, and what a device answered.

The last of each sensor is stored; all of them are in the audit log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from storage import audit, state
from storage.sqlite import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

_KEY: Final = "device intervals"
PUFF_S: Final = 30.0
"""How long a puff lasts at a sensor."""
SEEN_WELL_S: Final = PUFF_S / 3
"""Longest interval with three readings of it."""


class SentInterval(msgspec.Struct, frozen=True):
    """An interval that was asked of a device, in seconds; `hours` until it ends, 0 for never.

    `renews`: whether it is asked again before its end. `answered_s`: what the device named.
    """

    every_s: int
    hours: int
    person: str
    at: float
    error: str = ""
    answered_s: float | None = None
    answered_at: float | None = None
    renews: bool = False


def sent(connection: sqlite3.Connection) -> dict[str, SentInterval]:
    """Return the last interval that was asked of each device, by sensor."""
    stored = state.snapshot(connection, _KEY)
    return msgspec.json.decode(stored.body, type=dict[str, SentInterval]) if stored else {}


def record(tx: sqlite3.Connection, sensor: str, asked: SentInterval) -> None:
    """Store what is asked of a device, and write it into the audit log."""
    _store(tx, {**sent(tx), sensor: asked})
    detail: dict[str, str | float | None] = {
        "sensor": sensor,
        "every_s": asked.every_s,
        "hours": asked.hours,
    }
    if asked.error:
        detail["not_sent"] = asked.error[:200]
    audit.append(tx, audit.AuditKind.DOWNLINK, asked.person, detail, asked.at)


def record_renewals(
    connection: sqlite3.Connection, renewed: Mapping[str, tuple[int, float, int]]
) -> None:
    """Store intervals that the service asked for again: seconds, when, and hours, by sensor."""
    with transaction(connection) as tx:
        for sensor, (every_s, at, hours) in renewed.items():
            record(tx, sensor, SentInterval(every_s, hours, "service", at, renews=True))


def record_answers(
    connection: sqlite3.Connection, answers: Mapping[str, tuple[float, float]]
) -> None:
    """Store the intervals that devices named, in seconds, and when, by sensor."""
    with transaction(connection) as tx:
        known = sent(tx)
        for sensor, (every_s, at) in answers.items():
            if sensor in known:
                known[sensor] = msgspec.structs.replace(
                    known[sensor], answered_s=every_s, answered_at=at
                )
        _store(tx, known)


def _store(tx: sqlite3.Connection, known: Mapping[str, SentInterval]) -> None:
    state.set_snapshot(tx, _KEY, state.Snapshot(0, "", msgspec.json.encode(known)))
