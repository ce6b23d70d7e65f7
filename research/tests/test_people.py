"""Test simulated feedback to the thresholds in the benchmark."""

import pytest

from detection.detector import Detector
from detection.events import Event, EventKind, EventPhase
from research.benchmark.people import TEST_S, People, Room
from research.tests.test_scoring import happening


def alert(time):
    phase, kind = EventPhase.ALERTED, EventKind.VAPE
    return Event("1", kind, phase, time, time, time, None, 0.6, {"vape": 0.6}, {}, "m", time=time)


def told(sessions, *, answers=True):
    """Return a room with feedback, and a detector that also has a room without."""
    detector = Detector()
    detector.assign_row("0")
    detector.assign_row("1")
    return Room(sessions, 0.0, answers), detector


@pytest.mark.parametrize(
    ("sessions", "answers", "moved"),
    [([], True, 0.25), ([happening(1000.0)], True, -0.125), ([], False, 0.0)],
)
def test_half_of_the_alerts_are_answered_rightly(sessions, answers, moved):
    room, detector = told(sessions, answers=answers)
    people = People({1: room})
    events = [alert(1010.0)]
    people.adjust_thresholds(detector, 3600.0, [events, events])
    events.append(alert(1020.0))
    people.adjust_thresholds(detector, 7200.0, [events, events])
    assert [detector.thresholds.explain(row).feedback for row in range(2)] == [0.0, moved]


def test_the_first_large_session_stands_for_the_puff_of_a_room_test():
    room, detector = told(
        [happening(-500.0), happening(1000.0), happening(5000.0, "spray", "hair")]
    )
    people = People({1: room})
    level = detector.thresholds.model_level
    room.scores = [(1010.0, level - 1.0), (5010.0, level - 4.0)]
    people.adjust_thresholds(detector, TEST_S - 1.0, [[], []])
    assert detector.thresholds.explain(1).level == level
    people.adjust_thresholds(detector, TEST_S, [[], []])
    assert level - 4.0 < detector.thresholds.explain(1).level < level - 1.0
