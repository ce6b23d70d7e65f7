"""Commissioning test of a room: its steps, what was detected, and the new threshold."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from detection.alert_rules import LOWER, UPPER, is_early, is_faint
from detection.channels import ReadingBatch
from detection.detector import Detector
from detection.events import EventKind
from detection.quantities import COLUMNS
from language.messages import _, gettext, mark

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from detection.episodes import Episodes
    from detection.events import Event

    Sample = tuple[float, Mapping[str, float]]
    """Unix seconds, and values by quantity."""


PUFF_S: Final = 30.0
"""How long a puff lasts at a sensor."""
SEEN_WELL_S: Final = PUFF_S / 3
"""Longest reporting interval that yields three readings of a puff."""

_LATE_S: Final = 30.0
"""A puff that is detected later than this is reported as late."""
_TRUST: Final = 1 / 3
_MARGIN: Final = 0.25
_MAX_GAP: Final = 6.0
"""In log-odds. A larger difference between the puff's score and the highest other score counts as
this much."""


@dataclass(frozen=True, slots=True)
class Step:
    """One action of the tester; `seconds` includes the time until the air has cleared."""

    name: str
    instruction: str
    seconds: float
    is_vaping: bool = False


STEPS: Final = (
    Step(mark("quiet"), mark("Leave the room empty: door closed, fan as usual."), 60),
    Step(mark("fan"), mark("Turn on the fan or hand dryer. Turn it off at the next step."), 40),
    Step(mark("water"), mark("Spray water three times, about 3 feet from the sensor."), 50),
    Step(
        mark("puff"),
        mark(
            "In the stall farthest from the sensor, release a one-second puff of"
            " theatrical fog, or use a smoke-detector tester."
        ),
        90,
        is_vaping=True,
    ),
    Step(
        mark("deodorant"),
        mark("Spray deodorant or hair spray for one second in the middle of the room."),
        60,
    ),
)
"""Steps of the five-minute test. Sources that clear fast come first. Deodorant comes last, because
it lingers for minutes."""


class Timing(NamedTuple):
    """When a step began and ended, Unix seconds."""

    step: Step
    start: float
    end: float


class Detected(NamedTuple):
    """An event that began during a step and alerted `late_s` seconds after the step began."""

    kind: str
    late_s: float
    confidence: float

    @property
    def is_vaping(self) -> bool:
        """Whether it is a vaping alert."""
        return self.kind == EventKind.VAPE.value


Detections = dict[str, tuple[Detected, ...]]
"""What the detector found, by step name."""


def compute_median_interval(samples: Iterable[Sample]) -> float | None:
    """Return the median seconds between samples; None if there are too few."""
    times = sorted({at for at, values in samples if values})
    return float(np.median([b - a for a, b in pairwise(times)])) if len(times) > 1 else None


def group_by_step(events: Iterable[Event], timings: Sequence[Timing]) -> Detections:
    """Return the events by the step in which they began."""
    found: dict[str, list[Detected]] = {timing.step.name: [] for timing in timings}
    for event in sorted(events, key=lambda e: e.alerted):
        timing = next((t for t in timings if t.start <= event.onset < t.end), None)
        if timing is not None:
            late_s = event.alerted - timing.start
            detected = Detected(event.kind.value, late_s, event.confidence)
            found[timing.step.name].append(detected)
    return {name: tuple(each) for name, each in found.items()}


class _StepScores:
    """Records each step's highest score (log-odds) among pulses that could have alerted."""

    def __init__(self, timings: Sequence[Timing]) -> None:
        self._timings = timings
        self.highest = {timing.step.name: -np.inf for timing in timings}

    def on_features(
        self,
        _names: Sequence[str],
        _rows: NDArray[np.int32],
        _time: NDArray[np.float64],
        episodes: Episodes,
        features: NDArray[np.float64],
        is_pulse: NDArray[np.bool_],
        _is_classified: NDArray[np.bool_],
    ) -> None:
        """Receive one scored reading."""
        if not is_pulse[0] or is_faint(episodes)[0] or is_early(episodes, features)[0]:
            return
        onset, score = float(episodes["pulse_onset"][0]), float(episodes["log_odds"][0])
        for step, start, end in self._timings:
            if start <= onset < end:
                self.highest[step.name] = max(self.highest[step.name], score)


def score_steps(samples: Sequence[Sample], timings: Sequence[Timing]) -> dict[str, float]:
    """Return each step's highest score in log-odds; minus infinity if nothing was scored."""
    scores = _StepScores(timings)
    detector = Detector(observer=scores)
    values = np.array([[measured.get(key, np.nan) for key in COLUMNS] for _, measured in samples])
    rows = np.full(len(samples), detector.assign_row(""), np.int32)
    times = np.array([at for at, _ in samples], float)
    detector.step(ReadingBatch(rows, times, values.reshape(-1, len(COLUMNS))))
    return scores.highest


def find_adjustment(scores: Mapping[str, float], model_level: float) -> float | None:
    """Return how far to move the alert threshold so that it separates the puff from the rest.

    One puff says little about the next. So the threshold moves only `_TRUST` of the way from the
    model's threshold to the midpoint between the puff's score and the highest other score. If that
    does not put it between the two scores, it moves farther, but never more than `LOWER` down or
    `UPPER` up. The result is None if the puff did not score highest.
    """
    puff = max(scores[step.name] for step in STEPS if step.is_vaping) - model_level
    rest = max(scores[step.name] for step in STEPS if not step.is_vaping) - model_level
    if not puff > rest:
        return None
    rest = max(rest, puff - _MAX_GAP)
    margin = min(_MARGIN, (puff - rest) / 2.0)
    wanted = min(max(_TRUST * (puff + rest) / 2.0, rest + margin), puff - margin)
    return min(max(wanted, -LOWER), UPPER)


def is_right(detections: Detections) -> bool:
    """Return whether vaping was detected in the puff step and in no other."""
    return all(
        any(event.is_vaping for event in detections[step.name]) == step.is_vaping for step in STEPS
    )


def conclude(
    sensor: str, interval_s: float, detections: Detections, *, has_particles: bool, sees_puff: bool
) -> str:
    """Describe in a sentence what this sensor can detect in this room, and how fast."""
    puff = next(step.name for step in STEPS if step.is_vaping)
    found = [event for event in detections[puff] if event.is_vaping]
    wrong = [
        name
        for name, events in detections.items()
        if name != puff and any(event.is_vaping for event in events)
    ]
    known = {"sensor": sensor, "interval": f"{interval_s:.3g}"}
    if wrong:
        known["steps"] = ", ".join(gettext(name) for name in wrong)
        return _("%(sensor)s mistakes %(steps)s for vaping at every allowed threshold", **known)
    if found:
        known["late"] = f"{found[0].late_s:.0f}"
        if found[0].late_s > _LATE_S:
            return _(
                "%(sensor)s detects a puff in the farthest stall after %(late)s s (one reading"
                " every %(interval)s s), which is late: mount it closer, or away from the vent",
                **known,
            )
        return _(
            "%(sensor)s detects a puff in the farthest stall after %(late)s s (one reading every"
            " %(interval)s s)",
            **known,
        )
    if not has_particles:
        return _(
            "%(sensor)s sent no valid particle values during the test (one reading every"
            " %(interval)s s), so it cannot detect a puff: check its particle sensor, and"
            " that its format or mapping reads particles",
            **known,
        )
    if sees_puff:
        return _(
            "%(sensor)s measures the puff (one reading every %(interval)s s), but the"
            " detector cannot tell it from other sources: shorten its interval, or mount"
            " it closer to the stalls",
            **known,
        )
    return _(
        "%(sensor)s does not detect a puff in the farthest stall (one reading every"
        " %(interval)s s): mount it closer, away from door and vent (docs/sensors.md), or"
        " add a second one",
        **known,
    )
