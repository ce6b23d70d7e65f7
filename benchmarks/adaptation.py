"""Weeks of answers in a world that the model does not know: before and after an adaptation.

Everything is that of the product: alerts of vaping are answered, a tenth of the answers is wrong,
`plumewatch.adaptation` fits and back-tests. A last week that it has not seen judges the model as it
is and the adapted one, each with the thresholds it then has. A model that was trained without the
world is used if there is one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from alerts.errors import AdaptationError
from alerts.incidents.adaptations import Answer
from detection.alert_thresholds import AlertBudgets
from detection.combined import CombinedDetector, Stream
from detection.events import EventKind, EventPhase
from detection.model import Model
from detection.quantities import COLUMN_INDEX, COLUMNS
from plumewatch.adaptation import run_trial, split_time
from plumewatch.cli.printer import Printer
from sensor_sim.worlds import WORLDS
from sensor_sim.worlds.world import COLUMNS as WORLD_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sensor_sim.worlds.world import Happening, Readings

_WITHOUT: Final = Path(__file__).parent / "detection_bench" / "without"
_WEEK_S: Final = 7 * 86_400.0
_BLOCK: Final = 4000
_WRONG: Final = 0.1
_LATE_S: Final = 90.0
"""An alert until so long after the end of vaping is right."""


def main() -> None:
    """Simulate, answer, adapt, and print the figures before and after."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world", choices=sorted(WORLDS), default="two_zones")
    parser.add_argument("--rooms", type=int, default=4)
    parser.add_argument("--weeks", type=float, default=4.0, help="weeks of answers")
    parser.add_argument("--test-weeks", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=90_020)
    options = parser.parse_args()
    hours = (options.weeks + options.test_weeks) * _WEEK_S / 3600.0
    file = _WITHOUT / f"{options.world}.npz"
    model = Model.from_bytes(file.read_bytes()) if file.exists() else Model.shipped()
    printer = Printer()
    readings, truth = WORLDS[options.world](options.seed, options.rooms, hours)
    start, end = float(readings.time[0]), float(readings.time[-1]) + 1.0
    until = start + options.weeks * _WEEK_S
    answers = _answers(_alerts(model, readings, start, until), truth, options.seed)
    printer.say(
        f"{options.world}, {model.version}, {options.rooms} rooms, {options.weeks:g} weeks:"
        f" {len(answers)} answers, {sum(one.is_vaping for one in answers)} confirmed"
    )
    try:
        split = split_time(answers)
        trial = run_trial(
            streams(readings, start, split),
            streams(readings, split, until),
            _place,
            answers,
            AlertBudgets(),
            model=model,
            live=model,
            span=(start, split, until),
        )
    except AdaptationError as error:
        sys.exit(str(error))
    words = "better" if trial.change.is_better else "not better, so not used"
    printer.say(f"back-test: {words}: {trial.change}")
    days = options.rooms * (end - until) / 86_400.0
    rows = []
    for name, one in (("before", model), ("after", model.corrected(trial.correction, 1))):
        late = [alert for alert in _alerts(one, readings, start, end) if alert[1] >= until]
        fields = score(late, [one for one in truth if one.onset >= until], days)
        rows.append(({"model": name, **fields}, (name, *(f"{v:.2f}" for v in fields.values()))))
    printer.table(("Model", "Recall", "Precision", "F1", "False a day"), rows)


def streams(readings: Readings, start: float, end: float) -> Iterator[Stream]:
    """Yield the readings of ``[start, end)`` as the detectors take them."""
    first, last = np.searchsorted(readings.time, (start, end))
    columns = [COLUMN_INDEX[name] for name in WORLD_COLUMNS]
    for at in range(int(first), int(last), _BLOCK):
        part = slice(at, min(at + _BLOCK, int(last)))
        values = np.full((part.stop - part.start, len(COLUMNS)), np.nan)
        values[:, columns] = readings.values[part]
        time = readings.time[part]
        yield Stream(readings.names, readings.sensor[part], time, time, values, {})


def _place(sensor: str) -> tuple[str, str]:
    return (f"site/{sensor}", sensor)


def _alerts(model: Model, readings: Readings, start: float, end: float) -> list[tuple[str, float]]:
    detectors = CombinedDetector(_place, model)
    return [
        (event.sensor, event.alerted)
        for stream in streams(readings, start, end)
        for event in detectors.step(stream)
        if event.kind is EventKind.VAPE
        and event.phase is EventPhase.ALERTED
        and not event.explained_by
    ]


def _is_of(sensor: str, at: float, one: Happening) -> bool:
    return one.sensor == sensor and one.onset - 10.0 <= at <= one.end + _LATE_S


def _answers(
    alerts: Sequence[tuple[str, float]], truth: Sequence[Happening], seed: int
) -> list[Answer]:
    """Answer every alert, one in ten wrongly."""
    vaping, rng = [one for one in truth if one.kind == "vape"], np.random.default_rng(seed)
    return [
        Answer(
            str(k),
            sensor,
            at,
            any(_is_of(sensor, at, one) for one in vaping) ^ bool(rng.random() < _WRONG),
        )
        for k, (sensor, at) in enumerate(sorted(alerts, key=lambda alert: alert[1]))
    ]


def score(
    alerts: Sequence[tuple[str, float]], truth: Sequence[Happening], days: float
) -> dict[str, float]:
    """Return recall of visible vaping, precision, F1 and false alarms a sensor-day."""
    vaping = [one for one in truth if one.kind == "vape"]
    right = [any(_is_of(*alert, one) for one in vaping) for alert in alerts]
    visible = [one for one in vaping if one.is_visible]
    found = sum(any(_is_of(*alert, one) for alert in alerts) for one in visible)
    recall = found / max(len(visible), 1)
    precision = sum(right) / max(len(right), 1)
    f1 = 2 * recall * precision / max(recall + precision, 1e-9)
    return {
        "recall": recall,
        "precision": precision,
        "f1": f1,
        "false_a_day": (len(right) - sum(right)) / days,
    }


if __name__ == "__main__":
    main()
