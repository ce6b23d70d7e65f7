"""What people say of alerts moves the level of the sensor that gave them, on the record.

A false alarm raises the sensor's level by `STEPS`, a confirmed alert lowers it half as far, since a
right alert is what is expected; both settle what the cluster behind the alert was
(`detection.alert_thresholds`). The part of a level that people moved stays within `FEEDBACK`.

Every move is a row that nobody can change or delete: sensor, incident, from, to, who, when, why. An
incident moves its sensor's level once: the same answer again moves nothing, another answer first
takes the earlier move back. A move is taken back by a further row that undoes it, once.

A row takes effect when `detection_consumer` gives it its place between the readings;
until then it waits. Functions on a connection, inside the caller's transaction, as in
`alerts.incidents.repository`.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from alerts.errors import ThresholdAdjustmentError
from alerts.incidents import repository
from alerts.incidents.incident import Record, Verdict
from detection.alert_thresholds import FEEDBACK, ThresholdReport
from detection.events import EventKind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from alerts.incidents.incident import Feedback, Incident

STEPS: Final[Mapping[Verdict, float]] = MappingProxyType(
    {Verdict.FALSE_ALARM: 0.25, Verdict.CONFIRMED: -0.125}
)
"""How far an answer moves a level, log-odds; other answers move nothing."""
_SENSOR_AT_FAULT: Final = "sensor"
"""Cause that is repaired, not answered by a level."""


@dataclass(frozen=True, slots=True)
class ThresholdAdjustment:
    """One move of a sensor's level.

    `seq`: number of the move, ascending in time; `at`: when it was made, Unix seconds; `verdict`:
    the answer behind it; of an undoing, that of the move undone; `event_time`: when the alert was
    said, event time: inside the cluster that is settled; `settled`: whether that was vaping; None
    takes back what was said; `before`, `after`: part of the level that people moved, log-odds;
    `undoes`: the move that this one takes back; `undone`: whether it was taken back; `position`:
    position in the journal behind which it is effective; None while it waits.
    """

    seq: int
    at: float
    who: str
    sensor: str
    incident: str
    verdict: str
    reason: str
    event_time: float
    settled: bool | None
    before: float
    after: float
    undoes: int | None
    undone: bool
    position: int | None


def adjust_from_feedback(
    tx: sqlite3.Connection, incident: Incident, said: Feedback
) -> ThresholdAdjustment | None:
    """Move the level of the sensor that alerted, if this answer is new and says something of it.

    Returns the new move; None if the answer moves nothing, or only took an earlier one back.
    """
    alert = _alert(tx, incident)
    if alert is None:
        return None
    standing = _one(
        tx,
        "SELECT * FROM level_moves WHERE incident = ? AND undoes IS NULL AND NOT undone"
        " ORDER BY seq DESC LIMIT 1",
        incident.id,
    )
    step = STEPS.get(said.verdict)
    at_fault = said.cause == _SENSOR_AT_FAULT
    if standing is not None:
        same = standing.verdict == said.verdict.value
        if same and at_fault == standing.reason.endswith(f": {_SENSOR_AT_FAULT}"):
            return None
        undo(tx, standing.seq, said.by, said.at, "another answer was given")
    if step is None:
        return None
    sensor, event_time = alert
    words = said.verdict.value.replace("_", " ")
    return _add(
        tx,
        at=said.at,
        who=said.by,
        sensor=sensor,
        incident=incident.id,
        verdict=said.verdict.value,
        reason=f"{words}: {said.cause}" if said.cause else words,
        event_time=event_time,
        settled=said.verdict is Verdict.CONFIRMED,
        step=0.0 if at_fault else step,
        undoes=None,
    )


def adjust_from_test(
    tx: sqlite3.Connection,
    *,
    incident: str,
    sensor: str,
    to: float,
    who: str,
    at: float,
    reason: str,
) -> ThresholdAdjustment:
    """Move a sensor's level to where a staged test showed it has to be; settles no cluster.

    `incident`: the test, on record as an incident; `to`: part of the level that people moved,
    log-odds; kept within `FEEDBACK`.
    """
    return _add(
        tx,
        at=at,
        who=who,
        sensor=sensor,
        incident=incident,
        verdict=Verdict.TEST.value,
        reason=reason,
        event_time=at,
        settled=None,
        step=to - current_adjustment(tx, sensor),
        undoes=None,
    )


def current_adjustment(tx: sqlite3.Connection, sensor: str) -> float:
    """Part of a sensor's level that people moved so far, log-odds."""
    row = tx.execute(
        'SELECT "to" FROM level_move WHERE sensor = ? ORDER BY seq DESC LIMIT 1', (sensor,)
    ).fetchone()
    return 0.0 if row is None else float(row[0])


def undo(tx: sqlite3.Connection, seq: int, who: str, at: float, reason: str) -> ThresholdAdjustment:
    """Take a move back by a move of its own.

    Raises `ThresholdAdjustmentError` if there is no such move, it was taken back before, or is
    itself a taking back.
    """
    move = _one(tx, "SELECT * FROM level_moves WHERE seq = ?", seq)
    if move is None:
        raise ThresholdAdjustmentError(f"there is no move {seq}")
    if move.undoes is not None:
        raise ThresholdAdjustmentError(
            f"move {seq} took move {move.undoes} back; answer the incident anew"
        )
    if move.undone:
        raise ThresholdAdjustmentError(f"move {seq} was taken back before")
    return _add(
        tx,
        at=at,
        who=who,
        sensor=move.sensor,
        incident=move.incident,
        verdict=move.verdict,
        reason=reason,
        event_time=move.event_time,
        settled=None,
        step=move.before - move.after,
        undoes=move.seq,
    )


def latest(
    tx: sqlite3.Connection, *, sensor: str = "", incident: str = "", limit: int = 50
) -> list[ThresholdAdjustment]:
    """Return moves, newest first; of one sensor or one incident if it is named."""
    return _all(
        tx,
        "SELECT * FROM level_moves WHERE (? = '' OR sensor = ?) AND (? = '' OR incident = ?)"
        " ORDER BY seq DESC LIMIT ?",
        sensor,
        sensor,
        incident,
        incident,
        limit,
    )


def place_pending(tx: sqlite3.Connection, position: int) -> list[ThresholdAdjustment]:
    """Give the moves that wait their place behind a journal position, and return them in order."""
    unplaced = _all(
        tx,
        "SELECT * FROM level_moves WHERE seq > (SELECT coalesce(max(seq), 0) FROM level_move_place)"
        " ORDER BY seq",
    )
    tx.executemany(
        "INSERT INTO level_move_place VALUES (?, ?)", [(move.seq, position) for move in unplaced]
    )
    return unplaced


def placed_after(tx: sqlite3.Connection, after: int) -> list[ThresholdAdjustment]:
    """Return moves numbered above `after` that have their place, in order."""
    return _all(
        tx, "SELECT * FROM level_moves WHERE seq > ? AND position IS NOT NULL ORDER BY seq", after
    )


def has_pending(tx: sqlite3.Connection) -> bool:
    """Whether a move has no place yet."""
    row = tx.execute(
        "SELECT coalesce((SELECT max(seq) FROM level_move), 0)"
        " > coalesce((SELECT max(seq) FROM level_move_place), 0)"
    ).fetchone()
    return bool(row[0])


def save_thresholds(tx: sqlite3.Connection, reports: Iterable[tuple[str, ThresholdReport]]) -> None:
    """Store the levels of sensors as they are now, for people to see."""
    tx.executemany(
        "INSERT OR REPLACE INTO sensor_level VALUES (?,?,?,?,?,?,?,?,?,?)",
        [
            (
                sensor,
                r.level,
                r.model_level,
                r.budget,
                r.expected,
                r.lost,
                r.lost_lowest,
                r.feedback,
                r.weeks,
                r.clusters,
            )
            for sensor, r in reports
        ],
    )


def load_thresholds(tx: sqlite3.Connection) -> dict[str, ThresholdReport]:
    """Levels by sensor as last stored."""
    found: dict[str, ThresholdReport] = {}
    for row in tx.execute("SELECT * FROM sensor_level ORDER BY sensor"):
        fields = dict(row)
        sensor = fields.pop("sensor")
        found[sensor] = ThresholdReport(**fields)
    return found


def _alert(tx: sqlite3.Connection, incident: Incident) -> tuple[str, float] | None:
    """Sensor and time of the alert that opened an incident, if a level decided it."""
    if incident.kind is not EventKind.VAPE:
        return None
    row = tx.execute(
        "SELECT sensor, alerted FROM alert_event WHERE incident = ? AND sensor = ?"
        " AND model_version NOT LIKE 'device-%' ORDER BY rowid LIMIT 1",
        (incident.id, incident.sensor),
    ).fetchone()
    return None if row is None else (str(row["sensor"]), float(row["alerted"]))


def _add(
    tx: sqlite3.Connection,
    *,
    at: float,
    who: str,
    sensor: str,
    incident: str,
    verdict: str,
    reason: str,
    event_time: float,
    settled: bool | None,
    step: float,
    undoes: int | None,
) -> ThresholdAdjustment:
    before = current_adjustment(tx, sensor)
    after = min(max(before + step, -FEEDBACK), FEEDBACK)
    cursor = tx.execute(
        "INSERT INTO level_move (at, who, sensor, incident, verdict, reason, event_time, settled,"
        ' "from", "to", undoes) VALUES (?,?,?,?,?,?,?,?,?,?,?)',
        (at, who, sensor, incident, verdict, reason, event_time, settled, before, after, undoes),
    )
    seq = int(cursor.lastrowid or 0)
    what = "level left as it is" if after == before else "level moved"
    detail = f"{sensor}: {before:+.3g} to {after:+.3g}, move {seq}"
    if undoes is not None:
        what, detail = "level moved back", f"{detail}, undoes {undoes}: {reason}"
    repository.add_history(tx, incident, Record(at, who, what, detail))
    return ThresholdAdjustment(
        seq=seq,
        at=at,
        who=who,
        sensor=sensor,
        incident=incident,
        verdict=verdict,
        reason=reason,
        event_time=event_time,
        settled=settled,
        before=before,
        after=after,
        undoes=undoes,
        undone=False,
        position=None,
    )


def _one(tx: sqlite3.Connection, sql: str, *arguments: object) -> ThresholdAdjustment | None:
    return next(iter(_all(tx, sql, *arguments)), None)


def _all(tx: sqlite3.Connection, sql: str, *arguments: object) -> list[ThresholdAdjustment]:
    moves = []
    for row in tx.execute(sql, arguments):
        fields = dict(row)
        fields["settled"] = None if fields["settled"] is None else bool(fields["settled"])
        fields["undone"] = bool(fields["undone"])
        moves.append(ThresholdAdjustment(**fields))
    return moves
