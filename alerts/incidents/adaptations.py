"""Adaptations of the detector to a school: what was fitted, what is active, who decided.

An adaptation is a numbered `detection.adaptation.Correction` with its back-test, for one model.
Applying and undoing one are rows and entries of the audit log; nothing is changed or deleted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from alerts.errors import AdaptationError
from alerts.incidents.incident import Verdict
from detection.adaptation import Correction
from detection.events import ADAPTED, EventKind
from storage import audit

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from detection.model import Model

_SENSOR_AT_FAULT: Final = "sensor"


@dataclass(frozen=True, slots=True)
class Answer:
    """What people found where a sensor alerted at `alerted`, Unix seconds."""

    incident: str
    sensor: str
    alerted: float
    is_vaping: bool


@dataclass(frozen=True, slots=True)
class Adaptation:
    """A fitted correction of `model`, a version, and what it would have changed."""

    number: int
    at: float
    who: str
    model: str
    correction: Correction
    backtest: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class AdaptationChange:
    """The active adaptation changed from one number to another; None is the model as it is."""

    seq: int
    at: float
    who: str
    reason: str
    before: int | None
    after: int | None


def answers(tx: sqlite3.Connection, start: float, end: float) -> list[Answer]:
    """Return the alerts of ``[start, end)`` answered right or false, in order, as last answered."""
    rows = tx.execute(
        "SELECT i.id, e.sensor, min(e.alerted) AS alerted, f.verdict FROM incident i"
        " JOIN alert_event e ON e.incident = i.id AND e.sensor = i.sensor AND e.kind = i.kind"
        " JOIN incident_feedback f ON f.incident = i.id AND f.seq ="
        " (SELECT max(seq) FROM incident_feedback WHERE incident = i.id)"
        " WHERE i.kind = ? AND f.verdict IN (?, ?) AND f.cause <> ?"
        " AND e.model_version NOT LIKE 'device-%' AND e.alerted >= ? AND e.alerted < ?"
        " GROUP BY i.id ORDER BY alerted, i.id",
        (
            *(EventKind.VAPE.value, Verdict.CONFIRMED.value, Verdict.FALSE_ALARM.value),
            *(_SENSOR_AT_FAULT, start, end),
        ),
    )
    return [
        Answer(row["id"], row["sensor"], row["alerted"], row["verdict"] == Verdict.CONFIRMED.value)
        for row in rows
    ]


def propose(
    tx: sqlite3.Connection,
    model: Model,
    correction: Correction,
    backtest: Mapping[str, float],
    who: str,
    at: float,
) -> int:
    """Store an adaptation that may be applied, and return its number."""
    cursor = tx.execute(
        "INSERT INTO adaptation (at, who, model, correction, backtest) VALUES (?, ?, ?, ?, ?)",
        (at, who, model.version, correction.to_json(), json.dumps(dict(backtest))),
    )
    return int(cursor.lastrowid or 0)


def apply(tx: sqlite3.Connection, number: int, who: str, at: float, reason: str) -> None:
    """Make an adaptation the active one; raises `AdaptationError` if it is or does not exist."""
    if find(tx, number) is None:
        raise AdaptationError(f"there is no adaptation {number}")
    before = active_number(tx)
    if before == number:
        raise AdaptationError(f"adaptation {number} is active already")
    _change(tx, before, number, who, at, reason)


def undo(tx: sqlite3.Connection, who: str, at: float, reason: str) -> AdaptationChange:
    """Return to what was active before; raises `AdaptationError` if no adaptation is active."""
    number = active_number(tx)
    if number is None:
        raise AdaptationError("no adaptation is active")
    row = tx.execute(
        'SELECT "from" FROM adaptation_change WHERE "to" = ? ORDER BY seq LIMIT 1', (number,)
    ).fetchone()
    return _change(tx, number, row["from"], who, at, reason)


def active_number(tx: sqlite3.Connection) -> int | None:
    """Return the number of the active adaptation; None if there is none."""
    row = tx.execute('SELECT "to" FROM adaptation_change ORDER BY seq DESC LIMIT 1').fetchone()
    return None if row is None else row["to"]


def ready(tx: sqlite3.Connection, model: Model) -> Adaptation | None:
    """Return the newest adaptation of a model that was never applied and is newer than those."""
    row = tx.execute(
        "SELECT * FROM adaptation WHERE model = ? AND number >"
        ' (SELECT coalesce(max("to"), 0) FROM adaptation_change) ORDER BY number DESC LIMIT 1',
        (model.version,),
    ).fetchone()
    return None if row is None else _adaptation(row)


def find(tx: sqlite3.Connection, number: int) -> Adaptation | None:
    """Return an adaptation; raises `ModelError` if its facts or format are not known."""
    row = tx.execute("SELECT * FROM adaptation WHERE number = ?", (number,)).fetchone()
    return None if row is None else _adaptation(row)


def active_model(tx: sqlite3.Connection, model: Model) -> Model:
    """Return a model with the active adaptation, or as it is if none of it is active."""
    number = active_number(tx)
    return model if number is None else _adapted(tx, model, number)


def model_of(tx: sqlite3.Connection, model: Model, version: str) -> Model:
    """Return a model with the adaptation that a version names; as it is if it has none of it."""
    base, _, number = version.partition(ADAPTED)
    if base != model.version or not number.isdecimal():
        return model
    return _adapted(tx, model, int(number))


def history(tx: sqlite3.Connection, limit: int = 50) -> list[AdaptationChange]:
    """Return the changes of the active adaptation, newest first."""
    rows = tx.execute("SELECT * FROM adaptation_change ORDER BY seq DESC LIMIT ?", (limit,))
    return [AdaptationChange(*row) for row in rows]


def _adapted(tx: sqlite3.Connection, model: Model, number: int) -> Model:
    row = tx.execute("SELECT model FROM adaptation WHERE number = ?", (number,)).fetchone()
    if row is None or row["model"] != model.version:
        return model
    found = find(tx, number)
    return model if found is None else model.corrected(found.correction, number)


def _adaptation(row: sqlite3.Row) -> Adaptation:
    return Adaptation(
        row["number"],
        row["at"],
        row["who"],
        row["model"],
        Correction.from_json(row["correction"]),
        json.loads(row["backtest"]),
    )


def _change(
    tx: sqlite3.Connection,
    before: int | None,
    after: int | None,
    who: str,
    at: float,
    reason: str,
) -> AdaptationChange:
    cursor = tx.execute(
        'INSERT INTO adaptation_change (at, who, reason, "from", "to") VALUES (?, ?, ?, ?, ?)',
        (at, who, reason, before, after),
    )
    detail = {"from": before, "to": after, "reason": reason}
    audit.append(tx, audit.AuditKind.ADAPTATION, who, detail, at)
    return AdaptationChange(int(cursor.lastrowid or 0), at, who, reason, before, after)
