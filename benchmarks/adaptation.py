"""Weeks of answers in a world that the model does not know: before and after an adaptation.

A school of busy and of ordinary rooms is followed for weeks. Each alert of vaping is answered, a
tenth of the answers is wrong. The detector runs over these weeks once and records its plumes, to
which `plumewatch.adaptation` fits the answers of the last weeks before what is scored. The days
after judge the model as it is and each adapted one: all continue from the same state, with the
thresholds that the sensors then have. A model that was trained without the world is used if there
is one. Recordings are kept beside those of ``make bench-detection``, which by default are the same.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from alerts.errors import AdaptationError
from alerts.incidents.adaptations import Answer
from benchmarks.detection_bench.run import model_without, run_detector, vape_alerts
from benchmarks.detection_bench.scoring import SensorScore, score_sensor, summarize
from benchmarks.detection_bench.worlds import FIRST_TEST_SEED, PROGRAMS, WorldSpec, load
from detection.adaptation import PlumeRecorder
from detection.detector import Detector
from detection.model import Model
from plumewatch.adaptation import fit_answers
from plumewatch.cli.printer import Printer
from sensor_sim.worlds import WORLDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from benchmarks.detection_bench.recordings import Recording
    from detection.events import Event

_DAY_S: Final = 86_400.0
_WRONG: Final = 0.1


def main() -> None:
    """Simulate, answer, adapt, and print the figures before and after."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", nargs="+", choices=sorted(WORLDS), default=("two_zones",))
    parser.add_argument("--rooms", type=int, default=8, help="of each kind, busy and ordinary")
    parser.add_argument("--weeks", type=float, nargs="+", default=(0.25, 1.0), help="of answers")
    parser.add_argument("--days", type=float, default=5.0, help="scored after them")
    parser.add_argument("--seed", type=int, default=FIRST_TEST_SEED)
    options = parser.parse_args()
    printer = Printer()
    rows = []
    for world in options.worlds:
        lead_in = 7.0 * max(options.weeks)
        recordings = [
            load(WorldSpec(world, program, options.seed, options.rooms, lead_in, options.days))
            for program in PROGRAMS
        ]
        model = model_without(world) or Model.shipped()
        for row in measure(recordings, model, options.weeks, options.seed):
            cells = (f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values())
            rows.append(({"world": world, **row}, (world, *cells)))
    heads = ["World", "Weeks of answers", "Answers", "Confirmed"]
    for program in PROGRAMS:
        heads += [f"{program}: {figure}" for figure in ("recall", "precision", "F1", "false a day")]
    printer.table(heads, rows)


def measure(
    recordings: Sequence[Recording], model: Model, weeks: Iterable[float], seed: int
) -> Iterator[dict[str, float]]:
    """Yield the figures of the scored days without an adaptation and after weeks of answers.

    `recordings` are of the rooms of each of `PROGRAMS` over one period.
    """
    series = [one for recording in recordings for one in recording.series]
    ((until, _),) = recordings[0].spans
    recorder = PlumeRecorder(model.level)
    detector = Detector(model, recorder)
    events = run_detector([one.between(-math.inf, until) for one in series], detector)
    state = detector.snapshot()
    start = float(min(one.time[0] for one in series))
    answers = _answers(_scores(recordings, events, (start, until)), seed)
    for number, n in enumerate((0.0, *weeks)):
        begin = until - 7.0 * _DAY_S * n
        ours = [one for one in answers if one.alerted >= begin]
        judge = model
        if n:
            plumes = [one for one in recorder.plumes if one.start >= begin]
            try:
                judge = model.corrected(fit_answers(model, plumes, ours), number)
            except AdaptationError:
                continue
        restored = Detector.restore(state, judge)
        after = run_detector([one.after(until) for one in series], restored)
        scores = _scores(recordings, after, recordings[0].spans[0])
        yield {
            "weeks": n,
            "answers": len(ours),
            "confirmed": sum(one.is_vaping for one in ours),
            **{
                f"{program}_{key}": value
                for program, part in zip(PROGRAMS, scores, strict=True)
                for key, value in _figures(part).items()
            },
        }


def _scores(
    recordings: Sequence[Recording], events: Sequence[Sequence[Event]], span: tuple[float, float]
) -> list[list[SensorScore]]:
    found = iter(events)
    return [
        [
            score_sensor(
                [one for one in recording.happenings if one.sensor == series.sensor.name],
                vape_alerts(next(found)),
                series.sensor,
                (span,),
            )
            for series in recording.series
        ]
        for recording in recordings
    ]


def _answers(scores: Sequence[Sequence[SensorScore]], seed: int) -> list[Answer]:
    """Answer every incident in order of time, one in ten wrongly."""
    sensors = [one for part in scores for one in part]
    incidents = [(one, f"{k}") for k, sensor in enumerate(sensors) for one in sensor.incidents]
    incidents.sort(key=lambda pair: (pair[0].time, pair[1]))
    rng = np.random.default_rng(seed)
    return [
        Answer(str(k), sensor, one.time, one.right ^ bool(rng.random() < _WRONG))
        for k, (one, sensor) in enumerate(incidents)
    ]


def _figures(scores: Sequence[SensorScore]) -> dict[str, float]:
    found = summarize(scores)
    return {
        "recall": found.recall,
        "precision": found.precision,
        "f1": found.f1,
        "false_a_day": found.false_per_day,
    }


if __name__ == "__main__":
    main()
