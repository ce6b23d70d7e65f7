"""A school's answers, fitted and judged on readings that the fit has not seen."""

import math

import numpy as np
import pytest

from alerts.consumer.reading_judge import stream_of
from alerts.errors import AdaptationError
from alerts.incidents.adaptations import Answer
from detection.alert_thresholds import AlertBudgets
from detection.combined import CombinedDetector
from detection.events import EventKind, EventPhase
from detection.model import Forest, Model
from plumewatch.adaptation import LOST_SHARE, Change, run_trial, split_time
from storage.reading import Reading
from tests.support.once import made_once
from tests.support.plumes import START, air, puff

EVERY_S = 5.0
APART_S = 600.0
ALIKE = Forest(np.zeros((1, 1), np.int64), np.full((1, 1), np.inf), np.zeros((1, 2)), 1.5)
MODEL = Model("alike", level=1.0, vape=(ALIKE,))
"""Everything is just likely enough to be alerted."""


def cycle(k, *, is_vaping):
    """One plume in clean air; what is no vaping has no VOC and larger particles."""
    rng = np.random.default_rng(k)
    top, efold = rng.uniform(80, 200), rng.uniform(14, 24)
    for at, values in air(APART_S, EVERY_S, seed=k):
        fine = puff(at - 300.0, top, efold)
        coarse = 0.02 if is_vaping else 0.12
        voc = 1.0 if is_vaping else 0.05
        moved = values | {
            "pm1": round(values["pm1"] + (0.92 - coarse) * fine, 1),
            "pm25": round(values["pm25"] + fine, 1),
            "pm10": round(values["pm10"] + (1.0 + coarse) * fine, 1),
            "voc_index": round(values["voc_index"] + voc * fine),
            "rh": round(values["rh"] + (0.8 if is_vaping else 0.0) * math.tanh(fine / 60), 1),
        }
        time = START + k * APART_S + at
        yield Reading("s1", time, time + 0.5, moved)


def streams(plumes, start, end):
    readings = [r for k, v in enumerate(plumes) for r in cycle(k, is_vaping=v)]
    shown = [r for r in readings if start <= r.time < end]
    for k in range(0, len(shown), 500):
        yield stream_of(shown[k : k + 500])


def place(sensor):
    return ("site/building", sensor)


def alerts(plumes, model=MODEL):
    detectors = CombinedDetector(place, model)
    events = [e for s in streams(plumes, 0.0, math.inf) for e in detectors.step(s)]
    return [e.alerted for e in events if e.kind is EventKind.VAPE and e.phase is EventPhase.ALERTED]


@pytest.fixture(scope="module")
def school(tmp_path_factory):
    """Forty plumes of two kinds that the model alerts, and the answers to the alerts."""

    def answer(_folder):
        plumes = [bool(k % 2) for k in range(40)]
        answers = []
        for at in alerts(plumes):
            k = int((at - START) // APART_S)
            answers.append(Answer(f"i{k}", "s1", at, plumes[k]))
        return plumes, answers

    return made_once(tmp_path_factory, "adaptation", answer)[1]


def tried(plumes, answers):
    split = split_time(answers)
    return run_trial(
        streams(plumes, 0.0, split),
        streams(plumes, split, math.inf),
        place,
        answers,
        AlertBudgets(),
        model=MODEL,
        live=MODEL,
        span=(START, split, START + 40 * APART_S),
    )


@pytest.fixture(scope="module")
def clean(school):
    """The trial of right answers."""
    return tried(*school)


def test_false_alarms_go_and_confirmed_alerts_stay_also_with_wrong_answers(school, clean):
    plumes, answers = school
    assert sum(not a.is_vaping for a in answers) >= 12, "the model alerts on both kinds"
    assert clean.change.is_better
    assert clean.change.false_gone >= 0.8 * clean.change.false > 0
    assert clean.change.confirmed_gone <= LOST_SHARE * clean.change.confirmed
    wrong = [
        Answer(a.incident, a.sensor, a.alerted, a.is_vaping ^ (k % 10 == 4))
        for k, a in enumerate(answers)
    ]
    found = tried(plumes, wrong)
    assert np.dot(found.correction.weights, clean.correction.weights) > 0.0


def test_the_same_readings_and_answers_give_the_same_trial(school, clean):
    assert tried(*school) == clean


def answered(*kinds):
    return [Answer(f"i{k}", "s1", START + 1000.0 * k, kind) for k, kind in enumerate(kinds)]


def test_too_few_answers_are_refused_with_their_number():
    with pytest.raises(AdaptationError, match=r"^12 alerts .* 30 are needed"):
        split_time(answered(*[True, False] * 6))
    with pytest.raises(AdaptationError, match="earlier 18 and the later 12 need 3 right and 3"):
        split_time(answered(*[True] * 28, False, False))


def test_answers_are_divided_in_order_of_time():
    assert split_time(answered(*[True, False] * 15)) == pytest.approx(START + 18_000.0 - 180.0)


@pytest.mark.parametrize(
    ("change", "is_better"),
    [
        (Change(20, 0, 10, 4, 5, 1, 0, 0.0), True),
        (Change(20, 2, 10, 4, 5, 1, 0, 0.0), True),
        (Change(20, 3, 10, 9, 5, 1, 0, 0.0), False),  # more than a tenth is lost
        (Change(20, 0, 10, 0, 5, 5, 0, 0.0), False),  # no false alarm is gone
        (Change(20, 0, 10, 2, 5, 0, 6, 1.5), False),  # more false ones are new
        (Change(20, 0, 10, 2, 5, 0, 3, 2.5), True),
    ],
)
def test_only_what_is_better_goes_live(change, is_better):
    assert change.is_better is is_better
