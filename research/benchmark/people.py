"""Simulate the feedback that adjusts a detector's thresholds: a room test, and answers to alerts.

A sensor's first large session stands in for the puff of its room test, and the first other events
in the room stand in for the other steps. Half of the alerts are answered correctly within the hour.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from alerts.incidents.incident import Verdict
from alerts.incidents.threshold_adjustments import ANSWERED, STEPS
from detection import commissioning
from detection.alert_rules import UPPER, is_early, is_faint
from detection.events import EventKind, EventPhase
from research.benchmark.scoring import BEFORE_S, WEAK_UG_M3, get_match_window, is_visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from detection.detector import Detector
    from detection.episodes import Episodes
    from detection.events import Event
    from research.worlds.world import Happening

    Floats = NDArray[np.float64]

LARGE_UG_M3: Final = 60.0
TEST_S: Final = 2 * 86_400.0
"""The room test's puff must occur within this many seconds of a stream's start."""
_PUFF_UG_M3: Final = 30.0
_OTHER_STEPS: Final = 4
_STEP_S: Final = 60.0


@dataclass(slots=True)
class Room:
    """A sensor whose readings begin at `begin`, Unix seconds, and the events in its room.

    If `answers`, staff answer its alerts. `scores` has the times and scores of pulses that were
    allowed to alert.
    """

    truth: Sequence[Happening]
    begin: float
    answers: bool
    scores: list[tuple[float, float]] = field(default_factory=list)
    is_tested: bool = False
    moved: float = 0.0
    read: int = 0

    @property
    def sessions(self) -> list[tuple[float, float]]:
        """Time windows of all vaping sessions, including weak ones."""
        return [
            get_match_window(h)
            for h in self.truth
            if h.kind == "vape" and h.seen_pm25 >= WEAK_UG_M3
        ]


class People:
    """Tests each room once, and answers its alerts."""

    def __init__(self, rooms: Mapping[int, Room]) -> None:
        self._rooms = rooms
        self._alerts = 0

    def on_features(
        self,
        _names: Sequence[str],
        rows: NDArray[np.int32],
        time: Floats,
        episodes: Episodes,
        features: Floats,
        is_pulse: NDArray[np.bool_],
        _is_classified: NDArray[np.bool_],
    ) -> None:
        """Record the scores of pulses that were allowed to alert, until each room is tested."""
        counts = is_pulse & ~is_faint(episodes) & ~is_early(episodes, features)
        for k in counts.nonzero()[0].tolist():
            room = self._rooms.get(int(rows[k]))
            if room is not None and not room.is_tested:
                room.scores.append((float(time[k]), float(episodes["log_odds"][k])))

    def adjust_thresholds(
        self, detector: Detector, now: float, found: Sequence[Sequence[Event]]
    ) -> None:
        """Test rooms when due, and answer new alerts."""
        for row, room in self._rooms.items():
            if not room.is_tested and now >= room.begin + TEST_S:
                room.is_tested = True
                scores = _scores(room)
                moved = commissioning.find_adjustment(scores, detector.thresholds.model_level)
                if moved is not None:
                    _move(detector, row, room, moved)
            for event in found[row][room.read :] if room.answers else ():
                if event.kind is EventKind.VAPE and event.phase is EventPhase.ALERTED:
                    self._alerts += 1
                    if self._alerts % 2:
                        _answer(detector, row, room, event.time)
            room.read = len(found[row])


def _scores(room: Room) -> dict[str, float]:
    """Return the highest score in each step of a room test."""
    truth = [h for h in room.truth if h.onset >= room.begin]
    puffs = [get_match_window(h) for h in truth if is_visible(h) and h.seen_pm25 >= _PUFF_UG_M3]
    sessions = room.sessions
    others = [
        (h.onset - BEFORE_S, h.onset + _STEP_S)
        for h in truth
        if h.kind != "vape" and not any(a - _STEP_S <= h.onset <= b for a, b in sessions)
    ]
    steps = {step.name: puffs[:1] if step.is_vaping else [] for step in commissioning.STEPS}
    steps["deodorant"] = others[:_OTHER_STEPS]
    return {
        name: max((s for t, s in room.scores for a, b in spans if a <= t <= b), default=-np.inf)
        for name, spans in steps.items()
    }


def _answer(detector: Detector, row: int, room: Room, time: float) -> None:
    is_false = not any(a <= time <= b for a, b in room.sessions)
    step = STEPS[Verdict.FALSE_ALARM if is_false else Verdict.CONFIRMED]
    _move(detector, row, room, min(max(room.moved + step, min(room.moved, -ANSWERED)), UPPER))
    detector.thresholds.count_answer(row, is_false=is_false)


def _move(detector: Detector, row: int, room: Room, moved: float) -> None:
    room.moved = moved
    detector.thresholds.set_feedback(row, moved)
