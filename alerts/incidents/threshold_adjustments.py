"""Adjust a sensor's alert threshold from feedback on its alerts, and record each adjustment.

A false alarm raises the threshold, and a confirmed alert lowers it half as far (`STEPS`), because
most alerts should be right. Answers can move the adjustment up to `UPPER` and down to -`ANSWERED`;
a room test can lower it to -`LOWER`.

Each adjustment is a row that cannot be changed or deleted. An incident adjusts its sensor's
threshold only once: a different answer first appends a row that undoes the earlier adjustment. An
adjustment takes effect once `detection_consumer` assigns it a journal position and
`SensorThresholds` applies it to the detector.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

from alerts.incidents import repository
from alerts.incidents.history import Happened, Record
from alerts.incidents.incident import Verdict
from detection.alert_rules import LOWER, UPPER
from detection.events import EventKind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping

    from alerts.incidents.incident import Incident
    from alerts.incidents.inputs import Feedback
    from detection.alert_rules import AlertBudgets, ThresholdReport
    from detection.detector import Detector
    from language.messages import Parameter

STEPS: Final[Mapping[Verdict, float]] = {Verdict.FALSE_ALARM: 0.25, Verdict.CONFIRMED: -0.125}
"""How far an answer adjusts a threshold, in log-odds; other answers adjust nothing."""
ANSWERED: Final = 1.0
_SENSOR_AT_FAULT: Final = "sensor"
"""A cause that calls for a repair; no threshold can fix it."""
_MIN_STEP: Final = 0.01
"""Smaller steps, in log-odds, are ignored."""
_COLUMNS: Final = "at, who, sensor, incident, verdict, reason, before, after, undoes"


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdAdjustment:
    """One adjustment; `seq` increases over time, and times are Unix seconds.

    `reason` is the cause given in the answer, or empty. `before` and `after` are the total
    adjustment of the sensor's threshold, in log-odds. `undoes` is the number of an earlier
    adjustment that this one undoes. The adjustment takes effect after journal position `position`,
    or is pending if that is None.
    """

    seq: int = 0
    at: float
    who: str
    sensor: str
    incident: str
    verdict: str
    reason: str
    before: float = 0.0
    after: float = 0.0
    undoes: int | None = None
    position: int | None = None


def adjust_from_feedback(tx: sqlite3.Connection, incident: Incident, feedback: Feedback) -> None:
    """Adjust the alerting sensor's threshold, unless the answer changes nothing."""
    if not _is_by_threshold(tx, incident):
        return
    step = None if feedback.cause == _SENSOR_AT_FAULT else STEPS.get(feedback.verdict)
    found = _select(
        tx,
        "SELECT * FROM threshold_adjustment a WHERE incident = ? AND undoes IS NULL"
        " AND NOT EXISTS (SELECT 1 FROM threshold_adjustment WHERE undoes = a.seq)",
        incident.id,
    )
    for earlier in found:
        if step is not None and earlier.verdict == feedback.verdict.value:
            return
        undoing = replace(earlier, at=feedback.at, who=feedback.by, reason="", undoes=earlier.seq)
        _add(tx, undoing, earlier.before - earlier.after, lowest=earlier.before)
    if step is None:
        return
    adjustment = ThresholdAdjustment(
        at=feedback.at,
        who=feedback.by,
        sensor=incident.sensor,
        incident=incident.id,
        verdict=feedback.verdict.value,
        reason=feedback.cause,
    )
    _add(tx, adjustment, step)


def adjust_from_test(
    tx: sqlite3.Connection, sensor: str, step: float, who: str, at: float, incident: str = ""
) -> None:
    """Adjust a threshold by a room test's step, in log-odds, unless the step is tiny.

    `incident` is the incident that the test opened, or empty.
    """
    adjustment = ThresholdAdjustment(
        at=at, who=who, sensor=sensor, incident=incident, verdict=Verdict.TEST.value, reason=""
    )
    if abs(step) >= _MIN_STEP:
        _add(tx, adjustment, step)


def sum_test_adjustments(tx: sqlite3.Connection, sensor: str) -> float:
    """Return how far room tests have adjusted a sensor's threshold, in log-odds."""
    query = (
        "SELECT total(after - before) FROM threshold_adjustment WHERE sensor = ? AND verdict = ?"
    )
    return float(tx.execute(query, (sensor, Verdict.TEST.value)).fetchone()[0])


def get_adjustment(tx: sqlite3.Connection, sensor: str) -> float:
    """Return how far answers and room tests have adjusted a threshold, in log-odds."""
    row = tx.execute(
        "SELECT after FROM threshold_adjustment WHERE sensor = ? ORDER BY seq DESC LIMIT 1",
        (sensor,),
    ).fetchone()
    return 0.0 if row is None else float(row[0])


def list_adjustments(
    tx: sqlite3.Connection, *, limit: int = 50, sensors: str | None = None
) -> list[ThresholdAdjustment]:
    """Return adjustments, newest first; `sensors` is a JSON list of ids, or None for all."""
    return _select(
        tx,
        "SELECT * FROM threshold_adjustment WHERE ?1 IS NULL"
        " OR sensor IN (SELECT value FROM json_each(?1)) ORDER BY seq DESC LIMIT ?2",
        *(sensors, limit),
    )


def load_placed_after(tx: sqlite3.Connection, after: int) -> list[ThresholdAdjustment]:
    """Return adjustments that have a journal position and a number above `after`, in order."""
    return _select(
        tx,
        "SELECT * FROM threshold_adjustment WHERE seq > ? AND position IS NOT NULL ORDER BY seq",
        after,
    )


def has_pending(tx: sqlite3.Connection) -> bool:
    """Return whether an adjustment is pending."""
    row = tx.execute("SELECT 1 FROM threshold_adjustment WHERE position IS NULL LIMIT 1")
    return row.fetchone() is not None


def _is_by_threshold(tx: sqlite3.Connection, incident: Incident) -> bool:
    """Return whether the sensor's threshold, not a device, decided a vaping alert."""
    row = tx.execute(
        f"SELECT 1 FROM alert_event WHERE incident = ? AND sensor = ? AND {repository.IS_DETECTED}",  # noqa: S608 - a constant
        (incident.id, incident.sensor),
    )
    return incident.kind is EventKind.VAPE and row.fetchone() is not None


def _add(
    tx: sqlite3.Connection, new: ThresholdAdjustment, step: float, lowest: float = -ANSWERED
) -> None:
    """Append an adjustment by `step`, in log-odds, and a line in the incident's history."""
    before = get_adjustment(tx, new.sensor)
    is_test = new.verdict == Verdict.TEST.value
    least = -LOWER if is_test else min(before, lowest, -ANSWERED)
    after = min(max(before + step, least), UPPER)
    new = replace(new, before=before, after=after)
    tx.execute(
        f"INSERT INTO threshold_adjustment ({_COLUMNS})"  # noqa: S608 - our names
        f" VALUES (:{_COLUMNS.replace(', ', ', :')})",
        asdict(new),
    )
    what, moved = Happened.THRESHOLD_ADJUSTED, "more_readily" if after < before else "less_readily"
    moved = "as_before" if after == before else moved
    params: dict[str, Parameter] = {"sensor": new.sensor, "because": moved}
    if new.undoes is not None:
        what, params["undoes"] = Happened.THRESHOLD_RESTORED, new.undoes
    if new.incident:
        repository.add_history(tx, new.incident, Record(new.at, new.who, what, params))


def _select(tx: sqlite3.Connection, sql: str, *arguments: object) -> list[ThresholdAdjustment]:
    return [ThresholdAdjustment(**row) for row in map(dict, tx.execute(sql, arguments))]


class SensorThresholds:
    """Manages the detector's thresholds.

    `last_adjustment` is the number of the last adjustment applied.
    """

    _detector: Detector

    def __init__(self, budgets: AlertBudgets) -> None:
        self._budgets = budgets
        self.last_adjustment = 0

    def adopt(self, detector: Detector, last_adjustment: int = 0) -> None:
        """Take over a new or restored detector, and set its budgets."""
        self.last_adjustment = last_adjustment
        self._detector = detector
        thresholds = detector.thresholds
        thresholds.budget = self._budgets.default
        for sensor in dict.fromkeys((*detector.names, *self._budgets.own, *self._budgets.offsets)):
            self._budgets.apply_to(thresholds, detector.assign_row(sensor), sensor)

    def apply(self, adjustment: ThresholdAdjustment) -> None:
        """Apply an adjustment that has a journal position; call this in order of positions."""
        self.last_adjustment = adjustment.seq
        row = self._detector.assign_row(adjustment.sensor)
        self._detector.thresholds.set_feedback(row, adjustment.after)
        if adjustment.verdict in STEPS:
            is_false = adjustment.verdict == Verdict.FALSE_ALARM.value
            undone = adjustment.undoes is not None
            self._detector.thresholds.count_answer(row, is_false=is_false, undone=undone)

    def explain(self, sensors: Collection[str]) -> dict[str, ThresholdReport]:
        """Return the thresholds of the given sensors that the detector knows."""
        thresholds, names = self._detector.thresholds, self._detector.names
        return {name: thresholds.explain(row) for row, name in enumerate(names) if name in sensors}
