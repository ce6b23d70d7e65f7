"""A school's correction: found where it was planted, bounded whatever the answers."""

import json
from dataclasses import replace

import numpy as np
import pytest

from detection.adaptation import LIMIT, SOURCE_FACTS, Correction, Plume, fit
from detection.alert_thresholds import UPPER
from detection.errors import ModelError
from detection.events import base_version
from detection.facts import FACTS
from detection.model import Forest, Model

MODEL = Model("m")
PLANTED = {"coarse_share": -1.2, "voc_max": 0.8}


def plumes_and_truth(n, seed, offset=1.0):
    """Draw plumes whose log-odds are those of the model and of what was planted."""
    rng = np.random.default_rng(seed)
    facts = np.full((n, len(FACTS)), np.nan)
    for name in SOURCE_FACTS:
        facts[:, FACTS.index(name)] = rng.normal(2.0, 3.0, n)
    score = rng.normal(offset, 1.0, n)
    shift = sum(w * (facts[:, FACTS.index(k)] - 2.0) / 3.0 for k, w in PLANTED.items())
    truth = rng.random(n) < 1.0 / (1.0 + np.exp(-score - shift))
    plumes = [Plume("s", 0.0, 1.0, [float(s)], [row]) for s, row in zip(score, facts, strict=True)]
    return plumes, truth.tolist(), shift


def matrix(plumes):
    return np.array([plume.facts[-1] for plume in plumes])


@pytest.mark.parametrize("wrong", [0.0, 0.1])
def test_a_planted_correction_is_found_also_among_wrong_answers(wrong):
    plumes, truth, _ = plumes_and_truth(1200, 1)
    flip = np.random.default_rng(2).random(1200) < wrong
    answers = [bool(t ^ f) for t, f in zip(truth, flip, strict=True)]
    found = fit(plumes, answers, [1.0] * 1200, MODEL.evidence)
    weights = dict(zip(found.names, found.weights, strict=True))
    assert weights["coarse_share"] == pytest.approx(-1.2, abs=0.5)
    assert weights["voc_max"] == pytest.approx(0.8, abs=0.5)
    unseen, _, shift = plumes_and_truth(500, 3)
    assert np.corrcoef(found.score(matrix(unseen)), shift)[0, 1] > 0.8


def test_a_few_answers_change_little():
    plumes, truth, _ = plumes_and_truth(30, 4)
    found = fit(plumes, truth, [1.0] * 30, MODEL.evidence)
    assert np.abs(found.weights).max() < 0.6
    assert abs(found.bias) < 1.0


def alike(n, score=1.0):
    """Plumes of one score that differ in nothing."""
    return [Plume("s", 0.0, 1.0, [score], [np.full(len(FACTS), np.nan)]) for _ in range(n)]


@pytest.mark.parametrize("n", [30, 300])
def test_alerts_that_are_right_lower_the_threshold_and_false_ones_raise_it(n):
    def correction(share):
        right = [k < share * n for k in range(n)]
        return fit(alike(n), right, [1.0] * n, MODEL.evidence).score(facts_with(np.nan))[0]

    mostly_right, even, mostly_false = (correction(share) for share in (0.9, 0.5, 0.1))
    assert 0.4 < mostly_right <= LIMIT
    assert -LIMIT <= mostly_false < -0.4
    # Half of them right, and the model said 73 %: more than ALERT_FROM, so all go on alerting.
    assert -1.0 < even < mostly_right


@pytest.mark.parametrize("share", [0.3, 0.4, 0.6])
def test_what_a_corrected_model_is_expected_to_be_right_about_is_what_answers_say(share):
    """A back-test that believed the confidence itself would call every further alert a gain."""
    answers = [k < share * 300 for k in range(300)]
    model = MODEL.corrected(fit(alike(300), answers, [1.0] * 300, MODEL.evidence), 1)
    score = 1.0 + model.correction.score(facts_with(np.nan))
    assert 1.0 / (1.0 + np.exp(-model.stated(score)[0])) == pytest.approx(share, abs=0.06)


@pytest.mark.parametrize("wrong", [0.05, 0.1])
def test_wrong_answers_to_right_alerts_hardly_raise_the_threshold(wrong):
    n = 200
    answers = [k >= wrong * n for k in range(n)]
    found = fit(alike(n, score=2.0), answers, [1.0] * n, MODEL.evidence)
    assert found.score(facts_with(np.nan))[0] > 0.0


def test_the_forest_that_knows_the_air_gains_weight():
    """Two forests of opposite opinions cancel out in the model; answers show which one is right."""
    column = np.full((1, 1), FACTS.index("co2_rise"))
    one = Forest(column, np.full((1, 1), 0.0), np.array([[-1.0, 1.0]]), 0.0)
    other = replace(one, value=-one.value)
    column, threshold, value = (
        np.concatenate([getattr(one, part), getattr(other, part)])
        for part in ("column", "threshold", "value")
    )
    joined = Forest(column, threshold, value, 0.0)
    model = Model("m", vape=(joined,), n_opinions=(2,))
    facts = np.full((200, len(FACTS)), np.nan)
    facts[:, column[0, 0]] = np.random.default_rng(8).normal(0.0, 1.0, 200)
    is_vaping = facts[:, column[0, 0]] > 0.0
    plumes = [Plume("s", 0.0, 1.0, [0.0], [row]) for row in facts]
    adapted = model.corrected(fit(plumes, is_vaping.tolist(), [1.0] * 200, model.evidence), 1)
    before, _ = model.vape_score(facts, np.zeros((200, 0)))
    after, _ = adapted.vape_score(facts, np.zeros((200, 0)))
    assert set(before) == {0.0}
    assert after[is_vaping].min() > after[~is_vaping].max() + 0.5
    assert adapted.vape_score(facts[3:4], np.zeros((1, 0)))[0][0] == after[3]


def test_one_wrong_answer_on_a_plain_plume_hardly_moves_the_correction():
    plumes, truth, _ = plumes_and_truth(60, 5)
    extreme = Plume("s", 0.0, 1.0, [12.0], [plumes[0].facts[0] * 50.0])
    without = fit(plumes, truth, [1.0] * 60, MODEL.evidence)
    one_wrong = fit([*plumes, extreme], [*truth, False], [1.0] * 61, MODEL.evidence)
    facts = matrix(plumes)
    assert np.abs(one_wrong.score(facts) - without.score(facts)).max() < 0.5


def test_both_answers_are_needed():
    plumes, _, _ = plumes_and_truth(10, 6)
    with pytest.raises(ValueError, match="both"):
        fit(plumes, [True] * 10, [1.0] * 10, MODEL.evidence)


def of_one(weight, bias=0.0):
    return Correction(("rh_rise",), (1.0,), (2.0,), (weight,), bias)


def facts_with(value, rows=1):
    facts = np.full((rows, len(FACTS)), np.nan)
    facts[:, FACTS.index("rh_rise")] = value
    return facts


def test_the_correction_stays_within_its_limit_and_unknown_facts_count_as_their_mean():
    assert of_one(9.0).score(facts_with(1e9)).tolist() == [LIMIT]
    assert of_one(9.0).score(facts_with(-1e9)).tolist() == [-LIMIT]
    assert of_one(9.0, bias=0.25).score(facts_with(np.nan)).tolist() == [0.25]
    assert of_one(0.5).score(facts_with(3.0)).tolist() == [0.5]


def always(score):
    """A forest that gives every row the same log-odds."""
    return Forest(np.zeros((1, 1), np.int64), np.full((1, 1), np.inf), np.zeros((1, 2)), score)


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (UPPER - 0.01, UPPER - 0.01 - LIMIT),
        (UPPER, UPPER),
        (UPPER + 1.0, UPPER),
        (UPPER + 5.0, UPPER + 5.0 - LIMIT),
    ],
)
def test_a_strong_plume_always_alerts_whatever_the_correction(score, expected):
    model = Model("m", level=2.0, vape=(always(2.0 + score),)).corrected(of_one(0.0, -9.0), 4)
    found, _ = model.vape_score(facts_with(0.0), np.zeros((1, 0)))
    assert found[0] == pytest.approx(2.0 + expected)


def test_the_version_names_the_correction_and_the_model_file_does_not_contain_it():
    model = Model.shipped()
    adapted = model.corrected(of_one(0.1), 3)
    assert adapted.version == f"{model.version}+adapted-3"
    assert base_version(adapted.version) == model.version
    assert Model.from_bytes(adapted.to_bytes()).correction is None


def test_a_correction_survives_json_exactly():
    plumes, truth, _ = plumes_and_truth(40, 7)
    found = fit(plumes, truth, [1.0] * 40, MODEL.evidence)
    assert Correction.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "another format"),
        ({"names": ["moon"]}, "other facts: moon"),
        ({"weights": []}, "three finite numbers"),
        ({"weights": [float("nan")]}, "three finite numbers"),
        ({"scale": [0.0]}, "must be positive"),
        ({"bias": "x"}, "no correction"),
    ],
)
def test_what_is_no_correction_is_refused_with_a_reason(change, message):
    text = json.dumps(json.loads(of_one(0.1).to_json()) | change)
    with pytest.raises(ModelError, match=message):
        Correction.from_json(text)
    with pytest.raises(ModelError, match="no correction"):
        Correction.from_json("[]")
