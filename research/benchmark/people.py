"""What people tell the thresholds of a detector: a room test, and answers to alerts.

The first large session of a sensor stands for the puff of its room test, and what else happened
first in its room for the other steps. Half of the alerts are answered within the hour, rightly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from alerts.incidents.incident import Verdict
from alerts.incidents.threshold_adjustments import ANSWERED, STEPS
from detection import commissioning
from detection.alert_rules import UPPER, is_early, is_faint
from detection.events import EventKind, EventPhase
from research.benchmark.scoring import BEFORE_S, WEAK_UG_M3, is_visible, window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from detection.detector import Detector
    from detection.episodes import Episodes
    from detection.events import Event
    from research.worlds.world import Happening

    Floats = NDArray[np.float64]

LARGE_UG_M3: Final = 60.0
TEST_S: Final = 2 * 86_400.0
"""Time from the beginning of a stream in which a room test finds its puff."""
_PUFF_UG_M3: Final = 30.0
_OTHER_STEPS: Final = 4
_STEP_S: Final = 60.0


class People:
    """Test each room once, then answer alerts if `answers`; an observer of the detector."""

    def __init__(
        self, truths: Sequence[Sequence[Happening]], begin: float, *, answers: bool
    ) -> None:
        self._test_at, self._answers = begin + TEST_S, answers
        self._truths = [[h for h in truth if h.onset >= begin] for truth in truths]
        self._sessions = [
            [window(h) for h in truth if h.kind == "vape" and h.seen_pm25 >= WEAK_UG_M3]
            for truth in truths
        ]
        self._judged: list[list[tuple[float, float]]] = [[] for _ in truths]
        self._moved = np.zeros(len(truths))
        self._read = [0] * len(truths)
        self._alerts = 0
        self._is_tested = False

    def on_features(
        self,
        names: Sequence[str],
        rows: NDArray[np.int32],
        time: Floats,
        episodes: Episodes,
        features: Floats,
        is_pulse: NDArray[np.bool_],
        _is_asked: NDArray[np.bool_],
    ) -> None:
        """Note the scores of pulses that could have alerted, until the rooms are tested."""
        if self._is_tested:
            return
        counts = is_pulse & ~is_faint(episodes) & ~is_early(episodes, features)
        for k in counts.nonzero()[0].tolist():
            judged = float(time[k]), float(episodes["log_odds"][k])
            self._judged[int(names[rows[k]])].append(judged)

    def tell(self, detector: Detector, now: float, found: Sequence[Sequence[Event]]) -> None:
        """Test rooms when it is time, and answer the alerts that are new."""
        if not self._is_tested and now >= self._test_at:
            self._is_tested = True
            for k in range(len(self._truths)):
                self._test(detector, k)
        for k, events in enumerate(found):
            for event in events[self._read[k] :]:
                if event.kind is EventKind.VAPE and event.phase is EventPhase.ALERTED:
                    self._alerts += 1
                    if self._answers and self._alerts % 2:
                        self._answer(detector, k, event.time)
            self._read[k] = len(events)

    def _test(self, detector: Detector, k: int) -> None:
        puffs = [h for h in self._truths[k] if is_visible(h) and h.seen_pm25 >= _PUFF_UG_M3]
        others = [
            (h.onset - BEFORE_S, h.onset + _STEP_S)
            for h in self._truths[k]
            if h.kind != "vape"
            and not any(a - _STEP_S <= h.onset <= b for a, b in self._sessions[k])
        ]
        steps = {
            step.name: [window(puffs[0])] if step.is_vaping and puffs else []
            for step in commissioning.STEPS
        }
        steps["deodorant"] = others[:_OTHER_STEPS]
        scores = {
            name: max(
                (s for t, s in self._judged[k] for a, b in spans if a <= t <= b), default=-np.inf
            )
            for name, spans in steps.items()
        }
        adjustment = commissioning.find_adjustment(scores, detector.thresholds.model_level)
        if adjustment is not None:
            self._move(detector, k, adjustment)

    def _answer(self, detector: Detector, k: int, time: float) -> None:
        is_false = not any(a <= time <= b for a, b in self._sessions[k])
        step = STEPS[Verdict.FALSE_ALARM if is_false else Verdict.CONFIRMED]
        moved = float(self._moved[k])
        self._move(detector, k, min(max(moved + step, min(moved, -ANSWERED)), UPPER))
        detector.thresholds.count_answer(k, is_false=is_false)

    def _move(self, detector: Detector, k: int, moved: float) -> None:
        self._moved[k] = moved
        detector.thresholds.set_feedback(k, moved)
