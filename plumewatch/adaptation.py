"""``plumewatch adapt``: fit a correction from a school's answers, and back-test it on its readings.

Up to the moment before which `_FIT_SHARE` of the answers lie, the model without any adaptation
records the plumes, and a correction is fitted. From there on two detectors continue side by side
from the same state: with the adaptation that is active now, and with the new one. What differs is
what the new one would have changed; it has not seen that part. What is proposed is fitted to all
answers in the same way. As a program it is the service's weekly try.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from bisect import bisect_left
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from alerts.consumer.reading_judge import stream_of
from alerts.consumer.sensor_thresholds import SensorThresholds
from alerts.errors import AdaptationError
from alerts.incidents import adaptations, threshold_adjustments
from alerts.incidents.incident import SYSTEM
from detection.adaptation import ALERT_FROM, Correction, PlumeRecorder, fit
from detection.combined import CombinedDetector
from detection.events import EventKind, EventPhase
from detection.model import Model
from ingest.files.readings_export import slices
from ingest.validation import may_alert
from plumewatch.config.model import PlumewatchConfig
from plumewatch.config.paths import DataPaths
from plumewatch.config.settings import alert_budgets
from plumewatch.service.data_folder import open_series, open_state
from storage.errors import StorageError
from storage.sqlite import transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from alerts.incidents.adaptations import Answer
    from alerts.incidents.threshold_adjustments import ThresholdAdjustment
    from detection.adaptation import Plume
    from detection.alert_thresholds import AlertBudgets
    from detection.combined import Stream
    from detection.events import Event
    from detection.per_minute.ambient import Place
    from storage.timeseries import Series

    Shown = Callable[[str], Place | None]

MIN_ANSWERS: Final = 30
"""Answers from which an adaptation is tried."""
LOST_SHARE: Final = 0.1
"""Largest share of the confirmed alerts that an adaptation may lose: as many answers are wrong."""
DAYS: Final = 42.0
"""Days before now whose readings and answers count."""
_FIT_SHARE: Final = 0.6
_MIN_OF_EACH: Final = 3
"""Right alerts, and false ones, that each part needs."""
_SAME_S: Final = 180.0
"""Alerts of one sensor closer than this are of the same plume."""
_QUIET_PLUMES: Final = 300
_QUIET_WEIGHT: Final = 0.5
"""Weight of all plumes of hours without an alert together, against that of all answers."""
_DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Change:
    """What an adaptation would have changed in the part it was not fitted to.

    `unanswered` was alerted only; the new detector would not have alerted `..._gone`. `new` it
    alerts for the first time, and expects `new_vaping` of them to be vaping.
    """

    confirmed: int
    confirmed_gone: int
    false: int
    false_gone: int
    unanswered: int
    unanswered_gone: int
    new: int
    new_vaping: float

    @property
    def is_better(self) -> bool:
        """Whether hardly a confirmed alert is lost, and right alerts gain more than false cost."""
        few_lost = self.confirmed_gone <= LOST_SHARE * self.confirmed
        more_right = self.new_vaping - self.confirmed_gone
        more_false = self.new - self.new_vaping - self.false_gone
        return few_lost and (1.0 - ALERT_FROM) * more_right > ALERT_FROM * more_false


@dataclass(frozen=True, slots=True)
class Trial:
    """A fitted correction and its back-test; the readings of ``[split, end)`` judge it."""

    correction: Correction
    answers: int
    start: float
    split: float
    end: float
    change: Change


@dataclass(frozen=True, slots=True)
class _Alert:
    sensor: str
    at: float
    confidence: float


class _Judge:
    """One detector with its thresholds, and the alerts of vaping that it gave."""

    def __init__(
        self,
        detectors: CombinedDetector,
        budgets: AlertBudgets,
        adjustments: Sequence[ThresholdAdjustment],
        last_adjustment: int = 0,
    ) -> None:
        self.alerts: list[_Alert] = []
        self.detectors = detectors
        self.thresholds = SensorThresholds(budgets)
        self.thresholds.adopt(detectors.plumes, last_adjustment)
        self._adjustments = [one for one in adjustments if one.seq > last_adjustment]
        self._last: dict[str, float] = {}

    def step(self, stream: Stream) -> None:
        """Judge a stream, after the adjustments that people had made by its beginning."""
        due = bisect_left(self._adjustments, float(stream.time[0]), key=lambda one: one.at)
        self.thresholds.apply(self._adjustments[:due])
        del self._adjustments[:due]
        for event in self.detectors.step(stream):
            self._note(event)

    def _note(self, event: Event) -> None:
        is_vaping = event.kind is EventKind.VAPE and event.phase is EventPhase.ALERTED
        if not is_vaping or event.explained_by:
            return
        if event.alerted - self._last.get(event.sensor, -np.inf) >= _SAME_S:
            self.alerts.append(_Alert(event.sensor, event.alerted, event.confidence))
        self._last[event.sensor] = event.alerted


def adapt(
    config: PlumewatchConfig,
    state: sqlite3.Connection,
    series: Series,
    now: float,
    on_progress: Callable[[float, float], None] = lambda _done, _of: None,
) -> Trial:
    """Fit a correction to a school's answers and back-test it; `AdaptationError` if too few."""
    model, span = Model.shipped(), series.span()
    if span is None:
        raise AdaptationError("no readings are stored")
    start, end = max(span[0], now - DAYS * _DAY_S), min(span[1] + 1e-3, now)
    registry = config.registry()

    def place(sensor: str) -> Place | None:
        room = registry.room_of(sensor)
        return None if room is None else (f"{room.site}/{room.building}", room.id)

    found = adaptations.answers(state, start, end)
    split = split_time(found)

    def streams(begin: float, until: float) -> Iterator[Stream]:
        for readings in slices(
            series, begin, until, lambda at: on_progress(at - start, end - start)
        ):
            shown = [reading for reading in readings if may_alert(reading)]
            if shown:
                yield stream_of(shown)

    return run_trial(
        streams(start, split),
        streams(split, end),
        place,
        found,
        alert_budgets(config),
        model=model,
        live=adaptations.active_model(state, model),
        adjustments=threshold_adjustments.placed_after(state, 0),
        span=(start, split, end),
    )


def split_time(answers: Sequence[Answer]) -> float:
    """Return the moment that divides answers for fitting and judging; or `AdaptationError`."""
    if len(answers) < MIN_ANSWERS:
        raise AdaptationError(
            f"{len(answers)} alerts with stored readings were answered as right or false;"
            f" {MIN_ANSWERS} are needed"
        )
    cut = round(_FIT_SHARE * len(answers))
    for part in (answers[:cut], answers[cut:]):
        vaping = sum(one.is_vaping for one in part)
        if min(vaping, len(part) - vaping) < _MIN_OF_EACH:
            raise AdaptationError(
                f"of {len(answers)} answered alerts the earlier {cut} and the later"
                f" {len(answers) - cut} need {_MIN_OF_EACH} right and {_MIN_OF_EACH} false ones"
                " each"
            )
    return answers[cut].alerted - _SAME_S


def run_trial(
    earlier: Iterable[Stream],
    later: Iterable[Stream],
    place: Shown,
    answers: Sequence[Answer],
    budgets: AlertBudgets,
    *,
    model: Model,
    live: Model,
    adjustments: Sequence[ThresholdAdjustment] = (),
    span: tuple[float, float, float],
) -> Trial:
    """Fit on the earlier streams, back-test on the later; `AdaptationError` if plumes are gone."""
    split = span[1]
    recorder = PlumeRecorder(model.level)
    plain = _Judge(CombinedDetector(place, model, recorder), budgets, adjustments)
    for stream in earlier:
        plain.step(stream)
    known = [one for one in answers if one.alerted < split]
    correction = fit_answers(model, recorder.plumes, known, plain.alerts)
    state = plain.detectors.state()
    last = plain.thresholds.last_adjustment
    before, after = (
        _Judge(CombinedDetector.restore(state, place, one), budgets, adjustments, last)
        for one in (live, model.corrected(correction, 0))
    )
    for stream in later:
        for judge in (plain, before, after):
            judge.step(stream)
    unseen = [one for one in answers if one.alerted >= split]
    change = _compare(before.alerts, after.alerts, unseen)
    correction = fit_answers(model, recorder.plumes, answers, plain.alerts)
    return Trial(correction, len(answers), *span, change)


def fit_answers(
    model: Model, plumes: Sequence[Plume], answers: Sequence[Answer], alerts: Sequence[_Alert] = ()
) -> Correction:
    """Fit to the plumes of the answers, and to a sample of those in hours without an alert."""
    labeled, labels = [], []
    for answer in answers:
        plume = _plume_of(plumes, answer)
        if plume is not None:
            labeled.append(plume)
            labels.append(answer.is_vaping)
    if min(sum(labels), len(labels) - sum(labels)) < _MIN_OF_EACH:
        raise AdaptationError(
            f"only {len(labels)} of {len(answers)} answered alerts are found again in the readings"
        )
    busy = {(one.sensor, one.at // 3600.0 + k) for one in alerts for k in (-1.0, 0.0, 1.0)}
    busy |= {(one.sensor, one.alerted // 3600.0 + k) for one in answers for k in (-1.0, 0.0, 1.0)}
    quiet = [plume for plume in plumes if (plume.sensor, plume.start // 3600.0) not in busy]
    if len(quiet) > _QUIET_PLUMES:
        chosen = np.random.default_rng(len(quiet)).choice(len(quiet), _QUIET_PLUMES, replace=False)
        quiet = [quiet[k] for k in np.sort(chosen).tolist()]
    weight = _QUIET_WEIGHT * len(labels) / max(len(quiet), 1)
    return fit(
        [*labeled, *quiet],
        [*labels, *[False] * len(quiet)],
        [*[1.0] * len(labels), *[weight] * len(quiet)],
        model.evidence,
    )


def _plume_of(plumes: Sequence[Plume], answer: Answer) -> Plume | None:
    return min(
        (
            plume
            for plume in plumes
            if plume.sensor == answer.sensor
            and plume.start - _SAME_S <= answer.alerted <= plume.end + _SAME_S
        ),
        key=lambda plume: max(plume.start - answer.alerted, answer.alerted - plume.end),
        default=None,
    )


def _compare(live: Sequence[_Alert], new: Sequence[_Alert], answers: Sequence[Answer]) -> Change:
    kept = _Times(new)
    before = _Times(live)
    answered = {True: 0, False: 0}
    gone = {True: 0, False: 0}
    for answer in answers:
        if before.has(answer.sensor, answer.alerted):
            answered[answer.is_vaping] += 1
            gone[answer.is_vaping] += not kept.has(answer.sensor, answer.alerted)
    known = _Times([_Alert(one.sensor, one.alerted, 1.0) for one in answers])
    rest = [one for one in live if not known.has(one.sensor, one.at)]
    added = [
        one
        for one in new
        if not before.has(one.sensor, one.at) and not known.has(one.sensor, one.at)
    ]
    return Change(
        answered[True],
        gone[True],
        answered[False],
        gone[False],
        len(rest),
        sum(not kept.has(one.sensor, one.at) for one in rest),
        len(added),
        round(sum(one.confidence for one in added), 2),
    )


class _Times:
    """Times of alerts by sensor."""

    def __init__(self, alerts: Iterable[_Alert]) -> None:
        self._by_sensor: dict[str, list[float]] = {}
        for one in sorted(alerts, key=lambda one: one.at):
            self._by_sensor.setdefault(one.sensor, []).append(one.at)

    def has(self, sensor: str, at: float) -> bool:
        """Return whether the sensor alerted about then."""
        times = self._by_sensor.get(sensor, [])
        k = bisect_left(times, at - _SAME_S)
        return k < len(times) and times[k] <= at + _SAME_S


def backtest_fields(trial: Trial) -> dict[str, float]:
    """Return what is stored and printed of a back-test."""
    names = ("answers", "start", "split", "end")
    return {name: getattr(trial, name) for name in names} | asdict(trial.change)


def try_adaptation(config: PlumewatchConfig, now: float) -> str:
    """Try, store and perhaps apply an adaptation; return what was done, or `AdaptationError`."""
    with open_state(DataPaths(config.data_dir).state) as state, open_series(config) as series:
        trial = adapt(config, state, series, now)
        if not trial.change.is_better:
            return "an adaptation to the school's answers is not better than what is used"
        is_applied = config.detection.adapt == "auto"
        fields = backtest_fields(trial)
        with transaction(state) as tx:
            model = Model.shipped()
            number = adaptations.propose(tx, model, trial.correction, fields, SYSTEM, now)
            if is_applied:
                adaptations.apply(tx, number, SYSTEM, now, "better in the back-test")
    if is_applied:
        return f"adaptation {number} is active: `plumewatch adapt --undo` undoes it"
    return f"adaptation {number} is ready: see `plumewatch adapt`"


def main() -> None:
    """Try once, and print what came of it."""
    os.nice(19)
    config = PlumewatchConfig.model_validate_json(sys.stdin.buffer.read())
    try:
        done = try_adaptation(config, time.time())
    except AdaptationError as error:
        done = f"no adaptation yet: {error}"
    except (StorageError, sqlite3.Error, OSError) as error:
        done = f"no adaptation was tried: {error}"
    sys.stdout.write(f"{done}\n")


if __name__ == "__main__":
    main()
