"""Measure whether sensors keep detecting vaping, week after week, in rooms with frequent vaping.

Rooms of one world have different numbers of sessions a day. One detector processes weeks of their
readings, and its alert thresholds adapt as in production. Nobody answers alerts. The model trained
without the world is used if there is one.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Final

os.environ.setdefault("OMP_NUM_THREADS", "1")

from detection.detector import Detector
from detection.model import Model
from plumewatch.cli.printer import print_table
from research.benchmark.recordings import split_by_sensor
from research.benchmark.run import load_model_without, run_detector, select_vape_alerts
from research.benchmark.scoring import score_sensor, summarize
from research.worlds import WORLDS
from research.worlds.world import EPOCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detection.events import Event
    from research.benchmark.recordings import Series
    from research.worlds.world import Happening

RATES: Final = (0.0, 0.05, 0.2, 0.5, 1.2)
"""Sessions per hour and room at busy times."""
_WEEK_S: Final = 7 * 86_400.0


def main() -> None:
    """Simulate, detect, and print recall and false alarms by week."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world", choices=sorted(WORLDS), default="two_zones")
    parser.add_argument("--rooms", type=int, default=2, help="rooms for each vaping rate")
    parser.add_argument("--weeks", type=int, default=2)
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument("--nuisances", type=float, default=0.25, help="relative to a busy room")
    parser.add_argument("--seed", type=int, default=90_030)
    options = parser.parse_args()
    model = load_model_without(options.world) or Model.load_shipped()
    hours = options.weeks * _WEEK_S / 3600.0
    groups: list[tuple[Sequence[Series], list[Happening]]] = []
    for number, rate in enumerate(options.rates):
        seed = options.seed + number
        readings, truth = WORLDS[options.world](seed, options.rooms, hours, rate, options.nuisances)
        groups.append((split_by_sensor(readings, truth, f"{rate:g}"), truth))
    events = iter(run_detector([one for series, _ in groups for one in series], Detector(model)))
    rows = []
    for rate, (series, truth) in zip(options.rates, groups, strict=True):
        found = [(one, next(events)) for one in series]
        row = {"rate": rate, **tabulate_weeks(found, truth, options.weeks)}
        rows.append((row, tuple(str(cell) for cell in row.values())))
    print(f"{options.world}, {model.version}, {options.rooms} rooms at each vaping rate")
    weeks = range(1, options.weeks + 1)
    heads = [f"{words} {week}" for words in ("Recall", "False a day") for week in weeks]
    print_table(("Rate", "Sessions a day", "Visible", *heads), rows)


def tabulate_weeks(
    found: Sequence[tuple[Series, Sequence[Event]]], truth: Sequence[Happening], weeks: int
) -> dict[str, float]:
    """Return visible sessions, recall, and false alarms per sensor-day, by week."""
    alerts = [(one.sensor, select_vape_alerts(events)) for one, events in found]
    by_sensor = {
        sensor.name: [one for one in truth if one.sensor == sensor.name] for sensor, _ in alerts
    }
    recall, false = {}, {}
    for week in range(weeks):
        span = (EPOCH + week * _WEEK_S, EPOCH + (week + 1) * _WEEK_S)
        summary = summarize(
            [score_sensor(by_sensor[s.name], each, s, (span,)) for s, each in alerts]
        )
        recall[f"recall_{week + 1}"] = round(summary.recall, 2)
        false[f"false_a_day_{week + 1}"] = round(summary.false_per_day, 2)
    vaping = [one for one in truth if one.kind == "vape"]
    days = 7.0 * weeks * len(found)
    return {
        "sessions_a_day": round(len(vaping) / days, 1),
        "visible_a_day": round(sum(one.is_visible for one in vaping) / days, 1),
        **recall,
        **false,
    }


if __name__ == "__main__":
    main()
